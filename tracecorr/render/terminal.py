"""The report as text for people: what happened, how it is known, what to do; nothing twice, one screen per group."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Final

from tracecorr.render.base import Style
from tracecorr.render.clock import clocks
from tracecorr.render.gaps import gaps, unread
from tracecorr.render.groups import grouped
from tracecorr.render.headline import headline
from tracecorr.render.layout import page, written
from tracecorr.render.story import story

if TYPE_CHECKING:
    from tracecorr.verdicts.report import Report

NAME: Final = "text"
SUFFIX: Final = ".txt"


def render(report: Report) -> Iterator[str]:
    """Yield the report as plain text of 100 columns."""
    return styled(report, Style())


def styled(report: Report, style: Style) -> Iterator[str]:
    """Yield the report as the terminal wants it: section by section, each one after an empty line."""
    sheet = page(style, clocks(report), [source.name for source in report.sources])
    yield written(sheet, headline(sheet, report))
    sections = (story(sheet, group) for group in grouped(report.verdicts))
    for section in chain(sections, (gaps(sheet, report), unread(sheet, report))):
        text = written(sheet, section)
        if text:
            yield "\n" + text
