"""The graph of how each descriptor reached its holder, as GraphML for Gephi, yEd and networkx."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from tracecorr.render.diagram import names
from tracecorr.render.escape import visible

if TYPE_CHECKING:
    from tracecorr.verdicts.report import Report

NAME: Final = "graphml"
SUFFIX: Final = ".graphml"

Attributes = dict[str, "str | int | float"]


def render(report: Report) -> Iterator[str]:
    """Yield the XML document."""
    import networkx as nx

    name, plain = names(report), nx.MultiDiGraph()
    plain.add_nodes_from((name[node], _plain(about)) for node, about in report.graph.nodes(data=True))
    plain.add_edges_from((name[u], name[v], _plain(about)) for u, v, about in report.graph.edges(data=True))
    yield "<?xml version='1.0' encoding='utf-8'?>\n"
    for line in nx.generate_graphml(plain):
        yield f"{line}\n"


# GraphML knows no absent value, XML 1.0 no control character and no surrogate, whatever its escaping.
def _plain(about: dict[str, object]) -> Attributes:
    return {
        visible(key): value if isinstance(value, (int, float)) else visible(str(value))
        for key, value in about.items()
        if value is not None
    }
