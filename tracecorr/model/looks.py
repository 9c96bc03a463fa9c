"""What a look at the host adds to a replay: what was there when it began, and the kernel's word on what is there."""

from __future__ import annotations

from tracecorr.events import DescriptorGone, DescriptorSeen, Gap, LookConcluded, Origin, StateChanged, TaskSeen
from tracecorr.kernel import Domain, Shutdown, TcpState
from tracecorr.model.address import key
from tracecorr.model.connections import established
from tracecorr.model.descriptors import forget
from tracecorr.model.fact import Fact
from tracecorr.model.fd_table import FdTable, FileDescriptor
from tracecorr.model.open_file import OpenFileDescription, Registration
from tracecorr.model.process import Process, Task
from tracecorr.model.system import Arrival, System
from tracecorr.model.tasks import enter, task_of
from tracecorr.model.traffic import was_reset
from tracecorr.model.uses import apply_uses

# FINs whose connection is not known yet: those of other processes are among them, and no list may grow for ever.
_ARRIVALS = 1 << 16

# Our FIN has been sent, or is queued, in these (RFC 9293, 3.3.2).
_SHUT = {TcpState.FIN_WAIT1, TcpState.FIN_WAIT2, TcpState.CLOSING, TcpState.TIME_WAIT, TcpState.LAST_ACK}


def task_seen(system: System, event: TaskSeen) -> None:
    """A thread that is known already stays as it is; /proc knows its process' name better than the calls do."""
    known = system.tasks.get(event.task)
    if known is not None and known.ended is None:
        known.process.comm = event.comm or known.process.comm
        return
    process = system.processes.get(event.pid)
    if process is None or process.ended is not None:
        process = Process(event.pid, event.comm, system.processes.get(event.parent or 0))
        system.processes[event.pid] = process
    sharer = system.tasks.get(event.table)
    # Whatever else it uses was opened later: floor 0 leaves nothing that might have been open before.
    table = sharer.table if sharer is not None and sharer.ended is None else FdTable(process, floor=0)
    enter(system, Task(event.task, process, table, seen=True))
    system.looked_at = True


def descriptor_seen(system: System, event: DescriptorSeen) -> None:
    """Learn what the number refers to; where the replay says otherwise, the kernel is right."""
    task = task_of(system, event.task)
    known = system.by_inode.get(event.inode) if event.inode is not None and event.kind != "pipe" else None
    slot = task.table.slots.get(event.fd)
    if slot is not None and not _may_be(slot.description, event, known):
        _replaced(system, slot, event, task)
        slot = None
    if slot is None:
        description = known if known is not None and known.references else _new(system, event)
        slot = _put(task, event, description)
    elif known is not None and known is not slot.description:
        _same(system, slot, known)
    _learn(system, task, slot, event)


# Two references that the replay could not connect are to the same socket.
def _same(system: System, slot: FileDescriptor, known: OpenFileDescription) -> None:
    old = slot.description
    system.connections.pop(old.number, None)
    for reference in old.references:
        reference.description = known
    known.references |= old.references
    old.references = set()


def _may_be(description: OpenFileDescription, event: DescriptorSeen, known: OpenFileDescription | None) -> bool:
    if description.kind == "unknown" or description is known:
        return True
    if description.inode is not None and event.inode is not None and event.kind != "pipe":
        return description.inode == event.inode
    if description.is_connection and known is not None and known.peer is not None and description.peer is not None:
        return key(known.peer) == key(description.peer)
    sockets = ("tcp", "stream", "listener", "socket", "udp", "other socket", "unix")
    return (description.kind in sockets) == (event.kind in sockets)


def _replaced(system: System, slot: FileDescriptor, event: DescriptorSeen, task: Task) -> None:
    if slot.description.is_connection:
        why = f"fd {event.fd} of {slot.process.pid} refers to something else than what the calls tell"
        system.gap(Gap("the kernel contradicts the calls", why, None, *event.origin))
    forget(system, slot, Fact("replaced", event.at, task, event.fd, "", event.origin, system.step))


def _new(system: System, event: DescriptorSeen) -> OpenFileDescription:
    description = OpenFileDescription(event.kind, system.step)
    description.domain = Domain.INET if event.kind in ("tcp", "listener") else Domain.UNKNOWN
    return description


def _put(task: Task, event: DescriptorSeen, description: OpenFileDescription) -> FileDescriptor:
    source = _inherited_from(task.process, event.fd, description)
    how = "fork" if source is not None else "open-at-start"
    slot = FileDescriptor(event.fd, task.table, description, event.close_on_exec, how, None, source, seen=event.at)
    task.table.slots[event.fd] = slot
    task.table.touched.add(event.fd)
    description.references.add(slot)
    return slot


# A child that has what its parent has under the same number got it by fork: numbers are copied as they are.
def _inherited_from(process: Process, number: int, description: OpenFileDescription) -> FileDescriptor | None:
    if process.parent is None:
        return None
    return next((d for d in description.references if d.number == number and d.process is process.parent), None)


def _learn(system: System, task: Task, slot: FileDescriptor, event: DescriptorSeen) -> None:
    description = slot.description
    slot.close_on_exec = event.close_on_exec if event.close_on_exec is not None else slot.close_on_exec
    if event.inode is not None and event.kind != "pipe":
        description.inode = event.inode
        system.by_inode[event.inode] = description
    if event.kind == "listener":
        description.kind, description.local = "listener", event.local or description.local
        system.listeners.add(description)
    elif event.kind == "tcp":
        _learn_connection(system, task, slot, event)
    elif description.kind in ("unknown", "socket", "stream"):
        description.kind = event.kind
        system.connections.pop(description.number, None)
    description.about = event.about if event.about is not None else description.about
    for fd, events, data in event.watches:
        _watched(task, description, fd, events, data, Fact("watched", None, task, fd, "", event.origin, system.step))


def _watched(task: Task, epoll: OpenFileDescription, fd: int, events: int, data: int | None, fact: Fact) -> None:
    watched = task.table.slots.get(fd)
    if watched is None or fd in epoll.registrations:
        return
    registration = Registration(fd, watched.description, events, data, fact)
    epoll.registrations[fd] = registration
    if data is not None:
        epoll.by_data.setdefault(data, {})[fd] = registration
    watched.description.watched = registration


def _learn_connection(system: System, task: Task, slot: FileDescriptor, event: DescriptorSeen) -> None:
    description = slot.description
    system.connections[description.number] = description
    description.kind, description.domain = "tcp", Domain.INET
    description.local, description.peer = event.local or description.local, event.peer or description.peer
    description.role = description.role or event.role
    if description.local is not None and description.peer is not None:
        ends = key(description.local), key(description.peer)
        system.by_address[ends] = description
        arrival = system.arrivals.get(ends)
        if arrival is not None and description.fin is None and event.state is TcpState.CLOSE_WAIT:
            call = "the kernel: CLOSE_WAIT"
            description.fin = Fact("arrived", arrival.at, task, event.fd, call, arrival.origin, arrival.step)
        apply_uses(system, description, ends)
    if event.state is not None and event.state not in (TcpState.SYN_SENT, TcpState.SYN_RECV):
        if event.state is not TcpState.CLOSE:
            established(system, description)
        _state(system, task, slot, event)


# The kernel's state is the last word on what the calls could not tell.
def _state(system: System, task: Task, slot: FileDescriptor, event: DescriptorSeen) -> None:
    description, state = slot.description, event.state
    assert state is not None
    fact = Fact("found", event.at, task, event.fd, f"the kernel: {state.value}", event.origin, system.step)
    if state is TcpState.CLOSE_WAIT:
        _fin_found(description, fact, event.unread)
    elif state in _SHUT:
        description.shut |= Shutdown.WR
        description.shut_by = description.shut_by or fact
    elif state is TcpState.CLOSE:
        # It was there until the look before, at least.
        until = description.confirmed
        was_reset(system, description, fact._replace(what="reset", at=until.at if until is not None else None))
    elif state is TcpState.ESTABLISHED and description.fin is not None and not _is_before(event.at, description.fin):
        description.fin = description.eof = None
        system.gap(Gap("the kernel contradicts the calls", "a connection that seemed to have ended is ESTABLISHED",
                       None, *event.origin))  # fmt: skip


# What the kernel's events tell may be older than what the first look found: they are read later.
def _is_before(at: int | None, fact: Fact) -> bool:
    return at is not None and fact.at is not None and at < fact.at


# Recv-Q counts the FIN until a read has consumed it: 1 and more says that nobody has (tcp_diag_get_info()).
def _fin_found(description: OpenFileDescription, fact: Fact, unread: int | None) -> None:
    if description.fin is None or not description.fin_sure:
        description.fin, description.fin_sure = fact, True
    before = description.confirmed
    if before is None or (before.at, before.origin) != (fact.at, fact.origin):
        description.note(fact)
    description.confirmed = fact
    if unread and description.eof is not None:
        description.eof = None
        description.eof_reads.clear()
    elif unread == 0 and description.eof is None:
        description.eof, description.eof_seen = fact, False


def descriptor_gone(system: System, event: DescriptorGone) -> None:
    """Forget it: nothing is concluded from how it went."""
    task = system.tasks.get(event.task)
    slot = task.table.slots.get(event.fd) if task is not None and task.ended is None else None
    if task is None or slot is None:
        return
    why = f"fd {event.fd} of {task.process.pid} is not open any more, and no call that closed it was seen"
    system.gap(Gap("the kernel contradicts the calls", why, None, *event.origin))
    forget(system, slot, Fact("missing", event.at, task, event.fd, "", event.origin, system.step))


def look_concluded(system: System, event: LookConcluded) -> None:
    """The latest look counts."""
    system.concluded, system.concluded_at = event.verdicts, event.at


def state_changed(system: System, event: StateChanged) -> None:
    """Keep when the FIN came: whose connection it is may be known only later."""
    ends = key(event.local), key(event.peer)
    if event.new is not TcpState.CLOSE_WAIT:
        system.arrivals.pop(ends, None)
        system.uses.pop(ends, None)
        if event.old is TcpState.CLOSE_WAIT and event.new is TcpState.CLOSE:
            _reset_arrived(system, event)
        return
    if len(system.arrivals) >= _ARRIVALS:
        del system.arrivals[next(iter(system.arrivals))]
    system.arrivals[ends] = Arrival(event.at, event.origin, system.step)
    description = system.by_address.get(ends)
    if description is not None and description.fin is None and description.references:
        fin_arrived(system, description, event.at, event.origin, "the kernel: CLOSE_WAIT")


# From the network, for a close() that skips LAST_ACK, as with unread data, has been told before.
def _reset_arrived(system: System, event: StateChanged) -> None:
    description = system.by_address.get((key(event.local), key(event.peer)))
    holder = _a_holder(description) if description is not None else None
    if description is None or holder is None:
        return
    slot, task = holder
    call = "the kernel: CLOSE_WAIT to CLOSE"
    was_reset(system, description, Fact("reset", event.at, task, slot.number, call, event.origin, system.step))


def _a_holder(description: OpenFileDescription) -> tuple[FileDescriptor, Task] | None:
    slot = min(description.references, key=lambda d: (d.process.pid or 0, d.number), default=None)
    task = next(iter(slot.table.tasks), None) if slot is not None else None
    return (slot, task) if slot is not None and task is not None else None


def fin_arrived(
    system: System, description: OpenFileDescription, at: int | None, origin: Origin, call: str, what: str = "arrived"
) -> None:
    """Learn when the peer's FIN came, from what saw it itself; a sign of it that was seen later stays a fact."""
    holder = _a_holder(description)
    if holder is None:
        return
    slot, task = holder
    established(system, description)
    fact = Fact(what, at, task, slot.number, call, origin, system.step)
    description.fin, description.fin_sure = fact, True
    description.note(fact)


def revive(system: System, old: OpenFileDescription, new: OpenFileDescription) -> None:
    """Take two descriptions for one: `old`, whose history is known, and `new`, which a look found."""
    system.connections.pop(new.number, None)
    for reference in new.references:
        reference.description = old
    old.references |= new.references
    new.references = set()
    old.released = None
    old.inode = new.inode if new.inode is not None else old.inode
    old.local, old.peer = new.local or old.local, new.peer or old.peer
    if old.fin is None:
        old.fin, old.eof, old.eof_seen = new.fin, old.eof or new.eof, new.eof_seen
    for fact in new.facts:
        old.note(fact)
    old.confirmed = new.confirmed or old.confirmed
    system.connections[old.number] = old
    if old.inode is not None:
        system.by_inode[old.inode] = old
    if old.local is not None and old.peer is not None:
        system.by_address[key(old.local), key(old.peer)] = old
