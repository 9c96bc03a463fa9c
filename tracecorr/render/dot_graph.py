"""The graph of how each descriptor reached its holder, for Graphviz."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from tracecorr.render.diagram import arrows, nodes

if TYPE_CHECKING:
    from tracecorr.verdicts.report import Report

NAME: Final = "dot"
SUFFIX: Final = ".dot"

SHAPE: Final[dict[str, str]] = {"process": "box", "descriptor": "ellipse", "description": "component"}
LINE: Final[dict[str, str]] = {"closed": "dashed", "holds": "bold", "refers": "dotted"}

# In a quoted string a backslash begins an escape (\N is the node's name, \l a line end), and Graphviz reads HTML
# entities in every label (https://graphviz.org/doc/info/lang.html, attribute type escString).
ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "&": "&amp;"})


def render(report: Report) -> Iterator[str]:
    """Yield a digraph from left to right."""
    yield "digraph tracecorr {\n"
    yield '  rankdir=LR;\n  node [fontname="sans-serif"];\n  edge [fontname="sans-serif", fontsize=10];\n'
    for node in nodes(report):
        yield f"  {node.name} [label={_quoted(node.label)}, shape={SHAPE.get(node.kind, 'plaintext')}];\n"
    for arrow in arrows(report):
        style = LINE.get(arrow.kind, "solid")
        yield f"  {arrow.tail} -> {arrow.head} [label={_quoted(arrow.label)}, style={style}];\n"
    yield "}\n"


def _quoted(text: str) -> str:
    return f'"{text.translate(ESCAPES)}"'
