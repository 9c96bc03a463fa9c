"""Calls that move bytes: the read and write families, and SCM_RIGHTS in the messages among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tracecorr import kernel
from tracecorr.events import (
    BytesReceived,
    BytesSent,
    DescriptorMissing,
    DescriptorsReceived,
    DescriptorsSent,
    EndOfFileRead,
    Event,
    ResetSeen,
)
from tracecorr.syscalls.descriptors import descriptor, number
from tracecorr.syscalls.record import SyscallRecord

# After one of these the connection is closed (tcp_reset(), tcp_write_err() in net/ipv4): there is no CLOSE_WAIT.
_BROKEN = {"ECONNRESET", "EPIPE", "ETIMEDOUT", "ECONNABORTED", "EHOSTUNREACH", "ENETUNREACH", "ECONNREFUSED"}


def _failed(record: SyscallRecord, fd: int) -> Sequence[Event]:
    if record.errno == "EBADF":
        return (DescriptorMissing(record.returned, record.task, record.origin, fd),)
    if record.errno in _BROKEN:
        return (ResetSeen(record.returned, record.task, record.origin, fd, record.errno, record.name),)
    return ()


def read(record: SyscallRecord) -> Sequence[Event]:
    """read(2), readv(2), recv(2), recvfrom(2): 0 is the end of file, unless no byte was asked for."""
    fd, result = descriptor(record), record.result
    if fd is None:
        return ()
    if record.errno is not None or result is None:
        return _failed(record, fd)
    if result > 0:
        return (BytesReceived(record.returned, record.task, record.origin, fd, result, record.name),)
    return _end_of_file(record, fd, _room(record), _message_flags(record))


def _end_of_file(record: SyscallRecord, fd: int, room: bool, flags: int) -> Sequence[Event]:
    if not room:
        return ()
    peeked = bool(flags & kernel.MSG_PEEK)
    return (EndOfFileRead(record.returned, record.task, record.origin, fd, peeked, record.entered, record.name),)


# Whether the call had room for a byte: read(fd, buf, 0) = 0 says nothing.
def _room(record: SyscallRecord) -> bool:
    if record.name.startswith(("readv", "preadv")):
        vector = record.args[1] if len(record.args) > 1 else None
        if not isinstance(vector, list):
            return True
        return any(isinstance(part, dict) and part.get("iov_len") != 0 for part in vector)
    return number(record, 2) != 0


def _message_flags(record: SyscallRecord) -> int:
    return (number(record, 3) or 0) if record.name in ("recv", "recvfrom") else 0


def write(record: SyscallRecord) -> Sequence[Event]:
    """write(2), writev(2), send(2), sendto(2), sendfile(2): bytes were taken for the peer, or it is gone."""
    fd = descriptor(record)
    if fd is None:
        return ()
    if record.errno is not None or record.result is None:
        return _failed(record, fd)
    if record.result > 0:
        return (BytesSent(record.returned, record.task, record.origin, fd, record.result, record.name),)
    return ()


def sendfilev(record: SyscallRecord) -> Sequence[Event]:
    """sendfilev(3EXT) as truss prints it: the first argument is an operation, the second the descriptor."""
    fd = number(record, 1)
    if fd is None or record.errno is not None or not record.result or record.result < 0:
        return ()
    return (BytesSent(record.returned, record.task, record.origin, fd, record.result, record.name),)


def splice(record: SyscallRecord) -> Sequence[Event]:
    """splice(2): from its first descriptor to its third; 0 is the end of file of the first."""
    source, sink = descriptor(record), descriptor(record, 2)
    if source is None or sink is None:
        return ()
    if record.errno is not None or record.result is None:
        return _failed(record, source)
    at, task, origin = record.returned, record.task, record.origin
    if record.result == 0:
        return _end_of_file(record, source, number(record, 4) != 0, 0)
    received = BytesReceived(at, task, origin, source, record.result, record.name)
    return (received, BytesSent(at, task, origin, sink, record.result, record.name))


def _passed(message: Any) -> list[int]:
    control = message.get("msg_control") if isinstance(message, dict) else None
    if not isinstance(control, list):
        return []
    found: list[int] = []
    for header in control:
        if isinstance(header, dict) and header.get("cmsg_type") == kernel.SCM_RIGHTS:
            data = header.get("cmsg_data")
            found += [int(fd) for fd in data if isinstance(fd, int)] if isinstance(data, list) else []
    return found


def sendmsg(record: SyscallRecord) -> Sequence[Event]:
    """sendmsg(2), sendmmsg(2), with descriptors that SCM_RIGHTS passes (unix(7))."""
    events = list(write(record))
    if record.errno is not None or record.result is None or not events:
        return events
    fds = passed_descriptors(record)
    if fds:
        events.append(DescriptorsSent(record.returned, record.task, record.origin, descriptor(record) or 0, fds))
    return events


def passed_descriptors(record: SyscallRecord) -> list[int]:
    """Return the descriptors that the messages of sendmsg or sendmmsg pass (of those that were sent, if known)."""
    value = record.args[1] if len(record.args) > 1 else None
    if isinstance(value, list):
        sent = value if record.result is None else value[: record.result]
        return [fd for entry in sent if isinstance(entry, dict) for fd in _passed(entry.get("msg_hdr"))]
    return _passed(value)


def recvmsg(record: SyscallRecord) -> Sequence[Event]:
    """recvmsg(2): bytes, descriptors that SCM_RIGHTS passes, or the end of file."""
    fd = descriptor(record)
    if fd is None:
        return ()
    if record.errno is not None or record.result is None:
        return _failed(record, fd)
    message = record.args[1] if len(record.args) > 1 else None
    flags = number(record, 2) or 0
    events: list[Event] = []
    if record.result > 0:
        events.append(BytesReceived(record.returned, record.task, record.origin, fd, record.result, record.name))
    elif _has_room(message) and not flags & kernel.CONSTANTS["MSG_ERRQUEUE"]:
        events += _end_of_file(record, fd, True, flags)
    return events + _received(record, fd, _passed(message), flags)


def _has_room(message: Any) -> bool:
    vector = message.get("msg_iov") if isinstance(message, dict) else None
    if not isinstance(vector, list):
        return True
    return any(isinstance(part, dict) and part.get("iov_len") != 0 for part in vector)


def _received(record: SyscallRecord, fd: int, fds: list[int], flags: int) -> list[Event]:
    if not fds:
        return []
    marked = bool(flags & kernel.MSG_CMSG_CLOEXEC)
    return [DescriptorsReceived(record.returned, record.task, record.origin, fd, fds, marked)]


def recvmmsg(record: SyscallRecord) -> Sequence[Event]:
    """recvmmsg(2): the end of file is a last message of length 0."""
    fd = descriptor(record)
    if fd is None:
        return ()
    if record.errno is not None or not record.result:
        return _failed(record, fd)
    entries = record.args[1] if len(record.args) > 1 else None
    filled = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    lengths = [entry.get("msg_len") for entry in filled[: record.result]]
    fds = [number for entry in filled[: record.result] for number in _passed(entry.get("msg_hdr"))]
    flags = number(record, 3) or 0
    events: list[Event] = []
    if any(length != 0 for length in lengths) or not lengths:
        events.append(BytesReceived(record.returned, record.task, record.origin, fd, 1, record.name))
    if lengths and lengths[-1] == 0:
        events += _end_of_file(record, fd, True, flags)
    return events + _received(record, fd, fds, flags)
