"""The report as one JSON object (version 1 of the contract), and back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from tracecorr.errors import BadReport
from tracecorr.verdicts.report import from_json

if TYPE_CHECKING:
    from tracecorr.verdicts.report import Report

NAME: Final = "json"
SUFFIX: Final = ".json"
INDENTED: Final = 500


def render(report: Report) -> Iterator[str]:
    """Yield the document, in ASCII: whatever a log holds, it does nothing to a terminal."""
    # Only what people may read is indented: that is written in Python, six times slower than the rest.
    indent = 2 if len(report.verdicts) <= INDENTED else None
    # JSON leaves DEL as it is; inside a document it can only stand in a string.
    yield json.dumps(report.to_json(), indent=indent, allow_nan=False).replace("\x7f", "\\u007f")
    yield "\n"


def read(data: bytes) -> Report:
    """Return the report that a file holds; raise BadReport where it holds none."""
    try:
        return from_json(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise BadReport(f"not a tracecorr report: {error}") from error
