"""One side of a connection while a capture is read: its sequence numbers, and what it repeated.

Sequence numbers wrap at 2^32 (RFC 9293, 3.4).  Here they are counted on without end: `extended` gives the number that
is nearest to what this side has sent so far.
"""

from __future__ import annotations

from typing import Final

from tracecorr.captured import AfterFin, Half, Moment, Repeated, ZeroWindows
from tracecorr.events import Origin

# Time and number of a frame; a Moment is made of it in the end.
Now = tuple[int, int]

_WRAP: Final = 1 << 32
_HALF_WAY: Final = 1 << 31

# Segments that arrive out of order are late by no more: the same bound as Wireshark's.
_OUT_OF_ORDER: Final = 3_000_000

# A capture on several interfaces has a packet more than once, within that time.  Some systems number no packets (their
# IP identification is 0), and may repeat one in earnest after the shortest retransmission time-out, which is longer.
_CAPTURED_TWICE: Final = 100_000_000
_CAPTURED_TWICE_UNNUMBERED: Final = 5_000_000
_REMEMBERED: Final = 8

# Who leaves more holes than that does it on purpose.
_HOLES: Final = 64


class Count:
    """Something that happens again: how often, first and last."""

    __slots__ = ("first", "last", "times")

    def __init__(self, now: Now) -> None:
        self.first = self.last = now
        self.times = 1

    def again(self, now: Now) -> None:
        self.last = now
        self.times += 1


class Sent:
    """New data of a side after the other side's FIN; `start` is where in its sequence numbers that begins."""

    __slots__ = ("acknowledged", "bytes", "first", "last", "longest_pause", "reset", "segments", "start")

    def __init__(self, now: Now, start: int) -> None:
        self.first = self.last = now
        self.start = start
        self.segments = self.bytes = self.longest_pause = 0
        self.acknowledged: Now | None = None
        self.reset: Now | None = None

    def more(self, now: Now, size: int) -> None:
        self.longest_pause = max(self.longest_pause, now[0] - self.last[0])
        self.last = now
        self.segments += 1
        self.bytes += size


class Side:
    """What one side has sent so far.

    `start` and `next` are the sequence numbers of its first byte of data and of the next one, None until one is known;
    `acked` is how far the other side has acknowledged, `fin_end` the number after its FIN.  `closed` is since when its
    window is closed.  `holes` are ranges that were passed over, with the time at which that was seen.
    """

    __slots__ = (
        "acked", "acknowledged", "after_fin", "closed", "fin", "fin_acknowledged", "fin_end", "fins", "first_data",
        "holes", "keep_alives", "last", "last_data", "lost", "next", "probe_end", "probes", "recent", "reset",
        "retransmissions", "scale", "segments", "start", "syn", "zero_windows",
    )  # fmt: skip

    def __init__(self) -> None:
        self.start = self.next = 0
        self.probe_end = 0
        self.acked: int | None = None
        self.fin_end: int | None = None
        self.fins = self.segments = self.lost = 0
        self.syn: Now | None = None
        self.fin: Now | None = None
        self.fin_acknowledged: Now | None = None
        self.reset: Now | None = None
        self.first_data: Now | None = None
        self.last_data: Now | None = None
        self.acknowledged: Now | None = None
        self.last: Now | None = None
        self.closed: Now | None = None
        self.zero_windows: Count | None = None
        self.probes: Count | None = None
        self.retransmissions: Count | None = None
        self.keep_alives: Count | None = None
        self.after_fin: Sent | None = None
        self.scale: int | None = None
        self.holes: list[tuple[int, int, int]] = []
        self.recent: list[tuple[int, int]] = []

    @property
    def known(self) -> bool:
        """Whether anything is known of its sequence numbers."""
        return self.segments > 0 or self.acked is not None

    def extended(self, number: int) -> int:
        """Return a sequence number of the header as one that does not wrap."""
        return self.next + (number - self.next + _HALF_WAY) % _WRAP - _HALF_WAY

    def begin(self, number: int) -> None:
        """Take this as the first number that is known of it."""
        self.start = self.next = self.probe_end = number

    def repeat(self, what: str, now: Now) -> None:
        """Count one more of `what`: zero_windows, probes, retransmissions, keep_alives."""
        count: Count | None = getattr(self, what)
        if count is None:
            setattr(self, what, Count(now))
        else:
            count.again(now)

    def pass_over(self, end: int, at: int) -> None:
        """Note that numbers up to `end` were passed over: sent, and not in the capture, or not yet."""
        if len(self.holes) >= _HOLES:
            self.holes.pop(0)
            self.lost += 1
        self.holes.append((self.next, end, at))
        self.next = end

    def fill(self, start: int, end: int, at: int) -> bool:
        """Close holes with what came late, and say whether it was merely late, rather than sent again."""
        touched = [hole for hole in self.holes if start < hole[1] and end > hole[0]]
        for hole in touched:
            self.holes.remove(hole)
            if hole[0] < start:
                self.holes.append((hole[0], start, hole[2]))
            if end < hole[1]:
                self.holes.append((end, hole[1], hole[2]))
        while len(self.holes) > _HOLES:
            self.holes.pop(0)
            self.lost += 1
        return bool(touched) and at - touched[0][2] <= _OUT_OF_ORDER

    def remember(self, identity: tuple[int, bytes] | None, at: int) -> None:
        """Keep what tells this packet from others."""
        if identity is not None:
            self.recent.append((at, _digest(identity)))
            if len(self.recent) > _REMEMBERED:
                del self.recent[0]

    def captured_twice(self, identity: tuple[int, bytes] | None, at: int) -> bool:
        """Say whether this is a packet that the capture has already, rather than one that was sent again."""
        if identity is None:
            return False
        limit = _CAPTURED_TWICE if identity[0] else _CAPTURED_TWICE_UNNUMBERED
        digest = _digest(identity)
        return any(known == digest and at - before <= limit for before, known in self.recent)

    def finish(self, end: int, now: Now) -> None:
        """Note a FIN; `end` is the number after it."""
        self.fins += 1
        if self.fin is not None:
            return
        self.fin, self.fin_end = now, end
        if self.acked is not None and self.acked >= end:
            # The acknowledgement was captured before it.
            self.fin_acknowledged = self.acknowledged

    def window(self, now: Now, size: int, *, answers: bool) -> None:
        """Note the window that a segment offers; one that `answers` nothing (has no ACK) closes none."""
        if size:
            self.closed = None
        elif answers:
            self.repeat("zero_windows", now)
            self.closed = self.closed or now

    def half(self, source: str) -> Half:
        """Return all this as plain values."""

        def moment(now: Now | None) -> Moment | None:
            return None if now is None else _moment(now, source)

        return Half(
            syn=moment(self.syn), fin=moment(self.fin), fins=self.fins, fin_acknowledged=moment(self.fin_acknowledged),
            reset=moment(self.reset), first_data=moment(self.first_data), last_data=moment(self.last_data),
            bytes=max(0, self._data_end - self.start), outstanding=self._outstanding,
            acknowledged=moment(self.acknowledged), after_fin=_after_fin(self.after_fin, source),
            zero_windows=_zero_windows(self.zero_windows, self.closed, source), probes=_repeated(self.probes, source),
            retransmissions=_repeated(self.retransmissions, source), keep_alives=_repeated(self.keep_alives, source),
            segments=self.segments, last=moment(self.last), window_scale=self.scale, lost=self._lost,
            end_lost=any(end == self.next for _, end, _ in self.holes),
        )  # fmt: skip

    # A FIN takes one number and is no data.
    @property
    def _data_end(self) -> int:
        return self.next if self.fin_end is None else min(self.next, self.fin_end - 1)

    @property
    def _outstanding(self) -> int:
        end = max(self._data_end, self.probe_end)
        return max(0, end - max(self.start, self.start if self.acked is None else self.acked))

    # What the other side has acknowledged it has received: where the capture lacks it, the capture has lost it.
    @property
    def _lost(self) -> int:
        acked = self.acked
        return self.lost + (0 if acked is None else sum(1 for start, _, _ in self.holes if start < acked))


def _digest(identity: tuple[int, bytes]) -> int:
    number, header = identity
    # Without the checksum, which the network card may fill in between the one interface and the other.
    return hash((number, header[:16], header[18:]))


def _moment(now: Now, source: str) -> Moment:
    return Moment(now[0], Origin(source, now[1]))


def _repeated(count: Count | None, source: str) -> Repeated | None:
    if count is None:
        return None
    return Repeated(_moment(count.first, source), _moment(count.last, source), count.times)


def _zero_windows(count: Count | None, closed: Now | None, source: str) -> ZeroWindows | None:
    if count is None:
        return None
    since = None if closed is None else _moment(closed, source)
    return ZeroWindows(_moment(count.first, source), _moment(count.last, source), count.times, since)


def _after_fin(sent: Sent | None, source: str) -> AfterFin | None:
    if sent is None:
        return None
    return AfterFin(
        first=_moment(sent.first, source), last=_moment(sent.last, source), segments=sent.segments, bytes=sent.bytes,
        longest_pause=sent.longest_pause,
        acknowledged=None if sent.acknowledged is None else _moment(sent.acknowledged, source),
        reset=None if sent.reset is None else _moment(sent.reset, source),
    )  # fmt: skip
