"""parse() and timeline(): the one place where the stages meet.

>>> import tracecorr
>>> report = tracecorr.parse(["trace.log"])
>>> for verdict in report.verdicts:
...     print(verdict.cause, verdict.summary)
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import networkx as nx

from tracecorr import __version__
from tracecorr.captured import Capture, Conversation
from tracecorr.diagnosis import Diagnosis
from tracecorr.events import Gap
from tracecorr.joined import join
from tracecorr.joining.answer import Joined, Question
from tracecorr.joining.telling import gaps_of
from tracecorr.joining.times import given
from tracecorr.model.fact import Fact
from tracecorr.model.open_file import OpenFileDescription
from tracecorr.model.replay import replay
from tracecorr.model.system import System
from tracecorr.sources.base import Tally
from tracecorr.sources.inputs import Trace, traces_of
from tracecorr.sources.material import Listed, material_of
from tracecorr.syscalls.decode import decode
from tracecorr.verdicts.capture_alone import of_several, unsure
from tracecorr.verdicts.report import GapView, Report, Sockets, Source, Verdict
from tracecorr.verdicts.timeline import Entry
from tracecorr.verdicts.words import connection, seconds

Progress = Callable[[int, "int | None"], None]


def parse(
    paths: Sequence[str | os.PathLike[str]],
    *,
    stuck_after: float = 1.0,
    everything: bool = False,
    progress: Progress | None = None,
    at: Sequence[str] = (),
    clock_offsets: Sequence[str] = (),
) -> Report:
    """Read logs of system calls, captures and listings, and return why connections in them are stuck.

    `paths` are files (also .gz, .xz, .zst), "-" for standard input, directories, or the prefix of an `strace -ff` set.
    A connection counts as stuck when its end of file is `stuck_after` seconds old.  With `everything` those that are
    too young are told of, too.  `progress` is called with bytes read so far and in all (None where unknown).

    Several inputs are joined into one report.  `at` says when listings were taken, all of them (TIME) or one
    (NAME=TIME); without it the times of their files stand, and what they show.  `clock_offsets` (NAME=SECONDS) say how
    far the clock of an input is ahead of the first log's; without them that is estimated.

    Raises UnreadableInput, UnrecognisedLog, which name the file, and BadTime.
    """
    times = given(at, clock_offsets)
    material = material_of([os.fspath(path) for path in paths])
    traces, patience = material.traces, round(stuck_after * 1e9)
    passes = 2 if material.listings or material.captures else 1
    files = [path for trace in traces for path in trace.paths] * passes
    meter = _Meter(files, progress) if progress is not None else None
    if len(traces) == 1 and not material.listings and not material.captures:
        diagnosis = _diagnosed(traces[0], patience, everything, meter)
        diagnosis.conclude(diagnosis.last)
        return report_of("parse", traces, [diagnosis])
    question = Question(stuck_after=patience, everything=everything, given=times, progress=meter)
    return _joined_report(join(material, question), traces, patience)


def _joined_report(joined: Joined, traces: Sequence[Trace], patience: int) -> Report:
    diagnoses = [log.diagnosis for log in joined.logs if log.diagnosis is not None]
    report = report_of("parse", traces, diagnoses)
    report = _with_more(report, joined.listed, map(_listing_source, joined.listings), gaps_of(joined), joined.shown)
    report = with_captures(report, joined.captures, patience, joined.covered, joined.is_told)
    return replace(report, sources=tuple(_contributed(joined, source) for source in report.sources))


# What was joined to a log is told on that log's clock.
def _contributed(joined: Joined, source: Source) -> Source:
    told = joined.contributed.get(source.name)
    placed = joined.placed.get(source.name)
    if placed is not None:
        at = seconds(placed)
        return replace(source, contributed=told, first=at, last=at, clock=joined.clock)
    ahead = joined.offsets.get(source.name)
    if ahead is None:
        return replace(source, contributed=told)
    source = replace(source, contributed=told, offset=seconds(ahead))
    if source.first is None or source.last is None:
        return source
    clock = joined.clocks.get(source.name)
    return replace(source, first=source.first - ahead / 1e9, last=source.last - ahead / 1e9, clock=clock)


def _with_more(
    report: Report, found: Sequence[Verdict], sources: Iterable[Source], gaps: Iterable[Gap], seen: int
) -> Report:  # fmt: skip
    stuck = [verdict for verdict in found if not verdict.released]
    sockets = Sockets(
        seen=report.sockets.seen + seen,
        stuck=report.sockets.stuck + len(stuck),
        released=report.sockets.released + len(found) - len(stuck),
        by_cause=dict(Counter(report.sockets.by_cause) + Counter(verdict.cause for verdict in stuck)),
    )
    return replace(
        report, sources=(*report.sources, *sources), sockets=sockets, verdicts=(*report.verdicts, *found),
        gaps=(*report.gaps, *map(_gap, gaps)),
    )  # fmt: skip


def _listing_source(listed: Listed) -> Source:
    tally, at = listed.tally, seconds(listed.at)
    return Source(
        name=tally.name, format=tally.format, lines=tally.lines, calls=0, skipped=tally.skipped, first=at, last=at,
        clock="epoch" if at is not None else None, unread=tuple(tally.samples),
    )  # fmt: skip


class _Meter:
    """Adds up what is read of several inputs."""

    def __init__(self, files: list[str], progress: Progress) -> None:
        self._progress = progress
        sizes = [os.path.getsize(path) for path in files if path != "-" and os.path.exists(path)]
        self._total = sum(sizes) if sizes else None
        self._before = self._last = 0

    def __call__(self, done: int, size: int | None) -> None:
        if done < self._last:
            self._before += self._last
        self._last = done
        self._progress(self._before + done, self._total)


def _diagnosed(trace: Trace, stuck_after: int, everything: bool, meter: Progress | None) -> Diagnosis:
    system = _system(trace)
    trace.skim = stuck_after
    diagnosis = Diagnosis(system, trace, stuck_after, everything)
    system.released = diagnosis.released
    for event in decode(trace.records(meter)):
        replay(system, event)
        system.unordered = trace.unordered
    return diagnosis


def _system(trace: Trace) -> System:
    return System(traced=set(trace.pids) if trace.pids is not None else None, by_line=trace.pids is None)


def report_of(command: str, traces: Sequence[Trace], diagnoses: Sequence[Diagnosis]) -> Report:
    """Return the plain values of what was concluded."""
    verdicts = tuple(verdict for diagnosis in diagnoses for verdict in diagnosis.verdicts)
    stuck = [verdict for verdict in verdicts if not verdict.released]
    graph = nx.MultiDiGraph()
    for number, diagnosis in enumerate(diagnoses):
        part = diagnosis.inheritance.graph
        graph.update(nx.relabel_nodes(part, lambda node, n=number: f"{n}: {node}") if number else part)
    return Report(
        tool=f"tracecorr {__version__}",
        command=command,
        sources=tuple(_source(tally) for trace in traces for tally in trace.tallies),
        sockets=Sockets(
            seen=sum(diagnosis.seen for diagnosis in diagnoses),
            stuck=len(stuck),
            released=len(verdicts) - len(stuck),
            by_cause=dict(Counter(verdict.cause for verdict in stuck)),
        ),
        verdicts=verdicts,
        gaps=tuple(_gap(gap) for diagnosis in diagnoses for gap in diagnosis.gaps()),
        graph=graph,
    )


def with_captures(
    report: Report, captures: Sequence[Capture], stuck_after: int,
    covered: Callable[[Conversation], bool] = lambda _: False, told: Callable[[Verdict], bool] = lambda _: False,
) -> Report:  # fmt: skip
    """Return the report with what the captures show by themselves; `stuck_after` is in nanoseconds.

    Of connections that are `covered` other inputs have told, and of verdicts that are `told`.
    """
    alone = [replace(c, conversations=tuple(e for e in c.conversations if not covered(e))) for c in captures]
    found = list(of_several(alone, captures, stuck_after, told))
    seen = sum(each.established for capture in alone for each in capture.conversations)
    gaps = (gap for capture in alone for gap in (*capture.gaps, *unsure(capture, stuck_after)))
    return _with_more(report, found, map(_captured, captures), gaps, seen)


def _captured(capture: Capture) -> Source:
    clock = None if capture.first is None else "epoch"
    return Source(
        name=capture.source, format=capture.format, lines=capture.frames, calls=0,
        skipped=sum(capture.skipped.values()), first=seconds(capture.first), last=seconds(capture.last), clock=clock,
        unread=capture.samples,
    )  # fmt: skip


def _source(tally: Tally) -> Source:
    return Source(
        name=tally.name, format=tally.format, lines=tally.lines, calls=tally.calls, skipped=tally.skipped,
        first=seconds(tally.first), last=seconds(tally.last), clock=tally.clock, unread=tuple(tally.samples),
    )  # fmt: skip


def _gap(gap: Gap) -> GapView:
    return GapView(what=gap.what, why=gap.why, try_=gap.try_, source=gap.source, line=gap.line)


def timeline(
    paths: Sequence[str | os.PathLike[str]],
    *,
    pid: int | None = None,
    fd: int | None = None,
    peer: str | None = None,
) -> Iterator[Entry]:
    """Yield what touched the life of each descriptor and connection, in order.

    `pid`, `fd` and `peer` ("192.0.2.20" or "192.0.2.20:41007") choose among them.  Errors are those of parse().
    """
    for trace in traces_of([os.fspath(path) for path in paths]):
        system = _system(trace)
        found: list[Entry] = []
        numbers: dict[int, int] = {}

        def observe(
            fact: Fact, socket: OpenFileDescription | None, trace: Trace = trace, found: list[Entry] = found,
            numbers: dict[int, int] = numbers,
        ) -> None:  # fmt: skip
            if socket is not None:
                number = numbers.setdefault(socket.number, len(numbers) + 1)
                found.append(_entry(fact, socket, number, trace.tallies[0].clock if trace.tallies else None))

        system.observer = observe
        for event in decode(trace.records()):
            replay(system, event)
            if found:
                yield from (entry for entry in found if _chosen(entry, pid, fd, peer))
                found.clear()


_WORDS = {
    "accepted": "accepted", "connected": "connected", "eof": "end of file read", "peeked": "end of file peeked at",
    "hangup": "told of the peer's FIN", "closed": "closed", "fork": "copied by fork", "exec": "kept across exec",
    "dup": "duplicated", "passed": "passed over a unix socket", "received": "received over a unix socket",
    "shutdown": "shut down", "exit": "closed by exit", "reset": "connection reset",
}  # fmt: skip


def _entry(fact: Fact, socket: OpenFileDescription, number: int, clock: str | None) -> Entry:
    others = len(socket.references) - 1 + socket.flights + socket.calls
    last = fact.what in ("closed", "exit") and not others
    text = _WORDS.get(fact.what, fact.what) + (": the last reference" if last else "")
    return Entry(
        at=seconds(fact.at), clock=clock, pid=fact.pid, tid=fact.task.id.tid or None, fd=fact.fd, what=fact.what,
        text=text, call=fact.call, socket=connection(socket), connection=number, source=fact.origin.source,
        line=fact.origin.line,
    )  # fmt: skip


def _chosen(entry: Entry, pid: int | None, fd: int | None, peer: str | None) -> bool:
    if pid is not None and pid not in (entry.pid, entry.tid):
        return False
    if fd is not None and fd != entry.fd:
        return False
    # The ends of a connection stand apart in "192.0.2.10:80 ← 192.0.2.20:41007".
    ends = (entry.socket or "").split()
    return peer is None or any(end == peer or end.rpartition(":")[0].strip("[]") == peer.strip("[]") for end in ends)
