"""What is asked of several inputs, and the answer, input by input."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property

from tracecorr.captured import Capture, Conversation
from tracecorr.events import Endpoint, Gap
from tracecorr.joining.clocks import Offset
from tracecorr.joining.fins import Ports
from tracecorr.joining.join import Log, Progress, Watched
from tracecorr.joining.listings import Taken
from tracecorr.joining.survey import Life
from tracecorr.joining.times import Given
from tracecorr.kernel import TcpState
from tracecorr.model.address import key
from tracecorr.sources.material import Listed
from tracecorr.verdicts.look.view import Look
from tracecorr.verdicts.report import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of the inputs: `stuck_after` in nanoseconds, `everything` as of --all, and what times are given."""

    stuck_after: int
    everything: bool
    given: Given
    progress: Progress | None = None


@dataclass
class Joined:
    """The answer, log by log, and what is beside the logs.

    `contributed` says what came of each input, by its name; `offsets` how far its clock is ahead, in nanoseconds, and
    `clocks` what it is ahead of.  `untold` are connections of which the logs do not tell the end.
    """

    logs: list[Log] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)
    captures: list[Capture] = field(default_factory=list)
    watches: list[Watched] = field(default_factory=list)
    ends: list[tuple[Log, Log, list[tuple[Life, Life]], Offset]] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    contributed: dict[str, str] = field(default_factory=dict)
    offsets: dict[str, int] = field(default_factory=dict)
    clocks: dict[str, str | None] = field(default_factory=dict)
    untold: set[Ports] = field(default_factory=set)

    @property
    def clock(self) -> str | None:
        """The clock of the first log."""
        return self.logs[0].clock if self.logs else None

    @property
    def placed(self) -> dict[str, int]:
        """When listings were taken, on the first log's clock, by their names."""
        return {
            listed.tally.name: action.time
            for taken in self.taken
            for action in taken.shown
            if self.logs and action in self.logs[0].actions and action.time is not None
            for listed in taken.listings
        }

    def covered(self, conversation: Conversation) -> bool:
        """Say whether a log or a listing has told of this connection of a capture."""
        names = {(end.port, key(conversation.other(end))) for end in conversation.ends}
        return bool(names & self._told_ends) or (id(conversation) in self._told and not names & self.untold)

    @cached_property
    def _told(self) -> set[int]:
        return {id(conversation) for watch in self.watches for _, _, conversation in watch.pairs}

    @cached_property
    def _told_ends(self) -> set[object]:
        logged = (verdict for log in self.logs for verdict in verdicts_of(log) if not verdict.released)
        return {pair_of(verdict) for verdict in (*self.listed, *logged)}

    @property
    def listed(self) -> list[Verdict]:
        """What listings alone have told."""
        return [verdict for taken in self.taken for verdict in taken.listed]

    @property
    def listings(self) -> list[Listed]:
        """All listings, as they were read."""
        return [listed for taken in self.taken for listed in taken.listings]

    def is_told(self, verdict: Verdict) -> bool:
        """Say whether a log has told of this connection, or of as many of its port, without knowing the peer."""
        local = endpoint_of(verdict.socket.local)
        if local is None or not self._nameless[local.port]:
            return False
        self._nameless[local.port] -= 1
        return True

    @cached_property
    def _nameless(self) -> Counter[int]:
        ends = (
            endpoint_of(verdict.socket.local)
            for log in self.logs
            for verdict in verdicts_of(log)
            if verdict.socket.peer is None and not verdict.released
        )
        return Counter(end.port for end in ends if end is not None)

    @property
    def shown(self) -> int:
        """How many connections only listings have."""
        known = {life.peer for log in self.logs for life in log.survey.lives.values()}
        return sum(
            row.state is not TcpState.LISTEN and (row.peer is None or key(row.peer) not in known)
            for look in self.looks
            for row in look.snapshot.sockets
        )


def endpoint_of(text: str | None) -> Endpoint | None:
    """Return the end that a report's words name, as it is compared."""
    if text is None:
        return None
    address, _, port = text.rpartition(":")
    return key(Endpoint(address.strip("[]"), int(port))) if port.isdigit() else None


def pair_of(verdict: Verdict) -> object:
    """Return what names a verdict's connection: our port and the peer's end, for our address may not be known."""
    local, peer = endpoint_of(verdict.socket.local), endpoint_of(verdict.socket.peer)
    return (local.port if local is not None else None), peer


def verdicts_of(log: Log) -> list[Verdict]:
    """Return what was concluded from a log."""
    return log.diagnosis.verdicts if log.diagnosis is not None else []
