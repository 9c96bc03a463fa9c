"""Contracts of the sources, and what a reader counts while it reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

from tracecorr.events import Gap, Origin
from tracecorr.syscalls.record import Record
from tracecorr.syscalls.table import POLL_FAMILY

# Calls that are told which descriptors to watch by an array in memory.
WATCHERS: Final = frozenset(POLL_FAMILY) - {"epoll_wait", "epoll_pwait", "epoll_pwait2"}

# How many of the lines that were not understood are kept word for word.
SAMPLES = 5


@dataclass(slots=True)
class Tally:
    """What one input was and what was made of it; the reader fills it while it reads.

    `clock` says what the times mean: "epoch", "day" (time of day, seconds of the first day), "relative" (since
    the log's first line) or None (no times at all).  `columns` is False where no line names its task, `pid` the task
    that the file is named after (strace -ff), `every_line` asks for records of calls that have no effect, too.
    `skim` (nanoseconds) allows to pass over connections in good order that were closed within that time of their end
    of file, and `passed_over` counts them.  `size` is that of a plain file, whose pieces may be read in any order.
    `headless` counts calls whose beginning lies before the log, `lost` the events that the tracer says it lost, `cut`
    calls whose lines were cut, so that nobody knows what they returned.
    `arrays` is False where what lies in the traced program's memory is not shown, as the array of poll is not,
    `deaths` where a process that was killed leaves no line; `blind` are the calls whose descriptors are unknown.
    `whole` is True where the log itself shows that no call was left out, `uses` False where reads and writes are told
    only of connections whose peer has closed.
    """

    name: str
    format: str
    lines: int = 0
    calls: int = 0
    skipped: int = 0
    samples: list[tuple[int, str]] = field(default_factory=list)
    first: int | None = None
    last: int | None = None
    clock: str | None = None
    columns: bool = True
    names: set[str] = field(default_factory=set)
    pid: int | None = None
    every_line: bool = False
    headless: int = 0
    lost: int = 0
    cut: int = 0
    arrays: bool = True
    deaths: bool = True
    whole: bool = False
    uses: bool = True
    blind: frozenset[str] = frozenset()
    skim: int | None = None
    passed_over: int = 0
    size: int | None = None
    progress: Callable[[int, int | None], None] | None = None

    def skip(self, line: int, text: bytes) -> None:
        """Count a line that was not understood."""
        self.skipped += 1
        if len(self.samples) < SAMPLES:
            self.samples.append((line, text[:200].decode("utf-8", "replace")))

    def lines_of(self, block: bytes) -> Iterator[tuple[bytes, Origin]]:
        """Yield the lines of the next block without their ends, each counted in `lines`, and where it is."""
        for text in block.removesuffix(b"\n").split(b"\n"):
            self.lines += 1
            yield text, Origin(self.name, self.lines)

    def saw(self, at: int | None) -> None:
        """Note a time, so that `first` and `last` span the input."""
        if at is None:
            return
        if self.first is None or at < self.first:
            self.first = at
        if self.last is None or at > self.last:
            self.last = at


def blocked(tally: Tally, ask: str) -> Gap:
    """The gap of a log whose lines are printed as calls return: `ask` tells what a thread is blocked in."""
    why = "a call is printed as it returns: what threads are blocked in at the end is not in the log"
    return Gap("blocked calls are not shown", why, ask, tally.name)


class LogFormat(Protocol):
    """A text log of system calls.  A module is enough: these are its names."""

    @property
    def NAME(self) -> str: ...

    def recognises(self, head: list[bytes]) -> bool:
        """Say whether these first lines (without line ends) are of this format."""

    def read(self, blocks: Iterable[bytes], tally: Tally) -> Iterator[Record]:
        """Yield the records of a log.

        `blocks` are consecutive pieces of the file that end at a line end (the last one may lack it).
        """
