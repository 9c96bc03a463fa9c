"""When a listing was taken, on the clock of a log: what it shows must have been true at that moment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tracecorr.joining.survey import Life
from tracecorr.kernel import TcpState
from tracecorr.snapshot import SocketRow

# Our FIN has been sent, or is queued, in these (RFC 9293, 3.3.2).
_ENDING: Final = frozenset(
    [TcpState.FIN_WAIT1, TcpState.FIN_WAIT2, TcpState.CLOSING, TcpState.TIME_WAIT, TcpState.LAST_ACK]
)


@dataclass(slots=True)
class Window:
    """The times at which all that a listing shows of a log's connections is true; None is no bound."""

    low: int | None = None
    high: int | None = None
    matched: int = 0

    def not_before(self, at: int | None) -> None:
        if at is not None:
            self.low = at if self.low is None else max(self.low, at)

    def not_after(self, at: int | None) -> None:
        if at is not None:
            self.high = at if self.high is None else min(self.high, at)

    @property
    def empty(self) -> bool:
        """Whether no moment fits: the listing and the log contradict each other, or the listing took its time."""
        return self.low is not None and self.high is not None and self.low > self.high

    def has(self, at: int) -> bool:
        return (self.low is None or at >= self.low) and (self.high is None or at <= self.high)


def window_of(pairs: Iterable[tuple[Life, SocketRow]]) -> Window:
    """Return when a listing can have been taken that shows these rows of these connections."""
    window = Window()
    for life, row in pairs:
        window.matched += 1
        window.not_before(life.opened_at)
        if row.state in _ENDING:
            window.not_before(life.fin.at if life.fin is not None else None)
        else:
            window.not_after(life.ended_at)
        if row.state is TcpState.CLOSE_WAIT and row.receive_queue == 0:
            window.not_before(life.read_at)
        elif row.state is TcpState.CLOSE_WAIT and row.receive_queue:
            window.not_after(life.read_at)
    return window


@dataclass(frozen=True, slots=True)
class Place:
    """`at` on the log's clock, None for after all of it; `doubted` says that the file's time cannot be right."""

    at: int | None
    doubted: bool = False


def place(window: Window, told: int | None, *, sure: bool) -> Place:
    """Return when a listing was taken.

    `told` is the time that somebody gave (`sure`) or that its file has, which a copy of the file may have changed.
    """
    if told is not None and (sure or not window.matched or window.empty or window.has(told)):
        return Place(told)
    if window.high is not None and not window.empty:
        # The latest moment that fits: what was stuck has been so for the longest time.
        return Place(window.high - 1, doubted=told is not None)
    return Place(None, doubted=told is not None and bool(window.matched))
