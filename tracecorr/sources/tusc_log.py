"""Logs of tusc(1) of HP-UX.

A line is [time] [[process]] [{thread}] call, dots, `= result` or `ERR#9 EBADF`; a thread that sleeps in a call is shown
before that with `[sleeping]`.  tusc has no public source: the grammar is that of published logs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from tracecorr.events import Origin, TaskId
from tracecorr.sources.base import WATCHERS, Tally
from tracecorr.sources.bsd_values import translated
from tracecorr.sources.call_text import Call
from tracecorr.sources.call_text import number as integer
from tracecorr.sources.clock import Clock
from tracecorr.sources.pairing import Result
from tracecorr.sources.sleeping import Sleeping, Told
from tracecorr.sources.threads_of import ThreadsOf
from tracecorr.sources.truss_log import arguments
from tracecorr.syscalls.record import DetachedRecord, ExitRecord, Record, SignalRecord
from tracecorr.syscalls.table import FORK_FAMILY

NAME: Final = "tusc"

_LONG: Final = 1 << 16
_PREFIX: Final = re.compile(
    r"(?:(\d{9,11}\.\d{1,9}|\d\d:\d\d:\d\d(?:\.\d{1,9})?)[ \t]{1,8})?(?:\[(?:\w[\w.-]{0,40}[ :])?(\d{1,10})\] ?)?"
    r"(?:\{(\d{1,10})\} ?)?[ \t]{0,8}"
)
_NAME: Final = re.compile(r"([A-Za-z_]\w{0,63})\(")
_RESULT: Final = re.compile(
    r"(\(returning as child \.\.\.\) )?\.{1,80} (?:= (-?\d{1,20}|0x[0-9a-fA-F]{1,16})(?: .{0,80})?"
    r"|ERR#(\d{1,5})(?: (E\w{1,30}))?.{0,80}|(\[sleeping\]))\Z"
)
_SIGNAL: Final = re.compile(
    r"Received signal (\d{1,5}), (SIG\w{1,20})(?:, in (\w{1,64})\(\))?,? ?\[(\w{1,10})[^\]]{0,40}\]"
)
_ATTACHED: Final = re.compile(r'\( ?(Attached to|Detached from) process (\d{1,10}) \("')
_NOISE: Final = re.compile(r"\( |\[\w+\]|->|<-|siginfo")
_ENDED: Final = re.compile(r"(?:WIFEXITED|exit)\(\d{1,10}\)|exited")
_NAMES: Final = {"exit": "exit_group", "_exit": "exit_group", "lwp_terminate": "lwp_exit", "lwp_exit": "lwp_exit"}


def recognises(head: list[bytes]) -> bool:
    """Say whether one of the first lines is a call with dots before its result, or tells of an attach."""
    texts = [raw[:_LONG].decode("utf-8", "replace").rstrip() for raw in head]
    return any(_parsed(text) is not None or _ATTACHED.match(text) for text in texts)


_Parsed = tuple["re.Match[str]", Call, "re.Match[str]"]


def _parsed(text: str) -> _Parsed | None:
    prefix = _PREFIX.match(text)
    assert prefix is not None  # every part is optional
    name = _NAME.match(text, prefix.end())
    if name is None or name[1] == "Attached":
        return None
    args, end = arguments(text, name.end())
    result = _RESULT.match(text[end:].strip()) if 0 < end > len(text) - 400 else None
    return (prefix, Call(name[1], args, ""), result) if result is not None else None


def read(blocks: Iterable[bytes], tally: Tally) -> Iterator[Record]:
    """Yield the records of a log."""
    return _Reader(tally).read(blocks)


class _Reader:
    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.threads = ThreadsOf()
        self.calls = Sleeping(tally)
        self.clock = Clock()
        tally.columns = tally.arrays = tally.deaths = False
        tally.blind = WATCHERS

    def read(self, blocks: Iterable[bytes]) -> Iterator[Record]:
        for block in blocks:
            for raw, origin in self.tally.lines_of(block):
                yield from self._line(raw, origin)

    def _line(self, raw: bytes, origin: Origin) -> Iterator[Record]:
        text = raw[:_LONG].decode("utf-8", "replace").rstrip()
        parsed = _parsed(text)
        if parsed is not None:
            yield from self._call(*parsed, origin)
            return
        prefix = _PREFIX.match(text)
        assert prefix is not None
        body = text[prefix.end() :]
        name = _NAME.match(body)
        if (notice := _ATTACHED.match(text)) is not None:
            if notice[1].startswith("Detached"):
                yield DetachedRecord(self.threads.task(int(notice[2]), None), None, origin)
        elif (signal := _SIGNAL.match(body)) is not None:
            yield from self._signal(self._task(prefix), signal, self._time(prefix), origin)
        elif name is not None and name[1] in _NAMES and body.endswith(")"):  # no result follows
            task, at = self._task(prefix), self._time(prefix)
            args, _ = arguments(body, name.end())
            yield self.calls.finished(Told(task, _NAMES[name[1]], args, at, origin), Result(None))
        elif body and not _NOISE.match(body):
            self.tally.skip(origin.line, raw)

    def _signal(self, task: TaskId, signal: re.Match[str], at: int | None, origin: Origin) -> Iterator[Record]:
        yield SignalRecord(task, at, origin, signal[2], None, None)
        if signal[2] == "SIGKILL":
            yield ExitRecord(task, at, origin, "killed by SIGKILL")

    def _task(self, prefix: re.Match[str]) -> TaskId:
        self.tally.columns |= prefix[2] is not None
        return self.threads.task(int(prefix[2]) if prefix[2] else None, int(prefix[3]) if prefix[3] else None)

    def _time(self, prefix: re.Match[str]) -> int | None:
        if prefix[1] is None:
            return None
        at = self.clock.read(prefix[1].encode())
        self.tally.saw(at)
        self.tally.clock = self.clock.kind
        return at

    def _call(self, prefix: re.Match[str], call: Call, match: re.Match[str], origin: Origin) -> Iterator[Record]:
        child, value, number, error, asleep = match.groups()
        name = _NAMES.get(call.name, call.name)
        task, at = self._task(prefix), self._time(prefix)
        told = Told(task, name, translated(name, call.args), at, origin)
        if child:
            return  # its parent's line tells who the child is
        if asleep:
            yield from self.calls.asleep(told)
            return
        result = Result(-1, error or f"ERR#{number}") if number else Result(integer(value) if value else None)
        if name in FORK_FAMILY:
            self.threads.born(result.value)
        yield self.calls.finished(told, result)
