"""Verdicts on another clock: what a second log tells is told on the clock of the first."""

from __future__ import annotations

from dataclasses import replace

from tracecorr.verdicts.report import Evidence, Holder, Party, Verdict


def shifted(verdict: Verdict, ahead: float) -> Verdict:
    """Return the verdict of a log whose clock is so many seconds ahead, on the clock that it is ahead of."""
    return replace(
        verdict,
        eof_at=_back(verdict.eof_at, ahead),
        released_at=_back(verdict.released_at, ahead),
        holders=tuple(_holder(each, ahead) for each in verdict.holders),
        culprit=_party(verdict.culprit, ahead),
        owner=_party(verdict.owner, ahead),
        evidence=tuple(_evidence(each, ahead) for each in verdict.evidence),
    )


def _back(at: float | None, ahead: float) -> float | None:
    return None if at is None else at - ahead


def _holder(holder: Holder, ahead: float) -> Holder:
    return replace(holder, since=_back(holder.since, ahead))


def _party(party: Party | None, ahead: float) -> Party | None:
    return None if party is None else replace(party, closed_at=_back(party.closed_at, ahead))


def _evidence(item: Evidence, ahead: float) -> Evidence:
    return replace(item, at=_back(item.at, ahead))
