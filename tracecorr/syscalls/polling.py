"""Calls that wait for descriptors, poll(2), select(2), epoll(7): who watches what, and who was told of a FIN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tracecorr import kernel
from tracecorr.events import DescriptorsPolled, EpollChanged, EpollReported, Event, HangupReported
from tracecorr.syscalls.descriptors import descriptor, number, succeeded
from tracecorr.syscalls.record import SyscallRecord

_IN = kernel.POLLIN | kernel.POLLRDHUP | 0x40
_OPERATIONS = {1: "add", 2: "del", 3: "mod"}


def _entries(value: Any) -> list[dict[Any, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def poll(record: SyscallRecord) -> Sequence[Event]:
    """poll(2), ppoll(2), pollsys of Solaris: the note behind the result has the revents."""
    asked = _entries(record.args[0] if len(record.args) else None)
    fds = [
        int(entry["fd"])
        for entry in asked
        if isinstance(entry.get("fd"), int) and int(entry["fd"]) >= 0 and _bits(entry.get("events")) & _IN
    ]
    if not fds and not asked:
        return ()
    at, task, origin = record.returned, record.task, record.origin
    events: list[Event] = [DescriptorsPolled(at, task, origin, fds, record.name)]
    for entry in _entries(record.note) or asked:
        told = _bits(entry.get("revents"))
        if isinstance(entry.get("fd"), int) and told & (kernel.POLLRDHUP | kernel.POLLHUP):
            # POLLHUP of Solaris, whose log has the revents in the argument, is the FIN (see HangupReported), unless the
            # connection has failed: then POLLERR is told with it.
            both = bool(told & kernel.POLLHUP) and (record.note is not None or bool(told & kernel.POLLERR))
            events.append(HangupReported(at, task, origin, int(entry["fd"]), both, record.name))
    return events


def _bits(value: Any) -> int:
    return value if isinstance(value, int) else 0


def select(record: SyscallRecord) -> Sequence[Event]:
    """select(2), pselect6(2): the read set."""
    watched = record.args[1] if len(record.args) > 1 else None
    if not isinstance(watched, list):
        return ()
    fds = [int(fd) for fd in watched if isinstance(fd, int)]
    return (DescriptorsPolled(record.returned, record.task, record.origin, fds, record.name),) if fds else ()


def _data(value: Any) -> int | None:
    # epoll_data is a union: u64 is all of it.
    data = value.get("u64", value.get("u32")) if isinstance(value, dict) else value
    return data if isinstance(data, int) else None


def _event(value: Any) -> tuple[int, int | None]:
    if not isinstance(value, dict):
        return 0, None
    return _bits(value.get("events", value.get(0))), _data(value.get("data", value.get(1)))


def epoll_ctl(record: SyscallRecord) -> Sequence[Event]:
    """epoll_ctl(2)."""
    epfd, fd = descriptor(record), descriptor(record, 2)
    operation = _OPERATIONS.get(number(record, 1) or 0)
    if epfd is None or fd is None or operation is None or not succeeded(record):
        return ()
    told = record.args[3] if len(record.args) > 3 else None
    # Where the structure is not shown, it is taken to ask for input, as nearly all do: nobody is blamed for a guess.
    events, data = _event(told) if isinstance(told, dict) else (_IN, None)
    return (EpollChanged(record.returned, record.task, record.origin, epfd, operation, fd, events, data),)


def epoll_wait(record: SyscallRecord) -> Sequence[Event]:
    """epoll_wait(2), epoll_pwait(2): only events that tell of an end are passed on."""
    epfd = descriptor(record)
    if epfd is None or not record.result or record.errno is not None:
        return ()
    ready = [_event(entry) for entry in _entries(record.args[1] if len(record.args) > 1 else None)]
    # EPOLLERR alone may tell of a message in the error queue (MSG_ZEROCOPY, timestamps): no end.
    ended = kernel.POLLRDHUP | kernel.POLLHUP
    told = [(events, data) for events, data in ready if events & ended]
    return (EpollReported(record.returned, record.task, record.origin, epfd, told, record.name),) if told else ()
