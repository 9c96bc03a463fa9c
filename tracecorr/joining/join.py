"""Several inputs as one: logs are replayed, listings and captures take part in it at their moments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Final

from tracecorr.captured import Capture, Conversation
from tracecorr.diagnosis import Diagnosis
from tracecorr.events import Endpoint, Gap
from tracecorr.joining.actions import Action, Agenda, Shown
from tracecorr.joining.arrival import withdraw
from tracecorr.joining.clocks import Offset, combined
from tracecorr.joining.elimination import Found, adopt, by_descriptor, in_capture, in_listing, nameless
from tracecorr.joining.hosts import Traits, one_host, own_addresses, traits
from tracecorr.joining.listings import Taken
from tracecorr.joining.match import Ends, bounds_between, bounds_of, conversations, mirrored
from tracecorr.joining.placing import Place, Window, place, window_of
from tracecorr.joining.survey import Life, Survey, time_of
from tracecorr.kernel import TcpState
from tracecorr.model.replay import replay
from tracecorr.model.system import System
from tracecorr.snapshot import Snapshot, SocketRow
from tracecorr.sources.inputs import Trace
from tracecorr.sources.listings.words import is_whole
from tracecorr.syscalls.decode import decode
from tracecorr.syscalls.record import Record

Progress = Callable[[int, "int | None"], None]

# As many address pairs on both sides without one in common are no accident: something between has changed them.
_MANY: Final = 3
_MARGIN: Final = 1_000_000_000  # ns


@dataclass(slots=True)
class Log:
    """One log: what a first reading told of it, and what the second one made of that."""

    trace: Trace
    survey: Survey
    diagnosis: Diagnosis | None = None
    actions: list[Action] = field(default_factory=list)
    offset: Offset | None = None
    gaps: list[Gap] = field(default_factory=list)
    base: Log | None = None
    named: list[Found] = field(default_factory=list)

    @property
    def told_in(self) -> str | None:
        """The clock that its times are told on: that of the log which `offset` counts from, or else its own."""
        return self.base.told_in if self.base is not None else self.clock

    @property
    def clock(self) -> str | None:
        return next((tally.clock for tally in self.trace.tallies if tally.clock is not None), None)

    @property
    def name(self) -> str:
        return self.trace.tallies[0].name if self.trace.tallies else self.trace.paths[0]

    @property
    def first(self) -> int | None:
        return min((tally.first for tally in self.trace.tallies if tally.first is not None), default=None)

    @property
    def last(self) -> int | None:
        return max((tally.last for tally in self.trace.tallies if tally.last is not None), default=None)

    @property
    def short(self) -> str:
        """Its name without directories, for a sentence."""
        return PurePath(self.name).name

    @property
    def pids(self) -> set[int]:
        """The processes that occur in it."""
        return {pid for pid in self.survey.system.processes if pid}


@dataclass(slots=True)
class Watched:
    """A capture beside a log: which of its conversations are in it, and how far its clock is ahead."""

    capture: Capture
    log: Log
    pairs: list[tuple[Life, Endpoint, Conversation]]
    offset: Offset | None
    assumed: bool = False


def surveyed(trace: Trace, progress: Progress | None) -> Log:
    """Read a log for what other inputs can be joined to."""
    copy = fresh(trace)
    survey = _run(copy, _system(copy), progress, ())
    return Log(copy, survey)


def name_by_holders(log: Log, taken: Taken) -> None:
    """Take our ends of a log's connections from listings, where their holders tell which they are."""
    if one_host(_traits(log), traits(taken.snapshot)):
        found = by_descriptor(log.survey, taken.snapshot)
        adopt(log.survey, found)
        log.named += found


def fresh(trace: Trace) -> Trace:
    """Return the same log, to be read again."""
    return Trace(list(trace.paths), list(trace.pids) if trace.pids is not None else None, kept=trace.kept)


def unread(trace: Trace) -> Log:
    """Return a log that nothing is known of yet."""
    return Log(trace, Survey(_system(trace), str))


def replayed(log: Log, trace: Trace, stuck_after: int, *, everything: bool, progress: Progress | None = None) -> None:
    """Read a log again, with what the other inputs do to it."""
    system = _system(trace)
    diagnosis = Diagnosis(system, trace, stuck_after, everything)
    system.released = diagnosis.released
    log.survey = _run(trace, system, progress, log.actions)
    log.trace, log.diagnosis = trace, diagnosis


def _system(trace: Trace) -> System:
    return System(traced=set(trace.pids) if trace.pids is not None else None, by_line=trace.pids is None)


def _run(trace: Trace, system: System, progress: Progress | None, actions: Sequence[Action]) -> Survey:
    survey = Survey(system, lambda: trace.tallies[0].format if trace.tallies else "")
    agenda = Agenda(survey, actions)
    for event in decode(_paused(survey, trace, progress, agenda)):
        replay(system, event)
        survey.event(event)
        system.unordered = trace.unordered
    agenda.finish()
    withdraw(survey)
    return survey


# All events of a record have been replayed when the next one is asked for.
def _paused(survey: Survey, trace: Trace, progress: Progress | None, agenda: Agenda) -> Iterator[Record]:
    for record in survey.records(trace.records(progress)):
        at = time_of(record)
        if at is not None:
            agenda.until(at)
        yield record


def watched(log: Log, capture: Capture, given: int | None) -> Watched:
    """Find the conversations of a log's connections, and how far the clocks are apart: as `given`, or estimated."""
    ends = conversations(capture)
    candidates = [(life, ends.of(life)) for life in log.survey.lives.values()]
    claimed = Counter((end, id(conversation)) for _, found in candidates for end, conversation in found)
    single = [(life, *found[0]) for life, found in candidates if len(found) == 1]
    sure = [(life, end, one) for life, end, one in single if claimed[end, id(one)] == 1]
    if log.clock == "epoch":
        sure += in_capture(log.survey, capture, [(end, one) for _, end, one in sure])
    offset = Offset(given, 0, 0) if given is not None else combined(bounds_of(*pair) for pair in sure).estimate()
    assumed = offset is None and log.clock == "epoch"
    if assumed:
        offset = Offset(0, None, 0)
    known = {id(life) for life, _, _ in sure}
    for life, found in candidates:
        fitting = [one for one in found if offset is not None and _overlap(life, one[1], offset.ahead)]
        if id(life) not in known and len(fitting) == 1:
            sure.append((life, *fitting[0]))
    return Watched(capture, log, sure, offset, assumed)


# Ports are used again: of several conversations it is the one of that time.
def _overlap(life: Life, conversation: Conversation, ahead: int) -> bool:
    begun, ended = life.opened_at, life.ended_at
    after = ended is None or conversation.first.at - ahead <= ended + _MARGIN
    return begun is not None and after and begun <= conversation.last.at - ahead + _MARGIN


def nat(watch: Watched) -> Gap | None:
    """Say so if both sides have many connections and none in common."""
    known = sum(life.local is not None and life.peer is not None for life in watch.log.survey.lives.values())
    if watch.pairs or known < _MANY or len(watch.capture.conversations) < _MANY:
        return None
    why = (
        f"{watch.capture.source} and {watch.log.name} have no pair of addresses in common: "
        "an address translation (NAT) between them, or another host's capture"
    )
    return Gap("not joined", why, "capture on the host that is traced", watch.capture.source, None)


def unjoined(watch: Watched) -> Gap | None:
    """Say so if the log has connections whose peer it does not tell, and the capture has them perhaps."""
    known = {id(life) for life, _, _ in watch.pairs}
    lives = nameless(watch.log.survey)
    number = sum(id(life) not in known for found in lives.values() for life in found)
    ports = {end.port for conversation in watch.capture.conversations for end in conversation.ends}
    if not number or not ports & lives.keys():
        return None
    why = f"{watch.log.name} does not tell the peers of {number:,} connections: accept() was asked for no address"
    return Gap("not joined", why, "strace -yy", watch.capture.source, None)


def listing_rows(snapshot: Snapshot) -> Ends[SocketRow]:
    """Return the connections of a listing whose ends are known in full, found by them."""
    found: Ends[SocketRow] = Ends()
    for row in snapshot.sockets:
        if row.local is not None and row.peer is not None and is_whole(row.local) and is_whole(row.peer):
            found.add(row.local, row.peer, row)
    return found


def shown(log: Log, taken: Taken, to_log: Callable[[Taken], int | None]) -> Shown | None:
    """Return what the listings do to a log, at the moment that fits; None where they have nothing in common."""
    if not one_host(_traits(log), traits(taken.snapshot)):
        return None
    rows = listing_rows(taken.snapshot)
    matched = [(life, found[0]) for life in log.survey.lives.values() if len(found := rows.of(life)) == 1]
    pids = {*taken.snapshot.processes}
    strangers = bool(matched and pids) and not pids & log.pids
    if not matched and not pids & log.pids:
        return None
    told = to_log(taken)
    bounded = [(life, row) for life, row in matched if strangers or not _held_by_others(taken.snapshot, row, log.pids)]
    window = window_of(bounded)
    spot = place(window, told, sure=taken.sure)
    log.gaps += _doubts(log, taken, spot, window, strangers=strangers)
    left = in_listing(log.survey, taken.snapshot, [row for _, row in matched], told) if not strangers else []
    left += log.named if not strangers else []
    result = Shown(
        spot.at, taken.snapshot, rows, strangers, _is_whole(taken.snapshot, matched), _roles(taken.snapshot),
        frozenset(log.pids), spot.at if spot.at is not None else log.last, left,
    )  # fmt: skip
    taken.shown.append(result)
    return result


def _traits(log: Log) -> Traits:
    return Traits(own_addresses(life.local for life in log.survey.lives.values() if life.local is not None), {})


def _held_by_others(snapshot: Snapshot, row: SocketRow, pids: set[int]) -> bool:
    holders = snapshot.holders(row.inode) if row.inode else []
    return bool(holders) and all(process.pid not in pids for process, _ in holders)


# A filter (`state close-wait`, grep) leaves one state; one that has no connection of the log may be of elsewhere.
def _is_whole(snapshot: Snapshot, matched: Sequence[object]) -> bool:
    states = {row.state for row in snapshot.sockets}
    return len(matched) > 0 and TcpState.LISTEN in states and len(states - {TcpState.LISTEN, TcpState.CLOSE_WAIT}) > 0


def _roles(snapshot: Snapshot) -> Mapping[int, str]:
    ports = {row.local.port for row in snapshot.sockets if row.state is TcpState.LISTEN and row.local is not None}
    return {
        row.inode or 0: "accepted" if row.local is not None and row.local.port in ports else "connected"
        for row in snapshot.sockets
        if row.peer is not None and ports
    }


def _doubts(log: Log, taken: Taken, spot: Place, window: Window, *, strangers: bool) -> Iterator[Gap]:
    source = taken.snapshot.source
    if spot.doubted:
        when = "at the latest moment that fits" if spot.at is not None else "after the log's end"
        why = f"at the time of its file {log.name} had other connections: what it shows is taken to be true {when}"
        yield Gap("the listing's time is not certain", why, "tracecorr parse --at TIME", source, None)
    if window.empty:
        why = f"it shows connections that {log.name} did not have at one moment"
        yield Gap("a listing contradicts the log", why, "tracecorr parse --at TIME", source, None)
    if strangers:
        why = f"it and {log.name} have connections in common and no process id: they are of two pid namespaces"
        yield Gap("holders not joined", why, "take the listing where the trace was taken", source, None)


def between(ours: Log, theirs: Log) -> tuple[list[tuple[Life, Life]], Offset | None]:
    """Return the connections that two logs have the two ends of, and how far the clock of `theirs` is ahead."""
    pairs = list(mirrored(ours.survey.lives.values(), theirs.survey.lives.values()))
    return pairs, combined(bounds_between(*pair) for pair in pairs).estimate()
