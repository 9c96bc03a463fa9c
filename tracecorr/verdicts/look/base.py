"""What a rule for snapshots gets (Case) and what it says (Finding).

A rule is a module with CAUSE and `diagnose(case) -> Finding | None`: one pure function that looks at one connection and
at the processes around it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol

from tracecorr.kernel import TcpState
from tracecorr.snapshot import ProcessRow, SocketRow
from tracecorr.verdicts.cause import Cause, Confidence
from tracecorr.verdicts.look.view import Hold, Look, key
from tracecorr.verdicts.report import Evidence

# The kernel counts in jiffies and clock ticks: two moments within this many milliseconds are one.
SLACK = 50
# A last segment that is younger than this may be followed by another one: somebody may still be sending.
RECENT = 15_000

_UNKNOWN: Final = object()


class Case:
    """One connection at the time of the look: `processes` are those that hold it, each once.

    `role` says whether it was accepted or connected, None where that cannot be told; `at_least` how many milliseconds
    the FIN is old at least.  There are thousands of cases: what every rule asks is worked out once.
    """

    __slots__ = ("_since", "at_least", "before", "holders", "listeners", "look", "processes", "role", "row", "story")

    def __init__(self, look: Look, row: SocketRow) -> None:
        self.look = look
        self.row = row
        self.holders = look.holders(row.inode)
        self.processes = [hold.process for hold in self.holders]
        if len(self.processes) > 1:
            self.processes = list({process.pid: process for process in self.processes}.values())
        self.listeners = look.listeners(row)
        self.role = self._role()
        before = look.earlier.get(key(row)) if look.earlier else None
        self.before = before if before is not None and before.row.state is row.state else None
        self.at_least = self._at_least()
        self.story: object = None
        self._since: object = _UNKNOWN

    def _role(self) -> str | None:
        if self.listeners or not self.row.inode:
            return "accepted"
        other = self.look.other_end(self.row)
        if other is not None and self.look.listeners(other):
            return "connected"
        local, peer = self.row.local, self.row.peer
        if local is None or peer is None or local.port < _EPHEMERAL:
            return None
        # Connections that were accepted share the listener's port, even when that is closed.
        return "connected" if peer.port < _EPHEMERAL or self._one_of_many else None

    @property
    def _one_of_many(self) -> bool:
        """Whether its process has several connections to this peer, each from a port of its own."""
        return len(self.processes) == 1 and len(self.look.legs(self.processes[0]).ports[self.row.peer]) > 1

    @property
    def earlier(self) -> SocketRow | None:
        """The same connection in an earlier look, if it was in the same state then."""
        return self.before.row if self.before is not None else None

    @property
    def _ago(self) -> float:
        """Milliseconds since that earlier look."""
        at = self.look.snapshot.at
        return (at - self.before.at) / 1e6 if self.before is not None and at is not None else 0.0

    # The last segment with an ACK came with the FIN, or after it.
    def _at_least(self) -> float | None:
        info = self.row.info
        least = None if info is None or info.last_ack_received is None else float(info.last_ack_received)
        if self.earlier is not None:
            return max(least or 0.0, self._ago + _least(self.earlier))
        return least

    @property
    def is_old(self) -> bool:
        return self.at_least is not None and self.at_least >= self.look.stuck_after * 1000

    @property
    def sent_since(self) -> bool | None:
        """Whether anything was sent after the FIN: None where it cannot be told.

        The peer acknowledges what is sent, so a last ACK that came well after the last data was the FIN's.
        """
        if self._since is _UNKNOWN:
            self._since = self._sent_since()
        return self._since  # type: ignore[return-value]

    def _sent_since(self) -> bool | None:
        info = self.row.info
        if self._sent_between_looks:
            return True
        if info is None or info.last_data_sent is None or info.last_ack_received is None:
            return None
        if not info.bytes_sent or info.last_data_sent > info.last_ack_received + SLACK:
            return False
        return None if info.last_data_sent < RECENT and self._ago < RECENT else False

    @property
    def _sent_between_looks(self) -> bool:
        info, before = self.row.info, self.earlier
        if info is None or before is None or before.info is None:
            return False
        return (info.bytes_sent or 0) > (before.info.bytes_sent or 0)

    @property
    def moves(self) -> bool:
        """Whether two looks show that somebody reads."""
        before = self.earlier
        if before is None or before.receive_queue is None or self.row.receive_queue is None:
            return False
        return self.row.receive_queue < before.receive_queue

    def age_of(self, process: ProcessRow) -> float | None:
        """Milliseconds since the process started."""
        at = self.look.snapshot.at
        return None if process.started is None or at is None else at / 1e6 - process.started * 1000

    @property
    def connected_for(self) -> tuple[float, float | None]:
        """The least and the most milliseconds that the connection can be old.

        The kernel sets all its times when it is established; one whose direction has carried nothing is its age.
        """
        info = self.row.info
        if info is None:
            return 0, None
        times = [info.last_data_sent, info.last_data_received, info.last_ack_received]
        least = max((time for time in times if time is not None), default=0)
        fin = int(self.row.state in (TcpState.CLOSE_WAIT, TcpState.LAST_ACK))
        if info.bytes_sent == 0 and info.last_data_sent is not None:
            return least, info.last_data_sent
        if info.bytes_received is not None and info.bytes_received <= fin and info.last_data_received is not None:
            return least, info.last_data_received
        return least, None

    def is_younger_than(self, process: ProcessRow) -> bool:
        """Whether the connection certainly came into being after the process, which so cannot have inherited it."""
        age, most = self.age_of(process), self.connected_for[1]
        return age is not None and most is not None and most + SLACK < age

    def is_older_than(self, process: ProcessRow, by: float = SLACK) -> bool:
        """Whether the connection was certainly there when the process started, `by` milliseconds before at least."""
        age = self.age_of(process)
        return age is not None and self.connected_for[0] > age + by


def _least(row: SocketRow) -> float:
    return float(row.info.last_ack_received or 0) if row.info is not None else 0.0


# Both Linux's own range (32768) and the dynamic ports of RFC 6335 lie above.
_EPHEMERAL = 32768


@dataclass(slots=True)
class Finding:
    """What a rule concluded: `because` completes the summary, `doubts` say what lowers the confidence."""

    cause: Cause
    detail: str | None
    confidence: Confidence
    because: str
    culprit: Hold | None = None
    owner: Hold | None = None
    missing: str | None = None
    fault: bool = True
    party: ProcessRow | None = None
    how: str | None = None
    evidence: list[Evidence] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    also: list[str] = field(default_factory=list)
    advice: tuple[str, ...] = ()

    def doubt(self, confidence: Confidence, why: str) -> None:
        """Lower the confidence, and say why."""
        if confidence < self.confidence:
            self.confidence = confidence
        self.doubts.append(why)


class Rule(Protocol):
    """Contract of a rule; a module is enough."""

    @property
    def CAUSE(self) -> Cause: ...

    def diagnose(self, case: Case) -> Finding | None:
        """Return what the case is, None when it is not of this cause."""


def named(process: ProcessRow) -> str:
    """Return "PID 30516 (redis-server)" for a sentence."""
    return f"PID {process.pid} ({process.comm})" if process.comm else f"PID {process.pid}"


def seen(text: str, source: str, pid: int | None = None, call: str | None = None) -> Evidence:
    """Return a piece of evidence that the kernel told in this file."""
    return Evidence(text=text, source=source, line=None, at=None, pid=pid, call=call)
