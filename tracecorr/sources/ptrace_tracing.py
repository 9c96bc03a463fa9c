"""The loop of the ptrace engine: threads stop, each stop is read and answered, and only then told of.

Every stop of a batch is answered before the first record is handed out, so whenever our caller is at work no thread
waits for us but by its next stop.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final

from tracecorr.errors import NoSuchProcess
from tracecorr.events import Gap
from tracecorr.sources import procfs
from tracecorr.sources.call_records import CallRecords, is_foreign, plan_of
from tracecorr.sources.metronome import Metronome
from tracecorr.sources.picture import picture
from tracecorr.sources.process_numbers import ProcessNumbers
from tracecorr.sources.ptrace_calls import (
    BIRTHS,
    PTRACE_CONT,
    SYSCALL_STOP,
    await_change,
    ended,
    event_message,
    interrupt,
    resume,
    signal_of,
    stop_of,
    stops,
)
from tracecorr.sources.ptrace_release import Release
from tracecorr.sources.ptrace_seize import seize
from tracecorr.sources.ptrace_stops import Stops
from tracecorr.sources.stacks import Stacks
from tracecorr.sources.syscall_info import EXIT, FIRST, NATIVE_ENTRY, NUMBER, WORDS, Reader
from tracecorr.sources.tracee import Tracee
from tracecorr.syscalls.record import Record

_BEAT: Final = 0.02
_STOPPED_WITHIN: Final = 0.5  # seconds; a thread in an uninterruptible sleep does not stop, and opens nothing
_TIME_TO_END: Final = 2.0  # seconds
_ATTEMPTS: Final = 50 if len(os.sched_getaffinity(0)) > 1 else 0  # they take about as long as to wake another CPU
_USELESS: Final = 4  # waits in a row in which that was in vain; then it is tried again at times
_RETRY: Final = 16
_WATCHED: Final = 64  # threads that are looked after at a tick


class PtraceTracing:
    """Processes that are traced by the thread which made this.

    `seized` are their threads, each with its process; `go` is the request that lets a thread run on.  Children of ours
    that nobody else waits for are `own`; `release` lets one that is held back begin.  `stacks` takes stacks.
    """

    def __init__(
        self, source: str, seized: dict[int, int], go: int, read: Reader, own: Sequence[int] = (),
        release: Callable[[], None] = lambda: None, *, stacks: Stacks | None = None,
    ) -> None:  # fmt: skip
        self._calls = CallRecords(source, stacks)
        self._stacks = stacks
        self._numbers = ProcessNumbers()
        self._stops = Stops(self._calls, self._numbers)
        self._metronome = Metronome()
        self._read = read
        self._go = go
        self._processes = seized
        self._own = frozenset(own)
        self._release = release
        self._held: dict[int, int] = {}
        self._watched = 0
        self._slept = 0
        self._closed = False
        for tid in seized:
            self._stops.tracees[tid] = Tracee(tid, go, self._numbers.of(tid))
        self._stops.children.update(pid for pid in seized.values() if pid not in self._own and _is_child(pid))

    def records(self, tick: float) -> Iterator[Record | None]:
        """Yield the picture, then what happens."""
        self._beginning()
        yield from self._taken()
        self._metronome.start(tick / 2)
        next_tick = time.monotonic() + tick
        while self._stops.tracees and not self._closed:
            self._batch(self._next_stops())
            if self._stops.dying:
                self._stops.bury(time.time_ns())
            if self._calls.ready:
                yield from self._taken()
            if time.monotonic() >= next_tick:
                self._look_around()
                yield from self._taken()
                yield None
                next_tick = time.monotonic() + tick
        yield from self._taken()

    def _taken(self) -> list[Record]:
        return self._calls.taken()

    def _next_stops(self) -> list[tuple[int, int]]:
        tracees, dying = self._stops.tracees, self._stops.dying
        if dying and (changed := await_change()) not in tracees and changed:
            time.sleep(0.001)  # a child of the program around us has ended, and waits for that to be noticed
        found = stops(len(tracees), block=False) if dying else self._await_stops()
        if not found and not dying:
            time.sleep(0.001)  # a beat, or there is nobody to wait for: the next look around will tell
        return found

    # The next stop of a busy thread comes within microseconds.  To sleep until then, and to be woken from another CPU,
    # takes longer than all that is to be done: it is asked for again and again, as long as that has been of use.
    def _await_stops(self) -> list[tuple[int, int]]:
        most = len(self._stops.tracees)
        self._slept += 1
        for _ in range(_ATTEMPTS if self._slept < _USELESS or self._slept % _RETRY == 0 else 0):
            if found := stops(most, block=False):
                self._slept = 0
                return found
        return stops(most, block=True)

    # The hot loop.  A call that means nothing costs two stops, one question and two answers.
    def _batch(self, batch: list[tuple[int, int]]) -> None:
        now = time.time_ns()
        tracees, read = self._stops.tracees, self._read
        tid, status = 0, 0
        try:
            for tid, status in batch:
                tracee = tracees.get(tid)
                if status != SYSCALL_STOP or tracee is None:
                    self._stops.answer(tid, status, now)
                    continue
                if tracee.call is None:
                    if read(tid, False):
                        self._entered(tracee, now)
                elif tracee.plan is None and tracee.told is None:
                    tracee.call = None
                elif read(tid, True):
                    self._calls.returned(tracee, now)
                resume(tracee.go, tid)
        except BaseException:
            self._held.update(batch[batch.index((tid, status)) :])
            raise

    def _entered(self, tracee: Tracee, now: int) -> None:
        first = WORDS[FIRST]
        if first & 0xFF == EXIT:
            return  # the end of a call that began before we looked
        tracee.call = number = WORDS[NUMBER]
        tracee.entered = now
        if first != NATIVE_ENTRY or is_foreign(number):
            self._calls.foreign(tracee)
        elif (plan := plan_of(number)) is not None:
            self._calls.entered(tracee, plan, now)
        else:
            self._calls.meaningless(tracee, number)

    def _beginning(self) -> None:
        """Wait until all threads have stopped, take the picture, and let them run."""
        self._metronome.start(_BEAT)
        deadline = time.monotonic() + _STOPPED_WITHIN
        self._stop(set(self._stops.tracees), deadline)
        while new := self._newcomers():
            self._stop(new, deadline)
        threads: dict[int, list[int]] = {}
        for tid, pid in self._processes.items():
            threads.setdefault(pid, []).append(tid)
        self._calls.ready += picture(threads, self._calls.origin)
        self._release()
        held, self._held = self._held, {}
        self._batch(list(held.items()))

    def _stop(self, waiting: set[int], deadline: float) -> None:
        for tid in waiting:
            interrupt(tid)
        while waiting and time.monotonic() < deadline:
            for tid, status in stops(len(waiting) + 1, block=True):
                if number := signal_of(status):
                    resume(self._go, tid, number)  # not ours to keep that long
                    interrupt(tid)
                    continue
                self._held[tid] = status
                waiting.discard(tid)
                child = event_message(tid) if status >> 8 in BIRTHS else None
                for known in (tid, child):
                    if known and self._meet(known) and known not in self._held:
                        waiting.add(known)
            waiting -= {tid for tid in waiting if ended(tid, reap=False) is not None}

    # A thread that the kernel has seized for us.
    def _meet(self, tid: int) -> bool:
        if tid in self._stops.tracees:
            return False
        self._stops.tracees[tid] = Tracee(tid, self._go, self._numbers.of(tid))
        self._processes[tid] = procfs.process_of(tid)
        return True

    def _newcomers(self) -> set[int]:
        try:
            new = seize(set(self._processes.values()), self._stops.tracees)
        except NoSuchProcess:
            return set()
        self._processes.update(new)
        for tid in new:
            self._stops.tracees[tid] = Tracee(tid, self._go, self._numbers.of(tid))
        return set(new)

    # Seldom, and never in a hurry: what calls threads are in, who has died unseen, and whose stop got lost.
    def _look_around(self) -> None:
        now = time.time_ns()
        tracees = self._stops.tracees
        for tracee in tracees.values():
            self._calls.still_inside(tracee)
        for tid in list(self._stops.strangers):
            if self._meet(tid):
                self._calls.ready.append(
                    Gap("a fork unseen", f"task {tid} came from nowhere", None, *self._calls.origin())
                )
            self._stops.claim(tid, now)
        tids = list(tracees)
        first = self._watched % max(1, len(tids))
        self._watched = first + _WATCHED
        for tid in tids[first : first + _WATCHED]:
            self._look_after(tid, now)

    # Whoever waits for its own child, which we trace, takes its stops as well (wait(2)).
    def _look_after(self, tid: int, now: int) -> None:
        if ended(tid, reap=False) is not None:
            self._stops.dying.add(tid)
            return
        status = stop_of(tid)
        if status is None:
            return
        batch = stops(len(self._stops.tracees), block=False)
        if tid not in dict(batch):
            batch.append((tid, status))
        self._batch(batch)

    def close(self) -> None:
        """Let go of all threads."""
        if self._closed:
            return
        self._closed = True
        if self._go == PTRACE_CONT:
            self._end()
        self._metronome.stop()
        release = Release({*self._stops.tracees, *self._stops.strangers}, self._stops.children)
        release.run({**self._stops.strangers, **self._held})
        if self._stacks is not None:
            self._stacks.close()

    # A program under a filter is lost without a tracer (see seccomp_filter): it is asked to end, and then made to.
    def _end(self) -> None:
        for pid in self._own:
            _kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _TIME_TO_END
        self._metronome.start(_BEAT)
        while self._stops.tracees and time.monotonic() < deadline:
            self._batch(self._next_stops())
            self._stops.bury(time.time_ns())
        for tid in self._stops.tracees:
            _kill(tid, signal.SIGKILL)


def _kill(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _is_child(pid: int) -> bool:
    try:
        return procfs.stat(pid).parent == os.getpid()
    except NoSuchProcess:
        return False
