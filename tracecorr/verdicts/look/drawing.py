"""The graph of who holds what is stuck, made of the verdicts themselves (see Report.graph)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import networkx

if TYPE_CHECKING:
    from tracecorr.verdicts.report import Holder, Party, Verdict

_KINDS = {
    "accept": "accepted",
    "connect": "connected",
    "fork": "fork",
    "exec": "exec",
    "dup": "dup",
    "passed": "passed",
}


def drawing(verdicts: Iterable[Verdict]) -> networkx.MultiDiGraph:
    """Return processes, descriptors and descriptions; an owner that has let go is joined to those that hold a copy."""
    graph = networkx.MultiDiGraph()
    for number, verdict in enumerate(verdicts):
        _draw(graph, number, verdict)
    return graph


def _draw(graph: networkx.MultiDiGraph, number: int, verdict: Verdict) -> None:
    view = verdict.socket
    socket = f"connection {number}"
    graph.add_node(
        socket, kind="description", label=f"{view.local or '?'} – {view.peer or '?'}", inode=view.inode
    )  # fmt: skip
    for holder in verdict.holders:
        _hold(graph, socket, holder)
    owner = verdict.owner
    if owner is None or any(holder.pid == owner.pid for holder in verdict.holders):
        return
    process = _process(graph, owner)
    for holder in verdict.holders:
        kind = _KINDS.get(holder.how, "passed")
        graph.add_edge(process, f"process {holder.pid}", kind=kind, at=None, source=None, line=None)


def _hold(graph: networkx.MultiDiGraph, socket: str, holder: Holder) -> None:
    process = _process(graph, holder)
    descriptor = f"{process} fd {holder.fd}"
    graph.add_node(descriptor, kind="descriptor", label=f"fd {holder.fd}", state="open")
    graph.add_edge(process, descriptor, kind="holds", at=None, source=None, line=None)
    graph.add_edge(descriptor, socket, kind="refers", at=None, source=None, line=None)


def _process(graph: networkx.MultiDiGraph, party: Holder | Party) -> str:
    name = f"process {party.pid}"
    graph.add_node(name, kind="process", label=f"{party.comm or 'process'}[{party.pid}]", pid=party.pid)
    return name
