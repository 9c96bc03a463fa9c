"""How references to open file descriptions come and go: the tables' side of a replay."""

from __future__ import annotations

from collections.abc import Iterable

from tracecorr.events import Gap
from tracecorr.kernel import Domain, Shutdown
from tracecorr.model.address import key
from tracecorr.model.fact import Fact
from tracecorr.model.fd_table import FdTable, FileDescriptor
from tracecorr.model.open_file import OpenFileDescription
from tracecorr.model.process import Process, Task
from tracecorr.model.sharing import opened, shared_with
from tracecorr.model.system import System


def new_description(
    system: System, kind: str, opened: Fact | None, domain: Domain = Domain.UNKNOWN
) -> OpenFileDescription:
    """Make a description; a connection is counted and kept while anything refers to it."""
    system.seen += kind in ("tcp", "stream")
    return OpenFileDescription(kind, system.step, opened, domain)


def install(
    system: System, task: Task, number: int, description: OpenFileDescription, fact: Fact,
    how: str, close_on_exec: bool | None, source: FileDescriptor | None = None,
) -> FileDescriptor:  # fmt: skip
    """Put a new reference into the table of `task`; whatever was there has been closed before."""
    table = task.table
    old = table.slots.get(number)
    if old is not None:
        _make_way(system, old, fact)
    descriptor = FileDescriptor(number, table, description, close_on_exec, how, fact, source)
    table.slots[number] = descriptor
    table.touched.add(number)
    opened(system, table, number)
    description.references.add(descriptor)
    return descriptor


# dup2 and dup3 close their target silently; any other call that returns a number proves that it was free.
def _make_way(system: System, old: FileDescriptor, fact: Fact) -> None:
    if fact.call.startswith(("dup2(", "dup3(", "fcntl(")):
        close(system, old, fact)
        return
    # A look that came after this call had seen already what it made.
    looked_later = old.seen is not None and fact.at is not None and fact.at <= old.seen
    if old.description.is_connection and not looked_later:
        old.table.incomplete = True
        system.gap(
            Gap(
                "a close was not recorded",
                "a call returned the number of a descriptor that the log never closed",
                "strace -f -tt -T -yy -p PID (with close, dup and fork in the traced set)",
                fact.origin.source,
                fact.origin.line,
            )
        )
    forget(system, old, fact)


def found(system: System, task: Task, number: int, *, alone: bool = False) -> FileDescriptor:
    """Return what `number` refers to for `task`, which the log may not have told yet.

    `alone` says that it is known to be of no other table.
    """
    descriptor = task.table.slots.get(number)
    return descriptor if descriptor is not None else _discovered(system, task, number, alone=alone)


def _discovered(system: System, task: Task, number: int, *, alone: bool) -> FileDescriptor:
    if task.older and not alone and (shared := shared_with(system, task, number)) is not None:
        return shared
    if task.table.is_touched(number):
        # It was closed and is open again: what opened it is not in the log.
        return _unknown(system, task.table, number, "unknown")
    raced = _copied_in_flight(task.table, number)
    return raced if raced is not None else _from_before(system, task.table, number)


def _unknown(system: System, table: FdTable, number: int, how: str) -> FileDescriptor:
    description = OpenFileDescription("unknown", system.step)
    descriptor = FileDescriptor(number, table, description, None, how, None)
    table.slots[number] = descriptor
    table.touched.add(number)
    description.references.add(descriptor)
    return descriptor


# Open before the log began: so was it in the ancestors, and every fork since has copied it.
def _from_before(system: System, table: FdTable, number: int) -> FileDescriptor:
    root = table
    while root.parent is not None and not root.parent.is_touched(number):
        root = root.parent
    descriptor = _unknown(system, root, number, "open-at-start")
    _spread(descriptor, root.copies)
    # One that was taken for dead, with no copies of its own, is among nobody's copies any more.
    return table.slots.get(number) or _copied(descriptor, table, table.forked)


def _spread(source: FileDescriptor, copies: Iterable[FdTable]) -> None:
    for table in copies:
        if not table.is_touched(source.number):
            _spread(_copied(source, table, table.forked), table.copies)


def _copied(source: FileDescriptor, table: FdTable, fact: Fact | None) -> FileDescriptor:
    copy = FileDescriptor(
        source.number, table, source.description, source.close_on_exec, "fork", fact, source, _was_open(source, fact)
    )
    copy.survived = table.executed
    table.slots[source.number] = copy
    table.touched.add(source.number)
    source.description.references.add(copy)
    return copy


# The fork of one thread copies what others are opening at that very instant: then the copy is only probable.
def _was_open(source: FileDescriptor, fork: Fact | None) -> bool:
    opened = source.fact
    if fork is None or opened is None or opened.task is fork.task:
        return source.sure
    if opened.at is None or fork.entered is None:
        return source.sure
    return source.sure and opened.at <= fork.entered


# A number that the child uses and nobody gave it: its parent's accept had not returned yet when the fork copied it.
def _copied_in_flight(table: FdTable, number: int) -> FileDescriptor | None:
    if table.parent is None or table.forked is None:
        return None
    source = table.parent.slots.get(number)
    if source is None or source.fact is None or source.how in ("open-at-start", "unknown"):
        return None
    began, returned = source.fact.entered, table.forked.at
    if began is None or returned is None or began > returned:
        return None
    return _copied(source, table, table.forked)


def close(system: System, descriptor: FileDescriptor, fact: Fact) -> None:
    """Drop one reference; the last one ends the connection (close(2))."""
    description = descriptor.description
    if description.is_connection:
        description.note(fact)
        if system.observer is not None:
            system.observer(fact, description)
        if len(description.references) == 1 and not description.flights and not description.calls:
            ended(system, description, fact)
        description.let_go(descriptor)
    descriptor.closed = fact
    _drop(descriptor)
    if not description.references:
        _unreferenced(system, description)


# What finds descriptions by name must not keep those that are gone.
def _unreferenced(system: System, description: OpenFileDescription) -> None:
    system.listeners.discard(description)
    if description.inode is not None and system.by_inode.get(description.inode) is description:
        del system.by_inode[description.inode]
    if description.local is not None and description.peer is not None:
        ends = key(description.local), key(description.peer)
        if system.by_address.get(ends) is description:
            del system.by_address[ends]


def _drop(descriptor: FileDescriptor) -> None:
    descriptor.table.slots.pop(descriptor.number, None)
    descriptor.table.touched.add(descriptor.number)
    descriptor.description.references.discard(descriptor)


def forget(system: System, descriptor: FileDescriptor, fact: Fact) -> None:
    """Drop a reference of which the log does not tell when it was closed: nothing is concluded from that."""
    description = descriptor.description
    _drop(descriptor)
    if not description.references:
        _unreferenced(system, description)
        description.released = fact
        system.connections.pop(description.number, None)


def ended(system: System, description: OpenFileDescription, fact: Fact) -> None:
    """Nothing refers to the connection any more: our FIN goes out (or RST, if data was left unread)."""
    if description.released is not None:
        return
    if system.released is not None:
        system.released(description, fact)
    description.released = fact
    system.connections.pop(description.number, None)
    if description.shut & Shutdown.WR:
        return
    tell_other_end(description, fact)


def tell_other_end(description: OpenFileDescription, fact: Fact) -> None:
    """What this end's FIN (or reset) means to the other end, where that is in the same log."""
    other = description.other_end
    if other is None or other.fin is not None or other.closed_by_reset is not None:
        return
    unread = description.eof is None and other.sent > description.received
    if fact.what != "shutdown" and (description.resets_peer or unread):
        # close() with unread data sends RST (RFC 2525, 2.17; tcp_close() in net/ipv4/tcp.c).
        other.closed_by_reset = fact
        return
    other.fin, other.fin_sure = fact, description.other_end_sure
    other.note(fact)


def copy_table(table: FdTable, process: Process, fact: Fact) -> FdTable:
    """fork: every slot refers to the same description."""
    copy = FdTable(process, table, {}, set(table.touched), forked=fact, floor=table.floor)
    for source in table.slots.values():
        _copied(source, copy, fact)
    table.copies.add(copy)
    return copy


def close_all(system: System, table: FdTable, fact: Fact) -> None:
    """The last task that shares the table has ended (exit(2))."""
    for descriptor in list(table.slots.values()):
        close(system, descriptor, fact._replace(fd=descriptor.number))
    # Descriptors from before the log are looked up through ancestors: a dead one stays while it has copies.
    dead: FdTable | None = table
    while dead is not None and dead.parent is not None and not dead.copies and not dead.slots:
        dead.parent.copies.discard(dead)
        dead = dead.parent if not dead.parent.tasks else None


def close_for_exec(system: System, table: FdTable, fact: Fact) -> None:
    """execve: what is marked FD_CLOEXEC is closed, the rest survives (execve(2))."""
    table.executed = fact
    for descriptor in list(table.slots.values()):
        if descriptor.close_on_exec:
            close(system, descriptor, fact._replace(fd=descriptor.number))
        else:
            descriptor.survived = fact
            if system.observer is not None and descriptor.description.is_connection:
                system.observer(fact._replace(fd=descriptor.number), descriptor.description)
