"""Output of dtruss(1m) of macOS (and of its kin on FreeBSD), a script for DTrace.

A line is [process/thread:] [columns of times] call, tabs, `= value errno` or `= -1 Err#36`.  A call is printed as it
returns, numbers are hexadecimal, and lines of different processors may stand out of order.  Time columns count from
each thread's own start, so nothing can be compared by them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from tracecorr.events import Gap, Origin, TaskId
from tracecorr.sources.base import WATCHERS, Tally, blocked
from tracecorr.sources.bsd_values import translated
from tracecorr.sources.call_text import number, parsed
from tracecorr.sources.errno_names import bsd
from tracecorr.sources.pairing import Result
from tracecorr.sources.threads_of import ThreadsOf
from tracecorr.syscalls.record import Record, SyscallRecord, Value
from tracecorr.syscalls.table import FORK_FAMILY

NAME: Final = "dtruss"

_LONG: Final = 1 << 16
_PREFIX: Final = re.compile(
    r"[ \t]{0,8}(\d{1,10})/(0x[0-9a-fA-F]{1,16}|\d{1,10}):[ \t]{0,32}(?:\d{1,15}[ \t]{1,32}){0,4}"
)
_PLAIN: Final = re.compile(r"[ \t]{0,32}(?:\d{1,15}[ \t]{1,32}){0,4}")
_RESULT: Final = re.compile(r"= (-?\d{1,20}|0x[0-9A-Fa-f]{1,16}) (?:(\d{1,5})|Err#(-?\d{1,5}))?\Z")
_HEADER: Final = re.compile(rb"\s*(?:PID/(?:THRD|LWP)\s.*|(?:RELATIVE |ELAPSD |CPU |\s){0,12})SYSCALL\(args\)")
_DROPS: Final = re.compile(rb"dtrace: (\d{1,15}) (?:dynamic variable |aggregation )?drops?\b")
_NOISE: Final = re.compile(rb"dtrace: |\s*\Z|CALL {1,40}COUNT|\s*[A-Za-z]\w{0,40}`|\s*\w{1,60}`|CPU\s")
# Only a negative Err# after a value that is no -1 is EJUSTRETURN or ERESTART: the call is made again, or never returns.
_RESTART: Final = -1
_NOCANCEL: Final = "_nocancel"
_NAMES: Final = {
    "exit": "exit_group", "sys_exit": "exit_group", "bsdthread_terminate": "lwp_exit", "kevent64": "kevent",
    "kevent_qos": "kevent", "fcntl_nocancel": "fcntl", "__pthread_exit": "lwp_exit",
}  # fmt: skip


def recognises(head: list[bytes]) -> bool:
    """Say whether there is dtruss' header, or a call with its value and error number."""
    return any(_HEADER.match(raw[:400]) for raw in head) or any(
        _call(raw[:_LONG].decode("utf-8", "replace")) is not None and b"\t\t = " in raw for raw in head
    )


_Call = tuple["re.Match[str]", str, "list[Value]", "re.Match[str]"]


def _call(text: str) -> _Call | None:
    prefix = _PREFIX.match(text) or _PLAIN.match(text)
    assert prefix is not None  # _PLAIN matches everything
    call = parsed(text[prefix.end() :].rstrip())
    result = _RESULT.match(call.rest) if call is not None else None
    return (prefix, call.name, call.args, result) if call is not None and result is not None else None


def read(blocks: Iterable[bytes], tally: Tally) -> Iterator[Record]:
    """Yield the records of a log."""
    return _Reader(tally).read(blocks)


class _Reader:
    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.threads = ThreadsOf()
        tally.columns = tally.arrays = tally.deaths = False
        tally.blind = WATCHERS

    def read(self, blocks: Iterable[bytes]) -> Iterator[Record]:
        for block in blocks:
            for raw, origin in self.tally.lines_of(block):
                yield from self._line(raw, origin)
        yield blocked(self.tally, "sample PID, and lsof -nP -p PID")

    def _line(self, raw: bytes, origin: Origin) -> Iterator[Record]:
        call = _call(raw[:_LONG].decode("utf-8", "replace"))
        if call is not None:
            yield from self._called(call, origin)
        elif drops := _DROPS.match(raw):
            self.tally.lost += int(drops[1])
            why = f"DTrace could not keep up: {int(drops[1])} lines were dropped"
            yield Gap("events were lost", why, "dtruss -b 64m, with -t for a call that matters", *origin)
        elif not _HEADER.match(raw[:400]) and not _NOISE.match(raw[:400]):
            self.tally.skip(origin.line, raw)

    def _called(self, call: _Call, origin: Origin) -> Iterator[Record]:
        prefix, name, args, match = call
        task = self._task(prefix)
        name = name.removesuffix(_NOCANCEL)
        name = _NAMES.get(name, name)
        self.tally.calls += 1
        self.tally.names.add(name)
        result = _result(match)
        if name in FORK_FAMILY and not result.value:
            return  # the child's own line: its parent's tells who it is
        if name in FORK_FAMILY:
            self.threads.born(result.value)
        if name == "posix_spawn" and result.value == 0:
            why = "posix_spawn made a process, and its number is not shown: what it inherited is unknown"
            yield Gap("children unseen", why, "lsof -nP -i beside the log", *origin)
        yield SyscallRecord(task, name, translated(name, args), result.value, result.error, None, None, origin, origin)

    def _task(self, prefix: re.Match[str]) -> TaskId:
        if prefix.re is _PLAIN or prefix[1] is None:
            return TaskId(0)
        self.tally.columns = True
        return self.threads.task(int(prefix[1]), number(prefix[2]))


def _result(match: re.Match[str]) -> Result:
    value, _, error = match.groups()
    if error is not None:
        number = int(error)
        return Result(-1, bsd(number)) if number > 0 else Result(None, "ERESTARTSYS")
    return Result(int(value, 16 if value[:2] == "0x" else 10))
