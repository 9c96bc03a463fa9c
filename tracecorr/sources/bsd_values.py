"""Numbers of the BSDs, macOS, AIX and HP-UX as Linux values, where a log prints numbers rather than names.

Sources: sys/socket.h, sys/fcntl.h and sys/filio.h of FreeBSD, NetBSD, OpenBSD, Darwin and AIX.  A log does not say
which of them it is from; where they differ, what is here holds for all, or is what blames nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tracecorr import kernel
from tracecorr.syscalls.record import Value

# Address families of IPv6: AIX, NetBSD, OpenBSD 24; HP-UX 22; FreeBSD 28; Darwin 30.
_INET6: Final = {22, 24, 28, 30}
_SOL_SOCKET: Final = 0xFFFF
# SOCK_CLOEXEC of FreeBSD and NetBSD, and of OpenBSD; the type itself is in the lowest four bits.
_SOCK_CLOEXEC: Final = 0x10000000 | 0x8000
# Commands that duplicate with FD_CLOEXEC: OpenBSD 10, NetBSD 12, FreeBSD 17 and 18, Darwin 67.  10 is also F_DUP2FD of
# FreeBSD and F_CLOSEM of NetBSD: a copy that closes on exec accuses no one.
_DUPLICATE: Final = {10, 12, 17, 18, 67}
_FIOCLEX: Final = {0x20006601: kernel.FIOCLEX, 0x20006602: kernel.FIONCLEX}


def _family(value: int) -> int:
    return kernel.AF_INET6 if value in _INET6 else value


def _type(value: int) -> int:
    marked = value & _SOCK_CLOEXEC
    return (value & 0xF) | (kernel.SOCK_CLOEXEC if marked or value & kernel.SOCK_CLOEXEC else 0)


def _command(value: int) -> int:
    return kernel.F_DUPFD_CLOEXEC if value in _DUPLICATE else value


def _level(value: int) -> int:
    return kernel.SOL_SOCKET if value == _SOL_SOCKET else value


def _request(value: int) -> int:
    return _FIOCLEX.get(value & 0xFFFFFFFF, value)


_AT: Final[dict[str, dict[int, Callable[[int], int]]]] = {
    "socket": {0: _family, 1: _type}, "socketpair": {0: _family, 1: _type}, "accept4": {3: _type},
    "fcntl": {1: _command}, "ioctl": {1: _request}, "getsockopt": {1: _level}, "setsockopt": {1: _level},
}  # fmt: skip


def translated(name: str, args: list[Value]) -> list[Value]:
    """Return the arguments of a call with the numbers that differ from those of Linux replaced."""
    for at, turned in _AT.get(name, {}).items():
        if at < len(args) and isinstance(args[at], int):
            args[at] = turned(args[at])
    return args
