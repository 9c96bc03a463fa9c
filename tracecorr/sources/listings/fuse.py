"""Several listings of one host as one Snapshot: joined by inode, by the kernel's address of a socket, by its ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from tracecorr.events import Endpoint, Gap
from tracecorr.kernel import TcpState
from tracecorr.snapshot import DescriptorRow, Ends, ProcessRow, Snapshot, SocketRow
from tracecorr.sources.listings.words import is_whole

# What was true of another state says nothing of the next one.
_OF_A_STATE: Final[dict[str, Any]] = dict.fromkeys(
    ["receive_queue", "send_queue", "shutdown", "timer", "timer_expires", "info"]
)
# Told one by one up to here: listings that were taken at two times differ in hundreds of rows.
_CONTRADICTIONS: Final = 8


def plain(endpoint: Endpoint) -> Endpoint:
    """Return the end as it is compared: an IPv4 address mapped into IPv6 is the IPv4 address (RFC 4291, 2.5.5.2)."""
    address = endpoint.address.lower().removeprefix("::ffff:") if "." in endpoint.address else endpoint.address.lower()
    return Endpoint(address, endpoint.port)


def pair(row: SocketRow | Ends) -> tuple[Endpoint, Endpoint | None] | None:
    """Return what names a socket by its ends: both of a connection, its own of a listener; None where one is unsure."""
    if row.local is None or not is_whole(row.local):
        return None
    if row.peer is None:
        return (plain(row.local), None) if isinstance(row, SocketRow) and row.state is TcpState.LISTEN else None
    return (plain(row.local), plain(row.peer)) if is_whole(row.peer) else None


def fuse(snapshots: Sequence[Snapshot]) -> Snapshot:
    """Return all that the listings show, oldest first; where two contradict each other the later one is right."""
    if len(snapshots) == 1:
        return snapshots[0]
    fusion = _Fusion()
    renumbered = [_renumbered(snapshot, index) for index, snapshot in enumerate(snapshots)]
    for row in _rows(renumbered):
        fusion.add(row)
    for snapshot in renumbered:
        for inode, ends in snapshot.ends.items():
            fusion.add_ends(inode, ends)
    for snapshot in renumbered:
        for process in snapshot.processes.values():
            fusion.add_process(process)
    times = [snapshot.at for snapshot in snapshots if snapshot.at is not None]
    users: dict[int, tuple[int, ...]] = {}
    for snapshot in snapshots:
        for port, pids in snapshot.users.items():
            users[port] = tuple(dict.fromkeys((*users.get(port, ()), *pids)))
    return Snapshot(
        source=", ".join(snapshot.source for snapshot in snapshots),
        at=max(times, default=None),
        connections=sum(row.state is not TcpState.LISTEN for row in fusion.rows),
        sockets=tuple(fusion.rows),
        processes=fusion.processes,
        gaps=(*(gap for snapshot in snapshots for gap in snapshot.gaps), *fusion.gaps),
        ends=fusion.ends, users=users,
    )  # fmt: skip


# Without those of a connection that is not in a later listing of all.
def _rows(snapshots: Sequence[Snapshot]) -> Iterator[SocketRow]:
    for place, snapshot in enumerate(snapshots):
        later = [
            {pair(row) for row in other.sockets}
            for other in snapshots[place + 1 :]
            if _is_later(snapshot, other) and _is_whole(other)
        ]
        for row in snapshot.sockets:
            ends = pair(row) if later and row.peer is not None else None
            if ends is None or all(ends in known for known in later):
                yield row


def differ(one: Snapshot, other: Snapshot) -> bool:
    """Say whether a connection is in another state in the other listing, or is not in it any more."""
    states = {ends: row.state for row in other.sockets if (ends := pair(row)) is not None}
    whole = _is_whole(other)
    return any(
        (ends := pair(row)) is not None and row.state is not TcpState.LISTEN
        and ((ends in states and states[ends] is not row.state) or (whole and ends not in states))
        for row in one.sockets
    )  # fmt: skip


# It lists whatever the host has: listeners, and connections in more states than somebody has asked for.
def _is_whole(snapshot: Snapshot) -> bool:
    states = {row.state for row in snapshot.sockets}
    return TcpState.LISTEN in states and bool(states - {TcpState.LISTEN, TcpState.CLOSE_WAIT})


def _is_later(one: Snapshot, other: Snapshot) -> bool:
    return one.at is not None and other.at is not None and other.at > one.at


# Numbers below zero mean something within their listing only.
def _renumbered(snapshot: Snapshot, index: int) -> Snapshot:
    def moved(inode: int) -> int:
        return inode if inode >= 0 else inode - (index << 32)

    def target(row: DescriptorRow) -> str:
        number = row.target[8:-1]
        return f"socket:[{moved(int(number))}]" if number.startswith("-") else row.target

    return replace(
        snapshot,
        sockets=tuple(row._replace(inode=moved(row.inode) if row.inode is not None else None)
                      for row in snapshot.sockets),
        ends={moved(inode): ends for inode, ends in snapshot.ends.items()},
        processes={
            process.pid: replace(process, descriptors={
                moved(fd): row._replace(fd=moved(fd), target=target(row)) for fd, row in process.descriptors.items()
            })
            for process in snapshot.processes.values()
        },
    )  # fmt: skip


@dataclass(slots=True)
class _Fusion:
    rows: list[SocketRow] = field(default_factory=list)
    ends: dict[int, Ends] = field(default_factory=dict)
    processes: dict[int, ProcessRow] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)
    _places: dict[object, int] = field(default_factory=dict)
    _same: dict[int, int] = field(default_factory=dict)

    def add(self, row: SocketRow) -> None:
        """Add a row, or what it has more than the row of the same socket."""
        place = self._place(row)
        if place is None:
            place = len(self.rows)
            self.rows.append(row)
        else:
            self._merge(place, row)
        for name in self._names(self.rows[place]):
            self._places[name] = place
        for name in self._names(row):
            self._places.setdefault(name, place)

    def _names(self, row: SocketRow | Ends, inode: int | None = None) -> Iterable[object]:
        number = row.inode if isinstance(row, SocketRow) else inode
        if number is not None and number > 0:
            yield "inode", number
        if isinstance(row, SocketRow) and row.cookie is not None:
            yield "cookie", row.cookie
        ends = pair(row)
        if ends is not None:
            yield ends

    def _place(self, row: SocketRow) -> int | None:
        for name in self._names(row):
            place = self._places.get(name)
            if place is not None and not _are_two(self.rows[place], row):
                return place
        return None

    def _merge(self, place: int, row: SocketRow) -> None:
        old = self.rows[place]
        if old.state is not row.state and TcpState.CLOSE_WAIT in (old.state, row.state):
            self._contradicts(old, row)
        inode = _inode(old.inode, row.inode)
        for each in (old.inode, row.inode):
            if each is not None and inode is not None and each != inode:
                self._same[each] = inode
        values = {name: getattr(row, name) for name in row._fields if getattr(row, name) is not None}
        if old.state is not row.state:
            old = old._replace(**_OF_A_STATE)
        kept: dict[str, object] = {} if old.state is not row.state else {"origin": old.origin}
        if row.send_queue is not None and (old.send_queue or 0) > row.send_queue:
            kept["send_queue"] = old.send_queue  # a moment ago it was still sending
        self.rows[place] = old._replace(**{**values, **kept, "inode": inode})

    def _contradicts(self, old: SocketRow, row: SocketRow) -> None:
        if len(self.gaps) < _CONTRADICTIONS:
            why = f"{row.local} – {row.peer} is {old.state.value} in {old.origin} and {row.state.value} in {row.origin}"
            source, line = row.origin if row.origin is not None else (None, None)
            try_ = "take all listings at one instant"
            self.gaps.append(Gap("listings contradict each other", why, try_, source, line))

    def add_ends(self, inode: int, ends: Ends) -> None:
        """Add a socket without a state: to the row that has its ends, else as one whose state nothing tells."""
        place = next((self._places[name] for name in self._names(ends, inode) if name in self._places), None)
        if place is None:
            self.ends.setdefault(inode, ends)
            return
        row = self.rows[place]
        number = _inode(row.inode, inode)
        for each in (row.inode, inode):
            if each is not None and number is not None and each != number:
                self._same[each] = number
        self.rows[place] = row._replace(inode=number)

    def add_process(self, process: ProcessRow) -> None:
        """Add a process and its descriptors, each of them once."""
        known = self.processes.get(process.pid)
        found = dict(known.descriptors) if known is not None else {}
        targets = {row.target for row in found.values()}
        numberless = {row.target: fd for fd, row in found.items() if fd < 0}
        for fd, row in process.descriptors.items():
            target = self._target(row.target)
            if fd < 0 and target in targets:
                continue
            other = numberless.pop(target, None)
            if other is not None:
                del found[other]
            if fd < 0:
                numberless[target] = fd
            targets.add(target)
            found.setdefault(fd, row._replace(target=target))
        self.processes[process.pid] = replace(
            process,
            comm=process.comm if known is None or known.comm is None else known.comm,
            parent=process.parent if known is None or known.parent is None else known.parent,
            descriptors=found,
        )

    def _target(self, target: str) -> str:
        number = target[8:-1]
        if not target.startswith("socket:[") or not number.lstrip("-").isdigit():
            return target
        inode, steps = int(number), 0
        while inode in self._same and steps < 8:
            inode, steps = self._same[inode], steps + 1
        return f"socket:[{inode}]"


# The same ends, and yet another socket: the ports were used again between the two listings.
def _are_two(one: SocketRow, other: SocketRow) -> bool:
    both = one.inode, other.inode
    return all(inode is not None and inode > 0 for inode in both) and one.inode != other.inode


# 0 is the kernel's word that nothing refers to it; below zero is no word at all.
def _inode(old: int | None, new: int | None) -> int | None:
    if old is None or (old < 0 and new is not None and new >= 0):
        return new
    return old if new is None or new <= 0 or old > 0 else new
