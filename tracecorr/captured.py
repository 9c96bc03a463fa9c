"""What a packet capture showed of each TCP connection: frozen values, as a network sees it and no host.

Times are nanoseconds since the epoch, on the clock of the host that captured.  An Origin's line is the number of a
frame, counted from 1 over all frames of the file, as tcpdump and Wireshark count them.  None stands for what was not
seen, in every field: a capture may begin late, end early, and lack frames in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tracecorr.events import Endpoint, Gap, Origin
from tracecorr.kernel import TcpState

# How data was answered that a side sent although it had acknowledged the other side's FIN.
ACKNOWLEDGED: Final = "acknowledged"
RESET: Final = "reset"


class Moment(NamedTuple):
    """One frame: when it was captured, and where it stands."""

    at: int
    origin: Origin


class AfterFin(NamedTuple):
    """New data that a side sent after it had acknowledged the other side's FIN (RFC 9293, 3.6: a half-closed one).

    `acknowledged` is the last frame of the other side that took some of it: whoever acknowledges has still a reader,
    or at least a socket that nobody has closed.  `reset` is the RST that the other side answered with: it had closed
    both directions, and whatever is sent to it is lost.  `longest_pause` between two of them is in nanoseconds.
    """

    first: Moment
    last: Moment
    segments: int
    bytes: int
    longest_pause: int = 0
    acknowledged: Moment | None = None
    reset: Moment | None = None

    @property
    def answer(self) -> str | None:
        """RESET, ACKNOWLEDGED, or None as long as nothing came back; the reset speaks last."""
        if self.reset is not None:
            return RESET
        return ACKNOWLEDGED if self.acknowledged is not None else None


class ZeroWindows(NamedTuple):
    """The times at which a side had no room for data: `since` is when the window that is still closed was closed.

    Only a window field of 0 is sure without the SYN, because the scale stands there (RFC 7323, 2.2).
    """

    first: Moment
    last: Moment
    times: int
    since: Moment | None = None

    @property
    def closed(self) -> bool:
        """Whether the window was closed in the last segment that the side sent."""
        return self.since is not None


class Repeated(NamedTuple):
    """Segments of a kind that a sender repeats: how many, the first and the last of them."""

    first: Moment
    last: Moment
    times: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Half:
    """What one side sent, and what became of it.

    `syn` is its SYN or SYN-ACK; `fin` its first FIN and `fin_acknowledged` the first frame of the other side that
    acknowledges it; `reset` its first RST.  `bytes` counts data once however often it was sent, and from the first
    frame of the capture on; `outstanding` is what of the data was sent and never acknowledged in the capture.
    `after_fin` is data that it sent after the other side's FIN.  `zero_windows` are those that it advertised, `probes`
    those that it sent against a closed window of the other side.  `lost` counts gaps in its sequence numbers that were
    never filled: segments that the capture missed, and nothing is known of what was in them.  With `end_lost` the last
    of them has nothing after it, so that it may have been the FIN.  `window_scale` is None without a SYN that has one.
    """

    syn: Moment | None = None
    fin: Moment | None = None
    fins: int = 0
    fin_acknowledged: Moment | None = None
    reset: Moment | None = None
    first_data: Moment | None = None
    last_data: Moment | None = None
    bytes: int = 0
    outstanding: int = 0
    acknowledged: Moment | None = None
    after_fin: AfterFin | None = None
    zero_windows: ZeroWindows | None = None
    probes: Repeated | None = None
    retransmissions: Repeated | None = None
    keep_alives: Repeated | None = None
    segments: int = 0
    last: Moment | None = None
    window_scale: int | None = None
    lost: int = 0
    end_lost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """One TCP connection: its two ends and what each of them sent, in the same order.

    Where the handshake was seen `opener` is the end that sent the SYN, and it stands first; else it is None.  A
    connection that uses the same ports after the end of this one is another conversation.
    """

    ends: tuple[Endpoint, Endpoint]
    halves: tuple[Half, Half]
    first: Moment
    last: Moment
    opener: Endpoint | None = None
    established: bool = False
    duplicates: int = 0

    def half(self, end: Endpoint) -> Half:
        """Return what `end` sent."""
        return self.halves[self.ends.index(end)]

    def other(self, end: Endpoint) -> Endpoint:
        """Return the other end."""
        return self.ends[1 - self.ends.index(end)]

    @property
    def one_sided(self) -> bool:
        """Whether only one direction was captured: nothing can be said of the other side then."""
        return not all(half.segments for half in self.halves)

    @property
    def reset(self) -> Moment | None:
        """The first RST of either side, which ends the connection on both."""
        return min((half.reset for half in self.halves if half.reset is not None), default=None)

    def may_have_closed_before(self, end: Endpoint) -> bool:
        """Say whether the other side's FIN was taken, and `end`'s own may have been sent before the capture began."""
        own, others = self.half(end), self.half(self.other(end))
        if self.opener is not None or self.reset is not None or own.fin is not None or own.first_data is not None:
            return False
        return others.fin_acknowledged is not None

    def state(self, end: Endpoint) -> TcpState | None:
        """Return the state that `end` is in after the last frame, None where the capture does not prove one.

        CLOSE_WAIT needs the other side's FIN and `end`'s own acknowledgement of it, without which it may never have
        arrived (RFC 9293, 3.3.2), a capture that has all of what `end` sent last, and proof that it had not sent its
        FIN before the capture began: the handshake, or data.
        """
        own, others = self.half(end), self.half(self.other(end))
        if self.reset is not None:
            return TcpState.CLOSE
        if self.one_sided:
            return None
        if own.fin is None:
            unsure = own.end_lost or (self.opener is None and own.first_data is None)
            return None if unsure else _without_own_fin(self, others)
        return _with_own_fin(own, others)


def _without_own_fin(conversation: Conversation, others: Half) -> TcpState | None:
    if others.fin_acknowledged is not None:
        return TcpState.CLOSE_WAIT
    return TcpState.ESTABLISHED if others.fin is None and conversation.established else None


def _with_own_fin(own: Half, others: Half) -> TcpState:
    if others.fin_acknowledged is None:
        return TcpState.FIN_WAIT1 if own.fin_acknowledged is None else TcpState.FIN_WAIT2
    # Whoever sends its FIN before it has acknowledged the other one closes first, or both do at once.
    first = own.fin is not None and own.fin.origin.line < others.fin_acknowledged.origin.line
    if own.fin_acknowledged is None:
        return TcpState.CLOSING if first else TcpState.LAST_ACK
    return TcpState.TIME_WAIT if first else TcpState.CLOSE


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """One capture file.

    `format` is pcap, pcapng or snoop.  Of its `frames`, `other` says how many were passed over by what they are (ARP,
    UDP, ...), which is no loss; `skipped` how many were not understood and why, with `samples` of (frame, why).
    `first` and `last` are the earliest and latest times in it.
    """

    source: str
    format: str
    frames: int
    first: int | None = None
    last: int | None = None
    conversations: tuple[Conversation, ...] = ()
    other: Mapping[str, int] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)
    samples: tuple[tuple[int, str], ...] = ()
    gaps: tuple[Gap, ...] = ()

    def of(self, one: Endpoint, two: Endpoint) -> tuple[Conversation, ...]:
        """Return the conversations between two ends, oldest first."""
        return tuple(each for each in self.conversations if {*each.ends} == {one, two})
