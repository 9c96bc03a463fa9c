"""Logs of truss(1) of AIX.

A line is process: thread: [time] call, tabs, `= result` or `Err#55 EINPROGRESS`; a thread that sleeps in a call is
shown before that as `(sleeping...)`.  Calls have the names of kernel services: kread, naccept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from tracecorr.events import Origin, TaskId
from tracecorr.sources.base import WATCHERS, Tally
from tracecorr.sources.bsd_values import translated
from tracecorr.sources.call_text import number as integer
from tracecorr.sources.clock import Clock
from tracecorr.sources.pairing import Result
from tracecorr.sources.sleeping import Sleeping, Told
from tracecorr.sources.threads_of import ThreadsOf
from tracecorr.sources.truss_log import AIX, arguments
from tracecorr.syscalls.record import ExitRecord, Record, SignalRecord
from tracecorr.syscalls.table import FORK_FAMILY

NAME: Final = "truss-aix"

_LONG: Final = 1 << 16
_PREFIX: Final = re.compile(
    r"(?:(\d{1,10}):[ \t]{0,32})?(?:(\d{1,10}):[ \t]{0,32})?(?:(\d{1,12}\.\d{4}):[ \t]{1,32})?[ \t]{0,32}"
)
_CALL: Final = re.compile(r"([A-Za-z_]\w{0,63})\(")
_RESULT: Final = re.compile(
    r"(?:\(returning as (child) \.\.\.\)\s{1,32})?(?:= ?(-?\d{1,20}|0x[0-9A-Fa-f]{1,16})?(?: \[.{0,40}\])?"
    r"|Err#(\d{1,5})(?: {1,2}(E\w{1,30}))?.{0,80}|(argc(?::| =) ?\d{1,9})"
    r"|(\((?:sleeping|waiting)[^)]{0,60}\)))?"
)
_SIGNAL: Final = re.compile(
    r"Received signal #\d{1,5}, (SIG\w{1,20})(?:, in (\w{1,64})\(\))?(?: \[(caught|default|ignored)\])?"
)
_NOISE: Final = re.compile(
    r"argv: |envp: |psargs: |siginfo: |Incurred fault |->|<-|truss: |[A-Z][a-z]{2} [A-Z][a-z]{2} +\d"
)
_ONE_WAY: Final = frozenset(["_exit", "exit", "thread_terminate", "thread_terminate_unlock"])

# Names that differ in spelling alone (AIX kernel services, syscalls(4) as truss prints them).
_NAMES: Final = {
    "kread": "read", "kwrite": "write", "kreadv": "readv", "kwritev": "writev", "naccept": "accept",
    "connext": "connect", "kfcntl": "fcntl", "kioctl": "ioctl", "kopen": "open", "_erecv": "recv", "erecv": "recv",
    "_esend": "send", "esend": "send", "nrecvmsg": "recvmsg", "_nrecvmsg": "recvmsg", "nsendmsg": "sendmsg",
    "_nsendmsg": "sendmsg", "nrecvfrom": "recvfrom", "enrecvfrom": "recvfrom", "_enrecvfrom": "recvfrom",
    "esendto": "sendto", "_esendto": "sendto", "ngetpeername": "getpeername", "ngetsockname": "getsockname",
    "_select": "select", "_poll": "poll", "kwaitpid": "waitpid", "kfork": "fork", "f_fork": "fork", "kvfork": "vfork",
    "vfork": "vfork", "_nsleep": "nanosleep", "exit": "_exit", "thread_terminate": "lwp_exit",
    "thread_terminate_unlock": "lwp_exit", "_pollset_poll": "pollset_poll",
}  # fmt: skip

_ONLY_HERE: Final = _NAMES.keys() - {"exit", "vfork", "f_fork"}


def recognises(head: list[bytes]) -> bool:
    """Say whether one of the first lines is what AIX alone prints."""
    return any(_is_ours(raw[:_LONG].decode("utf-8", "replace").rstrip()) for raw in head)


def _is_ours(text: str) -> bool:
    line = _parsed(text)
    named = line is not None and bool((line.prefix[1] and line.prefix[2]) or line.name in _ONLY_HERE)
    return named and (AIX.match(text) is not None or (line is not None and line.prefix[3] is not None))


class _Line(NamedTuple):
    prefix: re.Match[str]
    name: str
    args: list[object]
    result: re.Match[str]


def _parsed(text: str) -> _Line | None:
    prefix = _PREFIX.match(text)
    assert prefix is not None  # every part is optional
    call = _CALL.match(text, prefix.end())
    if call is None:
        return None
    args, end = arguments(text, call.end())
    result = _RESULT.fullmatch(text[end:].strip()) if 0 < end > len(text) - 400 else None
    return _Line(prefix, call[1], args, result) if result is not None else None


def read(blocks: Iterable[bytes], tally: Tally) -> Iterator[Record]:
    """Yield the records of a log."""
    return _Reader(tally).read(blocks)


class _Reader:
    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.threads = ThreadsOf()
        self.calls = Sleeping(tally)
        self.clock = Clock()
        self.doomed: dict[int | None, SignalRecord] = {}
        tally.columns = tally.arrays = False
        tally.blind = WATCHERS | {"pollset_poll"}

    def read(self, blocks: Iterable[bytes]) -> Iterator[Record]:
        for block in blocks:
            for raw, origin in self.tally.lines_of(block):
                yield from self._line(raw, origin)

    def _line(self, raw: bytes, origin: Origin) -> Iterator[Record]:
        text = raw[:_LONG].decode("utf-8", "replace").rstrip()
        line = _parsed(text)
        if line is not None and (line.result[0] or line.name in _ONE_WAY):
            yield from self._call(line, origin)
            return
        prefix = _PREFIX.match(text)
        assert prefix is not None
        body = text[prefix.end() :]
        task, at = self._task(prefix), self._time(prefix)
        if signal := _SIGNAL.match(body):
            record = SignalRecord(task, at, origin, signal[1], None, None)
            if signal[3] == "default":
                self.doomed[task.pid] = record
            yield record
        elif body.startswith("*** process killed"):
            cause = self.doomed.pop(task.pid, None)
            yield ExitRecord(task, at, origin, f"killed by {cause.signal}" if cause else "killed")
        elif body and not _NOISE.match(body):
            self.tally.skip(origin.line, raw)

    # Without -f there is no process; one number is then the thread (-l).
    def _task(self, prefix: re.Match[str]) -> TaskId:
        pid, tid = (int(word) if word else None for word in (prefix[1], prefix[2]))
        self.tally.columns |= pid is not None
        return self.threads.task(pid, tid)

    def _time(self, prefix: re.Match[str]) -> int | None:
        if prefix[3] is None:
            return None
        at = self.clock.length(prefix[3].encode())
        self.tally.saw(at)
        self.tally.clock = "relative"
        return at

    def _call(self, line: _Line, origin: Origin) -> Iterator[Record]:
        child, value, number, error, executed, asleep = line.result.groups()
        name = _NAMES.get(line.name, line.name)
        if child:
            return  # its parent's line tells who the child is
        told = Told(self._task(line.prefix), name, translated(name, line.args), self._time(line.prefix), origin)
        if asleep:
            yield from self.calls.asleep(told)
            return
        if error or number:
            result = Result(-1, error or f"Err#{number}")
        else:
            result = Result(integer(value) if value else 0 if executed or name == "execve" else None)
        if name in FORK_FAMILY:
            self.threads.born(result.value)
        # "thread_init() =" has no result: whatever it did, it has returned.
        if result.value is not None or name in ("_exit", "lwp_exit"):
            yield self.calls.finished(told, result)
