"""Looks at a host one after the other: a line for each change, or a JSON object for each look."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tracecorr.render.clock import moment
from tracecorr.render.escape import visible
from tracecorr.verdicts.explanations import label
from tracecorr.verdicts.json_values import encoded

if TYPE_CHECKING:
    from tracecorr.verdicts.changes import Change, Changes
    from tracecorr.verdicts.report import Report


def text(changes: Changes) -> Iterator[str]:
    """Yield a line for each cause and process of which connections came or went."""
    for change in changes.changes:
        if change.new or change.gone:
            yield f"{moment(changes.at, 'epoch')}  {_line(change)}\n"


def json_line(report: Report, changes: Changes) -> str:
    """Return one line: the counts of the look, each cause and process, and the verdicts that are new or gone."""
    document = {"version": 1, "command": report.command, "sockets": encoded(report.sockets), **encoded(changes)}
    document["gaps"] = encoded(report.gaps)
    return json.dumps(document, allow_nan=False).replace("\x7f", "\\u007f") + "\n"


def _line(change: Change) -> str:
    who = f"{visible(change.comm or 'process')}[{change.pid}]" if change.pid is not None else "nobody"
    what = label(change.cause) + (f" ({label(change.detail)})" if change.detail else "")
    moved = [f"{change.new:,} new"] if change.new else []
    moved += [f"{change.gone:,} gone"] if change.gone else []
    growth = f", {change.per_minute:+,.1f} per minute" if change.per_minute is not None else ""
    return f"{who}  {what}: {', '.join(moved)}, {change.stuck:,} now{growth}"
