"""TCP sockets from the kernel: NETLINK_SOCK_DIAG (sock_diag(7)), or /proc/net/tcp where that is refused.

pyroute2 could do it, but its import alone takes longer than all of this.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Collection, Iterator
from typing import Final, NamedTuple

from tracecorr.errors import PermissionDenied
from tracecorr.events import Endpoint, Origin
from tracecorr.kernel import AF_INET, AF_INET6, TCP_STATES, Shutdown, TcpState
from tracecorr.snapshot import SocketRow, TcpInfo
from tracecorr.sources.namespace import inside, namespace_of
from tracecorr.sources.proc_net import read_table

NAME: Final = "sock_diag"

# include/uapi/linux/netlink.h, sock_diag.h, inet_diag.h
NETLINK_SOCK_DIAG: Final = 4
SOCK_DIAG_BY_FAMILY: Final = 20
NLM_F_REQUEST: Final = 1
NLM_F_DUMP: Final = 0x300
NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
INET_DIAG_INFO: Final = 2
INET_DIAG_SHUTDOWN: Final = 8
IPPROTO_TCP: Final = 6

TIMERS: Final = (None, "retransmit", "keepalive", "timewait", "persist")
_SHUT: Final = (Shutdown.NONE, Shutdown.RD, Shutdown.WR, Shutdown.RDWR)

_HEADER: Final = struct.Struct("=IHHII")
_REQUEST: Final = struct.Struct("=BBBxI48x")
_MESSAGE: Final = struct.Struct("=BBBx4x16s16s4xQIIIII")  # struct inet_diag_msg: 72 bytes
_ATTRIBUTE: Final = struct.Struct("=HH")
_ERROR: Final = struct.Struct("=i")
# struct tcp_info up to tcpi_snd_wnd (Linux 5.4), in the order of TcpInfo.
_INFO: Final = struct.Struct("=2xBB20xI16xI4xII60xQQ8xI52xQ20xI")
_INFO_FIELDS: Final = (
    (2, "B"), (3, "B"), (24, "I"), (44, "I"), (52, "I"), (56, "I"), (120, "Q"), (128, "Q"), (144, "I"), (200, "Q"),
    (228, "I"),
)  # fmt: skip
_BUFFER: Final = 1 << 18

# Where a kernel has no sock_diag, or a sandbox does not let us.
_REFUSED: Final = frozenset(
    [errno.EPERM, errno.EACCES, errno.ENOENT, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.EINVAL, errno.ENOSYS]
)


Ports = tuple[int, int]


class Wanted(NamedTuple):
    """Which sockets are worth to be told: those with one of these inodes, or pairs of local and peer's port."""

    inodes: Collection[int]
    ports: Collection[Ports]


def sockets(
    states: Collection[TcpState] | None = None, pid: int | None = None, wanted: Wanted | None = None
) -> list[SocketRow]:
    """Return the TCP sockets (IPv4 and IPv6) in these states, filtered by the kernel; all of them for None.

    With `wanted` the others are left out before they are taken apart, which is most of the work.

    They are those of our own network namespace, or of that of the process `pid`.  Where the namespace may not be
    entered or sock_diag is refused, /proc/net/tcp and tcp6 are read, which know no TcpInfo and no shutdown.

    Raises NoSuchProcess, and PermissionDenied where neither may be read.
    """
    namespace = _namespace(pid)
    try:
        link = _open() if pid is None else inside(pid, _open)
        with link:
            return [row for family in (AF_INET, AF_INET6) for row in _dump(link, family, states, namespace, wanted)]
    except PermissionDenied:
        return _from_proc(states, pid, namespace)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        return _from_proc(states, pid, namespace)


def _namespace(pid: int | None) -> int | None:
    try:
        return namespace_of(pid)
    except PermissionDenied:
        return None


def _open() -> socket.socket:
    link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG)
    link.bind((0, 0))
    return link


def _from_proc(states: Collection[TcpState] | None, pid: int | None, namespace: int | None) -> list[SocketRow]:
    wanted = None if states is None else frozenset(states)
    found: list[SocketRow] = []
    for table in ("tcp", "tcp6"):
        path = f"/proc/{pid or 'self'}/net/{table}"
        try:
            with open(path, encoding="ascii", errors="replace") as lines:
                rows = read_table(lines, path, namespace)
                found += [row for row in rows if wanted is None or row.state in wanted]
        except PermissionError as error:
            raise PermissionDenied(f"neither sock_diag nor {path} may be read") from error
        except (FileNotFoundError, ProcessLookupError):
            continue  # a kernel without IPv6, or a process that has ended: its namespace may have gone, too
    return found


def _dump(
    link: socket.socket, family: int, states: Collection[TcpState] | None, namespace: int | None, wanted: Wanted | None
) -> Iterator[SocketRow]:
    mask = sum(1 << TCP_STATES.index(state) for state in states) if states is not None else (1 << len(TCP_STATES)) - 1
    body = _REQUEST.pack(family, IPPROTO_TCP, 1 << (INET_DIAG_INFO - 1), mask)
    head = _HEADER.pack(_HEADER.size + len(body), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, family, 0)
    link.sendto(head + body, (0, 0))
    reader = _Reader(namespace)
    while True:
        data = link.recv(_BUFFER)
        at = 0
        while at + _HEADER.size <= len(data):
            length, kind, _, sequence, _ = _HEADER.unpack_from(data, at)
            if length < _HEADER.size:
                raise OSError(errno.EBADMSG, "sock_diag sent a message without length")
            if sequence == family:
                if kind == NLMSG_DONE:
                    return
                if kind == NLMSG_ERROR:
                    number = -_ERROR.unpack_from(data, at + _HEADER.size)[0]
                    raise OSError(number, os.strerror(number))
                if wanted is None or _is_wanted(data, at + _HEADER.size, wanted):
                    yield reader.row(data, at + _HEADER.size, at + length)
            at += (length + 3) & ~3


_ENDS: Final = struct.Struct(">HH")
_INODE: Final = struct.Struct("=I")


def _is_wanted(data: bytes, at: int, wanted: Wanted) -> bool:
    return _INODE.unpack_from(data, at + 68)[0] in wanted.inodes or _ENDS.unpack_from(data, at + 4) in wanted.ports


class _Reader:
    """Takes messages of one dump apart: most are alike, so where their attributes are is looked for once a length."""

    def __init__(self, namespace: int | None) -> None:
        self._namespace = namespace
        self._addresses: dict[bytes, str] = {}
        self._places: dict[int, tuple[int, int]] = {}

    def row(self, data: bytes, at: int, end: int) -> SocketRow:
        family, state, timer, source, destination, cookie, expires, receive, send, uid, inode = _MESSAGE.unpack_from(
            data, at
        )
        sport, dport = _ENDS.unpack_from(data, at + 4)
        info_at, shut_at = self._found(data, at, end)
        addresses = self._addresses
        return SocketRow(
            _STATES.get(state, TcpState.CLOSE),
            Endpoint(addresses.get(source) or self._address(family, source), sport),
            Endpoint(addresses.get(destination) or self._address(family, destination), dport), receive, send, inode,
            self._namespace, cookie, uid, _SHUT[data[at + shut_at + 4] & 3] if shut_at else None,
            TIMERS[timer] if timer < len(TIMERS) else None, expires,
            _info(data, at + info_at) if info_at else None, ORIGIN,
        )  # fmt: skip

    # Offsets of tcp_info and of the shutdown mask from the beginning of the message, 0 for none.
    def _found(self, data: bytes, at: int, end: int) -> tuple[int, int]:
        info, shut = self._places.get(end - at, (0, 0))
        if info and shut and data[at + info + 2] == INET_DIAG_INFO and data[at + shut + 2] == INET_DIAG_SHUTDOWN:
            return info, shut
        place, info, shut = at + _MESSAGE.size, 0, 0
        while place + 4 <= end:
            length, kind = _ATTRIBUTE.unpack_from(data, place)
            if length < 4:
                break
            if kind == INET_DIAG_INFO:
                info = place - at
            elif kind == INET_DIAG_SHUTDOWN:
                shut = place - at
            place += (length + 3) & ~3
        self._places[end - at] = info, shut
        return info, shut

    def _address(self, family: int, address: bytes) -> str:
        text = socket.inet_ntoa(address[:4]) if family == AF_INET else socket.inet_ntop(socket.AF_INET6, address)
        self._addresses[address] = text
        return text


_STATES: Final = {number: state for number, state in enumerate(TCP_STATES) if state is not None}


def _info(data: bytes, at: int) -> TcpInfo:
    length = _ATTRIBUTE.unpack_from(data, at)[0] - _ATTRIBUTE.size
    at += _ATTRIBUTE.size
    if length >= _INFO.size:
        return TcpInfo._make(_INFO.unpack_from(data, at))
    # An older kernel's is shorter: what it lacks is not told.
    return TcpInfo._make(
        struct.unpack_from(f"={kind}", data, at + place)[0] if place + struct.calcsize(f"={kind}") <= length else None
        for place, kind in _INFO_FIELDS
    )


ORIGIN: Final = Origin(NAME, 0)
