"""Lines of text in columns: words wrap inside their column, and nothing is cut without saying so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import zip_longest
from typing import Final, TypeVar

from rich.console import Console
from rich.text import Text

from tracecorr.render.base import Style
from tracecorr.render.clock import Clocks
from tracecorr.render.escape import visible

GAP: Final = 2
LABEL_WIDTH: Final = 5

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cell:
    """Text for one column, and the column's width."""

    text: Text
    width: int


@dataclass(frozen=True, slots=True)
class Page:
    """Where the lines go: a console that writes into memory, the terminal's style, the clocks of the sources."""

    console: Console
    style: Style
    clocks: Clocks
    sources: dict[str, str]

    def columns(self, *cells: Cell, indent: int = 0, gap: int = GAP) -> Iterator[Text]:
        """Yield the lines of one row; each cell wraps by words within its width."""
        wrapped = [list(cell.text.wrap(self.console, max(cell.width, 1))) for cell in cells]
        for parts in zip_longest(*wrapped, fillvalue=Text()):
            line = Text(" " * indent)
            for cell, part in zip(cells, parts, strict=True):
                part.rstrip()
                line.append_text(part)
                line.append(" " * (cell.width - part.cell_len + gap))
            line.rstrip()
            yield line

    def hanging(self, first: Text, body: Text, *, indent: int, width: int) -> Iterator[Text]:
        """Yield `first` and beside it the body, whose further lines hang below its beginning."""
        rest = self.style.width - indent - width - GAP
        return self.columns(Cell(first, width), Cell(body, rest), indent=indent)

    def labelled(self, label: str, body: Text | str) -> Iterator[Text]:
        """Yield a paragraph of a story with its word before it: fix, ends, also."""
        text = Text(body) if isinstance(body, str) else body
        return self.hanging(Text(label, "bold"), text, indent=2, width=LABEL_WIDTH)

    def paragraph(self, text: Text, *, indent: int) -> Iterator[Text]:
        """Yield the text wrapped by words."""
        return self.columns(Cell(text, self.style.width - indent), indent=indent)

    def few(self, items: Sequence[T], limit: int, show: Callable[[T], str]) -> list[str]:
        """Return the first items as `show` has them, and the number of the others as the last one."""
        shown = items if self.style.everything or len(items) <= limit else items[:limit]
        rest = len(items) - len(shown)
        return [*map(show, shown), *([f"and {rest:,} more"] if rest else [])]

    def origin(self, source: str | None, line: int | None) -> str:
        """Return where a fact was read as source:line, by the shortest name that is clear."""
        if source is None:
            return ""
        name = visible(self.sources.get(source, source))
        return name if line is None else f"{name}:{line}"


def page(style: Style, clocks: Clocks, sources: Sequence[str]) -> Page:
    """Return an empty page; what its console prints is read back with `written`."""
    console = Console(
        file=StringIO(),
        width=style.width,
        color_system="standard" if style.colour else None,
        force_terminal=style.colour,
        no_color=not style.colour,
        legacy_windows=False,
        markup=False,
        highlight=False,
        emoji=False,
    )
    return Page(console, style, clocks, _short_names(sources))


def written(page: Page, lines: Iterator[Text]) -> str:
    """Return the lines as the terminal is to get them."""
    with page.console.capture() as capture:
        for line in lines:
            page.console.print(line, soft_wrap=True)
    return capture.get()


# A chain of evidence has no room for directories; the headline names them.
def _short_names(sources: Sequence[str]) -> dict[str, str]:
    short = [name.rsplit("/", 1)[-1] for name in sources]
    return {name: last if last and short.count(last) == 1 else name for name, last in zip(sources, short, strict=True)}
