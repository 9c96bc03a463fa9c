"""The graph of how each descriptor of a stuck connection reached its holder."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import networkx as nx

from tracecorr.model.fact import Fact
from tracecorr.model.fd_table import FileDescriptor
from tracecorr.model.open_file import OpenFileDescription
from tracecorr.model.process import Process
from tracecorr.verdicts.base import ancestry
from tracecorr.verdicts.conclude import process_label
from tracecorr.verdicts.words import connection, seconds

# A drawing of more connections than this says nothing to anybody.
_DRAWN = 200


class Inheritance:
    """Builds the MultiDiGraph: nodes are processes, descriptors and open file descriptions (see Report.graph)."""

    def __init__(self) -> None:
        self.graph = nx.MultiDiGraph()
        self._drawn: set[int] = set()

    def add(self, socket: OpenFileDescription, holders: Iterable[FileDescriptor]) -> None:
        """Draw one connection with everybody who holds it or held it."""
        if socket.number in self._drawn or len(self._drawn) >= _DRAWN:
            return
        self._drawn.add(socket.number)
        name = f"socket {socket.number}"
        self.graph.add_node(name, kind="description", label=connection(socket), inode=socket.inode)
        live = list(holders)
        for descriptor in [*live, *socket.past]:
            for step in reversed(list(ancestry(descriptor))):
                self._descriptor(name, socket, step)
        for descriptor in live:
            self._edge(self._node(descriptor), name, "refers", descriptor.fact)

    def _node(self, descriptor: FileDescriptor) -> str:
        step = descriptor.fact.step if descriptor.fact is not None else 0
        return f"fd {descriptor.number} of {_key(descriptor.process)} since {step}"

    def _descriptor(self, name: str, socket: OpenFileDescription, descriptor: FileDescriptor) -> None:
        node = self._node(descriptor)
        if "kind" in self.graph.nodes.get(node, ()):
            return
        state = "closed" if descriptor.closed is not None else "open"
        self.graph.add_node(node, kind="descriptor", label=f"fd {descriptor.number}", state=state)
        self._process(descriptor.process)
        self._edge(_key(descriptor.process), node, "holds", descriptor.fact)
        if descriptor.source is not None:
            kind = {"fork": "fork", "dup": "dup", "passed": "passed"}.get(descriptor.how, descriptor.how)
            self._edge(self._node(descriptor.source), node, kind, descriptor.fact)
        elif descriptor.fact is not None and descriptor.fact is socket.opened:
            kind = "accepted" if socket.role == "accepted" else "connected"
            self._edge(name, node, kind, descriptor.fact)
        if descriptor.survived is not None:
            self._edge(node, node, "exec", descriptor.survived)
        if descriptor.closed is not None:
            self._edge(node, name, "closed", descriptor.closed)

    def _process(self, process: Process) -> None:
        if _key(process) in self.graph:
            return
        self.graph.add_node(_key(process), kind="process", label=process_label(process), pid=process.pid)
        if process.parent is not None:
            self._process(process.parent)
            self._edge(_key(process.parent), _key(process), "fork", process.forked)

    def _edge(self, tail: str, head: str, kind: str, fact: Fact | None) -> None:
        about: dict[str, Any] = {"at": None, "source": None, "line": None}
        if fact is not None:
            about = {"at": seconds(fact.at), "source": fact.origin.source, "line": fact.origin.line}
        self.graph.add_edge(tail, head, kind=kind, **about)


def _key(process: Process) -> str:
    born = process.forked.step if process.forked is not None else 0
    return f"process {process.pid} since {born}"
