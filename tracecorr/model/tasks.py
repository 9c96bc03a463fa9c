"""How tasks show themselves: by a fork that the log tells of, or by what they do."""

from __future__ import annotations

from itertools import islice

from tracecorr.events import Gap, Origin, TaskId, TracingEnded
from tracecorr.model.descriptors import copy_table, forget
from tracecorr.model.fact import Fact
from tracecorr.model.fd_table import FdTable
from tracecorr.model.process import Process, Task
from tracecorr.model.system import Fork, System

_NOWHERE = Origin("", 0)

# So many forks under way are looked at: the first of them are the likeliest.
MANY_FORKS = 16


def task_of(system: System, name: TaskId) -> Task:
    """Return the task, which may show itself here for the first time."""
    task = system.tasks.get(name)
    if task is None or task.reaped:
        task = _appeared(system, name)
    if task.detached and not system.looked_at:
        _resumed(system, task)
    task.lines += 1
    return task


def tracing_ended(system: System, event: TracingEnded) -> None:
    """The tracer let go of a task.  Should it show itself again, nobody knows what it did in between."""
    task = system.tasks.get(event.task)
    if task is not None:
        task.detached = True


# Another recording in the same file: what the table refers to now is not known.
def _resumed(system: System, task: Task) -> None:
    gone = Fact("missing", None, task, None, "", task.process.forked.origin if task.process.forked else _NOWHERE)
    for sharer in task.table.tasks:
        sharer.detached = False
    task.detached, task.call = False, None
    for descriptor in list(task.table.slots.values()):
        forget(system, descriptor, gone)
    why = f"tracing of {task.process.pid} ended and began again: what happened in between is not in the log"
    system.gap(Gap("traced twice", why, None))


# A child may be seen before its parent's fork has returned; in another pid namespace it has another number there.
def _appeared(system: System, name: TaskId) -> Task:
    fork = _likeliest(system)
    if fork is not None and name.tid and not _is_of_a_living_process(system, name):
        del system.childless[fork.task]
        fork.child = new_child(system, name, fork.task, fork.shares_files, fork.same_process, fork.fact)
        return fork.child
    if system.began_with_exec and not system.looked_at and name not in system.tasks:
        while system.orphans:
            task = system.orphans.popleft()
            if task.lines == 0 and task.ended is None:
                return _renamed(system, task, name)
    return older(system, name)


# What a thread closes is closed for its whole process: of several forks under way one that copies does no harm if it is
# the wrong one.  Where threads of several processes are being made, nobody can tell whose this one is.
def _likeliest(system: System) -> Fork | None:
    forks = list(islice(system.childless.values(), MANY_FORKS))
    copying = next((fork for fork in forks if not fork.shares_files), None)
    if copying is not None or len({fork.task.table for fork in forks}) < 2:
        return copying or next(iter(forks), None)
    return None


# Where the log names the process, a thread of one that is known is nobody's child.
def _is_of_a_living_process(system: System, name: TaskId) -> bool:
    process = system.processes.get(name.pid) if name.pid is not None else None
    return process is not None and process.ended is None


def _renamed(system: System, task: Task, name: TaskId) -> Task:
    task.id = name
    system.tasks[name] = task
    if task.process.tasks == {task}:
        task.process.pid = name.pid or name.tid
        system.processes[task.process.pid] = task.process
    return task


def older(system: System, name: TaskId) -> Task:
    """Add a task that was there before the log began."""
    pid = name.pid if name.pid is not None else (name.tid or None)
    process = system.processes.get(pid) if pid is not None else None
    if name.pid is not None and process is not None and process.ended is None and process.tasks:
        # A log that prints the process tells which threads share its table.
        table = next(iter(process.tasks)).table
    else:
        process = Process(pid)
        table = FdTable(process, older=True)
        if pid is not None:
            system.processes[pid] = process
    return enter(system, Task(name, process, table, older=True))


def enter(system: System, task: Task) -> Task:
    """Add a task to those that there are."""
    system.tasks[task.id] = task
    task.process.tasks.add(task)
    task.table.tasks.add(task)
    return task


def new_child(system: System, name: TaskId, parent: Task, shares_files: bool, same_process: bool, fact: Fact) -> Task:
    """Add the task that a fork or clone of `parent` made: `fact`."""
    process = parent.process
    if not same_process:
        process = Process(name.pid or name.tid, parent.process.comm, parent.process, fact)
        system.processes[process.pid or 0] = process
    table = parent.table
    if not shares_files:
        table = copy_table(parent.table, process, fact)
    child = enter(system, Task(name, process, table))
    if not shares_files:
        _observe_copies(system, child, fact)
    return child


# Told of both: the one that forked, and the one that has the copy now.
def _observe_copies(system: System, child: Task, fact: Fact) -> None:
    if system.observer is None:
        return
    for descriptor in child.table.slots.values():
        if descriptor.description.is_connection:
            system.observer(fact._replace(fd=descriptor.number), descriptor.description)
            system.observer(fact._replace(fd=descriptor.number, task=child), descriptor.description)
