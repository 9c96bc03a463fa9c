"""Logs, listings and captures of one occasion, joined into verdicts: what each adds, and what they contradict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import groupby
from typing import Final

from tracecorr.events import Gap
from tracecorr.joining.answer import Joined, Question, pair_of, verdicts_of
from tracecorr.joining.arrival import is_lost
from tracecorr.joining.clocks import Offset
from tracecorr.joining.ends import name_ends
from tracecorr.joining.fins import after_its_end, capture_actions, confirmed, peer_actions
from tracecorr.joining.join import (
    Log,
    between,
    fresh,
    name_by_holders,
    nat,
    replayed,
    shown,
    surveyed,
    unjoined,
    unread,
    watched,
)
from tracecorr.joining.listings import Taken, look_of, taken_of
from tracecorr.joining.shift import shifted
from tracecorr.joining.survey import Life
from tracecorr.joining.telling import tell
from tracecorr.joining.wire import add_wire
from tracecorr.sources.material import Material
from tracecorr.verdicts.listed import listed_verdicts
from tracecorr.verdicts.report import Verdict

_SECOND: Final = 10**9  # ns

# Inputs that begin later than this after another has ended are of another day's work.
_OCCASION: Final = 3600 * _SECOND


def join(material: Material, question: Question) -> Joined:
    """Read the logs twice, where need be: for what can be joined to them, and then with what that does to them.

    The traces of `material` are those that were read last.
    """
    joined = Joined(captures=material.captures, taken=taken_of(material.listings, question.given))
    if not material.listings and not material.captures:
        joined.logs = _diagnosed(material, question)
    else:
        joined.logs = [surveyed(trace, question.progress) for trace in material.traces]
        for log in joined.logs:
            for taken in joined.taken:
                name_by_holders(log, taken)
    _align(joined, question)
    if joined.ends or material.listings or material.captures:
        _replay(joined, material, question)
    _conclude(joined)
    _ends_named(joined)
    add_wire(joined, question.stuck_after)
    _on_one_clock(joined)
    _beside(joined, question)
    tell(joined)
    return joined


# Logs alone have seldom to do with each other: they are judged at once, and read again only where they have.
def _diagnosed(material: Material, question: Question) -> list[Log]:
    logs = []
    for trace in material.traces:
        trace.skim = question.stuck_after
        log = unread(trace)
        replayed(log, trace, question.stuck_after, everything=question.everything, progress=question.progress)
        logs.append(log)
    return logs


def _replay(joined: Joined, material: Material, question: Question) -> None:
    for log in joined.logs:
        for watch in joined.watches:
            if watch.log is log:
                log.actions += capture_actions(watch)
        for taken in joined.taken:
            action = shown(log, taken, lambda one, log=log: _on_clock(joined, log, one))  # type: ignore[misc]
            log.actions += [action] if action is not None else []
        joined.gaps += after_its_end(log, joined.untold, confirmed(joined.taken, log))
    logs_alone = not material.listings and not material.captures
    for index, (log, trace) in enumerate(zip(joined.logs, material.traces, strict=True)):
        if logs_alone:
            trace = material.traces[index] = fresh(trace)
        progress = None if logs_alone else question.progress
        replayed(log, trace, question.stuck_after, everything=question.everything, progress=progress)


# The clocks: of other logs against the first one, of captures against each log.
def _align(joined: Joined, question: Question) -> None:
    for log in joined.logs:
        for capture in joined.captures:
            joined.watches.append(watched(log, capture, question.given.offset(capture.source)))
    for index, log in enumerate(joined.logs):
        if index:
            said = question.given.offset(log.name)
            log.offset, log.base = (Offset(said, 0, 0), joined.logs[0]) if said is not None else (None, None)
        for other in joined.logs[:index]:
            pairs, offset = between(other, log)
            if pairs:
                _two_sides(joined, other, log, pairs, offset)
    for watch in joined.watches:
        gap = nat(watch) or unjoined(watch)
        if gap is not None and not any(each.pairs and each.capture is watch.capture for each in joined.watches):
            joined.gaps.append(gap)


def _two_sides(
    joined: Joined, ours: Log, theirs: Log, pairs: list[tuple[Life, Life]], offset: Offset | None
) -> None:  # fmt: skip
    if theirs.offset is not None and ours.offset is not None:
        offset = Offset(theirs.offset.ahead - ours.offset.ahead, 0, 0)
    elif theirs.offset is not None and ours is joined.logs[0]:
        offset = theirs.offset
    elif offset is None and ours.clock == theirs.clock == "epoch":
        offset = Offset(0, None, 0)
    if offset is None:
        why = f"{ours.name} and {theirs.name} have the two ends of {len(pairs)} connections, and no times to align"
        joined.gaps.append(Gap("clocks not aligned", why, "strace -f -ttt -T on both hosts", theirs.name, None))
        return
    if theirs.offset is None:
        base = ours.offset.ahead if ours.offset is not None else 0
        theirs.offset, theirs.base = offset._replace(ahead=offset.ahead + base), ours
    joined.ends.append((ours, theirs, pairs, offset))
    ours.actions += peer_actions(pairs, offset.ahead, _lost(joined, ours))
    theirs.actions += peer_actions([(there, here) for here, there in pairs], -offset.ahead, _lost(joined, theirs))


# Whether a capture that has the connection shows that a FIN, sent at that time of the log, did not come.
def _lost(joined: Joined, log: Log) -> Callable[[Life, int], bool]:
    def lost(life: Life, at: int) -> bool:
        return any(
            each is life and is_lost(end, conversation, watch.capture, at + watch.offset.ahead)
            for watch in joined.watches
            if watch.log is log and watch.offset is not None
            for each, end, conversation in watch.pairs
        )

    return lost


# When a listing was taken, on the clock of a log.
def _on_clock(joined: Joined, log: Log, taken: Taken) -> int | None:
    if log.clock is None or log.last is None:
        return None
    if taken.of_day is not None:
        return taken.of_day if log.clock == "day" else _of_that_day(log.last, taken.of_day)
    if taken.at is None:
        return None
    if log.clock == "epoch":
        return taken.at
    watch = next((one for one in joined.watches if one.log is log and one.offset is not None and one.pairs), None)
    if watch is not None and watch.offset is not None:
        return taken.at - watch.offset.ahead
    return _in_zone(log, taken.at - _midnight(taken.at)) if log.clock == "day" else None


# A log with the time of the day alone does not tell the zone of its host: the time of a listing's file is not compared
# with it unless the two are of one occasion.
def _in_zone(log: Log, at: int) -> int | None:
    first, last = log.first or 0, log.last or 0
    return next((each for each in (at, at + 24 * _OCCASION) if first <= each <= last + _OCCASION), None)


def _midnight(at: int) -> int:
    when = datetime.fromtimestamp(at // _SECOND)
    return round(when.replace(hour=0, minute=0, second=0).timestamp()) * _SECOND


def _of_that_day(last: int, of_day: int) -> int:
    return _midnight(last) + of_day


def _conclude(joined: Joined) -> None:
    for log in joined.logs:
        if log.diagnosis is not None:
            log.diagnosis.conclude(_latest(joined, log))
            log.diagnosis.verdicts = _settled(log.diagnosis.verdicts)


# The last time in any input, on the log's clock.
def _latest(joined: Joined, log: Log) -> int | None:
    last = log.last
    if last is None:
        return None
    times = [last]
    if log.clock == "epoch":
        spans = [(one.first, one.last) for one in joined.logs if one.clock == "epoch"]
        spans += [(capture.first, capture.last) for capture in joined.captures]
        times += [end for first, end in spans if end is not None and first is not None and first <= last + _OCCASION]
    for watch in joined.watches:
        if watch.log is log and watch.pairs and watch.offset is not None and watch.capture.last is not None:
            times.append(watch.capture.last - watch.offset.ahead)
    for taken in joined.taken:
        times += [action.at for action in taken.shown if action in log.actions and action.at is not None]
    for ours, theirs, _, offset in joined.ends:
        if ours is log and theirs.last is not None:
            times.append(theirs.last - offset.ahead)
        elif theirs is log and ours.last is not None:
            times.append(ours.last + offset.ahead)
    return max(times)


# A connection that a listing shows to be held after its last close was not released by that.
def _settled(verdicts: Sequence[Verdict]) -> list[Verdict]:
    stuck = {(v.socket.local, v.socket.peer) for v in verdicts if not v.released and v.socket.peer is not None}
    return [v for v in verdicts if not (v.released and (v.socket.local, v.socket.peer) in stuck)]


# What listings show and no log has told of.
def _beside(joined: Joined, question: Question) -> None:
    covered = {pair_of(verdict) for log in joined.logs for verdict in verdicts_of(log) if not verdict.released}
    alive, ended = _lives(joined)
    for _, group in groupby(joined.taken, key=lambda taken: taken.host):
        of_host = list(group)
        look = look_of(of_host, question.stuck_after / _SECOND)
        joined.looks.append(look)
        for verdict in listed_verdicts(look, everything=question.everything):
            ends = pair_of(verdict)
            if ends not in covered and (ends not in ended or ends in alive) and not joined.is_told(verdict):
                of_host[-1].listed.append(verdict)


def _lives(joined: Joined) -> tuple[set[object], set[object]]:
    alive: set[object] = set()
    ended: set[object] = set()
    for log in joined.logs:
        for life in log.survey.lives.values():
            if life.peer is not None:
                healthy = life.description.closed_by_reset is not None or life.fin is not None
                (ended if healthy and not life.description.references else alive).add((life.port, life.peer))
    return alive, ended


# All times in the report are the first log's, where it is known how far the others are ahead.
def _on_one_clock(joined: Joined) -> None:
    for log in joined.logs[1:]:
        if log.diagnosis is not None and log.offset is not None:
            ahead = log.offset.ahead / _SECOND
            log.diagnosis.verdicts = [shifted(verdict, ahead) for verdict in log.diagnosis.verdicts]


# One report names both ends: the peer's process that sent the FIN, and that it waits now.
def _ends_named(joined: Joined) -> None:
    for ours, theirs, pairs, offset in joined.ends:
        name_ends(ours, theirs, pairs, offset.ahead)
        name_ends(theirs, ours, [(there, here) for here, there in pairs], -offset.ahead)
