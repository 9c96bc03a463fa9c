"""What is new, growing and gone from one look at a host to the next, per cause and process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from tracecorr.verdicts.report import Report, Verdict


class Likeness(NamedTuple):
    """What verdicts have in common that are counted together."""

    cause: str
    detail: str | None
    pid: int | None
    comm: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How many connections of one likeness are stuck now, and what became of them since the look before.

    `per_minute` is by how many they grew since the first look, per minute; None where no time has passed.
    """

    cause: str
    detail: str | None
    pid: int | None
    comm: str | None
    stuck: int
    new: int
    gone: int
    per_minute: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """One look beside the one before: `at` in seconds since the epoch; `new` and `gone` are the verdicts themselves."""

    at: float | None
    changes: tuple[Change, ...]
    new: tuple[Verdict, ...]
    gone: tuple[Verdict, ...]


def changes(first: Report | None, before: Report | None, now: Report) -> Changes:
    """Return what changed from `before` to `now`; `first` is where growth is counted from."""
    old = _by_socket(before)
    current = _by_socket(now)
    new = [verdict for name, verdict in current.items() if name not in old]
    gone = [verdict for name, verdict in old.items() if name not in current]
    counts = [_counted(each) for each in (now.verdicts, new, gone, first.verdicts if first is not None else ())]
    minutes = (_at(now) - _at(first)) / 60 if first is not None else 0.0
    return Changes(
        at=_at(now) or None,
        changes=tuple(_change(like, [count[like] for count in counts], minutes) for like in {**counts[0], **counts[2]}),
        new=tuple(new),
        gone=tuple(gone),
    )


def _change(like: Likeness, counts: list[int], minutes: float) -> Change:
    stuck, new, gone, begun = counts
    growth = round((stuck - begun) / minutes, 1) if minutes > 0 else None
    return Change(**like._asdict(), stuck=stuck, new=new, gone=gone, per_minute=growth)


def _by_socket(report: Report | None) -> dict[object, Verdict]:
    verdicts = report.verdicts if report is not None else ()
    return {(v.socket.local, v.socket.peer, v.socket.inode): v for v in verdicts}


def _counted(verdicts: Iterable[Verdict]) -> Counter[Likeness]:
    return Counter(_likeness(verdict) for verdict in verdicts)


def _likeness(verdict: Verdict) -> Likeness:
    party = verdict.culprit or next(iter(verdict.holders), None) or verdict.owner
    return Likeness(verdict.cause, verdict.detail, party.pid if party else None, party.comm if party else None)


def _at(report: Report) -> float:
    return next((source.last for source in report.sources if source.last is not None), 0.0)
