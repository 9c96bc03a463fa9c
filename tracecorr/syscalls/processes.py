"""Calls that make, replace and end tasks: fork(2), clone(2), execve(2), exit(2), wait(2), unshare(2)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tracecorr import kernel
from tracecorr.events import (
    ChildEnded,
    Event,
    ProcessExited,
    ProgramExecuted,
    TableUnshared,
    TaskCreated,
    TaskExited,
    TaskId,
    TaskNamed,
)
from tracecorr.syscalls.descriptors import number
from tracecorr.syscalls.record import SyscallRecord

_ENDED = re.compile(r"WIFEXITED|WIFSIGNALED|CLD_EXITED|CLD_KILLED|CLD_DUMPED")


def fork(record: SyscallRecord) -> Sequence[Event]:
    """fork(2), vfork(2) and Solaris' fork1, forkx, forkall, vforkx: the table is copied."""
    return _created(record, 0)


def clone(record: SyscallRecord) -> Sequence[Event]:
    """clone(2), clone3(2): CLONE_FILES shares the table, CLONE_THREAD the process."""
    return _created(record, clone_flags(record))


def clone_flags(record: SyscallRecord) -> int:
    """Return the CLONE_ flags, wherever the log has them."""
    named = getattr(record.args, "names", {})
    first = record.args[0] if len(record.args) else None
    told = first if isinstance(first, dict) else named
    if "flags" not in told and ("tls" in told or "parent_tid" in told):
        # Its beginning lies before the log; only threads are made with these.
        return kernel.CLONE_FILES | kernel.CLONE_THREAD
    flags = named.get("flags", first.get("flags") if isinstance(first, dict) else first)
    if record.name == "clone3" and not len(record.args):
        return 0  # its beginning lies before the log; of a thread strace shows parent_tid at the return
    if record.name == "clone3" and not isinstance(first, dict):
        # The structure was not decoded (-e raw): the C library calls clone3 to make threads.
        return kernel.CLONE_FILES | kernel.CLONE_THREAD
    return flags if isinstance(flags, int) else 0


def lwp_create(record: SyscallRecord) -> Sequence[Event]:
    """lwp_create of Solaris: a thread, numbered within its process."""
    if record.as_child or not record.result or record.result < 0:
        return ()
    child = TaskId(record.result, record.task.pid)
    return (_task_created(record, child, shares_files=True, same_process=True),)


def _created(record: SyscallRecord, flags: int) -> Sequence[Event]:
    if record.result is None or record.result <= 0 or record.errno is not None:
        return ()
    if record.as_child:
        # truss prints the return in the child: the result is its parent.
        return (_task_created(record, record.task, shares_files=False, same_process=False),)
    child = TaskId(1, record.result) if record.task.pid is not None else TaskId(record.result)
    thread = bool(flags & kernel.CLONE_THREAD)
    return (_task_created(record, child, shares_files=bool(flags & kernel.CLONE_FILES), same_process=thread),)


def _task_created(record: SyscallRecord, child: TaskId, *, shares_files: bool, same_process: bool) -> TaskCreated:
    # In the child's own words the caller is the parent, of which only the process is known.
    parent = TaskId(1, record.result) if record.as_child else record.task
    return TaskCreated(
        record.returned, parent, record.origin, child, shares_files, same_process, record.entered,
        record.as_child, record.name,
    )  # fmt: skip


def spawn(record: SyscallRecord) -> Sequence[Event]:
    """spawn of Solaris 11: a child that has already executed its program."""
    events = list(_created(record, 0))
    if events and record.result:
        child = TaskId(1, record.result) if record.task.pid is not None else TaskId(record.result)
        events.append(ProgramExecuted(record.returned, child, record.origin, _program(record)))
    return events


def _program(record: SyscallRecord) -> str | None:
    path = next((value for value in record.args if isinstance(value, str) and value), None)
    return path.rstrip("/").rpartition("/")[2][:64] if path else None


def execve(record: SyscallRecord) -> Sequence[Event]:
    """execve(2), execveat(2): takes effect at its successful return."""
    if record.result != 0 or record.errno is not None:
        return ()
    return (ProgramExecuted(record.returned, record.task, record.origin, _program(record)),)


def exit_group(record: SyscallRecord) -> Sequence[Event]:
    """exit_group(2)."""
    return (ProcessExited(record.entered, record.task, record.began),)


def old_exit(record: SyscallRecord) -> Sequence[Event]:
    """_exit: of Solaris and illumos the end of the process; strace before 4.8 calls exit(2) of one thread so."""
    whole_process = record.task.pid is not None or record.task.tid == 0
    return exit_group(record) if whole_process else exit_task(record)


def exit_task(record: SyscallRecord) -> Sequence[Event]:
    """exit(2) of one thread; lwp_exit of Solaris."""
    return (TaskExited(record.entered, record.task, record.began, record.name),)


def unshare(record: SyscallRecord) -> Sequence[Event]:
    """unshare(2) with CLONE_FILES."""
    flags = number(record, 0) or 0
    if record.result != 0 or not flags & kernel.CLONE_FILES:
        return ()
    return (TableUnshared(record.returned, record.task, record.origin),)


def wait(record: SyscallRecord) -> Sequence[Event]:
    """wait4(2), waitpid(2): the result is the child that ended (or stopped: then the status says so)."""
    if record.errno is not None or not record.result or record.result < 0:
        return ()
    status = repr(record.args[1]) if len(record.args) > 1 else ""
    if status and not _ENDED.search(status) and "WIF" in status:
        return ()
    return (ChildEnded(record.returned, record.task, record.origin, record.result),)


def waitid(record: SyscallRecord) -> Sequence[Event]:
    """waitid(2): the siginfo says which child, and what became of it."""
    info = record.args[2] if record.result == 0 and len(record.args) > 2 else None
    child = info.get("si_pid") if isinstance(info, dict) else None
    if not isinstance(child, int) or not _ENDED.search(repr(info)):
        return ()
    return (ChildEnded(record.returned, record.task, record.origin, child),)


def prctl(record: SyscallRecord) -> Sequence[Event]:
    """prctl(PR_SET_NAME): the command name of the thread."""
    if record.result != 0 or len(record.args) < 2 or record.args[0] not in ("PR_SET_NAME", 15):
        return ()
    name = record.args[1]
    if not isinstance(name, str):
        return ()
    return (TaskNamed(record.returned, record.task, record.origin, name[:15]),)
