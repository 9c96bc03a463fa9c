"""What a renderer is: a module with a name, a suffix for its files, and one function."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tracecorr.verdicts.report import Report


class Renderer(Protocol):
    """A report as text.  It opens no file, reads no clock, prints nothing, and has no options beyond the report."""

    @property
    def NAME(self) -> str:
        """The word for --format."""

    @property
    def SUFFIX(self) -> str:
        """How a file of this kind ends, with the dot."""

    def render(self, report: Report) -> Iterator[str]:
        """Yield the text in pieces, the last one ending in a line feed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """What text output depends on beyond the report: the terminal it goes to.

    `everything` unfolds long chains and lists.
    """

    colour: bool = False
    width: int = 100
    everything: bool = False
