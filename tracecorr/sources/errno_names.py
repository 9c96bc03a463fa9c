"""Errors by number, where a log prints no name: of Linux, and of the BSDs from which macOS has its own.

Sources: errno(3) and include/uapi/asm-generic/errno.h of Linux; sys/errno.h of FreeBSD, NetBSD, OpenBSD and Darwin, who
agree in all that is here.
"""

from __future__ import annotations

import errno
from typing import Final

# include/linux/errno.h: an interrupted call that the kernel will restart, or end with EINTR.
RESTARTS: Final = {512: "ERESTARTSYS", 513: "ERESTARTNOINTR", 514: "ERESTARTNOHAND", 516: "ERESTART_RESTARTBLOCK"}

_BSD: Final = {
    1: "EPERM", 2: "ENOENT", 3: "ESRCH", 4: "EINTR", 5: "EIO", 9: "EBADF", 10: "ECHILD", 11: "EDEADLK", 12: "ENOMEM",
    13: "EACCES", 14: "EFAULT", 16: "EBUSY", 17: "EEXIST", 20: "ENOTDIR", 21: "EISDIR", 22: "EINVAL", 23: "ENFILE",
    24: "EMFILE", 25: "ENOTTY", 27: "EFBIG", 28: "ENOSPC", 29: "ESPIPE", 32: "EPIPE", 35: "EAGAIN", 36: "EINPROGRESS",
    37: "EALREADY", 38: "ENOTSOCK", 39: "EDESTADDRREQ", 40: "EMSGSIZE", 42: "ENOPROTOOPT", 43: "EPROTONOSUPPORT",
    45: "EOPNOTSUPP", 47: "EAFNOSUPPORT", 48: "EADDRINUSE", 49: "EADDRNOTAVAIL", 50: "ENETDOWN", 51: "ENETUNREACH",
    52: "ENETRESET", 53: "ECONNABORTED", 54: "ECONNRESET", 55: "ENOBUFS", 56: "EISCONN", 57: "ENOTCONN",
    58: "ESHUTDOWN", 60: "ETIMEDOUT", 61: "ECONNREFUSED", 64: "EHOSTDOWN", 65: "EHOSTUNREACH",
}  # fmt: skip


def linux(number: int) -> str:
    """Return the name of an error of Linux, "errno N" where it has none here."""
    return RESTARTS.get(number) or errno.errorcode.get(number) or f"errno {number}"


def bsd(number: int) -> str:
    """Return the name of an error of a BSD, "errno N" where it has none here."""
    return _BSD.get(number) or f"errno {number}"
