"""The graph of how each descriptor reached its holder, as a Mermaid flowchart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from tracecorr.render.diagram import arrows, nodes

if TYPE_CHECKING:
    from tracecorr.verdicts.report import Report

NAME: Final = "mermaid"
SUFFIX: Final = ".mmd"

SHAPE: Final[dict[str, tuple[str, str]]] = {
    "process": ("[", "]"),
    "descriptor": ("(", ")"),
    "description": ("[[", "]]"),
}
LINE: Final[dict[str, str]] = {"closed": "-.->", "refers": "-.->", "holds": "==>"}

# Mermaid has no escape but entity codes, and reads HTML, Markdown and %%-directives in labels: what is not known to be
# harmless becomes #number; (https://mermaid.js.org/syntax/flowchart.html, "Entity codes to escape characters").
HARMLESS: Final = frozenset(" .,:/_-+=()[]←→–…")


def render(report: Report) -> Iterator[str]:
    """Yield a flowchart from left to right."""
    yield "flowchart LR\n"
    for node in nodes(report):
        opening, closing = SHAPE.get(node.kind, SHAPE["process"])
        yield f"  {node.name}{opening}{_quoted(node.label)}{closing}\n"
    for arrow in arrows(report):
        line = LINE.get(arrow.kind, "-->")
        yield f"  {arrow.tail} {line}|{_quoted(arrow.label)}| {arrow.head}\n"


def _quoted(text: str) -> str:
    safe = "".join(each if each.isalnum() or each in HARMLESS else f"#{ord(each)};" for each in text)
    return f'"{safe}"'
