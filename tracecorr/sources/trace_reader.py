"""Reads the buffers of all CPUs and puts their events into one order of time."""

from __future__ import annotations

import os
import select
import time
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Final

from tracecorr.sources.ring_buffer import BadPage, PageHeader, TraceEvent, parse_header_page, read_page, unfold
from tracecorr.sources.trace_format import Layout
from tracecorr.sources.trace_instance import Instance
from tracecorr.sources.trace_rows import Row, Shape

# So many pages of one CPU are read before the next one has its turn.
_PAGES: Final = 128

_by_time: Final = attrgetter("at")


class Buffers:
    """The per-CPU buffers of some instances, opened for reading; events of `shape` may be read as rows."""

    def __init__(self, instances: Sequence[Instance], layouts: Mapping[int, Layout], shape: Shape | None) -> None:
        self._layouts = layouts
        self._shape = shape
        self._header: PageHeader | None = None
        self._files: list[int] = []
        self._poll = select.poll()
        self.lost: int = 0
        self.lost_unknown = False
        self.damaged: int = 0
        for instance in instances:
            self._open(instance)

    def _open(self, instance: Instance) -> None:
        self._header = self._header or parse_header_page(instance.read("events/header_page"))
        for cpu in instance.cpus():
            file = os.open(f"{cpu}/trace_pipe_raw", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            self._files.append(file)
            self._poll.register(file, select.POLLIN)

    def wait(self, seconds: float) -> None:
        """Return when a buffer fills up, at the latest after so many seconds."""
        self._poll.poll(max(0, int(seconds * 1000)))

    def read(self, into: list[TraceEvent], rows: list[Row]) -> int:
        """Append what there is, no end of it; return the time up to which nothing is missing, on the trace clock."""
        whole = trace_clock()
        for file in self._files:
            events, folded = len(into), len(rows)
            if self._read_one(file, into, rows):
                whole = min(whole, max((it[-1].at for it in (into[events:], rows[folded:]) if it), default=0))
        return whole

    def unfold(self, row: Row, into: list[TraceEvent]) -> None:
        """Append the events of a row."""
        unfold(row, self._layouts, into)

    def _read_one(self, file: int, into: list[TraceEvent], rows: list[Row]) -> bool:
        assert self._header is not None
        size = self._header.size
        for _ in range(_PAGES):
            try:
                page = os.read(file, size)
            except BlockingIOError:
                return False
            if not page:
                return False
            try:
                lost = read_page(page, self._header, self._layouts, into, rows, self._shape)
            except BadPage:
                self.damaged += 1
                continue
            if lost is None:
                self.lost_unknown = True
            else:
                self.lost += lost
        return True

    def close(self) -> None:
        for file in self._files:
            os.close(file)
        self._files.clear()


class Ordered:
    """Events in order of time, held back for a while: what comes later may explain what came before.

    Each CPU's events are in order by themselves; an event may also be late, when its CPU was interrupted while it
    wrote it.  The time held back covers that many times over.
    """

    def __init__(self) -> None:
        self._waiting: list[TraceEvent] = []

    def add(self, events: list[TraceEvent]) -> None:
        if events:
            self._waiting += events
            self._waiting.sort(key=_by_time)

    def ripe(self, limit: int) -> Iterator[TraceEvent]:
        """Yield what is not younger than `limit`, in nanoseconds of the trace clock."""
        waiting = self._waiting
        if not waiting or waiting[0].at > limit:
            return
        count = bisect_right(waiting, limit, key=_by_time)
        ripe, self._waiting = waiting[:count], waiting[count:]
        yield from ripe

    def waiting(self) -> Sequence[TraceEvent]:
        """Return what is held back now."""
        return self._waiting

    def rest(self) -> Iterator[TraceEvent]:
        """Yield what is left, at the end."""
        rest, self._waiting = self._waiting, []
        yield from rest


def trace_clock() -> int:
    """Return the time now on the trace clock "mono", in nanoseconds."""
    return time.monotonic_ns()
