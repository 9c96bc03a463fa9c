"""scan(): explain what is stuck on this host now, from one look at the kernel, or two where one is too early.

>>> import tracecorr
>>> report = tracecorr.scan()
>>> for verdict in report.verdicts:
...     print(verdict.cause, verdict.summary)
"""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from tracecorr import __version__
from tracecorr.errors import NoSuchProcess
from tracecorr.events import Gap
from tracecorr.kernel import TcpState
from tracecorr.snapshot import Snapshot
from tracecorr.sources import host, procfs
from tracecorr.verdicts.cause import Cause, Confidence
from tracecorr.verdicts.look.all import judged
from tracecorr.verdicts.look.base import Case, Finding
from tracecorr.verdicts.look.conclude import conclude
from tracecorr.verdicts.look.likeness import Likenesses
from tracecorr.verdicts.look.view import Before, Earlier, Look, key
from tracecorr.verdicts.report import GapView, Report, Sockets, Source, Verdict

if TYPE_CHECKING:
    import networkx as nx

    from tracecorr.verdicts.changes import Changes

NAME: Final = "one look at this host"
FORMAT: Final = "tracecorr"

# Beyond the threshold, so that the second look is certainly late enough.
_MARGIN: Final = 0.02


def scan(
    pids: Sequence[int] = (), *, stuck_after: float = 1.0, everything: bool = False, patience: float = 10.0
) -> Report:
    """Look at this host and return why connections are stuck: those of `pids` and of what they forked, or all.

    A connection counts as stuck when its end of file is `stuck_after` seconds old.  The kernel does not tell when that
    came, only that it was not after the last segment; where this is younger there is a second look when it is old
    enough, unless that takes more than `patience` seconds.  With `everything` those that are still too young are told
    of, too.

    Raises NoSuchProcess for one of `pids` that is not there.
    """
    check(pids)
    with _without_collector():
        return _scan(pids, stuck_after, patience, everything=everything)


# Thousands of rows are made and all of them stay: to look for garbage among them takes as long as to make them.
@contextmanager
def _without_collector() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _scan(pids: Sequence[int], stuck_after: float, patience: float, *, everything: bool) -> Report:
    first = host.look()
    snapshot = first
    earlier: Earlier = {}
    wait = _patience(first, stuck_after)
    if 0 < wait <= patience:
        time.sleep(wait + _MARGIN)
        snapshot = host.look()
        earlier = remembered({}, first)
    return report_on(Look(snapshot, stuck_after, earlier), pids, everything=everything)


def watch(
    pids: Sequence[int] = (), *, interval: float, stuck_after: float = 1.0, everything: bool = False
) -> Iterator[tuple[Report, Changes]]:
    """Look every `interval` seconds, and yield each report with what changed; end at Ctrl-C.

    What was there in earlier looks is known to be that old, and what did not move in between did not move.
    Raises as scan() does, at the first look.
    """
    from tracecorr.verdicts.changes import changes

    check(pids)
    known: Earlier = {}
    first: Report | None = None
    before: Report | None = None
    try:
        while True:
            began = time.monotonic()
            with _without_collector():
                snapshot = host.look()
                report = report_on(Look(snapshot, stuck_after, known), pids, everything=everything)
            yield report, changes(first, before, report)
            first, before = first or report, report
            known = remembered(known, snapshot)
            time.sleep(max(0.0, interval - (time.monotonic() - began)))
    except KeyboardInterrupt:
        return


def remembered(known: Earlier, snapshot: Snapshot) -> Earlier:
    """Return when each socket that is there now was seen first in this state, and how it was then."""
    at = snapshot.at or 0
    found: dict[object, Before] = {}
    for row in snapshot.sockets:
        name = key(row)
        before = known.get(name)
        same = before is not None and before.row.state is row.state
        found[name] = before if before is not None and same else Before(row, at)
    return found


# Seconds until the youngest is old enough.
def _patience(snapshot: Snapshot, stuck_after: float) -> float:
    ages = [
        (row.info.last_ack_received or 0) / 1000 if row.info is not None else 0.0
        for row in snapshot.sockets
        if row.state is TcpState.CLOSE_WAIT
    ]
    return stuck_after - min(ages, default=stuck_after)


def report_on(look: Look, pids: Sequence[int] = (), *, everything: bool = False) -> Report:
    """Return what the rules make of a look."""
    verdicts = tuple(_verdicts(look, frozenset(pids), everything))
    snapshot = look.snapshot
    at = None if snapshot.at is None else snapshot.at / 1e9
    source = Source(
        name=NAME, format=FORMAT, lines=0, calls=0, skipped=0, first=at, last=at,
        clock="epoch" if at is not None else None,
    )  # fmt: skip
    return LookReport(
        tool=f"tracecorr {__version__}",
        command="scan",
        sources=(source,),
        sockets=Sockets(
            seen=snapshot.connections if snapshot.connections is not None else len(snapshot.sockets),
            stuck=len(verdicts),
            released=0,
            by_cause=dict(Counter(verdict.cause for verdict in verdicts)),
        ),
        verdicts=verdicts,
        gaps=tuple(_gap(gap) for gap in snapshot.gaps),
        graph=None,  # drawn when it is asked for
    )


def _verdicts(look: Look, pids: frozenset[int], everything: bool) -> Iterator[Verdict]:
    likenesses = Likenesses(look)
    known: dict[object, Finding | None] = {}
    for row in look.snapshot.sockets:
        if row.state not in host.STUCK:
            continue
        case = Case(look, row)
        if not case.is_old:
            finding, judge = _young(case) if everything else None, None
        else:
            like = likenesses.of(case)
            judge = judged if like is not None and like in known else None
            finding = known[like] if judge is not None else judged(case)
            known[like] = finding
        if finding is not None and (not pids or pids & _concerned(case, finding)):
            yield conclude(case, finding, judge)


# With --all: what is in CLOSE_WAIT for so short a time that its owner may still be about to close it.
def _young(case: Case) -> Finding | None:
    if case.row.state is not TcpState.CLOSE_WAIT or not case.holders:
        return None
    cause = Cause.NEVER_READS_EOF if case.row.receive_queue else Cause.EOF_IGNORED
    because = "too young to tell: its owner may still be about to close it"
    return Finding(cause, None, Confidence.POSSIBLE, because, owner=case.holders[0], fault=False)


# A process that serves by those that it has forked is meant with them.
def _concerned(case: Case, finding: Finding) -> set[int]:
    found = {one.pid for process in case.processes for one in (process, *case.look.ancestors(process))}
    found |= {hold.process.pid for hold in (finding.culprit, finding.owner) if hold is not None}
    return found | ({finding.party.pid} if finding.party is not None else set())


def _gap(gap: Gap) -> GapView:
    return GapView(what=gap.what, why=gap.why, try_=gap.try_, source=gap.source, line=gap.line)


class LookReport(Report):
    """A report whose graph is drawn when somebody wants to see it."""

    __slots__ = ("_drawn",)

    _drawn: nx.MultiDiGraph | None

    @property
    def graph(self) -> nx.MultiDiGraph:
        if self._drawn is None:
            from tracecorr.verdicts.look.drawing import drawing

            self._keep(drawing(self.verdicts))
        assert self._drawn is not None
        return self._drawn

    @graph.setter
    def graph(self, drawn: nx.MultiDiGraph | None) -> None:
        self._keep(drawn)

    def _keep(self, drawn: nx.MultiDiGraph | None) -> None:
        object.__setattr__(self, "_drawn", drawn)


def check(pids: Sequence[int]) -> None:
    """Raise NoSuchProcess if one of them is not there."""
    for pid in pids:
        if pid <= 0:
            raise NoSuchProcess(f"there is no process {pid}")
        procfs.stat(pid)
