"""The record itself, entry by entry, as text or as JSON Lines: a log of 10 GB passes through without being kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len

from tracecorr.render.chain import brief
from tracecorr.render.clock import moment
from tracecorr.render.escape import visible

if TYPE_CHECKING:
    from tracecorr.verdicts.timeline import Entry

CALL: Final = 28


def text(entries: Iterable[Entry]) -> Iterator[str]:
    """Yield one aligned line per entry; each connection is introduced once, and each day."""
    day, known = "", dict[int, "str | None"]()
    for entry in entries:
        today = moment(entry.at, entry.clock, dated=True)[:10] if entry.clock == "epoch" else day
        if today != day:
            day = today
            yield f"{day}\n"
        if entry.connection not in known or known[entry.connection] != entry.socket is not None:
            known[entry.connection] = entry.socket
            yield f"connection {entry.connection}  {visible(entry.socket or '(addresses unknown)')}\n"
        yield _line(entry)
    if not known:
        yield "No call of the record touches such a TCP connection.\n"


def json_lines(entries: Iterable[Entry]) -> Iterator[str]:
    """Yield one JSON object per line, with the names of Entry; in ASCII, as the report's JSON."""
    for entry in entries:
        yield json.dumps(entry._asdict(), allow_nan=False).replace("\x7f", "\\u007f") + "\n"


TIMELINES: Final[dict[str, Callable[[Iterable[Entry]], Iterator[str]]]] = {"text": text, "jsonl": json_lines}


def _line(entry: Entry) -> str:
    fd = "" if entry.fd is None else f"fd {entry.fd}"
    call = brief(visible(entry.call or ""), CALL)
    # In a stream nothing is known of the lines to come: columns have a usual width, and give way to what is longer.
    cells = (
        f"{moment(entry.at, entry.clock):>12}",
        f"{_who(entry):>7}",
        f"#{entry.connection:<3}",
        f"{fd:<5}",
        call + " " * (CALL - cell_len(call)),
        f"{visible(entry.text)}  ({visible(entry.source)}:{entry.line})",
    )
    return "  ".join(cells) + "\n"


def _who(entry: Entry) -> str:
    if entry.pid is None or entry.tid in (None, entry.pid):
        return "" if entry.pid is None and entry.tid is None else str(entry.tid if entry.pid is None else entry.pid)
    return f"{entry.pid}/{entry.tid}"
