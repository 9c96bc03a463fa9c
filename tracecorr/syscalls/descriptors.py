"""Calls that make, mark and end descriptors of any kind: close(2), dup(2), fcntl(2), open(2), pipe(2) …"""

from __future__ import annotations

from collections.abc import Sequence

from tracecorr import kernel
from tracecorr.events import (
    DescriptorClosed,
    DescriptorDuplicated,
    DescriptorFetched,
    DescriptorFlagsSet,
    DescriptorMissing,
    DescriptorOpened,
    DescriptorRangeClosed,
    Event,
    IoUringUsed,
)
from tracecorr.syscalls.record import SyscallRecord

_HIGHEST = 0x7FFFFFFF


def number(record: SyscallRecord, index: int) -> int | None:
    """Return argument `index` where it is a number, else None (cut, not printed, or not understood)."""
    try:
        value = record.args[index]
    except IndexError:
        return None
    return int(value) if isinstance(value, int) else None


def descriptor(record: SyscallRecord, index: int = 0) -> int | None:
    """Return argument `index` where it is a descriptor number, else None."""
    try:
        value = record.args[index]
    except IndexError:
        return None
    return int(value) if isinstance(value, int) and 0 <= value <= _HIGHEST else None


def succeeded(record: SyscallRecord) -> bool:
    return record.errno is None and record.result is not None and record.result >= 0


def close(record: SyscallRecord) -> Sequence[Event]:
    """close(2): the number is free from the call's entry.  EBADF closes nothing; on Linux EINTR has closed."""
    fd = descriptor(record)
    if fd is not None and record.errno == "EBADF":
        return (DescriptorMissing(record.entered, record.task, record.began, fd),)
    if fd is None or (record.errno is not None and record.errno not in ("EINTR", "EIO", "ENOSPC", "EDQUOT")):
        return ()
    return (DescriptorClosed(record.entered, record.task, record.began, fd, record.name),)


def close_range(record: SyscallRecord) -> Sequence[Event]:
    """close_range(2)."""
    first, last, flags = (number(record, index) for index in range(3))
    if first is None or last is None or not succeeded(record):
        return ()
    last &= 0xFFFFFFFF  # unsigned int: perf trace prints ~0U as -1
    marks = bool((flags or 0) & kernel.CLOSE_RANGE_CLOEXEC)
    unshare = bool((flags or 0) & kernel.CLOSE_RANGE_UNSHARE)
    return (DescriptorRangeClosed(record.entered, record.task, record.began, first, last, marks, unshare, record.name),)


def closefrom(record: SyscallRecord) -> Sequence[Event]:
    """closefrom(2) of the BSDs and Solaris."""
    first = number(record, 0)
    if first is None or record.errno is not None:
        return ()
    return (
        DescriptorRangeClosed(record.entered, record.task, record.began, first, _HIGHEST, False, False, record.name),
    )


def dup(record: SyscallRecord) -> Sequence[Event]:
    """dup(2), dup2(2), dup3(2): the result is the new number; what it referred to is closed silently."""
    fd = descriptor(record)
    if fd is None or not succeeded(record) or record.result == fd:
        return ()
    flags = number(record, 2) if record.name == "dup3" else 0
    return (_duplicated(record, fd, bool((flags or 0) & kernel.O_CLOEXEC)),)


def _duplicated(record: SyscallRecord, fd: int, close_on_exec: bool) -> DescriptorDuplicated:
    assert record.result is not None
    return DescriptorDuplicated(
        record.returned, record.task, record.origin, fd, record.result, close_on_exec, record.name
    )


def fcntl(record: SyscallRecord) -> Sequence[Event]:
    """fcntl(2): F_DUPFD, F_DUPFD_CLOEXEC, F_SETFD; F_DUP2FD of Solaris, F_CLOSEM of AIX and NetBSD."""
    fd, command = descriptor(record), number(record, 1)
    if fd is None or command is None or not succeeded(record):
        return ()
    if command in (kernel.F_DUPFD, kernel.F_DUP2FD):
        return () if record.result == fd else (_duplicated(record, fd, False),)
    if command in (kernel.F_DUPFD_CLOEXEC, kernel.F_DUP2FD_CLOEXEC):
        return (_duplicated(record, fd, True),)
    if command == kernel.F_SETFD:
        return (_flags_set(record, fd, bool((number(record, 2) or 0) & kernel.FD_CLOEXEC)),)
    return closefrom(record) if command == kernel.F_CLOSEM else ()


def _flags_set(record: SyscallRecord, fd: int, close_on_exec: bool) -> Event:
    return DescriptorFlagsSet(record.returned, record.task, record.origin, fd, close_on_exec)


def ioctl(record: SyscallRecord) -> Sequence[Event]:
    """ioctl(2): FIOCLEX and FIONCLEX alone matter."""
    fd, command = descriptor(record), number(record, 1)
    if fd is None or command not in (kernel.FIOCLEX, kernel.FIONCLEX) or not succeeded(record):
        return ()
    return (_flags_set(record, fd, command == kernel.FIOCLEX),)


# Where each call that opens something keeps the flags that may ask for close-on-exec.
_FLAGS_AT = {
    "open": 1, "open64": 1, "openat": 2, "openat64": 2, "epoll_create1": 0, "eventfd2": 1, "signalfd4": 3,
    "timerfd_create": 1, "inotify_init1": 0, "memfd_create": 1, "pidfd_open": 1,
}  # fmt: skip

_KINDS = {
    "open": "file", "open64": "file", "openat": "file", "openat64": "file", "openat2": "file", "creat": "file",
    "epoll_create": "epoll", "epoll_create1": "epoll", "eventfd": "eventfd", "eventfd2": "eventfd",
    "signalfd": "signalfd", "signalfd4": "signalfd", "timerfd_create": "timerfd", "memfd_create": "file",
    "pidfd_open": "pidfd", "inotify_init": "inotify", "inotify_init1": "inotify", "io_uring_setup": "io_uring",
    "port_create": "port", "kqueue": "kqueue",
}  # fmt: skip


def opened(record: SyscallRecord) -> Sequence[Event]:
    """Every call whose result is a new descriptor of something that is no socket."""
    if not succeeded(record) or record.result is None:
        return ()
    at = _FLAGS_AT.get(record.name)
    flags = number(record, at) if at is not None else 0
    kind = _KINDS.get(record.name, "unknown")
    # pidfd_open has no such flag: its descriptor always closes on exec (pidfd_open(2)); MFD_CLOEXEC is 1.
    bit = kernel.FD_CLOEXEC if record.name == "memfd_create" else kernel.O_CLOEXEC
    marked = kind in ("pidfd", "io_uring") or bool((flags or 0) & bit)
    about = number(record, 0) if kind == "pidfd" else None
    return (
        DescriptorOpened(record.returned, record.task, record.origin, record.result, kind, marked, record.name, about),
    )


def pipe(record: SyscallRecord) -> Sequence[Event]:
    """pipe(2), pipe2(2): two descriptors in an array; Solaris returns them as results."""
    if not succeeded(record):
        return ()
    ends = record.args[0] if len(record.args) else None
    numbers = [int(end) for end in ends if isinstance(end, int)] if isinstance(ends, list) else []
    marked = bool((number(record, 1) or 0) & kernel.O_CLOEXEC)
    if len(numbers) != 2:
        return ()
    read_end, write_end = numbers
    return tuple(
        DescriptorOpened(record.returned, record.task, record.origin, fd, "pipe", marked, record.name, None, other)
        for fd, other in ((read_end, write_end), (write_end, read_end))
    )


def pidfd_getfd(record: SyscallRecord) -> Sequence[Event]:
    """pidfd_getfd(2): the new descriptor closes on exec."""
    pidfd, target = descriptor(record), number(record, 1)
    if pidfd is None or target is None or not succeeded(record) or record.result is None:
        return ()
    return (DescriptorFetched(record.returned, record.task, record.origin, pidfd, target, record.result),)


def io_uring(record: SyscallRecord) -> Sequence[Event]:
    """io_uring_setup(2), io_uring_enter(2): work out of a tracer's sight."""
    used = IoUringUsed(record.returned, record.task, record.origin)
    return (used, *opened(record)) if record.name == "io_uring_setup" else (used,)
