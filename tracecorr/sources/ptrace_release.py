"""Letting go of traced threads, each as it was: PTRACE_DETACH needs the thread to be stopped (ptrace(2))."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from tracecorr.sources.metronome import Metronome
from tracecorr.sources.ptrace_calls import (
    BIRTHS,
    PTRACE_DETACH,
    PTRACE_EVENT_EXEC,
    ended,
    event_message,
    interrupt,
    resume,
    signal_of,
    stop_of,
    stops,
)

_GRACE: Final = 0.02  # seconds in which a busy thread stops by itself
_BEAT: Final = 0.02
_LOST: Final = 0.2  # seconds after which a stop would have been reported
_PATIENCE: Final = 10.0


class Release:
    """Detaches threads, and the children that they make meanwhile."""

    def __init__(self, tids: Iterable[int], spare: Iterable[int]) -> None:
        self._left = set(tids)
        self._gone: set[int] = set()
        self._spare = frozenset(spare)

    def run(self, held: dict[int, int]) -> set[int]:
        """Let go of all; return the threads that the kernel cannot stop now (in an uninterruptible sleep).

        `held` are stops that were taken note of and not answered.  Busy threads come to a stop by themselves; those
        that sleep are interrupted, and their call goes on as after a stop and continuation (signal(7)).
        """
        for tid, status in held.items():
            self._detach(tid, status)
        beat = Metronome()
        beat.start(_BEAT)
        try:
            self._collect(time.monotonic() + _GRACE, ask=False)
            self._collect(time.monotonic() + _PATIENCE, ask=True)
        finally:
            beat.stop()
        return self._left

    def _collect(self, deadline: float, *, ask: bool) -> None:
        lost = time.monotonic() + _LOST
        while self._left and time.monotonic() < deadline:
            if ask:
                for tid in [tid for tid in self._left if not interrupt(tid)]:
                    self._left.discard(tid)
                    self._reap(tid)
            for tid, status in stops(len(self._left) + 1, block=True) if self._left else ():
                self._detach(tid, status)
            self._left -= {tid for tid in self._left if self._reap(tid)}
            if ask and time.monotonic() > lost:
                # Whoever waits for its own child, which we trace, takes its stops as well.
                for tid in list(self._left):
                    if (stop := stop_of(tid)) is not None:
                        self._detach(tid, stop)

    def _detach(self, tid: int, status: int) -> None:
        event = status >> 8
        if event in BIRTHS:
            child = event_message(tid)
            if child and child not in self._gone:
                self._left.add(child)
        elif event == PTRACE_EVENT_EXEC:
            former = event_message(tid)
            if former:
                self._left.discard(former)
        if resume(PTRACE_DETACH, tid, signal_of(status)) or self._reap(tid):
            self._left.discard(tid)
            self._gone.add(tid)

    # A dead thread of somebody else's child must be waited for by its tracer before its parent is told.
    def _reap(self, tid: int) -> bool:
        return ended(tid, reap=tid not in self._spare) is not None
