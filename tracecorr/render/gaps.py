"""What the record cannot tell, and which of its lines were not understood."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from rich.text import Text

from tracecorr.render.escape import visible
from tracecorr.render.headline import count

if TYPE_CHECKING:
    from tracecorr.render.layout import Page
    from tracecorr.verdicts.report import GapView, Report, Source

LABEL_WIDTH: Final = 10
SHOWN_GAPS: Final = 8
SHOWN_SOURCES: Final = 3
SHOWN_LINES: Final = 3
LINE_LIMIT: Final = 160


def gaps(page: Page, report: Report) -> Iterator[Text]:
    """Yield each lack of evidence once, and what would have recorded it."""
    alike: dict[tuple[str, str, str | None], list[GapView]] = {}
    for gap in report.gaps:
        alike.setdefault((gap.what, gap.why, gap.try_), []).append(gap)
    for index, text in enumerate(page.few(list(alike.values()), SHOWN_GAPS, lambda found: _gap(page, found))):
        word = Text("" if index else "can't tell", "bold yellow")
        yield from page.hanging(word, Text(text), indent=0, width=LABEL_WIDTH)


def unread(page: Page, report: Report) -> Iterator[Text]:
    """Yield how many lines of each source were not understood, and the first of them."""
    sources = [source for source in report.sources if source.skipped]
    shown = sources if page.style.everything else sources[:SHOWN_SOURCES]
    word = "not read"
    for source in shown:
        for body in _unread(page, source):
            yield from page.hanging(Text(word, "bold yellow"), body, indent=0, width=LABEL_WIDTH)
            word = ""
    rest = sources[len(shown) :]
    if rest:
        body = Text(f"and {count(sum(source.skipped for source in rest), 'line')} of {count(len(rest), 'more input')}")
        yield from page.hanging(Text(), body, indent=0, width=LABEL_WIDTH)


def _gap(page: Page, alike: list[GapView]) -> str:
    gap = alike[0]
    # The name alone says nothing where there is one input only.
    place = page.origin(gap.source, gap.line) if gap.line is not None or len(page.sources) > 1 else ""
    if len(alike) > 1:
        place = f"{len(alike):,} times, first {place}" if place else f"{len(alike):,} times"
    text = f"{visible(gap.what)}: {visible(gap.why)}" + (f" ({place})" if place else "")
    return f"{text}. Try: {visible(gap.try_)}" if gap.try_ else text


def _unread(page: Page, source: Source) -> Iterator[Text]:
    name = page.origin(source.name, None)
    yield Text(f"{count(source.skipped, 'line')} of {name}" + (", the first:" if source.unread else ""))
    samples = source.unread if page.style.everything else source.unread[:SHOWN_LINES]
    for number, text in samples:
        yield Text.assemble((f"{number:>6}  ", "dim"), visible(text, LINE_LIMIT))
