"""System calls by number: those that have a meaning for us, and those that a thread may sleep in for long.

Numbers are those of arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
"""

from __future__ import annotations

import platform
from typing import Final

from tracecorr.sources.other_calls import other_call_name

_X86_64: Final[dict[int, str]] = {
    0: "read", 1: "write", 2: "open", 3: "close", 4: "stat", 7: "poll", 8: "lseek", 9: "mmap", 10: "mprotect",
    11: "munmap", 12: "brk", 15: "rt_sigreturn", 16: "ioctl", 17: "pread64", 18: "pwrite64", 19: "readv",
    20: "writev", 22: "pipe", 23: "select", 24: "sched_yield", 26: "msync", 28: "madvise", 32: "dup", 33: "dup2",
    34: "pause", 35: "nanosleep", 40: "sendfile", 41: "socket", 42: "connect", 43: "accept", 44: "sendto",
    45: "recvfrom", 46: "sendmsg", 47: "recvmsg", 48: "shutdown", 49: "bind", 50: "listen", 51: "getsockname",
    52: "getpeername", 53: "socketpair", 54: "setsockopt", 55: "getsockopt", 56: "clone", 57: "fork", 58: "vfork",
    59: "execve", 60: "exit", 61: "wait4", 62: "kill", 65: "semop", 69: "msgsnd", 70: "msgrcv", 72: "fcntl",
    73: "flock", 74: "fsync", 75: "fdatasync", 80: "chdir", 82: "rename", 85: "creat", 87: "unlink", 101: "ptrace",
    127: "rt_sigpending", 128: "rt_sigtimedwait", 130: "rt_sigsuspend", 149: "mlock", 157: "prctl", 165: "mount",
    166: "umount2", 202: "futex", 208: "io_getevents", 213: "epoll_create", 214: "epoll_ctl_old", 217: "getdents64",
    219: "restart_syscall", 220: "semtimedop", 221: "fadvise64", 230: "clock_nanosleep", 231: "exit_group",
    232: "epoll_wait", 233: "epoll_ctl", 234: "tgkill", 240: "mq_open", 242: "mq_timedsend", 243: "mq_timedreceive",
    247: "waitid", 253: "inotify_init", 257: "openat", 258: "mkdirat", 263: "unlinkat", 270: "pselect6", 271: "ppoll",
    272: "unshare", 275: "splice", 276: "tee", 277: "sync_file_range", 278: "vmsplice", 281: "epoll_pwait",
    282: "signalfd", 283: "timerfd_create", 284: "eventfd", 285: "fallocate", 288: "accept4", 289: "signalfd4",
    290: "eventfd2", 291: "epoll_create1", 292: "dup3", 293: "pipe2", 294: "inotify_init1", 295: "preadv",
    296: "pwritev", 298: "perf_event_open", 299: "recvmmsg", 300: "fanotify_init", 304: "open_by_handle_at",
    307: "sendmmsg", 308: "setns", 316: "renameat2", 317: "seccomp", 318: "getrandom", 319: "memfd_create",
    321: "bpf", 322: "execveat", 323: "userfaultfd", 324: "membarrier", 326: "copy_file_range", 327: "preadv2",
    328: "pwritev2", 332: "statx", 333: "io_pgetevents", 425: "io_uring_setup", 426: "io_uring_enter",
    428: "open_tree", 430: "fsopen", 432: "fsmount", 434: "pidfd_open", 435: "clone3", 436: "close_range",
    437: "openat2", 438: "pidfd_getfd", 441: "epoll_pwait2", 444: "landlock_create_ruleset", 449: "futex_waitv",
    455: "futex_wait",
}  # fmt: skip
_GENERIC: Final[dict[int, str]] = {
    4: "io_getevents", 19: "eventfd2", 20: "epoll_create1", 21: "epoll_ctl", 22: "epoll_pwait", 23: "dup", 24: "dup3",
    25: "fcntl", 26: "inotify_init1", 29: "ioctl", 32: "flock", 34: "mkdirat", 35: "unlinkat", 39: "umount2",
    40: "mount", 47: "fallocate", 49: "chdir", 56: "openat", 57: "close", 59: "pipe2", 61: "getdents64", 62: "lseek",
    63: "read", 64: "write", 65: "readv", 66: "writev", 67: "pread64", 68: "pwrite64", 69: "preadv", 70: "pwritev",
    71: "sendfile", 72: "pselect6", 73: "ppoll", 74: "signalfd4", 75: "vmsplice", 76: "splice", 77: "tee",
    82: "fsync", 83: "fdatasync", 84: "sync_file_range", 85: "timerfd_create", 93: "exit",
    94: "exit_group", 95: "waitid", 97: "unshare",
    98: "futex", 101: "nanosleep", 115: "clock_nanosleep", 117: "ptrace", 124: "sched_yield", 128: "restart_syscall",
    129: "kill", 131: "tgkill", 133: "rt_sigsuspend", 136: "rt_sigpending", 137: "rt_sigtimedwait",
    139: "rt_sigreturn", 167: "prctl", 180: "mq_open", 182: "mq_timedsend", 183: "mq_timedreceive", 188: "msgrcv",
    189: "msgsnd", 192: "semtimedop", 193: "semop", 198: "socket", 199: "socketpair", 200: "bind", 201: "listen",
    202: "accept", 203: "connect", 204: "getsockname", 205: "getpeername", 206: "sendto", 207: "recvfrom",
    208: "setsockopt", 209: "getsockopt", 210: "shutdown", 211: "sendmsg", 212: "recvmsg", 214: "brk", 215: "munmap",
    220: "clone", 221: "execve", 222: "mmap", 223: "fadvise64", 226: "mprotect", 227: "msync", 228: "mlock",
    233: "madvise", 241: "perf_event_open", 242: "accept4", 243: "recvmmsg", 260: "wait4", 262: "fanotify_init",
    268: "setns", 269: "sendmmsg", 276: "renameat2", 277: "seccomp", 278: "getrandom", 279: "memfd_create",
    280: "bpf", 281: "execveat", 282: "userfaultfd", 283: "membarrier", 285: "copy_file_range", 286: "preadv2",
    287: "pwritev2", 291: "statx", 292: "io_pgetevents", 407: "clock_nanosleep_time64", 413: "pselect6_time64",
    414: "ppoll_time64", 417: "recvmmsg_time64", 422: "futex_time64", 425: "io_uring_setup", 426: "io_uring_enter",
    428: "open_tree", 430: "fsopen", 432: "fsmount", 434: "pidfd_open", 435: "clone3", 436: "close_range",
    437: "openat2", 438: "pidfd_getfd", 441: "epoll_pwait2", 444: "landlock_create_ruleset", 449: "futex_waitv",
    455: "futex_wait",
}  # fmt: skip
_TABLES: Final = {"x86_64": _X86_64, "aarch64": _GENERIC, "riscv64": _GENERIC}
CALLS: Final[dict[int, str]] = _TABLES.get(platform.machine(), {})

# Whose first argument is the descriptor that the thread waits for or works on.
_ON_FIRST: Final = frozenset(
    [
        "read", "write", "ioctl", "pread64", "pwrite64", "readv", "writev", "connect", "accept", "accept4", "sendto",
        "recvfrom", "sendmsg", "recvmsg", "sendmmsg", "recvmmsg", "shutdown", "close", "fcntl", "flock", "fsync",
        "fdatasync", "sync_file_range", "preadv", "pwritev", "preadv2", "pwritev2", "epoll_wait", "epoll_pwait",
        "epoll_pwait2", "splice", "tee", "vmsplice", "sendfile", "copy_file_range", "io_uring_enter",
    ]
)  # fmt: skip


def call_name(number: int) -> str:
    """Return the name of a call, "syscall_N" for one that nobody here knows."""
    return CALLS.get(number) or other_call_name(number) or f"syscall_{number}"


def descriptors_in(name: str, arguments: list[int]) -> tuple[int, ...]:
    """Return the descriptors among the arguments of a call, what it waits for first.

    sendfile(out, in) writes to its first; splice(in, offset, out) may wait at either end.
    """
    if name not in _ON_FIRST or not arguments:
        return ()
    if name == "sendfile":
        return (_number(arguments[0]), _number(arguments[1]))
    if name in ("splice", "copy_file_range"):
        return (_number(arguments[0]), _number(arguments[2]))
    if name == "tee":
        return (_number(arguments[0]), _number(arguments[1]))
    return (_number(arguments[0]),)


# A descriptor is an int: the upper half of the register means nothing.
def _number(register: int) -> int:
    return register & 0xFFFFFFFF
