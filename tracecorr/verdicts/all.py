"""RULES: all are asked, the most specific first; `unexplained` speaks if none did."""

from __future__ import annotations

from typing import Final

from tracecorr.verdicts import (
    duplicate_kept,
    eof_ignored,
    held_without_fd,
    inherited_copy,
    never_accepted,
    never_reads_eof,
    still_sending,
    unexplained,
)
from tracecorr.verdicts.base import Rule

RULES: Final[tuple[Rule, ...]] = (
    held_without_fd,
    still_sending,
    inherited_copy,
    duplicate_kept,
    eof_ignored,
    never_reads_eof,
    unexplained,
)

# Asked of the client's end of connections that have no descriptor on the server's side.
QUEUE_RULE: Final[Rule] = never_accepted
