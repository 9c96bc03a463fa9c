"""Calls that make connections and change them: socket(2), accept(2), connect(2), shutdown(2), getsockopt(2) …"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tracecorr import kernel
from tracecorr.events import (
    AcceptFailed,
    ConnectionAccepted,
    ConnectionConfirmed,
    ConnectionEstablished,
    ConnectionFailed,
    ConnectionStarted,
    DescriptorOpened,
    Event,
    LingerSet,
    SocketBound,
    SocketListening,
    SocketOpened,
    SocketSeen,
    SocketShutDown,
    UnixSocketNamed,
)
from tracecorr.kernel import Domain, Shutdown
from tracecorr.syscalls.address import address_of, domain_of
from tracecorr.syscalls.descriptors import descriptor, number, succeeded
from tracecorr.syscalls.record import SyscallRecord

# "any", TCP, and MPTCP, which speaks TCP to a peer that does not know it.
_TCP = (0, 6, 262, "IPPROTO_MPTCP", "IPPROTO_TCP", "IPPROTO_IP")


def _argument(record: SyscallRecord, index: int) -> Any:
    return record.args[index] if index < len(record.args) else None


def socket(record: SyscallRecord) -> Sequence[Event]:
    """socket(2); so_socket of Solaris."""
    if not succeeded(record) or record.result is None:
        return ()
    domain, kind = domain_of(_argument(record, 0)), _argument(record, 1)
    flags = kind if isinstance(kind, int) else 0
    marked = bool(flags & kernel.SOCK_CLOEXEC)
    if domain in (Domain.INET, Domain.UNKNOWN) and flags & 0xF in (0, kernel.SOCK_STREAM) and _is_tcp(record):
        return (SocketOpened(record.returned, record.task, record.origin, record.result, domain, marked, record.name),)
    name = {Domain.UNIX: "unix", Domain.INET: "udp"}.get(domain, "other socket")
    return (DescriptorOpened(record.returned, record.task, record.origin, record.result, name, marked, record.name),)


# A stream of another protocol, SCTP perhaps, has no CLOSE_WAIT.
def _is_tcp(record: SyscallRecord) -> bool:
    protocol = _argument(record, 2)
    return protocol in _TCP or not isinstance(protocol, (int, str)) or protocol == ""


def socketpair(record: SyscallRecord) -> Sequence[Event]:
    """socketpair(2): two ends of a unix connection."""
    ends = next((value for value in reversed(record.args) if isinstance(value, list)), [])
    numbers = [int(end) for end in ends if isinstance(end, int)]
    if not succeeded(record) or len(numbers) != 2:
        return ()
    kind = _argument(record, 1)
    marked = isinstance(kind, int) and bool(kind & kernel.SOCK_CLOEXEC)
    return tuple(
        DescriptorOpened(record.returned, record.task, record.origin, fd, "unix", marked, record.name, None, other)
        for fd, other in (numbers, reversed(numbers))
    )


def bind(record: SyscallRecord) -> Sequence[Event]:
    """bind(2)."""
    fd = descriptor(record)
    if fd is None or not succeeded(record):
        return ()
    domain, local = address_of(_argument(record, 1))
    if domain is Domain.UNIX:
        return _unix(record, fd, connected=False)
    return (SocketBound(record.returned, record.task, record.origin, fd, local),)


def _unix(record: SyscallRecord, fd: int, *, connected: bool) -> Sequence[Event]:
    at, task, origin = record.returned, record.task, record.origin
    seen = SocketSeen(at, task, origin, fd, "unix", None, None, None)
    path = _argument(record, 1).get("sun_path")
    return (seen, UnixSocketNamed(at, task, origin, fd, path, connected)) if isinstance(path, str) else (seen,)


def listen(record: SyscallRecord) -> Sequence[Event]:
    """listen(2)."""
    fd = descriptor(record)
    if fd is None or not succeeded(record):
        return ()
    return (SocketListening(record.returned, record.task, record.origin, fd),)


# The handshake may still succeed in the kernel after these (connect(2)).
_UNDER_WAY = {"EINPROGRESS", "EINTR", "EALREADY", "EAGAIN"}


def connect(record: SyscallRecord) -> Sequence[Event]:
    """connect(2)."""
    fd = descriptor(record)
    if fd is None:
        return ()
    domain, peer = address_of(_argument(record, 1))
    address = _argument(record, 1)
    if isinstance(address, dict) and address.get("sa_family") == 0 and record.result == 0:
        # AF_UNSPEC dissolves the connection (connect(2)).
        return (ConnectionFailed(record.returned, record.task, record.origin, fd, "AF_UNSPEC"),)
    if domain in (Domain.UNIX, Domain.OTHER):
        if domain is Domain.UNIX and record.result == 0:
            return _unix(record, fd, connected=True)
        kind = "unix" if domain is Domain.UNIX else "socket"
        return (SocketSeen(record.returned, record.task, record.origin, fd, kind, None, None, None),)
    at, task, origin, error = record.returned, record.task, record.origin, record.errno
    if error is None and record.result == 0:
        return (ConnectionEstablished(at, task, origin, fd, peer, domain, record.entered, record.name),)
    if error == "EISCONN":
        return (ConnectionConfirmed(at, task, origin, fd),)
    if error in _UNDER_WAY or error is None or error.startswith("ERESTART"):
        return (ConnectionStarted(at, task, origin, fd, peer, domain, record.entered),)
    return (ConnectionFailed(at, task, origin, fd, error),)


_EXHAUSTED = {"EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"}


def accept(record: SyscallRecord) -> Sequence[Event]:
    """accept(2), accept4(2)."""
    listener = descriptor(record)
    if record.errno in _EXHAUSTED:
        return (AcceptFailed(record.returned, record.task, record.origin, listener or 0, record.errno),)
    if listener is None or not succeeded(record) or record.result is None:
        return ()
    domain, peer = address_of(_argument(record, 1))
    flags = next((value for value in reversed(record.args[3:]) if isinstance(value, int)), 0)
    return (
        ConnectionAccepted(
            record.returned, record.task, record.origin, listener, record.result, domain, peer,
            bool(flags & kernel.SOCK_CLOEXEC), record.entered, record.name,
        ),
    )  # fmt: skip


_HOW = {0: Shutdown.RD, 1: Shutdown.WR, 2: Shutdown.RDWR}


def shutdown(record: SyscallRecord) -> Sequence[Event]:
    """shutdown(2).  ENOTCONN does nothing."""
    fd, half = descriptor(record), number(record, 1)
    how = _HOW.get(half) if half is not None else None
    if fd is None or how is None or (record.result != 0 and record.errno is None):
        return ()
    return (SocketShutDown(record.entered, record.task, record.origin, fd, how, record.errno),)


def getsockopt(record: SyscallRecord) -> Sequence[Event]:
    """getsockopt(2): SO_ERROR says how a non-blocking connect ended, and takes a pending error away."""
    fd = descriptor(record)
    if fd is None or not succeeded(record):
        return ()
    if number(record, 1) == kernel.SOL_SOCKET and number(record, 2) == kernel.SO_ERROR:
        value = _argument(record, 3)
        # truss prints the pointer alone: nothing is known then.
        code = value[-1] if isinstance(value, list) and value else None
        if code == 0:
            return (ConnectionConfirmed(record.returned, record.task, record.origin, fd),)
        if isinstance(code, (int, str)) and code:
            return (ConnectionFailed(record.returned, record.task, record.origin, fd, str(code)),)
    return setsockopt(record)


def setsockopt(record: SyscallRecord) -> Sequence[Event]:
    """setsockopt(2): a TCP option proves what the descriptor is."""
    fd = descriptor(record)
    if fd is None or not succeeded(record):
        return ()
    if record.name == "setsockopt" and _argument(record, 2) == "SO_LINGER":
        value = _argument(record, 3)
        reset = isinstance(value, dict) and value.get("l_onoff") != 0 and value.get("l_linger") == 0
        return (LingerSet(record.returned, record.task, record.origin, fd),) if reset else ()
    if number(record, 1) != kernel.CONSTANTS["SOL_TCP"]:
        return ()
    return (SocketSeen(record.returned, record.task, record.origin, fd, "tcp", None, None, None),)


def getname(record: SyscallRecord) -> Sequence[Event]:
    """getsockname(2), getpeername(2)."""
    fd = descriptor(record)
    if fd is None or not succeeded(record):
        return ()
    domain, name = address_of(_argument(record, 1))
    kind = {Domain.INET: None, Domain.UNIX: "unix"}.get(domain)
    if domain is Domain.INET and record.name == "getpeername":
        # getpeername succeeds on a connected UDP socket as well: the address alone does not make it TCP.
        return (SocketSeen(record.returned, record.task, record.origin, fd, None, None, None, name),)
    return (SocketSeen(record.returned, record.task, record.origin, fd, kind, None, name, None),)
