"""Connections in CLOSE_WAIT: those that leave it at once, as healthy ones do, are told to nobody.

The kernel tells of every connection on the host.  Events are seen twice: when they come, and a while later, when they
are told: what is known by then decides whether they are.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from tracecorr.events import Endpoint
from tracecorr.kernel import TCP_STATES, TcpState
from tracecorr.sources.ring_buffer import TraceEvent
from tracecorr.sources.trace_ends import Ends, ends_of

_CLOSE_WAIT: Final = TCP_STATES.index(TcpState.CLOSE_WAIT)
_FIN_WAIT1: Final = TCP_STATES.index(TcpState.FIN_WAIT1)

# Nanoseconds that a connection must have been in CLOSE_WAIT to be told; less than events are held back.
STAY: Final = 50_000_000


@dataclass(slots=True)
class _Wait:
    """One stay in CLOSE_WAIT, and the event that began it; `ours` when a traced process is known to hold the socket."""

    event: TraceEvent
    ends: Ends | None = None
    ours: bool | None = None

    @property
    def began(self) -> int:
        return self.event.at


class Waits:
    """Which sockets are in CLOSE_WAIT, by the address of the kernel's structure, the only name that events have."""

    def __init__(self, parts: struct.Struct, older: Iterable[Ends]) -> None:
        """`parts` is for ends_of(); `older` are connections that were in CLOSE_WAIT before the first event."""
        self._parts = parts
        self._older = set(older)
        self._now: dict[int, _Wait] = {}
        self._unasked: dict[int, _Wait] = {}
        self._by_ends: dict[Ends, _Wait] = {}
        self._foreign: set[int] = set()
        self._told: dict[int, Ends] = {}

    def note_state(self, event: TraceEvent, drop: Callable[[TraceEvent], bool]) -> bool:
        """Take in a change of state as it comes, in order of time; say whether it is of interest.

        A stay that was brief is taken back: `drop` is asked to drop the event that began it, if it still can.
        """
        _, sk, old, new, _ = event.values
        if new == _CLOSE_WAIT:
            self._now[sk] = self._unasked[sk] = _Wait(event)
        elif old == _CLOSE_WAIT:
            return self._note_end(sk, event.at, drop)
        elif new == _FIN_WAIT1:
            return False
        return True

    def _note_end(self, sk: int, at: int, drop: Callable[[TraceEvent], bool]) -> bool:
        self._unasked.pop(sk, None)
        wait = self._now.pop(sk, None)
        if wait is None:
            return bool(self._older)
        if wait.ends is not None and self._by_ends.get(wait.ends) is wait:
            del self._by_ends[wait.ends]
        self._foreign.discard(id(wait.event))
        return at - wait.began >= STAY or not drop(wait.event)

    def note_read(self, sk: int) -> None:
        """A traced task has read the end of file of this socket."""
        wait = self._now.get(sk)
        if wait is not None:
            wait.ours = True

    def unknown(self, now: int) -> set[Ends]:
        """Return the connections that have stayed, and of which nobody has said yet whose they are."""
        asked: set[Ends] = set()
        for wait in self._unasked.values():
            if now - wait.began < STAY:
                break  # the younger ones follow
            wait.ends = wait.ends or ends_of(self._parts, wait.event.values[4])
            if wait.ends is not None:
                self._by_ends[wait.ends] = wait
                asked.add(wait.ends)
        return asked

    def oldest_unknown(self) -> int | None:
        """Return since when the oldest connection has been in CLOSE_WAIT of which nobody has said whose it is."""
        return min((wait.began for wait in self._unasked.values()), default=None)

    def answer(self, ends: Ends, *, ours: bool) -> None:
        """Say whether a traced process holds the connection, or might accept it."""
        wait = self._by_ends.get(ends)
        if wait is not None:
            wait.ours = wait.ours or ours
            self._unasked.pop(wait.event.values[1], None)
            if not wait.ours:
                self._foreign.add(id(wait.event))

    def ask_again(self, local: Endpoint | None, peer: Endpoint | None) -> None:
        """What was found of this connection can not be used."""
        if (wait := self._wait(local, peer)) is not None:
            self._unasked[wait.event.values[1]] = wait

    def began(self, local: Endpoint | None, peer: Endpoint | None) -> int | None:
        """Return when the connection went into CLOSE_WAIT, if it is in it."""
        wait = self._wait(local, peer)
        return wait.began if wait is not None else None

    def _wait(self, local: Endpoint | None, peer: Endpoint | None) -> _Wait | None:
        return self._by_ends.get(Ends(local, peer)) if local is not None and peer is not None else None

    def staying(self) -> set[int]:
        """Return the sockets that are in CLOSE_WAIT to stay and may be ours."""
        return {sk for sk, wait in self._now.items() if wait.ours or (wait.ours is None and sk in self._told)}

    def told(self, event: TraceEvent) -> Ends | None:
        """Return the ends of a change of state that is to be told, None for one of a connection that is not ours."""
        _, sk, _, new, data = event.values
        if new == _CLOSE_WAIT:
            if id(event) in self._foreign:
                self._foreign.discard(id(event))
                return None
            if (ends := ends_of(self._parts, data)) is not None:
                self._told[sk] = ends
            return ends
        if (ends := self._told.pop(sk, None)) is not None:
            return ends
        ends = ends_of(self._parts, data) if self._older else None
        if ends in self._older:
            self._older.discard(ends)
            return ends
        return None

    def ends_of(self, sk: int) -> Ends | None:
        """Return the ends of a connection in CLOSE_WAIT that was told."""
        return self._told.get(sk)
