"""How tasks change and end: exec, unshare, exit."""

from __future__ import annotations

from tracecorr.events import (
    ChildEnded,
    ProcessExited,
    ProgramExecuted,
    TableUnshared,
    TaskExited,
    TaskNamed,
    TaskSuperseded,
)
from tracecorr.model.descriptors import close_all, close_for_exec, copy_table, ended
from tracecorr.model.fact import Fact
from tracecorr.model.fd_table import FdTable
from tracecorr.model.forks import fork_over
from tracecorr.model.process import Process, Task
from tracecorr.model.system import System
from tracecorr.model.tasks import task_of

_REMEMBERED = 1000


def program_executed(system: System, event: ProgramExecuted) -> None:
    ended = system.tasks.get(event.task)
    if ended is not None and ended.ended is not None:
        ended.reaped = True  # another run in the same log
    task = task_of(system, event.task)
    if len(system.tasks) == 1 and task.lines == 1:
        system.began_with_exec = True
    process = task.process
    fact = Fact("exec", event.at, task, None, f"execve({event.program or '?'})", event.origin, system.step)
    for other in [other for other in process.tasks if other is not task]:
        _end_task(system, other, fact)
    if task.table.tasks != {task}:
        unshare(task, fact)
    process.comm = event.program or process.comm
    process.executed = fact
    close_for_exec(system, task.table, fact)


def unshare(task: Task, fact: Fact) -> None:
    """Give the task a copy of the table that it shared."""
    old = task.table
    old.tasks.discard(task)
    _passes_to_who_is_left(old, task.process)
    task.table = copy_table(old, task.process, fact)
    task.table.tasks.add(task)


def table_unshared(system: System, event: TableUnshared) -> None:
    task = task_of(system, event.task)
    if task.table.tasks != {task}:
        unshare(task, Fact("unshare", event.at, task, None, "unshare(CLONE_FILES)", event.origin, system.step))


def task_named(system: System, event: TaskNamed) -> None:
    task = task_of(system, event.task)
    # comm belongs to the thread; the process goes by that of its leader.
    if task.process.comm is None or task.id.tid == task.process.pid or len(task.process.tasks) == 1:
        task.process.comm = event.comm


def task_superseded(system: System, event: TaskSuperseded) -> None:
    leader, by = system.tasks.get(event.task), system.tasks.get(event.by)
    if by is None or leader is by:
        return
    if leader is not None:
        fact = Fact("exit", event.at, leader, None, "superseded by execve", event.origin, system.step)
        leader.ended = fact
        leader.table.tasks.discard(leader)
        leader.process.tasks.discard(leader)
    system.tasks.pop(event.by, None)
    by.id = event.task
    system.tasks[event.task] = by


def task_exited(system: System, event: TaskExited) -> None:
    task = system.tasks.get(event.task)
    if task is None:
        return
    task.reaped = event.how not in ("exit", "lwp_exit")
    if task.ended is not None:
        return
    fact = Fact("exit", event.at, task, None, f"+++ {event.how} +++", event.origin, system.step)
    # A thread of a process that is older than the log: others of it may live on, although none has shown itself.
    alone = len(task.table.tasks) == 1 and not system.complete
    only_a_thread = event.how in ("exit", "lwp_exit") and task.older and alone
    if only_a_thread:
        task.ended = fact
        task.table.unseen_sharers = True
        return
    if task.id.pid is not None and event.how != "lwp_exit":
        _end_process(system, task.process, fact)
    else:
        _end_task(system, task, fact)


def process_exited(system: System, event: ProcessExited) -> None:
    task = task_of(system, event.task)
    fact = Fact("exit", event.at, task, None, "exit_group()", event.origin, system.step)
    _end_process(system, task.process, fact)


def child_ended(system: System, event: ChildEnded) -> None:
    """A parent was told that its child has ended, of which the log may have no line (an older strace, a detach)."""
    process = system.processes.get(event.child)
    parent = system.tasks.get(event.task)
    if process is None or process.ended is not None or parent is None or process.parent is not parent.process:
        return
    tasks = [task for task in process.tasks if task.ended is None]
    if tasks:
        _end_process(
            system, process, Fact("exit", event.at, tasks[0], None, "reaped by its parent", event.origin, system.step)
        )
    for task in tasks:
        task.reaped = True


def _end_process(system: System, process: Process, fact: Fact) -> None:
    process.ended = fact
    for task in [task for task in process.tasks if task.ended is None]:
        _end_task(system, task, fact)


def _end_task(system: System, task: Task, fact: Fact) -> None:
    if task.ended is not None:
        return
    task.ended = fact
    call = task.call
    if call is not None and call.on is not None:
        leave_call(system, task, fact)
        task.call = call  # what it was doing when it ended is evidence
    fork_over(system, task)
    if task.table.tasks == {task}:
        close_all(system, task.table, fact)
    task.process.tasks.discard(task)
    task.table.tasks.discard(task)
    if not task.process.tasks:
        task.process.ended = fact
        _passes_to_who_is_left(task.table, task.process)
    _bury(system, task)


# CLONE_FILES without CLONE_THREAD: the table lives on with those who share it.
def _passes_to_who_is_left(table: FdTable, gone: Process) -> None:
    if table.process is gone and not any(task.process is gone for task in table.tasks) and table.tasks:
        table.process = min((task.process for task in table.tasks), key=lambda process: process.pid or 0)


# Numbers of tasks are reused; those that ended long ago are forgotten, so that memory does not grow with the log.
def _bury(system: System, task: Task) -> None:
    system.ended.append(task)
    if len(system.ended) <= _REMEMBERED:
        return
    old = system.ended.popleft()
    if system.tasks.get(old.id) is old:
        del system.tasks[old.id]
    pid = old.process.pid
    if pid is not None and old.process.ended is not None and system.processes.get(pid) is old.process:
        del system.processes[pid]


def leave_call(system: System, task: Task, fact: Fact) -> None:
    """The task is no longer inside a call; one on a closed descriptor was the last to hold its description."""
    call = task.call
    task.call = None
    if call is None or call.on is None:
        return
    call.on.calls -= 1
    if not call.on.references and not call.on.calls and not call.on.flights and call.on.is_connection:
        ended(system, call.on, fact)
