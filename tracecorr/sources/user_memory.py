"""Structures in a traced thread's memory as Values: sockaddr, msghdr, iovec, pollfd, epoll_event, fd_set, siginfo.

Layouts are those of 64-bit Linux.  No byte of what a program sends or receives is read.  What cannot be read is None.
"""

from __future__ import annotations

import platform
import socket
import struct
from typing import Any, Final

from tracecorr.kernel import AF_INET, AF_INET6, SCM_RIGHTS, SOL_SOCKET
from tracecorr.sources.ptrace_calls import memory

_LONGEST: Final = 1024  # entries of an array that are looked at
_PAGE: Final = 4096
_PATH_MAX: Final = 4096

_SOCKADDR: Final = 128  # struct sockaddr_storage
_MSGHDR: Final = struct.Struct("=QIxxxxQQQQi4x")  # name, namelen, iov, iovlen, control, controllen, flags
_MMSGHDR: Final = _MSGHDR.size + 8
_IOVEC: Final = struct.Struct("=QQ")
_CMSGHDR: Final = struct.Struct("=Qii")
_POLLFD: Final = struct.Struct("=ihH")
# include/uapi/linux/eventpoll.h: packed on x86-64 alone.
_EPOLL_EVENT: Final = struct.Struct("=IQ" if platform.machine() == "x86_64" else "=I4xQ")


def integer(tid: int, address: int) -> int | None:
    """Return a C int."""
    data = memory(tid, address, 4)
    return int.from_bytes(data, "little", signed=True) if len(data) == 4 else None


def integers(tid: int, address: int, count: int) -> list[int] | None:
    """Return an array of C ints."""
    data = memory(tid, address, 4 * count)
    return list(struct.unpack(f"={count}i", data)) if len(data) == 4 * count else None


def word(tid: int, address: int) -> int | None:
    """Return 64 bits."""
    data = memory(tid, address, 8)
    return int.from_bytes(data, "little") if len(data) == 8 else None


def text(tid: int, address: int) -> str | None:
    """Return a path: at most PATH_MAX bytes, page by page, for the next page may not be there."""
    found = b""
    while len(found) < _PATH_MAX:
        piece = memory(tid, address, _PAGE - address % _PAGE)
        end = piece.find(b"\0")
        if end >= 0 or not piece:
            return (found + piece[: max(end, 0)]).decode("utf-8", "replace") or None
        found += piece
        address += len(piece)
    return found.decode("utf-8", "replace")


def address(tid: int, where: int, length: int) -> dict[str, Any] | None:
    """Return a struct sockaddr; of families other than the internet's the family alone."""
    data = memory(tid, where, min(length, _SOCKADDR))
    if len(data) < 2:
        return None
    family = int.from_bytes(data[:2], "little")
    if family == AF_INET and len(data) >= 8:
        port = int.from_bytes(data[2:4], "big")
        return {"sa_family": family, "sin_port": port, "sin_addr": socket.inet_ntoa(data[4:8])}
    if family == AF_INET6 and len(data) >= 24:
        port = int.from_bytes(data[2:4], "big")
        return {"sa_family": family, "sin6_port": port, "sin6_addr": socket.inet_ntop(AF_INET6, data[8:24])}
    return {"sa_family": family}


def address_returned(tid: int, where: int, length_at: int) -> dict[str, Any] | None:
    """Return the struct sockaddr that a call like accept(2) has stored, with its length."""
    length = integer(tid, length_at) if where else None
    return address(tid, where, length) if length else None


def vector(tid: int, where: int, count: int) -> list[dict[str, int]] | None:
    """Return the lengths in an array of struct iovec."""
    data = memory(tid, where, min(count, _LONGEST) * _IOVEC.size)
    if not data and count:
        return None
    return [{"iov_len": length} for _, length in _whole(_IOVEC, data)]


def message(tid: int, where: int, *, buffers: bool = False) -> dict[str, Any] | None:
    """Return a struct msghdr: the descriptors that it passes, and if asked for the lengths of its buffers."""
    return _message(tid, memory(tid, where, _MSGHDR.size), buffers=buffers)


def messages(tid: int, where: int, count: int) -> list[dict[str, Any]] | None:
    """Return an array of struct mmsghdr."""
    data = memory(tid, where, min(count, _LONGEST) * _MMSGHDR)
    if not data:
        return None
    found = []
    for start in range(0, len(data) - _MMSGHDR + 1, _MMSGHDR):
        entry = data[start : start + _MMSGHDR]
        length = int.from_bytes(entry[_MSGHDR.size : _MSGHDR.size + 4], "little")
        found.append({"msg_hdr": _message(tid, entry[: _MSGHDR.size], buffers=False), "msg_len": length})
    return found


def _message(tid: int, data: bytes, *, buffers: bool) -> dict[str, Any] | None:
    if len(data) < _MSGHDR.size:
        return None
    _, _, iov, iov_count, control, control_length, _ = _MSGHDR.unpack(data)
    found: dict[str, Any] = {"msg_iov": vector(tid, iov, iov_count)} if buffers else {}
    if control_length >= _CMSGHDR.size:
        found["msg_control"] = _control(memory(tid, control, control_length))
    return found


# cmsg(3): each header has its own length, and is followed by the next one at a multiple of 8.
def _control(data: bytes) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    start = 0
    while start + _CMSGHDR.size <= len(data):
        length, level, kind = _CMSGHDR.unpack_from(data, start)
        if length < _CMSGHDR.size:
            break
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            inside = data[start + _CMSGHDR.size : start + length]
            fds = [fd for (fd,) in struct.iter_unpack("=i", inside[: len(inside) // 4 * 4])]
            found.append({"cmsg_level": level, "cmsg_type": kind, "cmsg_data": fds})
        start += (length + 7) // 8 * 8
    return found


def polled(tid: int, where: int, count: int) -> list[dict[str, int]] | None:
    """Return an array of struct pollfd."""
    data = memory(tid, where, min(count, _LONGEST) * _POLLFD.size)
    if not data:
        return None
    return [{"fd": fd, "events": asked, "revents": told} for fd, asked, told in _whole(_POLLFD, data)]


def epoll_event(tid: int, where: int) -> dict[str, Any] | None:
    """Return one struct epoll_event."""
    found = epoll_events(tid, where, 1)
    return found[0] if found else None


def epoll_events(tid: int, where: int, count: int) -> list[dict[str, Any]]:
    """Return an array of struct epoll_event."""
    data = memory(tid, where, min(count, _LONGEST) * _EPOLL_EVENT.size)
    return [{"events": events, "data": {"u64": value}} for events, value in _whole(_EPOLL_EVENT, data)]


def set_of_descriptors(tid: int, where: int, count: int) -> list[int] | None:
    """Return the members of an fd_set."""
    data = memory(tid, where, (min(count, 65536) + 63) // 64 * 8)
    bits = int.from_bytes(data, "little")
    return [fd for fd in range(count) if bits >> fd & 1] if data else None


def _whole(layout: struct.Struct, data: bytes) -> Any:
    return layout.iter_unpack(data[: len(data) // layout.size * layout.size])
