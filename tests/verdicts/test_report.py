from __future__ import annotations

import copy
import json
from dataclasses import dataclass, replace
from typing import Any

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracecorr.errors import BadReport
from tracecorr.verdicts.report import (
    Evidence,
    GapView,
    Holder,
    Party,
    Report,
    Sockets,
    SocketView,
    Source,
    Verdict,
    from_json,
)

SOCKET = SocketView(local="127.0.0.1:80", peer="[::1]:9", inode=7, role="accepted", state="CLOSE_WAIT")
VERDICT = Verdict(
    cause="inherited-copy",
    detail="fork-race",
    fault=True,
    confidence="likely",
    socket=SOCKET,
    eof_at=12.5,
    stuck_for=None,
    released_at=None,
    holders=(Holder(pid=None, comm=None, fd=7, how="fork", since=1.0, used=None),),
    culprit=Party(pid=2, comm="sh", fd=7),
    owner=None,
    missing=None,
    summary="one sentence",
    advice=("first", "second"),
    evidence=(Evidence(text="accepted", source="trace.log", line=3, at=1.0),),
)


VERDICT_KEYS = {
    "cause", "detail", "fault", "confidence", "socket", "eof_at", "stuck_for", "released_at", "holders", "culprit",
    "owner", "missing", "summary", "advice", "evidence",
}  # fmt: skip


def graph() -> nx.MultiDiGraph:
    made = nx.MultiDiGraph()
    made.add_node(("process", 1), kind="process", label="sh[1]")
    made.add_node("d", kind="description", label="tcp")
    made.add_edge(("process", 1), "d", kind="holds", at=None, source="trace.log", line=4)
    made.add_edge(("process", 1), "d", kind="closed", at=2.0, source="trace.log", line=5)
    return made


REPORT = Report(
    tool="tracecorr 0.1.0",
    command="parse",
    sources=(
        Source(
            name="trace.log",
            format="strace",
            lines=9,
            calls=8,
            skipped=1,
            first=0.0,
            last=31.5,
            clock="day",
            unread=((4, "?"),),
        ),
    ),
    sockets=Sockets(seen=4, stuck=1, released=0, by_cause={"inherited-copy": 1}),
    verdicts=(VERDICT,),
    gaps=(GapView(what="w", why="y", try_="t", source=None, line=None),),
    graph=graph(),
)


def written() -> dict[str, Any]:
    return copy.deepcopy(json.loads(json.dumps(REPORT.to_json())))


def test_round_trip_loses_nothing() -> None:
    again = from_json(json.dumps(REPORT.to_json()))

    assert again == REPORT
    assert dict(again.graph.nodes(data=True)) == dict(REPORT.graph.nodes(data=True))
    assert list(again.graph.edges(data=True)) == list(REPORT.graph.edges(data=True))


def test_document_has_the_keys_of_the_contract() -> None:
    document = REPORT.to_json()

    assert document["version"] == 1
    assert {"version", "tool", "command", "sources", "sockets", "verdicts", "gaps"} <= set(document)
    assert set(document["verdicts"][0]) >= VERDICT_KEYS
    assert document["gaps"][0] == {"what": "w", "why": "y", "try": "t", "source": None, "line": None}
    assert document["sockets"] == {"seen": 4, "stuck": 1, "released": 0, "by_cause": {"inherited-copy": 1}}


def test_an_edge_keeps_its_own_source_beside_its_ends() -> None:
    assert REPORT.to_json()["graph"]["edges"][0] == {
        "from": ["process", 1],
        "to": "d",
        "kind": "holds",
        "at": None,
        "source": "trace.log",
        "line": 4,
    }


def test_attributes_of_the_graph_are_made_plain() -> None:
    @dataclass
    class Odd:
        def __str__(self) -> str:
            return "odd"

    made = nx.MultiDiGraph()
    made.add_node(Odd.__call__, kind=Odd(), ok=True)
    (node,) = replace(REPORT, graph=made).to_json()["graph"]["nodes"]

    assert node["kind"] == "odd" and node["ok"] is True and isinstance(node["id"], str)


def test_keys_of_a_later_version_1_are_ignored_and_ours_may_be_absent() -> None:
    document = written()
    document["later"] = document["verdicts"][0]["later"] = document["sources"][0]["later"] = [1]
    for key in ("graph",):
        del document[key]
    del document["verdicts"][0]["released_by"]
    del document["sources"][0]["clock"]
    again = from_json(json.dumps(document))

    assert again.verdicts == (VERDICT,)
    assert again.sources[0].clock is None
    assert not again.graph


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("version",), 2, "version 1"),
        (("verdicts",), None, "report.verdicts is not an array"),
        (("verdicts", 0), [], r"report.verdicts\[0\] is not an object"),
        (("verdicts", 0, "fault"), 1, "fault is not of type bool"),
        (("verdicts", 0, "eof_at"), "1", "eof_at is not a number"),
        (("verdicts", 0, "eof_at"), True, "eof_at is not a number"),
        (("verdicts", 0, "eof_at"), 10**400, "eof_at is not a finite number"),
        (("verdicts", 0, "holders", 0, "fd"), 1.5, "fd is not of type int"),
        (("verdicts", 0, "holders", 0, "fd"), True, "fd is not of type int"),
        (("verdicts", 0, "advice"), "text", "advice is not an array"),
        (("verdicts", 0, "advice", 1), None, r"advice\[1\] is not of type str"),
        (("sources", 0, "unread", 0), [4], "unread.* is not an array of 2"),
        (("sockets", "by_cause"), [], "by_cause is not an object"),
        (("sockets", "by_cause", "x"), None, "by_cause.x is not of type int"),
        (("graph",), [], "report.graph"),
        (("graph", "nodes", 0), {}, "report.graph"),
        (("graph", "nodes", 0, "id"), None, "report.graph"),
        (("graph", "nodes", 0, "id"), {}, "report.graph"),
        (("graph", "edges", 0), 7, "report.graph"),
    ],
)
def test_what_is_of_the_wrong_type_is_named(path: tuple[Any, ...], value: Any, message: str) -> None:
    document = place = written()
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value

    with pytest.raises(BadReport, match=message):
        from_json(json.dumps(document))


@pytest.mark.parametrize("key", ["tool", "sources", "verdicts", "gaps"])
def test_a_missing_key_is_named(key: str) -> None:
    document = written()
    del document[key]

    with pytest.raises(BadReport, match=f"report has no {key}"):
        from_json(json.dumps(document))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "{}", '{"version": NaN}', "[" * 100_000, "9" * 5000])
def test_what_is_no_report_is_refused(text: str) -> None:
    with pytest.raises(BadReport):
        from_json(text)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_damage_is_either_harmless_or_a_bad_report(data: st.DataObject) -> None:
    document = place = written()
    while isinstance(place, (dict, list)) and place:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if data.draw(st.booleans()):
            break
        parent, place = place, place[key]
    else:
        place = parent
    place[key] = data.draw(PLAIN)

    try:
        report = from_json(json.dumps(document))
    except BadReport:
        return
    assert from_json(json.dumps(report.to_json())) == report


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, 1),
        ({"fault": False}, 0),
        ({"fault": False, "cause": "unexplained"}, 1),
        ({"released_at": 3.0, "released_by": "close"}, 0),
        ({"released_at": 3.0, "released_by": "exit"}, 1),
        ({"released_by": "close"}, 0),
        ({"fault": False, "released_by": "exit"}, 0),
    ],
)
def test_exit_code_tells_whether_something_is_stuck_by_a_fault(changes: dict[str, Any], code: int) -> None:
    assert replace(REPORT, verdicts=(replace(VERDICT, **changes),)).exit_code == code


def test_nothing_found_is_no_fault() -> None:
    assert replace(REPORT, verdicts=()).exit_code == 0
