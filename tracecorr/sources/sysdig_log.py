"""Text of sysdig, and of falco's libraries, in the default format.

A line is number, time, cpu, command ([process.]thread), `>` for an entry or `<` for a return, call, `name=value …`
(sysdig(8)).  What a descriptor refers to stands behind it: `fd=5(<4t>192.0.2.20:41007->192.0.2.10:80)`, client first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from tracecorr.events import Endpoint, Gap, Origin, TaskId
from tracecorr.kernel import (
    AF_INET,
    AF_INET6,
    AF_UNIX,
    CONSTANTS,
    F_DUPFD,
    F_DUPFD_CLOEXEC,
    F_SETFD,
    POLLIN,
    SOCK_CLOEXEC,
)
from tracecorr.sources import clone3
from tracecorr.sources.base import Tally
from tracecorr.sources.clock import Clock
from tracecorr.sources.errno_names import linux
from tracecorr.sources.pairing import Pairing, Result
from tracecorr.syscalls.record import ExitRecord, NamedDescriptor, NameRecord, Record, Value
from tracecorr.syscalls.table import SYSCALLS

NAME: Final = "sysdig"

_LONG: Final = 1 << 14
_LINE: Final = re.compile(
    r"(\d{1,20}) (\d\d:\d\d:\d\d\.\d{9}|\d{9,11}\.\d{9}) \d{1,5} (\S.{0,40}?) \((?:\d{1,10}\.)?(\d{1,10})\)"
    r" ([<>]) ([a-z_]\w{0,40})(?: (.*))?\Z",
    re.DOTALL,
)
_FIELD: Final = re.compile(r"(?:^| )([a-z_]{1,24})=")
_NUMBER: Final = re.compile(r"-?\d{1,20}")
_NAMED: Final = re.compile(r"(-?\d{1,20})\(([A-Z][A-Z0-9_|]{0,400})\)")
_DESCRIPTOR: Final = re.compile(r"(-?\d{1,10})(?:\((?:<(\w{1,4})>(.{0,4096})|(E[A-Z0-9]{1,20}))?\))?", re.DOTALL)
_TUPLE: Final = re.compile(
    r"([0-9a-fA-F.]{2,45}|[0-9a-fA-F:.]{2,45}):(\d{1,5})->([0-9a-fA-F.]{2,45}|[0-9a-fA-F:.]{2,45}):(\d{1,5})"
)
_END: Final = re.compile(r"([0-9a-fA-F:.]{2,45}):(\d{1,5})")
_POLLED: Final = re.compile(r"(\d{1,10}):")
_MOST: Final = 60
# Stands for a listener that was made before the trace; no descriptor has this number (sysctl fs.nr_open).
_UNKNOWN: Final = 0x7FFF_FFFF
# What stands for the kind of a descriptor, as strace -yy would print it (fdinfo.h of falcosecurity/libs).
_KINDS: Final = {
    "4t": "TCP:[]", "6t": "TCPv6:[]", "4u": "UDP:[]", "6u": "UDPv6:[]", "u": "UNIX:[]", "p": "pipe:[0]", "f": "/",
    "d": "/", "e": "anon_inode:[eventfd]", "l": "anon_inode:[eventpoll]", "s": "anon_inode:[signalfd]",
    "t": "anon_inode:[timerfd]",
}  # fmt: skip
_DUPLICATES: Final = {F_DUPFD, F_DUPFD_CLOEXEC}
# What is no call.
_EVENTS: Final = frozenset(
    ["procinfo", "switch", "signaldeliver", "page_fault", "cpu_hotplug", "tracer", "notification"]
)
# A poll's array is shown, what epoll_ctl and select are given is not.
_BLIND: Final = frozenset(["select", "pselect6", "epoll_wait", "epoll_pwait", "epoll_pwait2"])


class _Event(NamedTuple):
    task: TaskId
    name: str
    fields: dict[str, str]
    at: int
    origin: Origin


def recognises(head: list[bytes]) -> bool:
    """Say whether one of the first lines is an event in sysdig's default format."""
    return any(_LINE.match(raw[:_LONG].decode("utf-8", "replace").rstrip()) for raw in head)


def read(blocks: Iterable[bytes], tally: Tally) -> Iterator[Record]:
    """Yield the records of a trace."""
    return clone3.told(_Reader(tally).read(blocks))


class _Reader:
    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.calls = Pairing(tally)
        self.clock = Clock()
        self.comms: dict[TaskId, str] = {}
        self.listeners: dict[str, Value] = {}
        tally.blind = _BLIND

    def read(self, blocks: Iterable[bytes]) -> Iterator[Record]:
        for block in blocks:
            for raw, origin in self.tally.lines_of(block):
                yield from self._line(raw, origin)
        why = "sysdig shows neither SOCK_CLOEXEC nor what fcntl set: every descriptor is taken to close on exec"
        yield Gap("close-on-exec is not shown", why, "strace -f -tt -T -yy -p PID", self.tally.name)

    def _line(self, raw: bytes, origin: Origin) -> Iterator[Record]:
        match = _LINE.match(raw[:_LONG].decode("utf-8", "replace").rstrip())
        if match is None:
            if raw.strip():
                self.tally.skip(origin.line, raw)
            return
        _, time, comm, tid, direction, name, text = match.groups()
        event = _Event(TaskId(int(tid)), name, _fields(text or ""), self._time(time), origin)
        if name == "drop":
            yield from self._dropped(event)
            return
        records = list(self._entered(event) if direction == ">" else self._returned(event))
        if records and self.comms.get(event.task) != comm:
            self.comms[event.task] = comm
            yield NameRecord(event.task, event.at, origin, comm)
        yield from records

    def _time(self, text: str) -> int:
        at = self.clock.read(text.encode())
        self.tally.saw(at)
        self.tally.clock = self.clock.kind
        return at

    def _dropped(self, event: _Event) -> Iterator[Record]:
        self.tally.lost += 1
        why = "the host made events faster than sysdig could keep up: some were dropped"
        yield Gap("events were lost", why, "sysdig with a filter such as proc.name=NAME", *event.origin)

    def _entered(self, event: _Event) -> Iterator[Record]:
        if event.name == "procexit":
            self.calls.end(event.task)
            yield ExitRecord(event.task, event.at, event.origin, "ended")
        elif event.name not in _EVENTS:
            args = _arguments(event.name, event.fields)
            yield self.calls.enter(event.task, event.name, args, event.at, event.origin)

    def _returned(self, event: _Event) -> Iterator[Record]:
        args = self.calls.arguments(event.task)
        if args is not None and self.calls.name(event.task) == event.name:
            self._complete(event.name, args, event.fields)
        result = _result(event.name, event.fields)
        if event.name == "fcntl" and result is not None and not (args and args[1:] and args[1] in _DUPLICATES):
            result = result._replace(path=None)  # sysdig takes any result of fcntl for a descriptor
        if result is not None:
            yield from self.calls.leave(event.task, event.name, result, event.at, event.origin)

    # accept does not show its listener: what listens at that port is it.
    def _complete(self, name: str, args: list[Value], fields: dict[str, str]) -> None:
        _complete(name, args, fields)
        ends = _TUPLE.search(fields.get("tuple", ""))
        if name in ("accept", "accept4") and ends is not None:
            args[0] = self.listeners.get(ends[4], _UNKNOWN)
        elif name == "bind" and args and isinstance(args[-1], dict):
            self.listeners[str(next((v for k, v in args[-1].items() if str(k).endswith("port")), ""))] = args[0]


# A value goes on to the next ` name=`: paths and commands hold blanks.
def _fields(text: str) -> dict[str, str]:
    marks = [mark for mark, _ in zip(_FIELD.finditer(text), range(_MOST), strict=False)]
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return {mark[1]: text[mark.end() : end] for mark, end in zip(marks, ends, strict=False)}


def _fd(text: str | None) -> Value:
    match = _DESCRIPTOR.match(text or "")
    if match is None:
        return None
    path = _KINDS.get(match[2] or "")
    return NamedDescriptor(int(match[1]), path) if path is not None else int(match[1])


# "2(AF_INET)", "1(SHUT_WR)": sysdig counts in its own numbers, so words count where there are any.
def _word(text: str | None) -> Value:
    named = _NAMED.match(text or "")
    if named is not None:
        bits = [CONSTANTS[word] for word in named[2].split("|") if word in CONSTANTS]
        return sum(bits) if bits else named[2]
    number = _NUMBER.match(text or "")
    return int(number[0]) if number is not None else None


def _arguments(name: str, fields: dict[str, str]) -> list[Value]:
    fd = _fd(fields.get("fd"))
    if name == "socket" or name == "socketpair":
        kind = _word(fields.get("type"))
        marked = kind | SOCK_CLOEXEC if isinstance(kind, int) else SOCK_CLOEXEC
        return [_word(fields.get("domain")), marked, _word(fields.get("proto"))]
    if name in ("accept", "accept4"):
        return [fd if fd is not None else _UNKNOWN, None, None, SOCK_CLOEXEC]
    if name == "shutdown":
        return [fd, _word(fields.get("how"))]
    if name == "fcntl":
        command = _word(fields.get("cmd"))
        return [fd, command if command != F_SETFD else "F_SETFD"]  # to what it sets is not shown
    if name in ("poll", "ppoll"):
        return [[{"fd": int(fd), "events": POLLIN} for fd in _POLLED.findall(fields.get("fds", ""))[:_MOST]]]
    if name in ("read", "recvfrom", "recv", "write", "sendto", "send"):
        return [fd, "", _word(fields.get("size")) if "size" in fields else ""]
    if name == "execve":
        return [fields.get("filename", "")]
    return [fd] if fd is not None else []


# What only the return tells: addresses, flags of clone, the numbers of new descriptors.
def _complete(name: str, args: list[Value], fields: dict[str, str]) -> None:
    ends = _TUPLE.search(fields.get("tuple", "")) or _TUPLE.search(fields.get("fd", ""))
    if name in ("accept", "accept4") and ends is not None:
        args[1] = _sockaddr(ends[1], ends[2])
    elif name == "bind" and args and (end := _END.fullmatch(fields.get("addr", "").strip())):
        args[1:] = [_sockaddr(end[1], end[2])]
    elif name == "connect" and args:
        args[1:] = [_sockaddr(ends[3], ends[4]) if ends else _unix(fields)]
    elif name in ("clone", "clone3"):
        flags = _word(fields.get("flags"))
        bits = flags if isinstance(flags, int) else 0
        args[:] = [bits if name == "clone" else {"flags": bits}]
    elif name in ("pipe", "pipe2", "socketpair") and "fd1" in fields:
        pair: Value = [_fd(fields["fd1"]), _fd(fields.get("fd2"))]
        args[:] = [pair] if name != "socketpair" else [*args[:3], pair]
    elif name in ("dup2", "dup3") and not args and "oldfd" in fields:
        args[:] = [_fd(fields["oldfd"]), _fd(fields.get("newfd"))]


def _sockaddr(address: str, port: str) -> Value:
    family, version = (AF_INET6, "6") if ":" in address else (AF_INET, "")
    return {"sa_family": family, f"sin{version}_port": int(port), f"sin{version}_addr": address}


def _unix(fields: dict[str, str]) -> Value:
    return {"sa_family": AF_UNIX} if "/" in fields.get("tuple", "") else None


def _result(name: str, fields: dict[str, str]) -> Result | None:
    text = fields.get("res", fields.get("fd"))
    match = _DESCRIPTOR.match(text or "")
    if match is None:
        # Calls that sysdig does not decode have no result.
        return Result(0) if name not in SYSCALLS or name == "epoll_ctl" else None
    value = int(match[1])
    if value < 0:
        return Result(-1, match[4] or linux(-value))
    ends = _TUPLE.search(fields.get("tuple", "")) or _TUPLE.search(match[3] or "")
    if name in ("accept", "accept4") and ends is not None:
        # The client stands first: of what was accepted that is the peer.
        peer, local = (Endpoint(ends[at], int(ends[at + 1])) for at in (1, 3))
        return Result(value, path=f"TCP:[{local}->{peer}]")
    return Result(value, path=_KINDS.get(match[2] or ""))
