"""Conversations: what the segments of a capture say of each connection, in memory that does not grow with them.

The rules are those of RFC 9293 and of the systems that we know; tests hold them against Wireshark's.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import Final

from tracecorr.captured import Conversation, Moment
from tracecorr.events import Endpoint, Origin
from tracecorr.sources.packets import ACK, FIN, RST, SYN, Segment
from tracecorr.sources.sides import Now, Sent, Side

# No window is larger (RFC 7323, 2.3): a number farther away is of another connection, or made up.
_LARGEST_WINDOW: Final = 1 << 30
# A reset that is far from what was sent last is not believed, as no host would (RFC 5961, 3.2), nor is a segment far
# from there one of a connection that has ended.
_NEAR: Final = 1 << 24


_UNANSWERED: Final = 1 << 17
# How often the attempts are counted: looking at all of them takes its time.
_SWEEP: Final = 1 << 10


class _Flow:
    __slots__ = ("duplicates", "ends", "established", "first", "last", "opener", "sides")

    def __init__(self, ends: tuple[bytes, bytes], now: Now) -> None:
        self.ends = ends
        self.sides = (Side(), Side())
        self.first = self.last = now
        self.opener: int | None = None
        self.established = False
        self.duplicates = 0

    @property
    def ended(self) -> bool:
        one, two = self.sides
        if one.reset is not None or two.reset is not None:
            return True
        return one.fin_acknowledged is not None and two.fin_acknowledged is not None


class Conversations:
    """All connections of one capture; `add` takes its segments in order.

    Of attempts that nobody answered (a scan, a flood of SYNs) no more than `unanswered` are kept, the latest ones;
    `forgotten` counts the others.
    """

    def __init__(self, source: str, unanswered: int = _UNANSWERED) -> None:
        self._source = source
        self._unanswered = unanswered
        self.forgotten = 0
        self._flows: dict[tuple[bytes, bytes], _Flow] = {}
        self._past: list[_Flow] = []

    def add(self, segment: Segment, at: int, number: int) -> None:
        """Take the segment of frame `number`."""
        now = (at, number)
        one, two = segment.source, segment.destination
        ends = (one, two) if one < two else (two, one)
        index = int(one != ends[0])
        flow = self._flows.get(ends)
        if flow is None:
            if len(self._flows) >= self._unanswered and not len(self._flows) % _SWEEP:
                self._forget()
            flow = self._flows[ends] = _Flow(ends, now)
        elif _is_another(flow, index, segment):
            self._past.append(flow)
            flow = self._flows[ends] = _Flow(ends, now)
        flow.last = now
        _take(flow, index, segment, now)

    def _forget(self) -> None:
        oldest = islice(self._flows.items(), self._unanswered // 2)
        gone = [ends for ends, flow in oldest if not flow.established and not all(side.segments for side in flow.sides)]
        for ends in gone:
            del self._flows[ends]
        self.forgotten += len(gone)

    def finish(self) -> Iterator[Conversation]:
        """Yield the conversations in the order in which they began."""
        flows = sorted([*self._past, *self._flows.values()], key=lambda flow: flow.first[1])
        self._past, self._flows = [], {}
        flows.reverse()
        while flows:
            yield self._conversation(flows.pop())

    def _conversation(self, flow: _Flow) -> Conversation:
        order = (1, 0) if flow.opener == 1 else (0, 1)
        first, second = (_endpoint(flow.ends[index]) for index in order)
        one, two = (flow.sides[index].half(self._source) for index in order)
        return Conversation(
            ends=(first, second), halves=(one, two), first=self._moment(flow.first), last=self._moment(flow.last),
            opener=None if flow.opener is None else first, established=flow.established, duplicates=flow.duplicates,
        )  # fmt: skip

    def _moment(self, now: Now) -> Moment:
        return Moment(now[0], Origin(self._source, now[1]))


def _endpoint(end: bytes) -> Endpoint:
    return Endpoint(_address(end[:-2]), int.from_bytes(end[-2:], "big"))


@lru_cache(4096)
def _address(packed: bytes) -> str:
    return str(ipaddress.ip_address(packed))


# The same ports are used again: by a SYN with another sequence number, or after the end, by one far from the old ones.
def _is_another(flow: _Flow, index: int, segment: Segment) -> bool:
    me, you = flow.sides[index], flow.sides[1 - index]
    if segment.flags & RST:
        return False
    if segment.flags & SYN:
        if me.segments and (me.syn is not None or flow.established):
            return me.start % (1 << 32) != (segment.sequence + 1) % (1 << 32)
        # The other side was seen in the middle of something: an answer to our SYN would be a SYN itself.
        return you.segments > 0 and you.syn is None and you.reset is None
    return flow.ended and me.known and abs(me.extended(segment.sequence) - me.next) > _NEAR


def _take(flow: _Flow, index: int, segment: Segment, now: Now) -> None:
    me, you = flow.sides[index], flow.sides[1 - index]
    flags = segment.flags
    if flags & RST:
        _reset(me, you, segment, now)
        return
    me.last = now
    sequence = _begin(flow, index, segment, now)
    me.segments += 1
    if flags & ACK:
        _acknowledge(me, you, segment, now)
    _advance(flow, me, you, segment, sequence, now)
    if not flags & SYN:
        flow.established = True
        if not flags & FIN:
            me.window(now, segment.window, answers=bool(flags & ACK))


def _is_near(side: Side, number: int) -> bool:
    return side.known and abs(side.extended(number) - side.next) <= _NEAR


def _reset(me: Side, you: Side, segment: Segment, now: Now) -> None:
    # The answer to a SYN counts from 0 (RFC 9293, 3.5.2), and is told by what it acknowledges.
    answers = segment.flags & ACK and _is_near(you, segment.acknowledgment)
    if me.known and not answers and not _is_near(me, segment.sequence):
        return
    me.segments += 1
    me.last = now
    if me.reset is not None:
        return
    me.reset = now
    if you.after_fin is not None:
        you.after_fin.reset = now


# Returns the extended sequence number of the segment's first byte of data, or of its FIN.
def _begin(flow: _Flow, index: int, segment: Segment, now: Now) -> int:
    me = flow.sides[index]
    if segment.flags & SYN:
        return _synchronise(flow, index, segment, now)
    if not me.known:
        me.begin(segment.sequence)
        return segment.sequence
    sequence = me.extended(segment.sequence)
    if not me.segments:
        # Until now there was only what the other side acknowledged, which may lie behind what is in flight.
        if sequence > me.next:
            me.begin(sequence)
        me.start = min(me.start, sequence)
    return sequence


def _synchronise(flow: _Flow, index: int, segment: Segment, now: Now) -> int:
    me = flow.sides[index]
    if not flow.established:
        # Refused before, and tried again with the same numbers.
        me.reset = flow.sides[1 - index].reset = None
    if flow.opener is None:
        flow.opener = 1 - index if segment.flags & ACK else index
    if me.syn is None:
        me.syn, me.scale = now, segment.scale
        if not me.segments or not flow.established:
            acked = me.acked
            me.begin(segment.sequence + 1)
            # An acknowledgement that was captured before what it acknowledges.
            me.acked = None if acked is None else me.extended(acked % (1 << 32))
        me.remember(segment.identity, now[0])
    elif me.captured_twice(segment.identity, now[0]):
        flow.duplicates += 1
    else:
        me.repeat("retransmissions", now)
    return me.extended(segment.sequence + 1)


def _acknowledge(me: Side, you: Side, segment: Segment, now: Now) -> None:
    if not you.known:
        you.begin(segment.acknowledgment)
        you.acked = segment.acknowledgment
        return
    number = you.extended(segment.acknowledgment)
    if number > you.next:
        if number - you.next > _LARGEST_WINDOW:
            return
        if number <= you.probe_end:
            you.next = number
        else:
            you.pass_over(number, now[0])
    if you.acked is not None and number <= you.acked:
        return
    you.acked = number
    you.acknowledged = now
    if you.fin_end is not None and number >= you.fin_end and you.fin_acknowledged is None:
        you.fin_acknowledged = now
    if you.after_fin is not None and number > you.after_fin.start:
        you.after_fin.acknowledged = now


def _advance(flow: _Flow, me: Side, you: Side, segment: Segment, sequence: int, now: Now) -> None:
    size = segment.payload
    fin = segment.flags & FIN
    if abs(sequence - me.next) > _LARGEST_WINDOW or (me.fin_end is not None and sequence >= me.fin_end and size):
        return
    if size <= 1 and not segment.flags & (SYN | FIN) and _is_probe(me, you, sequence, size):
        me.repeat("probes" if you.closed is not None else "keep_alives", now)
        if sequence >= me.next:
            me.probe_end = sequence + size
        return
    if sequence > me.next:
        me.pass_over(sequence, now[0])
    end = sequence + size + fin
    if end == sequence:
        return
    if end <= me.next:
        _repeated(flow, me, segment, sequence, end, now)
    else:
        _new(me, you, segment, sequence, end, now)


# What is sent only to be answered: before the next byte that is due (keep-alive: RFC 9293, 3.8.4; Linux probes a closed
# window so, too), or the next byte itself against a closed window (3.8.6.1).
def _is_probe(me: Side, you: Side, sequence: int, size: int) -> bool:
    acked = me.acked
    if sequence == me.next - 1 and me.segments > 1:
        return not size or (acked is not None and sequence < acked)
    if you.closed is None:
        return False
    return bool(size and sequence == me.next) or bool(acked is not None and sequence == acked - 1 < me.next)


def _repeated(flow: _Flow, me: Side, segment: Segment, sequence: int, end: int, now: Now) -> None:
    if me.captured_twice(segment.identity, now[0]):
        flow.duplicates += 1
        return
    me.remember(segment.identity, now[0])
    late = me.fill(sequence, end, now[0])
    if not late:
        me.repeat("retransmissions", now)
    if segment.payload and me.first_data is None:
        me.first_data = now
    if late and segment.payload:
        me.last_data = now
    if segment.flags & FIN:
        me.finish(end, now)


def _new(me: Side, you: Side, segment: Segment, sequence: int, end: int, now: Now) -> None:
    size = segment.payload
    if sequence < me.next:
        me.repeat("retransmissions", now)
    if size:
        me.first_data = me.first_data or now
        me.last_data = now
        _after_fin(me, you, segment, sequence, now)
    me.next = end
    me.remember(segment.identity, now[0])
    if segment.flags & FIN:
        me.finish(end, now)


# Only what acknowledges the other side's FIN was sent after it had come.
def _after_fin(me: Side, you: Side, segment: Segment, sequence: int, now: Now) -> None:
    if you.fin_end is None or not segment.flags & ACK or you.extended(segment.acknowledgment) < you.fin_end:
        return
    start = max(sequence, me.next)
    if me.after_fin is None:
        me.after_fin = Sent(now, start)
    me.after_fin.more(now, sequence + segment.payload - start)
