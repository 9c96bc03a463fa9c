"""What the threads of a process are doing: their state, the call they sleep in, and what that waits for."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from typing import Final

from tracecorr.errors import NoSuchProcess, PermissionDenied
from tracecorr.kernel import POLLIN, POLLOUT, POLLRDHUP
from tracecorr.snapshot import ThreadRow, Watch
from tracecorr.sources import procfs
from tracecorr.sources.system_calls import call_name, descriptors_in

# Where a task of a frozen cgroup sleeps (kernel/cgroup/freezer.c, kernel/freezer.c).
FREEZERS: Final = frozenset(["do_freezer_trap", "__refrigerator"])

_POLLFD: Final = struct.Struct("=ihh")  # struct pollfd, poll(2)
_MOST: Final = 65536
_WORD: Final = 8  # bytes of a long, of which an fd_set is made
_SETS: Final = (POLLIN | POLLRDHUP, POLLOUT, 0)  # what select's three sets ask for


def threads(pid: int) -> tuple[ThreadRow, ...]:
    """Return the threads of a process, the first one first.  Raises NoSuchProcess.

    Calls are None where they may not be read: /proc/PID/task/TID/syscall needs what ptrace(2) needs.
    """
    found = []
    for tid in sorted(procfs.tids(pid)):
        try:
            found.append(thread(pid, tid))
        except NoSuchProcess:
            continue
    return tuple(found)


def thread(pid: int, tid: int) -> ThreadRow:
    """Return one thread of a process.  Raises NoSuchProcess."""
    about = procfs.stat(pid, tid)
    call, arguments = _call(pid, tid)
    fds = descriptors_in(call, arguments) if call is not None else ()
    polled = tuple(_polled(pid, call, arguments)) if call in _POLLS else None
    return ThreadRow(
        tid, about.comm, about.state, call, fds[0] if fds else None, _wait_channel(pid, tid), polled or None
    )


# "running", "-1 sp pc" outside of any call, or "number six-arguments sp pc".
def _call(pid: int, tid: int) -> tuple[str | None, list[int]]:
    try:
        words = procfs.read(f"/proc/{pid}/task/{tid}/syscall", pid).split()
    except PermissionDenied:
        return None, []
    if len(words) < 8 or not words[0].isdigit():
        return None, []
    return call_name(int(words[0])), [int(word, 16) for word in words[1:7]]


def _wait_channel(pid: int, tid: int) -> str | None:
    try:
        word = procfs.read(f"/proc/{pid}/task/{tid}/wchan", pid).strip()
    except PermissionDenied:
        return None
    return word if word not in ("", "0") else None


def _polled(pid: int, call: str | None, arguments: list[int]) -> Iterator[Watch]:
    if call in ("poll", "ppoll"):
        for fd, events, _ in _POLLFD.iter_unpack(_memory(pid, arguments[0], min(arguments[1], _MOST) * _POLLFD.size)):
            if fd >= 0:
                yield Watch(fd, events & 0xFFFF)
        return
    size = (min(arguments[0], _MOST) + 8 * _WORD - 1) // (8 * _WORD) * _WORD
    asked: dict[int, int] = {}
    for address, events in zip(arguments[1:4], _SETS, strict=True):
        bits = int.from_bytes(_memory(pid, address, size), "little") if address else 0
        for fd in range(bits.bit_length()):
            if bits >> fd & 1:
                asked[fd] = asked.get(fd, 0) | events
    yield from (Watch(fd, events) for fd, events in asked.items())


_POLLS: Final = frozenset(["poll", "ppoll", "select", "pselect6"])


# select's sets are overwritten at its return alone, poll's array keeps what was asked for.
def _memory(pid: int, address: int, size: int) -> bytes:
    if not size:
        return b""
    try:
        descriptor = os.open(f"/proc/{procfs.standing(pid)}/mem", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.ENOENT, errno.ESRCH):
            return b""
        raise
    try:
        data = os.pread(descriptor, size, address)
    except OSError:
        return b""  # no such address any more
    finally:
        os.close(descriptor)
    return data if len(data) == size else b""
