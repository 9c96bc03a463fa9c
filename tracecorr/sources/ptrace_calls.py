"""ptrace(2), waitid(2) and process_vm_readv(2) through the C library: numbers, and calls with nothing to allocate.

Numbers are those of include/uapi/linux/ptrace.h, include/uapi/linux/wait.h and include/uapi/asm-generic/siginfo.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from typing import Final

PTRACE_CONT: Final = 7
PTRACE_DETACH: Final = 17
PTRACE_SYSCALL: Final = 24
PTRACE_GETEVENTMSG: Final = 0x4201
PTRACE_GETSIGINFO: Final = 0x4202
PTRACE_GETREGSET: Final = 0x4204
PTRACE_SEIZE: Final = 0x4206
PTRACE_INTERRUPT: Final = 0x4207
PTRACE_LISTEN: Final = 0x4208
PTRACE_GET_SYSCALL_INFO: Final = 0x420E

PTRACE_EVENT_FORK: Final = 1
PTRACE_EVENT_VFORK: Final = 2
PTRACE_EVENT_CLONE: Final = 3
PTRACE_EVENT_EXEC: Final = 4
PTRACE_EVENT_EXIT: Final = 6
PTRACE_EVENT_SECCOMP: Final = 7
PTRACE_EVENT_STOP: Final = 128

# Events whose message is a new thread.
BIRTHS: Final = frozenset([PTRACE_EVENT_FORK, PTRACE_EVENT_VFORK, PTRACE_EVENT_CLONE])

PTRACE_O_TRACESYSGOOD: Final = 1
SYSCALL_STOP: Final = 0x85  # SIGTRAP | 0x80: a syscall-stop with that option
PTRACE_O_TRACESECCOMP: Final = 1 << PTRACE_EVENT_SECCOMP
PTRACE_O_EXITKILL: Final = 1 << 20
OPTIONS: Final = PTRACE_O_TRACESYSGOOD | sum(
    1 << event
    for event in (PTRACE_EVENT_FORK, PTRACE_EVENT_VFORK, PTRACE_EVENT_CLONE, PTRACE_EVENT_EXEC, PTRACE_EVENT_EXIT)
)

P_ALL: Final = 0
P_PID: Final = 1
WNOHANG: Final = 1
WEXITED: Final = 4
WCONTINUED: Final = 8
WNOWAIT: Final = 0x01000000
WNOTHREAD: Final = 0x20000000
WALL: Final = 0x40000000

_LIBC: Final = ctypes.CDLL(None, use_errno=True)

# Plain numbers are handed over as C ints and addresses as c_void_p: argtypes would make every call slower.
ptrace: Final = _LIBC.ptrace
ptrace.restype = ctypes.c_long
waitid: Final = _LIBC.waitid
_vm_readv: Final = _LIBC.process_vm_readv
_vm_readv.restype = ctypes.c_ssize_t


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def request(number: int, tid: int, address: int = 0, data: int = 0) -> None:
    """Make a ptrace request.  Raises OSError (ProcessLookupError: no such thread, or it is not stopped)."""
    if ptrace(number, tid, ctypes.c_void_p(address), ctypes.c_void_p(data)) < 0:
        raise _error(f"ptrace({number:#x})")


def resume(number: int, tid: int, signal: int = 0) -> bool:
    """Let a stopped thread go on, by PTRACE_CONT, SYSCALL, LISTEN or DETACH; False when it is no more."""
    return bool(ptrace(number, tid, None, signal) >= 0)


def interrupt(tid: int) -> bool:
    """Ask a thread to stop; False when it is no more."""
    return bool(ptrace(PTRACE_INTERRUPT, tid, None, None) >= 0)


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")


_MESSAGE: Final = ctypes.c_ulong()
_MESSAGE_AT: Final = ctypes.c_void_p(ctypes.addressof(_MESSAGE))


def event_message(tid: int) -> int | None:
    """Return PTRACE_GETEVENTMSG: the new child, the former thread id, or the exit status; None when it is no more."""
    if ptrace(PTRACE_GETEVENTMSG, tid, None, _MESSAGE_AT) < 0:
        return None
    return int(_MESSAGE.value)


_SIGINFO: Final = ctypes.create_string_buffer(128)
_SIGINFO_AT: Final = ctypes.c_void_p(ctypes.addressof(_SIGINFO))
# si_signo, si_errno, si_code, a hole on 64-bit machines, si_pid, si_uid, si_status
_SIGINFO_WORDS: Final = memoryview(_SIGINFO).cast("B").cast("i")
_SI_CODE, _SI_PID, _SI_STATUS = 2, 4, 6


def signal_info(tid: int) -> tuple[int, int, int] | None:
    """Return si_signo, si_code and si_pid of the signal that a thread is stopped for, None when there is none."""
    if ptrace(PTRACE_GETSIGINFO, tid, None, _SIGINFO_AT) < 0:
        return None
    return _SIGINFO_WORDS[0], _SIGINFO_WORDS[_SI_CODE], _SIGINFO_WORDS[_SI_PID]


def stop_of(tid: int) -> int | None:
    """Return what stops() would tell of a thread that is stopped now, None when it runs."""
    info = signal_info(tid)
    if info is None:
        return None
    number, code, _ = info
    # ptrace_do_notify() in kernel/signal.c puts it into si_code, unless the stop is about a signal itself.
    return code if code == SYSCALL_STOP or code > 0xFF else number


CLD_EXITED, CLD_KILLED, CLD_DUMPED, CLD_TRAPPED = 1, 2, 3, 4
_DEATHS: Final = frozenset([CLD_EXITED, CLD_KILLED, CLD_DUMPED])
# Nothing here asks for WEXITED without naming the thread, so no child of the program around us is ever reaped: stops
# of traced threads are reported whatever is asked for (wait(2), WUNTRACED), and WCONTINUED asks for the least.
# __WNOTHREAD leaves out what other threads of ours trace.
_TAKEN: Final = WCONTINUED | WALL | WNOTHREAD | WNOHANG
_SEEN: Final = WCONTINUED | WALL | WNOTHREAD | WNOWAIT
_NULL: Final = None


def signal_of(status: int) -> int:
    """Return the signal that a stop holds back, 0 for a stop that is not about one."""
    return status if status < 0x80 else 0


def stops(most: int, *, block: bool) -> list[tuple[int, int]]:
    """Return threads that have stopped, each with what /proc calls its exit code: the signal, the event above it.

    With `block` wait for the first one; a signal ends that.  At most `most` are collected.  A stop that holds back a
    signal ends the list and stays as it is until it is answered: once it is waited for, only we know of the signal, and
    it dies with us (wait_task_stopped() in kernel/exit.c, ptrace_signal() in kernel/signal.c).
    """
    found: list[tuple[int, int]] = []
    words, address = _SIGINFO_WORDS, _SIGINFO_AT
    flags = _SEEN if block else _SEEN | WNOHANG
    while len(found) < most and waitid(P_ALL, 0, address, flags, _NULL) == 0 and (tid := words[_SI_PID]):
        flags = _SEEN | WNOHANG
        status = words[_SI_STATUS]
        if words[_SI_CODE] == CLD_TRAPPED and (status < 0x80 or (most == 1 and status == SYSCALL_STOP)):
            found.append((tid, status))  # a lone thread's is answered before the next, too: no need to take it
            break
        if waitid(P_PID, tid, address, _TAKEN, _NULL) == 0 and words[_SI_PID] and words[_SI_CODE] == CLD_TRAPPED:
            found.append((tid, words[_SI_STATUS]))  # of now: a thread that is killed leaves its stop for its last one
    return found


def await_change() -> int:
    """Wait until a thread has stopped or ended, leave that as it is, and return its id; 0 when a signal came."""
    if waitid(P_ALL, 0, _SIGINFO_AT, WEXITED | WNOWAIT | WALL | WNOTHREAD, _NULL) < 0:
        return 0
    return _SIGINFO_WORDS[_SI_PID]


def ended(tid: int, *, reap: bool) -> int | None:
    """Return the wait status of a thread that has ended, -1 where there is no such thread, None while it lives.

    With `reap` its parent, if that is somebody else, will be told now.
    """
    # Its stops would be told as well, and be lost.
    if waitid(P_PID, tid, _SIGINFO_AT, WEXITED | WNOHANG | WALL | WNOWAIT, _NULL) < 0:
        return -1
    code, status = _SIGINFO_WORDS[_SI_CODE], _SIGINFO_WORDS[_SI_STATUS]
    if not _SIGINFO_WORDS[_SI_PID] or code not in _DEATHS:
        return None
    if reap:
        waitid(P_PID, tid, _SIGINFO_AT, WEXITED | WNOHANG | WALL, _NULL)
    return status << 8 if code == CLD_EXITED else status


_MOST: Final = 1 << 16
_BUFFER: Final = ctypes.create_string_buffer(_MOST)
_BYTES: Final = memoryview(_BUFFER).cast("B")
_LOCAL: Final = _Iovec(ctypes.addressof(_BUFFER), 0)
_REMOTE: Final = _Iovec(0, 0)
_LOCAL_AT: Final = ctypes.byref(_LOCAL)
_REMOTE_AT: Final = ctypes.byref(_REMOTE)
_ONE: Final = ctypes.c_ulong(1)
_NONE: Final = ctypes.c_ulong(0)


def memory(tid: int, address: int, size: int) -> bytes:
    """Return memory of a thread: shorter than asked for where it cannot be read, and never above 64 KiB."""
    if not address or size <= 0 or address >= 1 << 63:
        return b""
    _LOCAL.length = _REMOTE.length = min(size, _MOST)
    _REMOTE.base = address
    got = _vm_readv(tid, _LOCAL_AT, _ONE, _REMOTE_AT, _ONE, _NONE)
    return _BYTES[:got].tobytes() if got > 0 else b""


# A call that ptrace knows nothing of fails with ESRCH for a thread that there is not; a sandbox says something else.
def refused() -> str | None:
    """Say what the kernel answers if it does not let anybody use ptrace, else None."""
    if ptrace(PTRACE_SEIZE, 0x7FFFFFFF, None, None) < 0 and ctypes.get_errno() in (errno.ESRCH, errno.EIO):
        return None
    return os.strerror(ctypes.get_errno())


MACHINE: Final = platform.machine()
