"""Alike verdicts as one: a program that leaks leaks the same way 5,000 times, and one story tells it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracecorr.verdicts.report import Holder, Party, Verdict


@dataclass(frozen=True, slots=True)
class Group:
    """Verdicts of one cause in one program, the connection that is stuck longest first."""

    verdicts: tuple[Verdict, ...]

    @property
    def oldest(self) -> Verdict:
        """The one whose story is told for all."""
        return self.verdicts[0]

    @property
    def processes(self) -> int:
        """How many processes the verdicts name: more than one in a server that forks per connection."""
        return len({party.pid for v in self.verdicts if (party := where(v)) is not None})

    @property
    def confidence(self) -> str:
        """How sure the verdicts are: one word, or as 3 certain, 1 likely."""
        counts = Counter(v.confidence for v in self.verdicts)
        return self.oldest.confidence if len(counts) == 1 else ", ".join(f"{n:,} {word}" for word, n in counts.items())

    @property
    def stuck_for(self) -> list[float]:
        """How long each was or is stuck, as far as it is known."""
        return [v.stuck_for for v in self.verdicts if v.stuck_for is not None]


def where(verdict: Verdict) -> Party | Holder | None:
    """Return the process that the verdict is about: who should let go, else who holds it, else who had it."""
    return verdict.culprit or next(iter(verdict.holders), None) or verdict.owner


def grouped(verdicts: Iterable[Verdict]) -> list[Group]:
    """Return the groups, in the order of their urgency, then of the report."""
    found: dict[object, list[Verdict]] = {}
    for verdict in verdicts:
        found.setdefault(_likeness(verdict), []).append(verdict)
    groups = [Group(tuple(sorted(alike, key=_age))) for alike in found.values()]
    return sorted(groups, key=lambda group: _urgency(group.oldest))


# The pid is no part of it: a server that forks per connection has as many culprits as connections.  Nor is the
# confidence: the younger of two connections may be less certain, its story is the same.
def _likeness(verdict: Verdict) -> object:
    party = where(verdict)
    return (
        verdict.cause,
        verdict.detail,
        verdict.blamed,
        verdict.released,
        verdict.released_by,
        party.comm if party else None,
    )


def _age(verdict: Verdict) -> tuple[float, float]:
    stuck_for = verdict.stuck_for if verdict.stuck_for is not None else 0.0
    return -stuck_for, verdict.eof_at if verdict.eof_at is not None else inf


def _urgency(verdict: Verdict) -> int:
    return 2 * (not verdict.blamed) + verdict.released
