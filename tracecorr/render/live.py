"""What is stuck while tracing goes on: a board for a terminal, a line for each change, and JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from tracecorr.render.clock import span
from tracecorr.render.escape import visible
from tracecorr.render.groups import where
from tracecorr.render.headline import count
from tracecorr.verdicts.explanations import label
from tracecorr.verdicts.json_values import encoded

if TYPE_CHECKING:
    from tracecorr.verdicts.report import Report, Verdict

NAME_LIMIT: Final = 40
SUMMARY_LIMIT: Final = 600

CHANGES: Final[dict[str, str]] = {"new": "stuck", "changed": "now", "ended": "ended"}


def board(title: str, verdicts: Sequence[Verdict], room: int) -> Group:
    """Return what a terminal shows: the newest first, no more than `room` rows."""
    ordered = sorted(verdicts, key=lambda v: -(v.eof_at or 0.0))
    shown = ordered[:room]
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=bool(shown), header_style="dim")
    for column in ("cause", "sure", "for", "connection", "held by"):
        table.add_column(column, no_wrap=True, overflow="ellipsis")
    for verdict in shown:
        table.add_row(*_row(verdict))
    rest = [Text(f"and {len(ordered) - room:,} more", "dim")] if len(ordered) > room else []
    return Group(Text(visible(title), "bold"), table, *rest)


def _row(verdict: Verdict) -> Iterator[Text]:
    colour = "red" if verdict.blamed else "cyan"
    yield Text(_cause(verdict), colour)
    yield Text(visible(verdict.confidence))
    yield Text(span(verdict.stuck_for) if verdict.stuck_for is not None else "?")
    yield Text(_ends(verdict))
    yield Text(_holder(verdict))


def _cause(verdict: Verdict) -> str:
    detail = f" ({label(visible(verdict.detail))})" if verdict.detail else ""
    return f"{label(visible(verdict.cause))}{detail}"


def _ends(verdict: Verdict) -> str:
    socket = verdict.socket
    arrow = "→" if socket.role == "connected" else "←"
    return visible(f"{socket.local or '?'} {arrow} {socket.peer or '?'}")


def _holder(verdict: Verdict) -> str:
    party = where(verdict)
    if party is None:
        return "no descriptor"
    name = visible(party.comm or "process", NAME_LIMIT)
    return f"{name}[{party.pid}]" + (f" fd {party.fd}" if party.fd is not None else "")


def heading(subject: str, elapsed: float, records: int, verdicts: Sequence[Verdict]) -> str:
    """Return the line above the board."""
    stuck = count(sum(v.blamed for v in verdicts), "stuck connection")
    return f"{subject} · {span(elapsed)} · {count(records, 'record')} · {stuck} · Ctrl-C ends"


def line(change: str, verdict: Verdict, at: float) -> str:
    """Return one change for a log."""
    when = datetime.fromtimestamp(at).isoformat(sep=" ", timespec="milliseconds")
    word = CHANGES[change]
    if change == "ended":
        return f"{when}  {word}  {_ends(verdict)} ({_cause(verdict)})\n"
    summary = visible(verdict.summary, SUMMARY_LIMIT)
    return f"{when}  {word}  {_cause(verdict)}, {visible(verdict.confidence)}: {summary}\n"


def json_line(change: str, verdict: Verdict, at: float) -> str:
    """Return one change as a line of JSON: `event` is new, changed or ended, `verdict` as in a report."""
    return json.dumps({"event": change, "at": at, "verdict": encoded(verdict)}) + "\n"


def last_line(report: Report, at: float) -> str:
    """Return the report as the last line of JSON Lines: its `event` is report."""
    return json.dumps({"event": "report", "at": at, "report": report.to_json()}) + "\n"
