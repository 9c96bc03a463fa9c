"""LOOK_RULES: all are asked, the most specific first; `unexplained` speaks if none did."""

from __future__ import annotations

from typing import Final

from tracecorr.verdicts.look import (
    duplicate_kept,
    eof_ignored,
    held_without_fd,
    inherited_copy,
    lingering_fin,
    never_accepted,
    never_reads_eof,
    still_sending,
    unexplained,
)
from tracecorr.verdicts.look.base import Case, Finding, Rule

LOOK_RULES: Final[tuple[Rule, ...]] = (
    lingering_fin,
    never_accepted,
    held_without_fd,
    still_sending,
    duplicate_kept,
    inherited_copy,
    eof_ignored,
    never_reads_eof,
    unexplained,
)


def judged(case: Case) -> Finding | None:
    """Return what the first rule that knows the connection says of it."""
    for rule in LOOK_RULES:
        finding = rule.diagnose(case)
        if finding is not None:
            return finding
    return None
