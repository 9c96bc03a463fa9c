"""The identifiers of causes, and how sure a verdict is."""

from __future__ import annotations

from enum import Enum, IntEnum


class Cause(str, Enum):
    """The identifiers of the public contract (domain.md, part 2)."""

    NEVER_READS_EOF = "never-reads-eof"
    EOF_IGNORED = "eof-ignored"
    STILL_SENDING = "still-sending"
    INHERITED_COPY = "inherited-copy"
    DUPLICATE_KEPT = "duplicate-kept"
    NEVER_ACCEPTED = "never-accepted"
    HELD_WITHOUT_FD = "held-without-fd"
    LINGERING_FIN = "lingering-fin"
    UNEXPLAINED = "unexplained"


class Confidence(IntEnum):
    """How sure a verdict is: of several doubts the gravest counts."""

    POSSIBLE = 0
    LIKELY = 1
    CERTAIN = 2

    @property
    def word(self) -> str:
        return self.name.lower()
