"""What a capture alone tells of a connection: that it is half-closed and for how long, never who holds it.

What can be told apart without any host's help: a side that goes on sending to a peer which still reads (its data is
acknowledged) from one that sends to a peer which has closed both directions (it answers with RST), and from one that
says nothing; and data that cannot leave because the other side's window is closed, with a FIN behind it perhaps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tracecorr.captured import RESET, AfterFin, Conversation, Half, Moment
from tracecorr.events import Endpoint
from tracecorr.kernel import TcpState
from tracecorr.verdicts.cause import Cause, Confidence
from tracecorr.verdicts.words import length, moment

CLOCK: Final = "epoch"

# So often is data or a FIN sent again before the silence of the other side is more than a lost packet.
_TRIES: Final = 2

_SENDING: Final = frozenset([TcpState.CLOSE_WAIT, TcpState.ESTABLISHED])


@dataclass(frozen=True, slots=True)
class View:
    """One end of a connection at the instant `now` (nanoseconds): `own` is what it sent, `others` what its peer did."""

    conversation: Conversation
    end: Endpoint
    now: int
    stuck_after: int

    @property
    def own(self) -> Half:
        return self.conversation.half(self.end)

    @property
    def peer(self) -> Endpoint:
        return self.conversation.other(self.end)

    @property
    def others(self) -> Half:
        return self.conversation.half(self.peer)

    @property
    def state(self) -> TcpState | None:
        return self.conversation.state(self.end)

    @property
    def role(self) -> str | None:
        """Whether this end connected or accepted, None where no SYN was captured."""
        opener = self.conversation.opener
        return None if opener is None else "connected" if opener == self.end else "accepted"

    def is_old(self, since: Moment) -> bool:
        """Say whether that is long enough ago to count."""
        return self.now - since.at >= self.stuck_after

    def __str__(self) -> str:
        arrow = {"connected": "→", "accepted": "←", None: "–"}[self.role]
        return f"{self.end} {arrow} {self.peer}"


# A frame (None where there was none), what it is in a word, and what it means.
Step = tuple[Moment | None, str, str]


@dataclass(slots=True)
class Found:
    """What a rule says: `because` is the summary's end, `steps` are frames (which, what, in words) that prove it.

    `until` is the frame that ended it, and `by` how, in the words of Verdict.released_by.
    """

    cause: Cause
    confidence: Confidence
    state: TcpState | None
    since: Moment
    because: str
    steps: list[Step] = field(default_factory=list)
    until: Moment | None = None
    by: str | None = None
    missing: str | None = None


Rule = Callable[[View], "Found | None"]


def at(when: Moment) -> str:
    """Return " at 12:00:03.120"."""
    return moment(when.at, CLOCK)


def listing(view: View) -> str:
    """Return the command that lists the connection on the host of this end."""
    return f"ss -tnpeo 'src {view.end} and dst {view.peer}'"


def useless(view: View) -> Found | None:
    """Find data that was sent to a peer which had closed both directions, and answered with RST."""
    sent, fin = view.own.after_fin, view.others.fin
    if sent is None or fin is None or sent.reset is None or sent.reset.at - fin.at < view.stuck_after:
        return None
    taken = ", after it had taken some of it" if sent.acknowledged is not None else ""
    because = (
        f"it sent {_bytes(sent)} after the peer's FIN{at(fin)}, and the peer answered with RST{at(sent.reset)}{taken}: "
        f"the peer had closed both directions, so the sending was useless; released by that reset, "
        f"after {length(sent.reset.at - fin.at)} in CLOSE_WAIT"
    )
    steps = [*_sent(view, sent), (sent.reset, "RST", f"{view.peer} has closed both directions")]
    return Found(
        Cause.STILL_SENDING, Confidence.CERTAIN, TcpState.CLOSE, fin, because, steps, until=sent.reset, by="reset"
    )


def unacknowledged_fin(view: View) -> Found | None:
    """Find a FIN that went out, and that the other side does not acknowledge."""
    own, others = view.own, view.others
    fin = own.fin
    if fin is None or own.fin_acknowledged is not None or view.conversation.reset is not None or not view.is_old(fin):
        return None
    closed = others.zero_windows is not None and others.zero_windows.closed
    if (own.fins < _TRIES and not closed and not _repeats(view)) or not _is_whole(view):
        return None
    because = f"its own FIN went out{at(fin)}, and {_silence(view)}"
    return Found(Cause.LINGERING_FIN, Confidence.CERTAIN, view.state, fin, because, _obstacles(view))


def closed_window(view: View) -> Found | None:
    """Find data that the other side takes none of: if this side has closed, its FIN waits behind that data."""
    own, others = view.own, view.others
    if own.fin is not None or view.conversation.reset is not None or view.state not in _SENDING:
        return None
    windows = others.zero_windows
    closed = windows is not None and windows.since is not None and view.is_old(windows.since)
    waiting = own.outstanding or (own.probes is not None and windows is not None and own.probes.last > windows.first)
    silent = own.outstanding and _repeats(view) and others.last is not None and view.is_old(others.last)
    if not (closed and waiting) and not silent:
        return None
    since = windows.since if closed and windows is not None else others.last
    assert since is not None
    because = (
        f"it has data that the peer does not take, and {_silence(view)}; if its process has closed, its FIN waits "
        f"behind that data. Only its host can tell: {listing(view)} shows FIN-WAIT-1 or LAST-ACK then"
    )
    missing = f"the peer reading what waits for it, or {view.end.address} giving up"
    state = TcpState.ESTABLISHED if others.fin is None else None
    return Found(Cause.LINGERING_FIN, Confidence.POSSIBLE, state, since, because, _obstacles(view), missing=missing)


def sends(view: View) -> Found | None:
    """Find a half-closed connection on which data still goes out, and is not refused."""
    sent, fin = view.own.after_fin, view.others.fin
    if view.state is not TcpState.CLOSE_WAIT or sent is None or fin is None or not view.is_old(fin):
        return None
    patience = max(view.stuck_after, 2 * sent.longest_pause)
    if view.now - sent.last.at > patience and not view.own.outstanding:
        return None
    if sent.acknowledged is None:
        because = f"it has sent {_bytes(sent)} since the peer's FIN{at(fin)}, which nobody has answered yet"
        return Found(Cause.STILL_SENDING, Confidence.LIKELY, view.state, fin, because, _sent(view, sent))
    because = (
        f"it has sent {_bytes(sent)} since the peer's FIN{at(fin)}, and the peer acknowledges that: it has closed its "
        f"sending side only, and still takes data"
    )
    return Found(Cause.STILL_SENDING, Confidence.CERTAIN, view.state, fin, because, _sent(view, sent))


def silent(view: View) -> Found | None:
    """Find a side that has the peer's FIN, and sends none of its own."""
    fin = view.others.fin
    if view.state is not TcpState.CLOSE_WAIT or fin is None or not view.is_old(fin):
        return None
    sent = view.own.after_fin
    because = f"it acknowledged the peer's FIN{at(fin)} and has sent no FIN since{_known_of_peer(sent)}"
    missing = (
        f"on the host of {view.end.address}, as long as it is stuck: {listing(view)} for the process that holds it, "
        f"then strace -f -ttt -T -yy -o trace.log -p PID for why; no capture can tell"
    )
    steps = _sent(view, sent) if sent is not None else []
    return Found(Cause.UNEXPLAINED, Confidence.POSSIBLE, view.state, fin, because, steps, missing=missing)


def ended_late(view: View) -> Found | None:
    """Find a side that kept its peer waiting without a word, and then closed or reset the connection."""
    fin, taken = view.others.fin, view.others.fin_acknowledged
    end = min((each for each in (view.own.fin, view.conversation.reset) if each is not None), default=None,
              key=lambda each: each.origin.line)  # fmt: skip
    if fin is None or taken is None or end is None or view.own.after_fin is not None:
        return None
    if end.origin.line <= taken.origin.line or end.at - fin.at < view.stuck_after or view.own.outstanding:
        return None
    word, by = ("its own FIN", "unknown") if end == view.own.fin else ("a reset", "reset")
    because = (
        f"it had the peer's FIN{at(fin)} and sent nothing for {length(end.at - fin.at)}; released by {word}{at(end)}"
    )
    steps: list[Step] = [(end, "FIN" if by == "unknown" else "RST", f"released by {word}")]
    return Found(Cause.UNEXPLAINED, Confidence.POSSIBLE, view.state, fin, because, steps, until=end, by=by)


RULES: Final[tuple[Rule, ...]] = (useless, unacknowledged_fin, closed_window, sends, silent, ended_late)


def _bytes(sent: AfterFin) -> str:
    return f"{sent.bytes:,} byte{'s' if sent.bytes != 1 else ''}"


def _known_of_peer(sent: AfterFin | None) -> str:
    if sent is None:
        return ", nor anything else"
    if sent.acknowledged is None or sent.answer == RESET:
        return f"; it had sent {_bytes(sent)} after that FIN"
    return (
        f"; it had sent {_bytes(sent)} after that FIN, the last{at(sent.last)}, and the peer acknowledged some: the "
        f"peer had closed its sending side only, and still read"
    )


# Whether the capture has what only acknowledges: a filter for SYN, FIN and RST leaves just that out.
def _is_whole(view: View) -> bool:
    own, others = view.own, view.others
    flagged = others.fins + (others.syn is not None)
    return others.segments > flagged and not own.lost and not others.lost


# Whether this side has sent something again since it last heard of the other one.
def _repeats(view: View) -> bool:
    again, heard = view.own.retransmissions, view.others.last
    if again is None or heard is None:
        return False
    return again.times >= _TRIES and again.last.origin.line > heard.origin.line


def _silence(view: View) -> str:
    windows, probes = view.others.zero_windows, view.own.probes
    if windows is not None and windows.since is not None:
        asked = f", whatever {probes.times} probes asked" if probes is not None and probes.times > 1 else ""
        return f"the window of {view.peer} is closed{at(windows.since).replace(' at', ' since')}{asked}"
    again = view.own.retransmissions
    tries = f" ({again.times} retransmissions)" if again is not None else ""
    return f"nothing of {view.peer} acknowledges it{tries}"


def _obstacles(view: View) -> list[Step]:
    windows, own = view.others.zero_windows, view.own
    steps: list[Step] = []
    if windows is not None and windows.since is not None:
        steps += [(windows.since, "window 0", f"{view.peer} takes no more data")]
        steps += [(windows.last, "window 0", "still closed")] if windows.last != windows.since else []
    if own.fin is not None:
        steps.append((own.fin, "FIN", f"{view.end} closes"))
    for repeated, word in ((own.probes, "probe"), (own.retransmissions, "retransmission")):
        if repeated is not None:
            steps.append((repeated.last, word, f"{view.end} tries again: {word} {repeated.times}"))
    return steps


def _sent(view: View, sent: AfterFin) -> list[Step]:
    steps: list[Step] = [(sent.first, "data", f"{view.end} sends after the peer's FIN")]
    if sent.last != sent.first:
        steps.append((sent.last, "data", f"the last of {sent.segments:,} segments"))
    steps.append((sent.acknowledged, "ACK", f"{view.peer} takes it: it still reads"))
    return steps
