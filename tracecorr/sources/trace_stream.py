"""The stream of records of tasks that are traced by the kernel's events."""

from __future__ import annotations

import itertools
import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Final

from tracecorr.errors import NoSuchProcess
from tracecorr.events import Gap, Origin
from tracecorr.kernel import TcpState
from tracecorr.sources import procfs
from tracecorr.sources.picture import picture
from tracecorr.sources.ring_buffer import TraceEvent
from tracecorr.sources.trace_ends import Ends
from tracecorr.sources.trace_look import Looks
from tracecorr.sources.trace_reader import Ordered, trace_clock
from tracecorr.sources.trace_recorder import Recorder
from tracecorr.sources.trace_records import CENSUS, Translator
from tracecorr.sources.trace_rows import Row
from tracecorr.sources.trace_sieve import Sieve
from tracecorr.sources.trace_waits import Waits
from tracecorr.sources.trace_window import Window
from tracecorr.syscalls.record import DescriptorFound, Record, UnfinishedRecord

NAME: Final = "tracefs"

# Nanoseconds that events are held back: for late ones of other CPUs, and until a look has told whose a connection is.
HELD_BACK: Final = 100_000_000

# So long they are held back where that look does not come to its turn.
LONGEST: Final = 1_000_000_000

# Seconds between two looks into buffers that do not fill up, and between two at who is still there.
_PAUSE: Final = 0.05
_CENSUS: Final = 2.0

# Events that are passed on between two looks at the clock.
_ROUND: Final = 256


_at: Final = attrgetter("at")


class TracefsTracing:
    """Processes that are being traced, from the first thread that could be found to the end of the last."""

    def __init__(self, recorder: Recorder, pids: Sequence[int]) -> None:
        """Raises NoSuchProcess, OSError.  The recorder is closed with this, or by whoever made it when this fails."""
        self._recorder = recorder
        self._numbers = itertools.count(1)
        self._ordered = Ordered()
        self._emitted = self._told = self._lost = 0
        self._more = False
        self._counted = 0.0
        self._offset = time.time_ns() - trace_clock()
        recorder.start(pids)
        found = recorder.follow(pids)
        # What ends from now on says so itself.
        living = {pid: alive for pid, tids in found.items() if (alive := [tid for tid in tids if _lives(pid, tid)])}
        if not living:
            raise NoSuchProcess(f"process {pids[0]} has ended")
        threads = {tid: pid for pid, tids in living.items() for tid in tids}
        self._join(list(picture(living, self._origin)), threads)
        recorder.attend()
        self._told = trace_clock()

    # What happened while the picture was taken is told by the events alone.
    def _join(self, seen: list[Record], threads: dict[int, int]) -> None:
        self._new: list[TraceEvent] = []
        rows: list[Row] = []
        self._recorder.read(self._new, rows)
        self._unfold(rows)
        window = Window(self._new, threads)
        self._first = [record for record in seen if window.untouched(record)]
        sockets = [it for it in seen if isinstance(it, DescriptorFound) and (it.target or "").startswith("socket:")]
        older = (Ends(it.local, it.peer) for it in sockets if it.state is TcpState.CLOSE_WAIT and it.local and it.peer)
        parts = self._recorder.ends
        self._waits = Waits(parts, older)
        ports = {it.local.port for it in sockets if it.state is TcpState.LISTEN and it.local}
        called = {it.peer.port for it in sockets if it.peer}
        self._sieve = Sieve(self._waits, parts, threads, {it.fd for it in sockets}, ports, called)
        self._translator = Translator(threads, self._waits, parts, self._origin, self._offset)
        self._translator.inside(record for record in self._first if isinstance(record, UnfinishedRecord))
        self._looks = Looks(self._waits, self._sieve.found, self._origin, self._offset)

    def _origin(self) -> Origin:
        return Origin(NAME, next(self._numbers))

    def records(self, tick: float) -> Iterator[Record | None]:
        """Yield what happens, and None at least every `tick` seconds, until the last traced thread has ended."""
        # What a thread slept in when we came is no news later: its return may be of a call that is not recorded.
        yield from (record for record in self._first if not isinstance(record, UnfinishedRecord))
        self._first = []
        due = time.monotonic() + tick
        while self._translator.threads:
            self._take(0.0 if self._more else min(tick, _PAUSE))
            yield from self._gaps()
            events = self._ordered.ripe(self._emitted)
            while True:
                batch = list(itertools.islice(events, _ROUND))
                yield from self._records(batch)
                if time.monotonic() >= due:
                    due = time.monotonic() + tick
                    yield None
                if not batch:
                    break
            self._told = max(self._told, self._emitted)
        yield from self._records(self._ordered.rest())
        self._told = trace_clock()

    def _records(self, events: Iterable[TraceEvent]) -> Iterator[Record]:
        void = self._sieve.void
        for event in events:
            if id(event) in void:
                void.discard(id(event))
            else:
                yield from self._translator.records(event)

    # New events, and what was found at the last look, whose surroundings are known now; then the next look.
    def _take(self, pause: float) -> None:
        self._recorder.buffers.wait(pause)
        began = trace_clock()
        rows: list[Row] = []
        whole = self._recorder.read(self._new, rows)
        self._unfold(row for row in rows if row.at > whole)
        self._unfold(self._sieve.concerned((row for row in rows if row.at <= whole), self._new))
        self._more = whole < began
        self._new.sort(key=_at)
        count = bisect_right(self._new, whole, key=_at)
        self._ordered.add(self._sieve.sift(self._new[:count], self._emitted))
        del self._new[:count]
        self._ordered.add(self._looks.placed(self._ordered.waiting(), self._emitted, whole, self._translator.threads))
        if time.monotonic() >= self._counted:
            self._counted = time.monotonic() + _CENSUS
            # Whoever came or went unseen, as events do when they are lost.
            self._ordered.add([TraceEvent(whole, CENSUS, (frozenset(self._recorder.followed()),))])
        self._looks.look(self._processes)
        self._emitted = max(self._emitted, self._limit(whole))
        self._recorder.watch(self._waits.staying())
        self._recorder.leave_out(self._sieve.unconcerned)

    def _unfold(self, rows: Iterable[Row]) -> None:
        for row in list(rows):
            self._recorder.buffers.unfold(row, self._new)

    # Whose a connection is comes before its FIN: until a look has told, the FIN waits, and all that follows.
    def _limit(self, whole: int) -> int:
        open_ = [began for began in (self._waits.oldest_unknown(), self._looks.oldest()) if began is not None]
        return max(min([whole - HELD_BACK, *(began - 2 for began in open_)]), whole - LONGEST)

    # Those that the kernel follows now; what is translated lags behind.
    def _processes(self) -> set[int]:
        threads = self._translator.threads
        return set(threads.values()) | {procfs.process_of(tid) for tid in self._recorder.followed() - threads.keys()}

    def _gaps(self) -> Iterator[Gap]:
        lost = self._recorder.buffers.lost
        if lost >= max(1, self._lost * 10):
            self._lost = lost
            self._counted = 0.0
            yield Gap("events were lost", f"the kernel's buffer was full: {lost} events and more", None, NAME, None)

    def interleave(self, records: Iterable[Record]) -> None:
        """Take what a look at the host has found now: records() yields it in its place among the events."""
        self._looks.place(records)

    @property
    def passed_over(self) -> int:
        """How many connections were accepted and closed in good order, so fast that nothing else is told of them."""
        return self._sieve.passed_over

    @property
    def lag(self) -> float:
        """How many seconds after they happened records() yields things, at the most."""
        return LONGEST / 1e9 + 10 * _PAUSE

    @property
    def told(self) -> int:
        """Up to which time, in nanoseconds since the epoch, records() has yielded everything."""
        return self._told + self._offset

    def close(self) -> None:
        """Take everything of ours out of the kernel."""
        self._recorder.close()


# proc(5): a zombie, or one that is just going.
def _lives(pid: int, tid: int) -> bool:
    try:
        return procfs.stat(pid, tid).state not in ("Z", "X")
    except NoSuchProcess:
        return False
