"""Logs of truss(1) of FreeBSD.

A line is [process] [thread]: [times] call, tabs, ` = 5 (0x5)` or ` ERR#35 'text'` (usr.bin/truss).  A call
is printed as it returns: one that a thread is blocked in is not in the log.

truss of FreeBSD 9 prints some calls of a child under the name of the call that its parent was in: `fork() = 59` of a
process that has just been born, 59 being execve.  Whatever such a process is said to do is then left unread.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final, NamedTuple

from tracecorr.events import Gap, Origin, TaskId
from tracecorr.sources.base import Tally, blocked
from tracecorr.sources.bsd_values import translated
from tracecorr.sources.call_text import parsed
from tracecorr.sources.clock import Clock
from tracecorr.sources.errno_names import bsd
from tracecorr.sources.freebsd_arrays import shown
from tracecorr.sources.pairing import Result
from tracecorr.sources.threads_of import ThreadsOf
from tracecorr.syscalls.record import (
    DetachedRecord,
    ExitRecord,
    Record,
    SignalRecord,
    SyscallRecord,
    Value,
)
from tracecorr.syscalls.table import FORK_FAMILY

NAME: Final = "truss-freebsd"

_LONG: Final = 1 << 16
_PREFIX: Final = re.compile(
    r" {0,10}(?:(\d{1,10})(?: {1,10}(\d{1,10}))?: )?(?:(-?\d{1,12}\.\d{9}) (?:-?\d{1,12}\.\d{9} )?)?"
)
_RESULT: Final = re.compile(
    r"(?:= (-?\d{1,20})(?:,\d{1,20})? \(0x[0-9a-f]{1,16}\)|= (0x[0-9a-f]{1,16})|ERR#(\d{1,5})(?: '[^']{0,200}')?"
    r"|(?:= )?(?:(ERESTART)|EJUSTRETURN))\Z"
)
_SIGNAL: Final = re.compile(r"SIGNAL \d{1,5} \((SIG\w{1,20})\)(?: code=(\w{1,40}))?(?:.{0,40}? pid=(\d{1,10}))?")
_EXIT: Final = re.compile(r"process (?:exit, rval = \d{1,10}|killed, signal = (\d{1,5})(?: \(core dumped\))?)\Z")
_THREAD_ENDED: Final = re.compile(r"<thread (\d{1,10}) exited>\Z")
_NEWS: Final = re.compile(
    r"<new (?:process|thread \d{1,10})>\Z|<thread \d{1,10} exited>\Z|-- UNKNOWN |syscalls +|-{4,}"
)
_SHOWN: Final = re.compile(rb"(?m)^ {0,10}(\d{1,10})(?: {1,10}\d{1,10})?: ")
_TIMED: Final = re.compile(rb"(?m)^ {0,10}(?:\d{1,10}(?: {1,10}\d{1,10})?: )?(\d{1,12}\.\d{9}) ")
# The numbers of threads begin where those of processes end (PID_MAX in sys/proc.h is 99999).
_FIRST_TID: Final = 100_000
# Strings are printed as vis(3) does; FreeBSD's names for calls that Linux has, too.
_NAMES: Final = {
    "rfork": "rfork", "pdfork": "fork", "sys_exit": "exit_group", "exit": "exit_group", "_exit": "exit_group",
    "thr_exit": "exit", "kqueue1": "kqueue", "sys_fork": "fork",
}  # fmt: skip
_RFFDG: Final = 1 << 2  # sys/unistd.h: copy the table, rather than share it


def recognises(head: list[bytes]) -> bool:
    """Say whether one of the first lines is a call with its result as FreeBSD prints it."""
    return any(_is_call(raw[:_LONG].decode("utf-8", "replace").rstrip()) for raw in head)


def _is_call(text: str) -> bool:
    match = _PREFIX.match(text)
    call = parsed(text[match.end() :]) if match is not None and (" (0x" in text or "ERR#" in text) else None
    return call is not None and _RESULT.match(call.rest) is not None


def read(blocks: Iterable[bytes], tally: Tally) -> Iterator[Record]:
    """Yield the records of a log."""
    return _Reader(tally).read(blocks)


class _Line(NamedTuple):
    task: TaskId
    at: int | None
    origin: Origin


class _Reader:
    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.threads = ThreadsOf()
        self.clock = Clock()
        self.shown: set[int] = set()
        self.born: set[int] = set()
        self.misnamed: set[int | None] = set()
        self.news = False
        self.sums: dict[TaskId, int] | None = None
        tally.columns = False

    def read(self, blocks: Iterable[bytes]) -> Iterator[Record]:
        ahead = iter(blocks)
        block = next(ahead, b"")
        self.sums = {} if _has_deltas(block) else None
        while block:
            following = next(ahead, b"")
            # A child shows itself soon after the fork, if it does at all.
            self.shown |= {int(pid) for pid in _SHOWN.findall(block + following[: 1 << 16])}
            self.news = self.news or b"<new process>" in block
            for raw, origin in self.tally.lines_of(block):
                yield from self._line(raw, origin)
            block = following
        yield blocked(self.tally, "procstat -kk PID, and procstat -f PID")

    def _line(self, raw: bytes, origin: Origin) -> Iterator[Record]:
        text = raw[:_LONG].decode("utf-8", "replace").rstrip()
        match = _PREFIX.match(text)
        assert match is not None  # every part is optional
        task = self._task(match)
        line = _Line(task, self._time(match[3], task), origin)
        body = text[match.end() :]
        if line.task.pid in self.misnamed:
            self.tally.skip(origin.line, raw)
            return
        call = parsed(body)
        result = _RESULT.match(call.rest) if call is not None else None
        if call is not None and (result is not None or call.name in ("exit", "_exit", "sys_exit")):
            yield from self._call(line, call.name, call.args, _result(result))
        elif (record := self._event(line, body)) is not None:
            yield record
        elif body and not _NEWS.match(body):
            self.tally.skip(origin.line, raw)

    # -H without -f prints the thread alone.
    def _task(self, match: re.Match[str]) -> TaskId:
        first, second = (int(word) if word else None for word in (match[1], match[2]))
        if second is None and first is not None and first >= _FIRST_TID:
            return TaskId(first, 0)
        self.tally.columns |= first is not None
        return self.threads.task(first, second)

    # -d counts from the start; -D alone from the thread's last event, which then is summed.
    def _time(self, text: str | None, task: TaskId) -> int | None:
        if text is None or text.startswith("-"):
            return None
        at = self.clock.length(text.encode())
        if self.sums is not None:
            at = self.sums[task] = self.sums.get(task, 0) + at
        self.tally.saw(at)
        self.tally.clock = "relative"
        return at

    def _call(self, line: _Line, name: str, args: list[Value], result: Result) -> Iterator[Record]:
        name = _NAMES.get(name, name)
        self.tally.calls += 1
        self.tally.names.add(name)
        if name in (*FORK_FAMILY, "rfork") and not result.error and result.value:
            yield from self._fork(line, name, args, result)
            return
        yield self._record(line, name, args, result)

    @staticmethod
    def _record(line: _Line, name: str, args: list[Value], result: Result) -> SyscallRecord:
        return SyscallRecord(
            line.task,
            name,
            shown(name, translated(name, args)),
            result.value,
            result.error,
            None,
            line.at,
            line.origin,
            line.origin,
        )

    def _fork(self, line: _Line, name: str, args: list[Value], result: Result) -> Iterator[Record]:
        child = result.value or 0
        if not self.news and line.task.pid in self.born and child not in self.shown:
            self.misnamed.add(line.task.pid)
            why = (
                f"process {line.task.pid} is said to fork {child}, which never shows itself: its calls have wrong names"
            )
            yield Gap("calls under wrong names", why, "truss of FreeBSD 10 or later", *line.origin)
            yield DetachedRecord(line.task, line.at, line.origin)
            return
        self.threads.born(child)
        self.born.add(child)
        shares = name == "rfork" and args and isinstance(args[0], int) and not args[0] & _RFFDG
        yield self._record(line, "clone" if name == "rfork" else name, [0x400] if shares else [0], result)

    def _event(self, line: _Line, body: str) -> Record | None:
        if signal := _SIGNAL.match(body):
            return SignalRecord(
                line.task, line.at, line.origin, signal[1], signal[2], int(signal[3]) if signal[3] else None
            )
        if ended := _EXIT.match(body):
            how = f"killed by signal {ended[1]}" if ended[1] else "exited"
            # FreeBSD 9 leaves the process out: which one has ended is then unknown.
            return ExitRecord(line.task, line.at, line.origin, how) if self._is_named(line) else None
        if thread := _THREAD_ENDED.match(body):
            task = self.threads.task(line.task.pid, int(thread[1])) if line.task.pid else line.task
            return ExitRecord(task, line.at, line.origin, "lwp_exit") if task != TaskId(1, task.pid) else None
        return None

    def _is_named(self, line: _Line) -> bool:
        return line.task.pid is not None or not self.tally.columns


# Without a word from truss only the order of the times tells; threads may be printed a little late.
def _has_deltas(block: bytes) -> bool:
    times = [float(time) for time in _TIMED.findall(block[: 1 << 16])]
    return sum(after < before for before, after in pairwise(times)) * 10 > len(times)


def _result(match: re.Match[str] | None) -> Result:
    if match is None:
        return Result(None)
    if match[3]:
        return Result(-1, bsd(int(match[3])))
    if match[4]:
        return Result(None, "ERESTARTSYS")
    return Result(int(match[1]) if match[1] else int(match[2], 16) if match[2] else 0)
