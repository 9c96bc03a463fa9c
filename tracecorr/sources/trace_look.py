"""Asks the kernel which descriptors refer to connections that stay in CLOSE_WAIT: events tell addresses alone."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Final

from tracecorr.errors import NoSuchProcess, PermissionDenied
from tracecorr.events import Origin
from tracecorr.kernel import TcpState
from tracecorr.snapshot import SocketRow
from tracecorr.sources import procfs
from tracecorr.sources.picture import Rows, descriptor_found
from tracecorr.sources.ring_buffer import TraceEvent
from tracecorr.sources.trace_ends import Ends
from tracecorr.sources.trace_reader import trace_clock
from tracecorr.sources.trace_records import FOUND
from tracecorr.sources.trace_waits import Waits
from tracecorr.sources.trace_window import Window, with_new
from tracecorr.syscalls.record import DescriptorFound, Record, SyscallRecord, UnfinishedRecord

# The share of one CPU that looks may take, for a process with many descriptors takes long to look through, and how many
# seconds they may take at once.
_SHARE: Final = 0.02
_AT_ONCE: Final = 0.15

# Seconds between two looks at the least.
_APART: Final = 0.04

# An event that is this close to a look at its number (nanoseconds) leaves open which came first.
_NEAR: Final = 20_000_000

_EPOLL: Final = "anon_inode:[eventpoll]"


class Looks:
    """Looks at the connections that `waits` says are there to be asked for, and finds what was found its place."""

    def __init__(
        self, waits: Waits, socket_found: Callable[[int, int], None], origin: Callable[[], Origin], offset: int
    ) -> None:
        """`socket_found` is told process and number; `offset` is what the trace clock lacks to time since the epoch."""
        self._waits = waits
        self._socket_found = socket_found
        self._origin = origin
        self._offset = offset
        self._due = 0.0
        self._spent = 0.0
        self._since = time.monotonic()
        self._found: list[TraceEvent] = []

    def look(self, processes: Callable[[], Collection[int]]) -> None:
        """Look among these processes for the holders of what has stayed; placed() returns it after the next events."""
        began = time.monotonic()
        if began < self._due or not (asked := self._waits.unknown(trace_clock())):
            return
        pids = processes()
        rows = Rows(pids, [TcpState.CLOSE_WAIT, TcpState.LISTEN])
        wanted = {ends: row for row in rows.all if (ends := _ends(row)) in asked}
        held = set(self._holders(wanted.values(), pids, rows))
        for ends in asked:
            row = wanted.get(ends)
            self._waits.answer(ends, ours=row is not None and (row.inode in held or not row.inode))
        self._rest_until(began, time.monotonic())

    def _rest_until(self, began: float, ended: float) -> None:
        self._spent = max(0.0, self._spent - (ended - self._since) * _SHARE) + ended - began
        self._since = ended
        self._due = ended + max(_APART, (self._spent - _AT_ONCE) / _SHARE)

    # Yields the inodes that are held by a traced process.
    def _holders(self, rows: Collection[SocketRow], pids: Collection[int], all_rows: Rows) -> Iterator[int | None]:
        links = {f"socket:[{row.inode}]": row.inode for row in rows if row.inode}
        for pid in pids if links else ():
            try:
                targets = procfs.targets(pid)
                numbers = [fd for fd, target in targets.items() if target in links]
                # What watches them is as good as known from the calls, which are not recorded.
                watching = [fd for fd, target in targets.items() if target == _EPOLL] if numbers else []
                first = procfs.standing(pid) if numbers else pid
                self.place(
                    descriptor_found(pid, fd, targets, all_rows, self._origin(), first) for fd in numbers + watching
                )
                yield from (links[targets[fd]] for fd in numbers)
            except (NoSuchProcess, PermissionDenied):
                continue

    def place(self, records: Iterable[Record]) -> None:
        """Take what a look has found: placed() returns it among the events."""
        for record in records:
            at = _time(record)
            if isinstance(record, DescriptorFound):
                self._socket_found(record.task.tid, record.fd)
            self._found.append(TraceEvent(trace_clock() if at is None else at - self._offset, FOUND, (record,)))

    def oldest(self) -> int | None:
        """Return when the first of the connections went into CLOSE_WAIT whose holders were found and are not placed."""
        began = (self._began(event.values[0]) for event in self._found)
        return min((at for at in began if at is not None), default=None)

    def _began(self, record: Record) -> int | None:
        return self._waits.began(record.local, record.peer) if isinstance(record, DescriptorFound) else None

    def placed(
        self, events: Sequence[TraceEvent], emitted: int, whole: int, threads: Mapping[int, int]
    ) -> list[TraceEvent]:
        """Return what was found as events, but for numbers that `events`, in order of time, touch near the look.

        `events` are complete up to the time `whole`: what was found just before that waits for the next time.
        Of a connection that a number referred to ever since the FIN came, it is told before the FIN whose it is,
        unless that lies before `emitted`.
        """
        found = [event for event in self._found if event.at + _NEAR <= whole]
        self._found = [event for event in self._found if event.at + _NEAR > whole]
        placed: list[TraceEvent] = []
        # `threads` are of what was emitted, and the events may be of younger ones.
        threads = with_new(events, threads) if found else threads
        for event in found:
            record = event.values[0]
            if not isinstance(record, DescriptorFound):
                placed.append(event)
                continue
            if not _between(events, event.at - _NEAR, event.at + _NEAR, threads).untouched(record):
                self._waits.ask_again(record.local, record.peer)
                continue
            placed.append(event)
            began = self._began(record)
            if began is not None and began > emitted and _between(events, began, event.at, threads).untouched(record):
                placed.append(self._before(record, began))
        return placed

    def _before(self, record: DescriptorFound, began: int) -> TraceEvent:
        then = record._replace(
            at=began + self._offset, origin=self._origin(), state=TcpState.ESTABLISHED, unread=None
        )  # fmt: skip
        return TraceEvent(began - 1, FOUND, (then,))


_at: Final = attrgetter("at")


def _between(events: Sequence[TraceEvent], first: int, last: int, threads: Mapping[int, int]) -> Window:
    start, end = bisect_left(events, first, key=_at), bisect_left(events, last + 1, key=_at)
    return Window(events[start:end], threads)


def _time(record: Record) -> int | None:
    if isinstance(record, SyscallRecord):
        return record.returned
    return record.entered if isinstance(record, UnfinishedRecord) else getattr(record, "at", None)


def _ends(row: SocketRow) -> Ends | None:
    return Ends(row.local, row.peer) if row.local is not None and row.peer is not None else None
