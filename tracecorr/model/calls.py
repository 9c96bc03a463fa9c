"""Calls that a thread is inside of, and where in the program it made them."""

from __future__ import annotations

from tracecorr.events import (
    CallBegan,
    CallReturned,
    Gap,
    IoUringUsed,
    StackSeen,
)
from tracecorr.model.exits import leave_call
from tracecorr.model.fact import Fact
from tracecorr.model.process import Call
from tracecorr.model.system import System
from tracecorr.model.tasks import task_of
from tracecorr.model.watching import used

_STACKS = 50_000


def call_began(system: System, event: CallBegan) -> None:
    task = task_of(system, event.task)
    if task.call is not None and task.call.since.step > system.step:
        return  # this line was held back: the task has gone on
    at = Fact("call", event.at, task, event.fd, event.name, event.origin, system.step)
    leave_call(system, task, at)
    slot = task.table.slots.get(event.fd) if event.fd is not None else None
    on = slot.description if slot is not None else None
    if slot is not None and on is not None and on.is_connection and event.name not in ("close", "dup2", "dup3"):
        on.calls += 1
        if event.name != "connect":
            used(system, task, slot, at)
    else:
        on = on if on is not None and not on.is_connection else None
    new = event.fd is not None and slot is None and not task.table.is_touched(event.fd)
    task.call = Call(event.name, event.fd, at, on, new)
    if on is not None and not on.is_connection:
        on.calls += 1


def call_returned(system: System, event: CallReturned) -> None:
    task = task_of(system, event.task)
    if task.call is not None and task.call.since.step > system.step:
        return
    task.left = task.call
    if task.call is not None:
        leave_call(system, task, Fact("returned", event.at, task, None, event.name, event.origin, system.step))


def stack_seen(system: System, event: StackSeen) -> None:
    system.stacks[event.call] = event.frames
    if len(system.stacks) > _STACKS:
        del system.stacks[next(iter(system.stacks))]


def io_uring_used(system: System, event: IoUringUsed) -> None:
    task = task_of(system, event.task)
    system.io_uring.add(task.process)
    why = f"process {task.process.pid} uses io_uring: its accepts, reads and closes there are not calls"
    source, line = event.origin
    system.gap(
        Gap("io_uring", why, "ss -tanpe state close-wait, or bpftrace on the tracepoints of io_uring", source, line)
    )
