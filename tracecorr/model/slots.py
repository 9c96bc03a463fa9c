"""Descriptors of any kind that are opened, duplicated, marked and closed."""

from __future__ import annotations

from tracecorr.events import (
    DescriptorClosed,
    DescriptorDuplicated,
    DescriptorFlagsSet,
    DescriptorOpened,
    DescriptorRangeClosed,
    Gap,
)
from tracecorr.model.descriptors import close, forget, found, install, new_description
from tracecorr.model.exits import unshare
from tracecorr.model.fact import Fact
from tracecorr.model.process import Task
from tracecorr.model.sharing import candidates
from tracecorr.model.system import System
from tracecorr.model.tasks import task_of

_WIDE = 1024  # a wider range is meant to have no end


def descriptor_opened(system: System, event: DescriptorOpened) -> None:
    task = task_of(system, event.task)
    fact = Fact("opened", event.at, task, event.fd, f"{event.call}() = {event.fd}", event.origin, system.step)
    description = new_description(system, event.kind, fact)
    description.about = event.about
    how = "socketpair" if event.kind == "unix" and event.other_end is not None else "unknown"
    install(system, task, event.fd, description, fact, how, event.close_on_exec)
    other = task.table.slots.get(event.other_end) if event.other_end is not None else None
    if other is not None and other.fact is not None and other.fact.origin == event.origin:
        description.other_end, other.description.other_end = other.description, description


def descriptor_duplicated(system: System, event: DescriptorDuplicated) -> None:
    task = task_of(system, event.task)
    source = found(system, task, event.fd)
    call = f"{event.call}({event.fd}) = {event.new}"
    if event.call in ("dup2", "dup3"):
        call = f"{event.call}({event.fd}, {event.new})"
    fact = Fact("dup", event.at, task, event.new, call, event.origin, system.step)
    description = source.description
    install(system, task, event.new, description, fact, "dup", event.close_on_exec, source)
    if description.is_connection:
        description.note(fact)
        if system.observer is not None:
            system.observer(fact, description)


def descriptor_closed(system: System, event: DescriptorClosed) -> None:
    task = task_of(system, event.task)
    slot = task.table.slots.get(event.fd)
    if slot is None:
        slot = found(system, task, event.fd)
        if slot.fact is None and task.older:
            _closed_elsewhere(system, task, event)
    close(
        system, slot, Fact("closed", event.at, task, event.fd, f"{event.call}({event.fd})", event.origin, system.step)
    )


# Of several tables one may be that of the task: in which of them the number was closed, nobody can tell.
def _closed_elsewhere(system: System, task: Task, event: DescriptorClosed) -> None:
    for table in candidates(system, task, event.fd):
        slot = table.slots[event.fd]
        if slot.description.is_connection:
            forget(system, slot, Fact("missing", event.at, task, event.fd, "", event.origin, system.step))
            why = "a thread older than the log closed a number that several processes have open"
            system.gap(Gap("threads of unknown process", why, "strace -f -tt -T -yy -p PID", *event.origin))


def range_closed(system: System, event: DescriptorRangeClosed) -> None:
    task = task_of(system, event.task)
    call = f"{event.call}({event.first}, {event.last})"
    fact = Fact("closed", event.at, task, None, call, event.origin, system.step)
    if event.unshare and task.table.tasks != {task}:
        unshare(task, fact)
    for number in sorted(task.table.slots):
        if event.first <= number <= event.last:
            slot = task.table.slots[number]
            if event.close_on_exec:
                slot.close_on_exec, slot.marked = True, fact
            else:
                close(system, slot, fact._replace(fd=number))
    if event.close_on_exec:
        return
    # What was open before the log is closed by this, too.
    if event.last - event.first >= _WIDE:
        task.table.floor = min(task.table.floor, event.first)
    else:
        task.table.touched.update(range(event.first, event.last + 1))


def flags_set(system: System, event: DescriptorFlagsSet) -> None:
    task = task_of(system, event.task)
    slot = found(system, task, event.fd)
    slot.close_on_exec = event.close_on_exec
    slot.marked = Fact("marked", event.at, task, event.fd, f"fcntl({event.fd}, F_SETFD)", event.origin, system.step)
