"""Taking hold of all threads of live processes, and why that may be refused.

PTRACE_SEIZE injects no signal and stops nobody, so whatever becomes of us nothing stays behind: the kernel lets go
of the threads of a dead tracer, and they run on (ptrace(2)).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tracecorr.errors import AlreadyTraced, NoSuchProcess, PermissionDenied
from tracecorr.sources import procfs
from tracecorr.sources.ptrace_calls import OPTIONS, PTRACE_SEIZE, request
from tracecorr.sources.ptrace_release import Release

YAMA: Final = Path("/proc/sys/kernel/yama/ptrace_scope")


def seize(pids: Iterable[int], known: Iterable[int] = (), options: int = OPTIONS) -> dict[int, int]:
    """Seize every thread that is not `known`; return the process of each.  They run on.

    A thread that starts meanwhile is found by the next look, or is seized by the kernel if its maker was.
    Raises NoSuchProcess, PermissionDenied, AlreadyTraced, after letting go of what was seized by then.
    """
    seized: dict[int, int] = {}
    known = set(known)
    try:
        for pid in pids:
            _seize_process(pid, known, seized, options)
    except BaseException:
        Release(seized, seized).run({})
        raise
    return seized


def _seize_process(pid: int, known: set[int], seized: dict[int, int], options: int) -> None:
    while new := [tid for tid in procfs.tids(pid) if tid not in seized and tid not in known]:
        for tid in new:
            try:
                request(PTRACE_SEIZE, tid, 0, options)
            except ProcessLookupError:
                if tid == pid and not os.path.exists(f"/proc/{pid}"):
                    raise NoSuchProcess(f"there is no process {pid}") from None
                known.add(tid)  # it has ended
                continue
            except PermissionError:
                if not _is_ours_or_ended(pid, tid):
                    raise refusal(pid, tid) from None
            seized[tid] = pid


# The kernel seized it for us when another thread of ours made it; a zombie cannot be seized.
def _is_ours_or_ended(pid: int, tid: int) -> bool:
    try:
        return procfs.status(pid, tid).tracer == threading.get_native_id() or procfs.stat(pid, tid).state in "ZX"
    except NoSuchProcess:
        return True


def refusal(pid: int, tid: int | None = None) -> PermissionDenied:
    """Return the error that says why a process may not be traced."""
    try:
        status = procfs.status(pid, tid)
        about = procfs.stat(pid)
    except NoSuchProcess as error:
        return PermissionDenied(str(error))
    if status.tracer:
        return AlreadyTraced(
            f"process {pid} ({about.comm}) is already traced by {_name_of(status.tracer)}",
            "The kernel allows one tracer: end that one first, or use an engine that does not use ptrace.",
        )
    if pid == os.getpid():
        return PermissionDenied(f"process {pid} is tracecorr itself", "Name the process that has the connections.")
    if about.flags & procfs.PF_KTHREAD:
        return PermissionDenied(f"process {pid} ({about.comm}) is a thread of the kernel", "It has no descriptors.")
    return PermissionDenied(
        f"ptrace of process {pid} ({about.comm}) is not permitted: {_reason(status.uid)}", _remedy()
    )


def _name_of(tracer: int) -> str:
    try:
        return f"{procfs.stat(tracer).comm} (process {tracer})"
    except NoSuchProcess:
        return f"process {tracer}"


def _reason(uid: int) -> str:
    if uid != os.geteuid() and os.geteuid() != 0:
        return f"it belongs to user {uid}, and this is user {os.geteuid()} without CAP_SYS_PTRACE"
    scope = yama_scope()
    if scope == 1 and os.geteuid():
        return "kernel.yama.ptrace_scope is 1, so only a parent may trace it"
    if scope is not None and scope >= 2:
        return f"kernel.yama.ptrace_scope is {scope}"
    return "it has privileges or runs in a user namespace that this process has not, or a security module forbids it"


def _remedy() -> str:
    scope = yama_scope()
    if scope == 3:
        return "ptrace_scope 3 stays until the next boot: use an engine that does not use ptrace."
    if scope and os.geteuid():
        return "Run it as root or with CAP_SYS_PTRACE, or let root write 0 to /proc/sys/kernel/yama/ptrace_scope."
    return "Run it as root, with CAP_SYS_PTRACE, or as the user who owns the process."


def yama_scope() -> int | None:
    """Return kernel.yama.ptrace_scope, None where there is no Yama (Documentation/admin-guide/LSM/Yama.rst)."""
    try:
        return int(YAMA.read_text())
    except (OSError, ValueError):
        return None
