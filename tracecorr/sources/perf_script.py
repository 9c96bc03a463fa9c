"""Text of `perf script`: recordings of `perf record` with the tracepoints of system calls, raw or by name.

A line is comm, tid or pid/tid, [cpu], seconds since the boot, event, its fields (perf-script(1)); user stacks may stand
further in behind it.  With --show-task-events lines such as PERF_RECORD_FORK(pid:tid):(pid:tid) are among them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from tracecorr.events import Gap, Origin, TaskId
from tracecorr.kernel import CLONE_FILES, CLONE_THREAD
from tracecorr.sources import clone3
from tracecorr.sources.base import Tally
from tracecorr.sources.clock import Clock
from tracecorr.sources.tracepoints import X86_64, Tracepoints, machine
from tracecorr.syscalls.record import ExitRecord, Record

NAME: Final = "perf-script"

_LONG: Final = 1 << 14
_LINE: Final = re.compile(
    r"[ \t]{0,32}(\S.{0,15}?)[ \t]{1,32}(?:\d{1,10}/)?(\d{1,10})[ \t]{1,32}(?:\[\d{1,5}\][ \t]{1,32})?"
    r"(?:[.\w]{3,8}[ \t]{1,32})?(\d{1,12}\.\d{1,9}):[ \t]{1,64}(?:\d{1,20}[ \t]{1,64})?(\S.*)",
    re.DOTALL,
)
_EVENT: Final = re.compile(r"(\w{1,64}:[\w.-]{1,80}):[ \t]{0,64}(.*)", re.DOTALL)
_OURS: Final = re.compile(r"(?:raw_syscalls|syscalls|task|sched|sock):")
_MADE: Final = re.compile(r"PERF_RECORD_FORK\((\d{1,10}):(\d{1,10})\):\((\d{1,10}):(\d{1,10})\)")
_ENDED: Final = re.compile(r"PERF_RECORD_EXIT\(\d{1,10}:(\d{1,10})\)")
_LOST: Final = re.compile(r"PERF_RECORD_LOST(?:_SAMPLES)?\b\D{0,40}(\d{1,18})")
_FRAME: Final = re.compile(rb"[ \t]+[0-9a-f]{4,16} ")
_COMMENT: Final = re.compile(rb"#|\s*\Z")
_ARCH: Final = re.compile(rb"# arch : (\S+)")


def recognises(head: list[bytes]) -> bool:
    """Say whether one of the first lines is a call or another event that we know, in a line of perf script."""
    lines = (_LINE.match(raw[:_LONG].decode("utf-8", "replace")) for raw in head)
    return any(line is not None and _is_ours(line[4]) for line in lines)


def _is_ours(text: str) -> bool:
    event = _EVENT.match(text)
    return event is not None and _OURS.match(event[1]) is not None and Tracepoints.knows(event[1].partition(":")[2])


def read(blocks: Iterable[bytes], tally: Tally) -> Iterator[Record]:
    """Yield the records of a recording."""
    return clone3.told(_Reader(tally).read(blocks))


class _Reader:
    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.clock = Clock()
        self.events = Tracepoints(tally)

    def read(self, blocks: Iterable[bytes]) -> Iterator[Record]:
        self.tally.clock = "relative"
        for block in blocks:
            if not self.tally.lines:
                self.events.raw = _machine(block.split(b"\n"))
            for raw, origin in self.tally.lines_of(block):
                yield from self._line(raw, origin)
        yield from self.events.unnamed(self.tally)

    def _line(self, raw: bytes, origin: Origin) -> Iterator[Record]:
        match = _LINE.match(raw[:_LONG].decode("utf-8", "replace"))
        if match is None:
            if not _COMMENT.match(raw) and not _FRAME.match(raw):
                self.tally.skip(origin.line, raw)
            return
        task = TaskId(int(match[2]))
        at = self.clock.length(match[3].encode())
        self.tally.saw(at)
        if not _is_ours(match[4]):
            yield from self._tasks(task, match[4], at, origin)
            return
        yield from self.events.named(task, match[1], at, origin)
        name, text = match[4].split(":", 1)[1].split(":", 1)
        try:
            yield from self.events.event(task, name, text.lstrip(), at, origin)
        except ValueError:
            self.tally.skip(origin.line, raw)

    # What perf itself tells of tasks; anything else is an event of another kind.
    def _tasks(self, task: TaskId, text: str, at: int, origin: Origin) -> Iterator[Record]:
        if made := _MADE.match(text):
            child, pid, parent = (int(made[number]) for number in (2, 1, 3))
            flags = CLONE_FILES | CLONE_THREAD if pid == parent else 0
            yield from self.events.made(TaskId(int(made[4])), child, flags, at, origin)
        elif ended := _ENDED.match(text):
            self.tally.deaths = True
            yield ExitRecord(TaskId(int(ended[1])), at, origin, "ended")
        elif lost := _LOST.match(text):
            self.tally.lost += int(lost[1])
            why = f"perf could not keep up: {lost[1]} events were lost"
            yield Gap("events were lost", why, "perf record -m 32M, with the calls that matter alone", *origin)


def _machine(lines: list[bytes]) -> dict[int, str] | None:
    arch = next((match[1] for line in lines if (match := _ARCH.match(line))), None)
    return machine(lines) if arch is None else X86_64 if arch == b"x86_64" else None
