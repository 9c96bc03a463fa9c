"""How tasks come: fork and clone, whose two sides may be told in any order, or one of them not at all."""

from __future__ import annotations

from itertools import islice

from tracecorr.events import ForkBegan, Gap, TaskCreated, TaskId
from tracecorr.model.descriptors import copy_table, forget
from tracecorr.model.fact import Fact
from tracecorr.model.fd_table import FdTable
from tracecorr.model.process import Process, Task
from tracecorr.model.system import Fork, System
from tracecorr.model.tasks import MANY_FORKS, new_child, older, task_of

_FOLLOW = "strace -f -tt -T -yy -p PID"


def fork_began(system: System, event: ForkBegan) -> None:
    task = task_of(system, event.task)
    fact = Fact("fork", event.at, task, None, f"{event.call}()", event.origin, system.step, event.at)
    fork_over(system, task)
    system.forks[task] = system.childless[task] = Fork(task, event.shares_files, event.same_process, fact)


def fork_over(system: System, task: Task) -> Fork | None:
    """Forget the fork that the task was in, and return it."""
    system.childless.pop(task, None)
    return system.forks.pop(task, None)


def task_created(system: System, event: TaskCreated) -> None:
    if event.seen_by_child:
        _returned_in_child(system, event)
        return
    parent = task_of(system, event.task)
    fork = fork_over(system, parent)
    if _untraced(system, event):
        _unseen_child(system, parent, event)
        return
    if fork is not None and fork.child is not None and _is_the_child(system, fork, fork.child, event.child):
        _returned(fork.child, fork.fact, _fork_fact(system, parent, event))
        return
    existing = system.tasks.get(event.child)
    fact = _fork_fact(system, parent, event)
    if existing is not None and existing.ended is None:
        _taken_back(system, existing)
        if existing.process.forked is None and existing.process is not parent.process:
            if existing.seen:
                _recognise(existing, parent, fact)
            else:
                _adopt(system, existing, parent, event, fact)
            return
        if existing.seen:
            return  # a thread that the look had found already
        if event.task.pid is not None:
            return  # the child told of the same fork before
        _vanish(system, existing.process, fact)
    child = new_child(system, event.child, parent, event.shares_files, event.same_process, fact)
    system.orphans.append(child)


def _fork_fact(system: System, parent: Task, event: TaskCreated) -> Fact:
    number = event.child.pid or event.child.tid
    call = f"{event.call}() = {number}"
    return Fact("fork", event.at, parent, None, call, event.origin, system.step, event.entered)


# The child showed itself first: what it has by this fork is told by the line that has the fork's result, too.
def _returned(child: Task, early: Fact, told: Fact) -> None:
    fact = early._replace(call=told.call, origin=told.origin)
    if child.process.forked is early:
        child.process.forked = fact
    if child.table.forked is early:
        child.table.forked = fact
    for slot in child.table.slots.values():
        if slot.fact is early:
            slot.fact = fact


# In another pid namespace the parent sees a number that no line of the log begins with.
def _is_the_child(system: System, fork: Fork, early: Task, name: TaskId) -> bool:
    if early.id == name:
        return True
    shown = name in system.tasks and system.tasks[name].ended is None
    if system.began_with_exec and not system.looked_at and not shown:
        return True
    if system.forks:
        _take_back(fork, early)  # of several that forked at the same time, it is another's
    elif not system.began_with_exec or system.looked_at:
        _disown(system, early)
    return False


# The one that forked tells of its child, which was taken for that of another fork under way.
def _taken_back(system: System, child: Task) -> None:
    fork = next((fork for fork in islice(system.forks.values(), MANY_FORKS) if fork.child is child), None)
    if fork is not None:
        fork.child, system.childless[fork.task] = None, fork
        _take_back(fork, child)


def _take_back(fork: Fork, child: Task) -> None:
    if fork.shares_files:
        _left(child)
    else:
        _unparent(child)


# It was taken for a thread: which of what that table has since it showed itself is its doing cannot be told.
def _left(child: Task) -> None:
    child.process.tasks.discard(child)
    child.table.tasks.discard(child)
    child.process = Process(child.id.pid or child.id.tid)
    child.table, child.older = FdTable(child.process, older=True), True
    child.process.tasks.add(child)
    child.table.tasks.add(child)


# What it has by the fork of another is not its own; what it has opened and closed itself stays.
def _unparent(child: Task) -> None:
    taken, forked = child.table, child.process.forked
    inherited = taken.parent.slots.keys() if taken.parent is not None else set()
    before = taken.parent.touched if taken.parent is not None else set()
    child.process.tasks.discard(child)
    taken.tasks.discard(child)
    child.process = Process(child.id.pid or child.id.tid, child.process.comm)
    own = FdTable(child.process, older=True)
    own.touched = (taken.touched - before) | (inherited - taken.slots.keys())
    for number, descriptor in taken.slots.items():
        if descriptor.fact is forked:
            descriptor.description.references.discard(descriptor)
            continue
        descriptor.table = own
        own.slots[number] = descriptor
        own.touched.add(number)
    child.table, child.older = own, True
    child.process.tasks.add(child)
    own.tasks.add(child)


# It is no child at all but a thread older than the log, which had been silent so far.  If it closed what it was taken
# to have inherited, it is the table of the one that forked which it shares.
def _disown(system: System, early: Task) -> None:
    taken, forked = early.table, early.process.forked
    early.process.tasks.discard(early)
    taken.tasks.discard(early)
    parent = taken.parent
    closed = [d for number, d in parent.slots.items() if number not in taken.slots] if parent is not None else []
    for descriptor in list(taken.slots.values()):
        descriptor.description.references.discard(descriptor)
    if parent is not None and closed and forked is not None and taken.copies == set():
        parent.guessed = True
        for descriptor in closed:
            forget(system, descriptor, forked)
        early.table, early.process = parent, parent.process
    else:
        early.process = Process(early.id.pid or early.id.tid)
        early.table = FdTable(early.process, older=True)
    early.older = True
    early.process.tasks.add(early)
    early.table.tasks.add(early)


def _untraced(system: System, event: TaskCreated) -> bool:
    if event.task.tid == 0:
        return True
    return system.traced is not None and event.child.tid not in system.traced


def _unseen_child(system: System, parent: Task, event: TaskCreated) -> None:
    fact = _fork_fact(system, parent, event)
    if event.shares_files:
        parent.table.unseen_sharers = True
        what, why = "threads unseen", f"{event.call} made a thread whose calls are not in the log"
    else:
        parent.process.unseen_children = fact
        what, why = (
            "children unseen",
            f"{event.call} made a process whose calls are not in the log: it inherited copies",
        )
    system.gap(Gap(what, why + " (recorded without -f?)", _FOLLOW, event.origin.source, event.origin.line))


# truss: the child's first line tells of the fork, too, perhaps before its parent's line does.
def _returned_in_child(system: System, event: TaskCreated) -> None:
    known = system.processes.get(event.child.pid or 0)
    if known is not None and known.ended is None and known.forked is not None:
        return
    parent = system.processes.get(event.task.pid or 0)
    living = next((task for task in (parent.tasks if parent else ()) if task.ended is None), None)
    if living is None:
        living = older(system, event.task)
    number = event.child.pid or event.child.tid
    fact = Fact("fork", event.at, living, None, f"{event.call}() = {number}", event.origin, system.step, event.entered)
    existing = system.tasks.get(event.child)
    if existing is not None and existing.ended is None and existing.process.forked is None:
        _adopt(system, existing, living, event, fact)
        return
    new_child(system, event.child, living, event.shares_files, event.same_process, fact)


# The child's first lines came before anything told of the fork: it gets now what it has not touched since.
def _adopt(system: System, child: Task, parent: Task, event: TaskCreated, fact: Fact) -> None:
    if event.same_process:
        child.process.tasks.discard(child)
        child.process = parent.process
        parent.process.tasks.add(child)
    else:
        child.process.parent, child.process.forked = parent.process, fact
        child.process.comm = child.process.comm or parent.process.comm
    child.older = False
    own = child.table
    inherited = parent.table if event.shares_files else copy_table(parent.table, child.process, fact)
    if not event.shares_files:
        for number in own.touched & inherited.slots.keys():
            descriptor = inherited.slots.pop(number)
            descriptor.description.references.discard(descriptor)
        for number, descriptor in own.slots.items():
            descriptor.table = inherited
            inherited.slots[number] = descriptor
        inherited.touched |= own.touched
    elif own is not inherited:
        _share(system, inherited, own, fact)
    own.tasks.discard(child)
    child.table = inherited
    inherited.tasks.add(child)


# A thread: what it has closed and opened since is so for all that share the table.
def _share(system: System, table: FdTable, own: FdTable, fact: Fact) -> None:
    for number in own.touched:
        mine, theirs = own.slots.get(number), table.slots.get(number)
        if theirs is not None and mine is not None and mine.fact is None:
            mine.description.references.discard(mine)
            continue  # it has but used what was there
        if theirs is not None:
            forget(system, theirs, fact)
        if mine is not None:
            mine.table = table
            table.slots[number] = mine
    table.touched |= own.touched
    own.slots.clear()


# A look has told already what the child has: the fork tells only where it has it from.
def _recognise(child: Task, parent: Task, fact: Fact) -> None:
    child.process.parent, child.process.forked = parent.process, fact
    for number, slot in child.table.slots.items():
        source = parent.table.slots.get(number)
        if slot.fact is None and source is not None and source.description is slot.description:
            slot.source, slot.how, slot.fact = source, "fork", fact


# Its number was given to another process: it has ended, and nobody knows when.
def _vanish(system: System, process: Process, fact: Fact) -> None:
    process.ended = fact
    for task in [task for task in process.tasks if task.ended is None]:
        task.ended, task.reaped = fact, True
        task.table.tasks.discard(task)
        if not task.table.tasks:
            for descriptor in list(task.table.slots.values()):
                forget(system, descriptor, fact)
    process.tasks.clear()
