"""Report: everything that a renderer may see, as frozen plain values, to and from JSON (version 1).

All times are seconds (float) on the report's clock, or None.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, NoReturn

from tracecorr.errors import BadReport
from tracecorr.verdicts.json_values import decoded, encoded

if TYPE_CHECKING:
    import networkx as nx

VERSION = 1


# networkx takes longer to load than a look at a host: it is, when a graph is asked for.
def _no_graph() -> nx.MultiDiGraph:
    import networkx

    return networkx.MultiDiGraph()


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One input and what was made of it; `unread` are (line, text) samples of what was not understood.

    `clock` says what its times count from: epoch, day (seconds of the first day), relative (to its first line), or
    None where it has no times.  Where several inputs were joined `contributed` says what came from this one, and
    `offset` how many seconds its clock is ahead of the first log's; all times in the report are the first log's then.
    """

    name: str
    format: str
    lines: int
    calls: int
    skipped: int
    first: float | None
    last: float | None
    clock: str | None = None
    unread: tuple[tuple[int, str], ...] = ()
    contributed: str | None = None
    offset: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketView:
    """The connection: `role` is accepted or connected, `state` as in CLOSE_WAIT, None where it is not known."""

    local: str | None
    peer: str | None
    inode: int | None
    role: str | None
    state: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A process that has the connection open.

    `fd` is None where a listing names the process alone.  `how` it got the descriptor: accept, connect, socketpair,
    open-at-start, fork, exec, dup, passed or unknown.
    """

    pid: int | None
    comm: str | None
    fd: int | None
    how: str
    since: float | None
    used: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """A process named by a verdict, with its descriptor; `closed_at` is for an owner that has let go."""

    pid: int | None
    comm: str | None
    fd: int | None
    closed_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One line of proof.  `call` is the call as the log has it, for the chain in text output."""

    text: str
    source: str | None
    line: int | None
    at: float | None
    pid: int | None = None
    call: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Why one connection is stuck: see docs of the JSON contract in the README.

    `released_by` is how its last reference went: close, shutdown, exit, exec, dup, reset or unknown.  It is None as
    long as the connection is stuck, and is what tells the two apart where a log has no times (`released_at` None).
    """

    cause: str
    detail: str | None
    fault: bool
    confidence: str
    socket: SocketView
    eof_at: float | None
    stuck_for: float | None
    released_at: float | None
    released_by: str | None = None
    holders: tuple[Holder, ...]
    culprit: Party | None
    owner: Party | None
    missing: str | None
    summary: str
    advice: tuple[str, ...]
    evidence: tuple[Evidence, ...]

    @property
    def released(self) -> bool:
        """Whether the connection was stuck for a while only."""
        return self.released_at is not None or self.released_by is not None

    @property
    def blamed(self) -> bool:
        """Whether the program is at fault, or nobody can say so of `unexplained`."""
        return self.fault or self.cause == "unexplained"


@dataclass(frozen=True, slots=True, kw_only=True)
class GapView:
    """Evidence that is lacking, and what would have recorded it (`try`)."""

    what: str
    why: str
    try_: str | None
    source: str | None
    line: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sockets:
    """Counts of TCP connections; `by_cause` counts those still stuck when the input ended."""

    seen: int
    stuck: int
    released: int
    by_cause: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one run of tracecorr found.

    `graph` nodes have a `kind` (process, descriptor, description) and a `label`; its edges have a `kind` (fork, exec,
    dup, passed, accepted, connected, closed, holds, refers), `at` (seconds or None), `source` and `line`.
    """

    tool: str
    command: str
    sources: tuple[Source, ...]
    sockets: Sockets
    verdicts: tuple[Verdict, ...]
    gaps: tuple[GapView, ...]
    graph: nx.MultiDiGraph = field(default_factory=_no_graph, compare=False)

    @property
    def exit_code(self) -> int:
        """1 when a connection is stuck and `blamed`, or was freed only by the end of its holder; else 0."""
        return int(any(v.blamed and (not v.released or v.released_by == "exit") for v in self.verdicts))

    def to_json(self) -> dict[str, Any]:
        """Return the report as the plain values of the JSON contract."""
        document: dict[str, Any] = {"version": VERSION}
        for each in fields(self):
            document[each.name] = encoded(getattr(self, each.name))
        return document


def from_json(text: str) -> Report:
    """Return the report that `to_json` wrote; raise BadReport when it is none, or of another version."""
    try:
        data = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise BadReport("not a tracecorr report: nested too deeply") from None
    except ValueError as error:
        raise BadReport(f"not a tracecorr report: {error}") from error
    if not isinstance(data, dict) or data.get("version") != VERSION:
        raise BadReport(f"not a tracecorr report of version {VERSION}")
    report: Report = decoded(Report, data, "report")
    return report


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
