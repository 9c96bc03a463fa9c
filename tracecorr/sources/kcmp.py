"""kcmp(2): whether two descriptors are one open file description, and two tasks share one table of descriptors."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from typing import Final

# arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h
_NUMBER: Final = {"x86_64": 312, "aarch64": 272, "riscv64": 272}.get(platform.machine())

# include/uapi/linux/kcmp.h
KCMP_FILE: Final = 0
KCMP_FILES: Final = 2

_UNABLE: Final = frozenset([errno.ENOSYS, errno.EPERM, errno.EACCES, errno.ESRCH, errno.EBADF])


def same_file(pid: int, fd: int, other: int, other_fd: int) -> bool | None:
    """Say whether two descriptors refer to one open file description; None where the kernel does not tell.

    It does not where it was built without kcmp, where ptrace(2) would not be allowed, or when either has gone.
    """
    return _kcmp(pid, other, KCMP_FILE, fd, other_fd)


def same_table(tid: int, other: int) -> bool | None:
    """Say whether two threads or processes share their descriptors (CLONE_FILES); None as of same_file()."""
    return _kcmp(tid, other, KCMP_FILES, 0, 0)


def _kcmp(pid: int, other: int, kind: int, first: int, second: int) -> bool | None:
    if _NUMBER is None:
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = [ctypes.c_long(value) for value in (_NUMBER, pid, other, kind, first, second)]
    result: int = libc.syscall(*arguments)
    if result >= 0:
        return result == 0
    number = ctypes.get_errno()
    if number in _UNABLE:
        return None
    raise OSError(number, os.strerror(number), "kcmp")
