"""The chain of evidence: one row per fact, each of which can be opened in the log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain as joined
from typing import TYPE_CHECKING, Final

from rich.text import Text

from tracecorr.render.escape import visible
from tracecorr.render.layout import GAP, Cell

if TYPE_CHECKING:
    from tracecorr.render.layout import Page
    from tracecorr.verdicts.report import Evidence

INDENT: Final = 4
LONGEST: Final = 12
HEAD: Final = 6
TAIL: Final = 5
CALL_SHARE: Final = 3
PLACE: Final = 28

Row = tuple[Text, Text, Text, Text, Text]


def chain(page: Page, evidence: Sequence[Evidence]) -> Iterator[Text]:
    """Yield the rows aligned: time, process, call, place in the log, what it means; a long chain without its middle."""
    whole = page.style.everything or len(evidence) <= LONGEST
    head, tail = (evidence, evidence[:0]) if whole else (evidence[:HEAD], evidence[-TAIL:])
    room = page.style.width - INDENT
    rows = [_row(page, item, room // CALL_SHARE) for item in joined(head, tail)]
    widths = _widths(rows, room)
    for index, row in enumerate(rows):
        if tail and index == HEAD:
            yield Text(f"{' ' * INDENT}… {len(evidence) - HEAD - TAIL:,} more steps …", "dim")
        cells = [Cell(text, width) for text, width in zip(row, widths, strict=True) if width]
        yield from page.columns(*cells, indent=INDENT)


def _row(page: Page, item: Evidence, room: int) -> Row:
    return (
        Text(page.clocks.moment(item.at, item.source), "dim"),
        Text("" if item.pid is None else str(item.pid)),
        Text(brief(visible(item.call or ""), room), "bold"),
        Text(page.origin(item.source, item.line), "dim"),
        Text(visible(item.text)),
    )


# A column that is empty in every row takes no room.  Time and process never wrap, the words get what is left.
def _widths(rows: Sequence[Row], room: int) -> list[int]:
    time, pid, call, place, _ = (max(cell.cell_len for cell in column) for column in zip(*rows, strict=True))
    room -= sum(width + GAP for width in (time, pid) if width)
    call, place = min(call, room // CALL_SHARE), min(place, PLACE)
    room -= sum(width + GAP for width in (call, place) if width)
    return [time, pid, call, place, room]


def brief(call: str, room: int) -> str:
    """Return the call with its first argument and its result alone where the whole has no room.

    The whole call stands in the log at the place beside it.
    """
    if len(call) <= room:
        return call
    name, _, arguments = call.partition("(")
    arguments, end, result = arguments.partition(") = ")
    first = arguments.split(",", 1)[0]
    return f"{name}({first}, …{end}{result}" if end and first != arguments and len(first) <= room else call
