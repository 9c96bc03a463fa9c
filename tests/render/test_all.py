"""What must hold for every renderer."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracecorr.render.all import RENDERERS
from tracecorr.verdicts.report import Report

from .hostile import ANYTHING, SAMPLES
from .reports import hostile_report, report

NODE = st.sampled_from(["process", "descriptor", "other"])
FINITE = st.floats(allow_nan=False, allow_infinity=False)


def of_type(hint: Any) -> st.SearchStrategy[Any]:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is UnionType:
        return st.none() | of_type(inner[0])
    if origin is tuple and inner[-1] is Ellipsis:
        return st.lists(of_type(inner[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*map(of_type, inner))
    if isinstance(hint, type) and is_dataclass(hint):
        hints = get_type_hints(hint, localns={"nx": nx})
        return st.builds(hint, **{each.name: of_type(hints[each.name]) for each in fields(hint)})
    return PLAIN[origin or hint]


@st.composite
def graphs(draw: st.DrawFn) -> nx.MultiDiGraph:
    made = nx.MultiDiGraph()
    made.add_nodes_from(draw(st.lists(st.tuples(ANYTHING, st.dictionaries(ANYTHING, SCALAR, max_size=2)), max_size=3)))
    made.add_edges_from(
        draw(st.lists(st.tuples(NODE, NODE, st.dictionaries(ANYTHING, SCALAR, max_size=2)), max_size=3))
    )
    return made


SCALAR = st.none() | st.booleans() | st.integers() | FINITE | ANYTHING
PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: ANYTHING | st.sampled_from(["CLOSE_WAIT", "epoch", "day", "relative", "accepted", "close", "unexplained"]),
    int: st.integers(),
    float: FINITE,
    bool: st.booleans(),
    dict: st.just({}),
    nx.MultiDiGraph: graphs(),
}


@settings(max_examples=60, deadline=None)
@given(of_type(Report))
def test_every_report_can_be_rendered(given: Report) -> None:
    for renderer in RENDERERS.values():
        text = "".join(renderer.render(given))

        assert text.endswith("\n")
        assert text.encode()


@pytest.mark.parametrize("name", RENDERERS)
def test_renderer_says_what_it_is(name: str) -> None:
    assert name == RENDERERS[name].NAME
    assert RENDERERS[name].SUFFIX.startswith(".")


@pytest.mark.parametrize("name", RENDERERS)
def test_an_empty_graph_and_no_source_are_no_problem(name: str) -> None:
    assert "".join(RENDERERS[name].render(report(verdicts=(), sources=(), gaps=(), graph=nx.MultiDiGraph())))


@pytest.mark.parametrize("text", SAMPLES, ids=lambda text: ascii(text[:12]))
@pytest.mark.parametrize("name", RENDERERS)
def test_hostile_text_can_be_written_to_a_file(name: str, text: str) -> None:
    assert "".join(RENDERERS[name].render(hostile_report(text))).encode()
