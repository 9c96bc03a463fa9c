"""A snapshot, asked: who holds a socket, where it can have come from, what its processes wait for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

from tracecorr.events import Endpoint
from tracecorr.kernel import TcpState
from tracecorr.snapshot import ProcessRow, Snapshot, SocketRow
from tracecorr.verdicts.look.doing import Doing


class Hold(NamedTuple):
    """A process and the descriptor by which it holds the connection."""

    process: ProcessRow
    fd: int


class Before(NamedTuple):
    """A socket as an earlier look showed it, and when that was, in nanoseconds since the epoch."""

    row: SocketRow
    at: int


def key(row: SocketRow) -> object:
    """Return what names a socket in two looks; its inode is no part of it, accept() gives it one."""
    return row.namespace, row.local, row.peer


# By key().
Earlier = Mapping[object, Before]


class Legs(NamedTuple):
    """Connections of one process: those that it has shut down, that have data to send, and its ports to each peer.

    `stuck` counts those in CLOSE_WAIT.
    """

    half_closed: list[tuple[int, SocketRow]]
    slow: list[SocketRow]
    ports: Mapping[Endpoint | None, set[int]]
    stuck: int


def _legs(held: list[tuple[int, SocketRow]]) -> Legs:
    connections = [(fd, row) for fd, row in held if row.state is not TcpState.LISTEN]
    ports: defaultdict[Endpoint | None, set[int]] = defaultdict(set)
    for _, row in connections:
        if row.local is not None:
            ports[row.peer].add(row.local.port)
    return Legs(
        half_closed=[(fd, row) for fd, row in connections if row.state is TcpState.FIN_WAIT2],
        slow=[row for _, row in connections if row.send_queue],
        ports=ports,
        stuck=sum(row.state is TcpState.CLOSE_WAIT for _, row in connections),
    )


class Look:
    """A snapshot with the questions that rules ask of it."""

    def __init__(self, snapshot: Snapshot, stuck_after: float, earlier: Earlier | None = None) -> None:
        self.snapshot = snapshot
        self.stuck_after = stuck_after
        self.earlier = earlier or {}
        self._doing: dict[int, Doing] = {}
        self._legs: dict[int, Legs] = {}
        self._holders: dict[int, list[Hold]] = {}
        for process in snapshot.processes.values():
            for row in process.descriptors.values():
                if row.target.startswith("socket:["):
                    self._holders.setdefault(int(row.target[8:-1]), []).append(Hold(process, row.fd))
        self._ports: dict[tuple[int | None, int], list[SocketRow]] = {}
        self._listeners: dict[object, list[SocketRow]] = {}
        self._ends: dict[object, SocketRow] = {}
        self._by_inode: dict[int, SocketRow] = {}
        for socket in snapshot.sockets:
            if socket.state is TcpState.LISTEN and socket.local is not None:
                self._ports.setdefault((socket.namespace, socket.local.port), []).append(socket)
            self._ends[socket.local, socket.peer] = socket
            if socket.inode:
                self._by_inode[socket.inode] = socket

    def holders(self, inode: int | None) -> list[Hold]:
        """Return every descriptor that refers to the socket."""
        return self._holders.get(inode, []) if inode else []

    def doing(self, process: ProcessRow) -> Doing:
        """Return what the process waits for."""
        known = self._doing.get(process.pid)
        if known is None:
            known = self._doing[process.pid] = Doing(process)
        return known

    @cached_property
    def ages(self) -> list[float]:
        """Return how many milliseconds each process is old, the youngest first."""
        at = self.snapshot.at
        started = [process.started for process in self.snapshot.processes.values() if process.started is not None]
        return sorted(at / 1e6 - each * 1000 for each in started) if at is not None else []

    def legs(self, process: ProcessRow) -> Legs:
        """Return the connections of a process that say what it may have to wait for."""
        known = self._legs.get(process.pid)
        if known is None:
            inodes = self.doing(process).inodes.items()
            held = [(fd, row) for fd, inode in inodes if (row := self._by_inode.get(inode)) is not None]
            known = self._legs[process.pid] = _legs(held)
        return known

    def socket(self, inode: int | None) -> SocketRow | None:
        return self._by_inode.get(inode) if inode else None

    def listeners(self, row: SocketRow) -> list[SocketRow]:
        """Return the listeners from which the connection can have come."""
        name = row.namespace, row.local
        known = self._listeners.get(name)
        if known is None:
            found = self._ports.get((row.namespace, row.local.port if row.local is not None else 0), [])
            known = self._listeners[name] = [one for one in found if _may_come_from(row, one)]
        return known

    def other_end(self, row: SocketRow) -> SocketRow | None:
        """Return the peer's end, where that is on this host."""
        return self._ends.get((row.peer, row.local))

    def parent(self, process: ProcessRow) -> ProcessRow | None:
        return self.snapshot.processes.get(process.parent or 0)

    def ancestors(self, process: ProcessRow) -> list[ProcessRow]:
        """Return the parents that are known, nearest first."""
        found: list[ProcessRow] = []
        parent = self.parent(process)
        while parent is not None and parent not in found:
            found.append(parent)
            parent = self.parent(parent)
        return found


_ANY = frozenset(["0.0.0.0", "::", "::ffff:0.0.0.0"])


def _may_come_from(row: SocketRow, listener: SocketRow) -> bool:
    if row.local is None or listener.local is None:
        return False
    address, listening = row.local.address, listener.local.address
    return listening in _ANY or address == listening or address.removeprefix("::ffff:") == listening
