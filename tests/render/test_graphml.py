from __future__ import annotations

import networkx as nx
import pytest
from hypothesis import given, settings

from tracecorr.render import graphml
from tracecorr.render.escape import visible

from .hostile import ANYTHING, SAMPLES
from .reports import graph, hostile_report, report


def reread(text: str) -> nx.MultiDiGraph:
    document = "".join(graphml.render(hostile_report(text)))
    return nx.parse_graphml(document.split("\n", 1)[1])


@pytest.mark.parametrize("text", SAMPLES, ids=lambda text: ascii(text[:12]))
def test_hostile_text_is_read_back_as_it_was_shown(text: str) -> None:
    assert (reread(text).nodes["n0"].get("label") or "") == visible(text)


@settings(max_examples=60, deadline=None)
@given(ANYTHING)
def test_the_document_is_always_well_formed(text: str) -> None:
    assert set(reread(text)) == {"n0", "n1"}


def test_values_keep_their_types_and_absent_ones_are_left_out() -> None:
    document = "".join(graphml.render(report(graph=graph())))
    edges = list(nx.parse_graphml(document.split("\n", 1)[1]).edges(data=True))

    assert edges[0][2] == {"kind": "fork", "at": 1763882092.31, "source": "trace.log", "line": 402}
    assert {"kind": "holds"} in [about for _, _, about in edges]


def test_attributes_may_have_any_name() -> None:
    odd = nx.MultiDiGraph()
    odd.add_nodes_from([(1, {"node_for_adding": "x", "a\x1bb": [1, 2]})])

    assert "a\\x1bb" in "".join(graphml.render(report(graph=odd)))
