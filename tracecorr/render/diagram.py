"""The report's graph as plain nodes and arrows, for every format that draws it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from tracecorr.render.clock import clocks
from tracecorr.render.escape import visible

if TYPE_CHECKING:
    from tracecorr.verdicts.report import Report


class Node(NamedTuple):
    """A process, a descriptor or an open file description; `name` is n0, n1 … and safe in every syntax."""

    name: str
    kind: str
    label: str


class Arrow(NamedTuple):
    """How one came from, or refers to, the other; `label` says what, when and where it was read."""

    tail: str
    head: str
    kind: str
    label: str


def nodes(report: Report) -> Iterator[Node]:
    """Yield the nodes in the order of the graph; labels show no control character."""
    for name, (node, about) in zip(names(report).values(), report.graph.nodes(data=True), strict=True):
        yield Node(name, str(about.get("kind")), visible(str(about.get("label") or node)))


def arrows(report: Report) -> Iterator[Arrow]:
    """Yield the edges between them."""
    name, times = names(report), clocks(report)
    for tail, head, about in report.graph.edges(data=True):
        kind, source, line, at = (about.get(key) for key in ("kind", "source", "line", "at"))
        place = "" if source is None else f"{source}:{line}"
        when = times.moment(at, source) if isinstance(at, (int, float)) else ""
        label = " ".join(visible(str(part)) for part in (kind, when, place) if part)
        yield Arrow(name[tail], name[head], str(kind), label)


def names(report: Report) -> dict[object, str]:
    """Return a name for each node that no syntax can mistake for its own."""
    return {node: f"n{index}" for index, node in enumerate(report.graph.nodes)}
