from __future__ import annotations

import re

import pytest
from hypothesis import given, settings

from tracecorr.render import mermaid

from .hostile import ANYTHING, SAMPLES
from .reports import hostile_report

# No quote, no HTML, no Markdown, no directive, no ; but at the end of an entity code.
QUOTED = r'"(?:[^"<>`%;#&|{}\\]|#\d+;)*"'
STATEMENT = re.compile(rf"  n\d+(\[{QUOTED}\]| (-->|-\.->|==>)\|{QUOTED}\| n\d+)")


def statements(text: str) -> list[str]:
    lines = "".join(mermaid.render(hostile_report(text))).splitlines()
    assert lines[0] == "flowchart LR"
    return lines[1:]


@pytest.mark.parametrize("text", SAMPLES, ids=lambda text: ascii(text[:12]))
def test_hostile_text_stays_within_its_quotes(text: str) -> None:
    assert all(STATEMENT.fullmatch(line) for line in statements(text))
    assert len(statements(text)) == 3


@settings(max_examples=100, deadline=None)
@given(ANYTHING)
def test_every_statement_is_well_formed(text: str) -> None:
    assert [line for line in statements(text) if not STATEMENT.fullmatch(line)] == []


def test_names_and_addresses_stay_readable() -> None:
    assert '["nginx[7] 127.0.0.1:80 ← [::1]:9"]' in statements("nginx[7] 127.0.0.1:80 ← [::1]:9")[0]
