from __future__ import annotations

import re

import pytest
from hypothesis import given, settings

from tracecorr.render import dot_graph

from .hostile import ANYTHING, SAMPLES
from .reports import graph, hostile_report, report

QUOTED = r'"(?:[^"\\]|\\["\\])*"'
STATEMENT = re.compile(rf"  n\d+( -> n\d+)? \[label={QUOTED}, (shape|style)=[a-z]+\];")


def statements(text: str) -> list[str]:
    lines = "".join(dot_graph.render(hostile_report(text))).splitlines()
    assert lines[0] == "digraph tracecorr {" and lines[-1] == "}"
    return lines[4:-1]


@pytest.mark.parametrize("text", SAMPLES, ids=lambda text: ascii(text[:12]))
def test_hostile_text_stays_within_its_quotes(text: str) -> None:
    assert all(STATEMENT.fullmatch(line) for line in statements(text))
    assert len(statements(text)) == 3


@settings(max_examples=100, deadline=None)
@given(ANYTHING)
def test_every_statement_is_well_formed(text: str) -> None:
    assert [line for line in statements(text) if not STATEMENT.fullmatch(line)] == []


def test_entities_of_a_log_are_not_decoded() -> None:
    assert '"&amp;#34;"' in statements("&#34;")[0]


def test_what_is_closed_is_dashed_and_what_holds_is_bold() -> None:
    text = "".join(dot_graph.render(report(graph=graph())))

    assert 'label="closed 07:14:52.885 trace.log:518", style=dashed' in text
    assert 'label="holds", style=bold' in text
