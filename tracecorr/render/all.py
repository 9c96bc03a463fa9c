"""RENDERERS: every form that a report can take."""

from __future__ import annotations

from typing import Final

from tracecorr.render import dot_graph, graphml, json_document, mermaid, terminal
from tracecorr.render.base import Renderer

RENDERERS: Final[dict[str, Renderer]] = {
    terminal.NAME: terminal,
    json_document.NAME: json_document,
    dot_graph.NAME: dot_graph,
    graphml.NAME: graphml,
    mermaid.NAME: mermaid,
}
