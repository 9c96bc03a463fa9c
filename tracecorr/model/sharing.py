"""Which tasks older than the log share a table of descriptors: a log of threads does not say, their numbers do.

The one that uses a number which another opened within the log, and did not open itself, shares its table.  Where the
log prints what descriptors refer to (-y) that decides; where several tables have the number open nobody can tell.
"""

from __future__ import annotations

from tracecorr.events import Endpoint
from tracecorr.model.address import key
from tracecorr.model.fd_table import FdTable, FileDescriptor
from tracecorr.model.open_file import OpenFileDescription
from tracecorr.model.process import Task
from tracecorr.model.system import System

# What is worth a conclusion: files come and go, and a listener is what a forked child closes first.
_TELLING = ("tcp", "stream")


def candidates(system: System, task: Task, number: int) -> list[FdTable]:
    """Return the tables of other older tasks in which the number was opened within the log, and is open."""
    return [
        table
        for table in system.opened.get(number, ())
        if table is not task.table and _is_open(table, number) and _has_older(table)
    ]


def opened(system: System, table: FdTable, number: int) -> None:
    """Remember where the number was opened within the log, if tasks older than it may share that table."""
    if table.older:
        system.opened.setdefault(number, {})[table] = None


def _is_open(table: FdTable, number: int) -> bool:
    slot = table.slots.get(number)
    return slot is not None and slot.fact is not None and slot.description.kind in _TELLING


def _has_older(table: FdTable) -> bool:
    return any(task.older and task.ended is None for task in table.tasks)


def is_no_connection(kind: str | None, local: Endpoint | None, peer: Endpoint | None) -> bool:
    """Say whether what a log prints excludes a connection: another kind, or an address of its own alone.

    strace -yy prints both ends of a TCP socket that has them, so one end alone is a listener's.
    """
    return kind not in (None, *_TELLING) or (local is not None and peer is None)


def shared_with(
    system: System, task: Task, number: int, inode: int | None = None, peer: Endpoint | None = None
) -> FileDescriptor | None:
    """Return what the number refers to in the one table that the task must share, which it has from now on.

    `inode` and `peer` are what the log prints of it, where it does.
    """
    tables = [
        table
        for table in candidates(system, task, number)
        if _agrees(table.slots[number].description, inode, peer) and not _contradict(table, task.table)
    ]
    if len(tables) > 1:
        tables = [table for table in tables if _is(table.slots[number].description, inode, peer)]
    if len(tables) != 1:
        return None
    _merge(system, tables[0], task.table)
    return tables[0].slots[number]


def _agrees(description: OpenFileDescription, inode: int | None, peer: Endpoint | None) -> bool:
    if peer is not None and description.peer is not None:
        return key(peer) == key(description.peer)
    return inode is None or description.inode is None or inode == description.inode


def _is(description: OpenFileDescription, inode: int | None, peer: Endpoint | None) -> bool:
    told = (peer is not None and description.peer is not None) or (inode is not None and description.inode is not None)
    return told and _agrees(description, inode, peer)


# Two tables cannot be one if the same number was opened in both within the log, and is open in both.
def _contradict(table: FdTable, other: FdTable) -> bool:
    return any(
        mine.fact is not None and theirs.fact is not None and mine.description is not theirs.description
        for number, theirs in other.slots.items()
        if (mine := table.slots.get(number)) is not None
    )


def _merge(system: System, table: FdTable, other: FdTable) -> None:
    table.guessed = True
    for number, theirs in other.slots.items():
        theirs.table = table
        mine = table.slots.get(number)
        if theirs.fact is not None:
            opened(system, table, number)
        if mine is None:
            table.slots[number] = theirs
            continue
        kept, gone = (theirs, mine) if mine.fact is None and theirs.fact is not None else (mine, theirs)
        table.slots[number] = kept
        _absorb(system, kept, gone)
    table.touched |= other.touched
    table.floor = min(table.floor, other.floor)
    for copy in other.copies:
        copy.parent = table
    table.copies |= other.copies
    _join(system, table, other)


# One slot was taken for two: what became known of either holds for the one that stays.
def _absorb(system: System, kept: FileDescriptor, gone: FileDescriptor) -> None:
    gone.description.references.discard(gone)
    if gone.used is not None and gone.used_step > kept.used_step:
        kept.used = kept.used or gone.used
        kept.used_at, kept.used_step, kept.user = gone.used_at, gone.used_step, gone.user
    old = gone.description
    if old is kept.description:
        return
    for reference in list(old.references):
        reference.description = kept.description
        kept.description.references.add(reference)
    old.references.clear()
    system.connections.pop(old.number, None)
    kept.description.registrations.update(old.registrations)
    for data, same in old.by_data.items():
        kept.description.by_data.setdefault(data, {}).update(same)
    for task in system.tasks.values():
        if task.call is not None and task.call.on is old:
            task.call.on = kept.description
            kept.description.calls += 1


def _join(system: System, table: FdTable, other: FdTable) -> None:
    process = table.process
    for task in other.tasks:
        task.table = table
        task.process = process
        process.tasks.add(task)
    table.tasks |= other.tasks
    other.tasks.clear()
    # The leader of a thread group is its oldest thread, which has the lowest number unless numbers wrapped.
    process.pid = min(task.id.pid or task.id.tid for task in process.tasks)
    system.processes[process.pid] = process
