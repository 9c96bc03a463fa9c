"""Live tracing: an engine's records, replayed as they come, and the kernel asked now and then what is really stuck."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import IO, Final

from tracecorr.api import report_of
from tracecorr.diagnosis import Diagnosis
from tracecorr.errors import EngineUnavailable, NoSuchProcess
from tracecorr.events import Gap, Origin, TaskId
from tracecorr.model.replay import replay
from tracecorr.model.system import System
from tracecorr.scanning import scan
from tracecorr.sources import procfs
from tracecorr.sources.base import Tally
from tracecorr.sources.engine import Delayed, Engine, Requirement, Tracing
from tracecorr.sources.engines import ENGINES
from tracecorr.sources.inputs import Trace
from tracecorr.sources.recording import NAME as RECORDING
from tracecorr.sources.recording import OF_EVENTS, Writer, time_of
from tracecorr.sources.stuck import Claim, Watcher
from tracecorr.syscalls.decode import decode
from tracecorr.syscalls.record import LookRecord, Record, SyscallRecord, UnfinishedRecord
from tracecorr.verdicts.conclude import conclude
from tracecorr.verdicts.json_values import encoded
from tracecorr.verdicts.report import Report, Verdict

TICK: Final = 0.2
LOOK: Final = 1.0  # seconds between two looks at what is stuck
_LEFT: Final = 256  # connections that a look asks for although nothing is known to be wrong with them
_DRAIN: Final = 2 * TICK
_SHARE: Final = 20  # a look may take one part in this many of the time


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """When to stop by ourselves: after seconds, or after so many records; None for never."""

    duration: float | None = None
    events: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is stuck right now: `verdicts` by the number of their connection, after `elapsed` seconds."""

    elapsed: float
    records: int
    seen: int
    verdicts: dict[int, Verdict] = field(default_factory=dict)


Tell = Callable[[Standing], None]


class Changes:
    """Compares what is stuck with what was at the last look."""

    def __init__(self) -> None:
        self._last: dict[int, Verdict] = {}

    def since_last(self, standing: Standing) -> Iterator[tuple[str, Verdict]]:
        """Yield what is new, what has changed its cause, confidence or culprit, and what has ended."""
        last, self._last = self._last, standing.verdicts
        for number, verdict in standing.verdicts.items():
            before = last.get(number)
            if before is None:
                yield "new", verdict
            elif _essence(before) != _essence(verdict):
                yield "changed", verdict
        yield from (("ended", verdict) for number, verdict in last.items() if number not in standing.verdicts)


def _essence(verdict: Verdict) -> object:
    return verdict.cause, verdict.detail, verdict.confidence, verdict.fault, verdict.culprit


def choose(name: str, *, stacks: bool = False) -> Engine:
    """Return the engine of that name, for "auto" the least intrusive one that works here, and can tell `stacks`.

    Raises EngineUnavailable, which says what each of them lacks.
    """
    candidates = list(ENGINES.values()) if name == "auto" else [ENGINES[name]]
    lacking: list[str] = []
    remedies: list[str] = []
    for engine in candidates:
        missing = engine.missing(stacks=stacks)
        if stacks and not engine.STACKS:
            missing = [Requirement("stacks", "it cannot tell where in the program a call was made", "another engine")]
        if not missing:
            return engine
        lacking += [f"{engine.NAME}: {each.what}: {each.why}" for each in missing]
        remedies += [f"{engine.NAME}: {each.remedy}" for each in missing]
    raise EngineUnavailable("no engine works here: " + "; ".join(lacking), "\n".join(remedies))


class Session:
    """One tracing, from its first record to the report."""

    def __init__(
        self, tracing: Tracing, name: str, *, stuck_after: float, everything: bool, record: tuple[str, IO[str]] | None
    ) -> None:
        self._tracing = tracing
        self._tally = Tally(record[0] if record else name, RECORDING, clock="epoch")
        self._writer = Writer(record[1], name, time.time_ns()) if record else None
        self._tally.lines = 1 if record else 0
        self._tally.uses = name not in OF_EVENTS
        self._system = System()
        trace = Trace([], tallies=[self._tally], medium="trace")
        self._trace = trace
        self._diagnosis = Diagnosis(self._system, trace, round(stuck_after * 1e9), everything)
        self._system.released = self._diagnosis.released
        self._stuck_after = stuck_after
        self._watcher = Watcher(stuck_after)
        self._inside: dict[TaskId, UnfinishedRecord] = {}
        self._started = time.monotonic()
        self._next_look = self._started + LOOK
        self._looked_last = False

    def run(self, command: str, bounds: Bounds, stop: Callable[[], bool], tell: Tell) -> Report:
        """Follow the tracing until it ends, `stop` says so, or a bound is reached; then let go, and report."""
        try:
            for event in decode(self._records(bounds, stop, tell)):
                replay(self._system, event)
            # The last looks take a while, in which what happens is not replayed any more.
            now = self._now()
            if not self._looked_last:
                self._replay(self._found(last=True))
            self._replay([self._concluded(now)])
            if isinstance(self._tracing, Delayed):
                self._tally.passed_over = self._tracing.passed_over
        finally:
            self._tracing.close()
        self._diagnosis.conclude(now)
        return report_of(command, [self._trace], [self._diagnosis])

    # All events of a record have been replayed when the next one is asked for.
    def _records(self, bounds: Bounds, stop: Callable[[], bool], tell: Tell) -> Iterator[Record]:
        end: float | None = None
        asked = 0
        for record in self._tracing.records(TICK):
            if record is not None:
                yield from self._taken(record)
            elif self._writer is not None:
                self._writer.flush()
            now = time.monotonic()
            if end is None and (stop() or _exceeded(bounds, now - self._started, self._tally.calls)):
                end, asked = now + self._last_look() + TICK, time.time_ns()
            if end is not None:
                if now >= end or (isinstance(self._tracing, Delayed) and self._tracing.told >= asked):
                    return
            elif record is None and now >= self._next_look:
                self._look()
                tell(self.standing())
                spent = time.monotonic() - now
                self._next_look = now + max(LOOK, spent * _SHARE)

    # A thread is inside one call at a time: one that a look found it in has ended when it makes another.
    def _taken(self, record: Record) -> Iterator[Record]:
        if isinstance(record, SyscallRecord):
            self._tally.calls += 1
            inside = self._inside.pop(record.task, None)
            began = None if record.began is record.origin else inside
            if inside is not None and began is None:
                at = record.entered
                ended = SyscallRecord(*inside[:3], -1, "ERESTARTSYS", inside.entered, at, record.origin, inside.origin)
                yield self._numbered(ended, inside.origin)
            yield self._numbered(record, began.origin if began is not None else None)
            return
        numbered = self._numbered(record, None)
        if isinstance(numbered, UnfinishedRecord):
            self._inside[numbered.task] = numbered
        yield numbered

    # Evidence points to the line of the recording where there is one, else to the running number of the record.
    def _numbered(self, record: Record, began: Origin | None) -> Record:
        self._tally.lines += 1
        origin = Origin(self._tally.name, self._tally.lines)
        if isinstance(record, SyscallRecord):
            record = record._replace(origin=origin, began=began if began is not None else origin)
        elif not isinstance(record, Gap):
            record = record._replace(origin=origin)
        self._tally.saw(time_of(record))
        if self._writer is not None:
            self._writer.write(record)
        return record

    # Returns how many seconds it takes until records() has told what was found, or what has happened until now.
    def _last_look(self) -> float:
        if not isinstance(self._tracing, Delayed):
            return _DRAIN
        self._tracing.interleave(self._found(last=True))
        self._looked_last = True
        return self._tracing.lag

    def _look(self) -> None:
        if isinstance(self._tracing, Delayed):
            self._tracing.interleave(self._found())
        else:
            self._replay(self._found())

    def _found(self, *, last: bool = False) -> Iterator[Record]:
        holders = [d for case, _ in self._diagnosis.standing(self._now()) for d in case.holders]
        # Somebody has let go of these, and others have not: whether anybody uses them may be known by their ends alone.
        left = [each for each in self._system.connections.values() if each.past and each.fin is None]
        holders += [d for each in left[-_LEFT:] for d in each.references]
        claims = [Claim(holder.process.pid or 0, holder.number) for holder in dict.fromkeys(holders)]
        for record in self._watcher.look(self._traced(), claims, lambda: Origin("", 0), last=last):
            if not (isinstance(record, UnfinishedRecord) and self._is_in(record)):
                yield record

    # What a look by itself makes of connections that were stuck before, or that no descriptor refers to.
    def _concluded(self, now: int) -> Record:
        traced = sorted(self._traced())
        try:
            found = scan(traced, stuck_after=self._stuck_after).verdicts if traced else ()
        except NoSuchProcess:
            return self._concluded(now)  # one of them has just ended
        return LookRecord(now, Origin("", 0), [encoded(verdict) for verdict in found])

    def _traced(self) -> set[int]:
        living = (process.pid for process in self._system.processes.values() if process.ended is None)
        return {pid for pid in living if pid is not None and os.path.exists(f"/proc/{pid}")}

    def _replay(self, records: Iterable[Record]) -> None:
        for record in records:
            for event in decode(self._taken(record)):
                replay(self._system, event)

    # What has happened since is not known yet: nothing may be taken to have lasted until then.
    def _now(self) -> int:
        return self._tracing.told if isinstance(self._tracing, Delayed) else time.time_ns()

    def _is_in(self, record: UnfinishedRecord) -> bool:
        task = self._system.tasks.get(record.task)
        return task is None or (task.call is not None and task.call.name == record.name)

    def standing(self) -> Standing:
        """Return what is stuck now."""
        now = self._now()
        verdicts = {
            case.socket.number: conclude(case, finding, "epoch") for case, finding in self._diagnosis.standing(now)
        }
        return Standing(
            elapsed=time.monotonic() - self._started, records=self._tally.lines, seen=self._system.seen,
            verdicts=verdicts,
        )  # fmt: skip


def _exceeded(bounds: Bounds, elapsed: float, records: int) -> bool:
    if bounds.duration is not None and elapsed >= bounds.duration:
        return True
    return bounds.events is not None and records >= bounds.events


@contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """Turn SIGINT, SIGTERM and SIGHUP into a wish, so that whatever is traced is let go of in order."""
    wishes: list[int] = []

    def wish(number: int, _: FrameType | None) -> None:
        wishes.append(number)

    before = {number: signal.signal(number, wish) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield lambda: bool(wishes)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def attach(
    pids: Sequence[int], *, engine: str = "auto", stuck_after: float = 1.0, everything: bool = False,
    bounds: Bounds = Bounds(duration=10.0), record: tuple[str, IO[str]] | None = None, tell: Tell = lambda _: None,
    stacks: bool = False,
) -> Report:  # fmt: skip
    """Trace live processes and what they fork, and return why connections of theirs are stuck.

    Raises NoSuchProcess, PermissionDenied, AlreadyTraced, EngineUnavailable.
    """
    for pid in pids:
        procfs.stat(pid)
    chosen = choose(engine, stacks=stacks)
    with stoppable() as stop, closing(chosen.attach(pids, stacks=stacks)) as tracing:
        session = Session(tracing, chosen.NAME, stuck_after=stuck_after, everything=everything, record=record)
        return session.run("attach", bounds, stop, tell)


def run(
    command: Sequence[str], *, engine: str = "auto", stuck_after: float = 1.0, everything: bool = False,
    bounds: Bounds = Bounds(), record: tuple[str, IO[str]] | None = None, tell: Tell = lambda _: None,
    stacks: bool = False,
) -> Report:  # fmt: skip
    """Start a command, trace it from its first call until it ends, and return what attach() returns."""
    chosen = choose(engine, stacks=stacks)
    with stoppable() as stop, closing(chosen.launch(command, stacks=stacks)) as tracing:
        session = Session(tracing, chosen.NAME, stuck_after=stuck_after, everything=everything, record=record)
        return session.run("run", bounds, stop, tell)
