"""Times of a log as nanoseconds: since the epoch, of the (first) day, or summed from deltas."""

from __future__ import annotations

from typing import Final

_HOUR: Final = 3600 * 10**9
_DAY: Final = 24 * _HOUR


class Clock:
    """Reads the time column of one log; `kind` is what its times turned out to mean (see Tally.clock)."""

    __slots__ = ("_last", "_minutes", "_shift", "kind")

    def __init__(self) -> None:
        self.kind: str | None = None
        self._minutes: dict[bytes, int] = {}
        self._shift = 0
        self._last = 0

    def read(self, text: bytes) -> int:
        """Return an absolute time, "HH:MM:SS.uuuuuu" or seconds since the epoch, in nanoseconds."""
        if text[2:3] != b":":
            self.kind = "epoch"
            return self.length(text)
        self.kind = "day"
        minute = self._minutes.get(text[:5])
        if minute is None:
            minute = (int(text[:2]) * 60 + int(text[3:5])) * 60 * 10**9
            self._minutes[text[:5]] = minute
        at = minute + self.length(text[6:])
        return self._continued(at)

    # Time of day wraps at midnight, and falls back an hour at the end of summer time.
    def _continued(self, at: int) -> int:
        back = self._last - (at + self._shift)
        if back > _HOUR // 2:
            if back > _DAY // 2:
                self._shift += _DAY
            elif back < _HOUR + _HOUR // 2:
                self._shift += _HOUR
            self._last = 0
        at += self._shift
        self._last = max(self._last, at)
        return at

    def advance(self, delta: bytes) -> int:
        """Return the time after `delta` seconds more (strace -r)."""
        self.kind = self.kind or "relative"
        self._last += self.length(delta)
        return self._last

    @staticmethod
    def length(text: bytes) -> int:
        """Return seconds with any number of decimals as nanoseconds."""
        whole, _, fraction = text.partition(b".")
        return int(whole) * 10**9 + (int(fraction[:9].ljust(9, b"0")) if fraction else 0)
