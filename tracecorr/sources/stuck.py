"""Looks at the connections in CLOSE_WAIT that traced processes hold, again and again, as records for the replay."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator
from typing import Final, NamedTuple

from tracecorr.errors import NoSuchProcess, PermissionDenied
from tracecorr.events import TaskId
from tracecorr.kernel import TcpState
from tracecorr.snapshot import SocketRow
from tracecorr.sources import procfs
from tracecorr.sources.picture import Numbered, Rows, blocked, descriptor_found, inode_of, tasks
from tracecorr.syscalls.record import DescriptorFound, Record

_TCP: Final = ("TCP", "TCPv6")


class Claim(NamedTuple):
    """What the replay says: this process has this descriptor open, and it is a connection that is stuck."""

    pid: int
    fd: int


class Watcher:
    """Remembers since when connections are in CLOSE_WAIT; `old_after` is how many seconds make one worth a look."""

    def __init__(self, old_after: float) -> None:
        self._old_after = old_after
        self._since: dict[object, float] = {}
        self._doubted: set[tuple[Claim, str | None]] = set()

    def look(
        self, traced: Collection[int], claims: Iterable[Claim], origin: Numbered, *, last: bool = False
    ) -> Iterator[Record]:
        """Yield what the kernel says of connections that are stuck, and of what the replay claims.

        A connection is told of when a traced process or a descendant of one holds it, with all its holders.  What the
        kernel says against a claim is told at the second look that finds it so, or at the last one: the calls that
        explain it may still be on their way to us.
        """
        rows = Rows(traced, (TcpState.CLOSE_WAIT, TcpState.LISTEN))
        old = {row.inode for row in self._old(rows) if row.inode}
        claimed: dict[int, set[int]] = {}
        for claim in claims:
            claimed.setdefault(claim.pid, set()).add(claim.fd)
        if not old and not claimed:
            return
        held = _holders(old, procfs.pids() if old else traced, claimed)
        ours = {pid for pid in held if _descends_from(pid, traced)}
        told = {inode_of(target) for pid in ours for target in held[pid].values() if target is not None}
        everything = Rows(traced) if claimed else rows
        doubted, self._doubted = self._doubted, set()
        for pid, targets in held.items():
            wanted: dict[int, str | None] = {}
            for fd, target in targets.items():
                found = Claim(pid, fd), target
                if target is not None and inode_of(target) in old:
                    if pid in ours or inode_of(target) in told:
                        wanted[fd] = target
                elif last or found in doubted:
                    wanted[fd] = target
                else:
                    self._doubted.add(found)
            yield from _told(pid, wanted, everything, origin)

    def _old(self, rows: Rows) -> list[SocketRow]:
        now = time.monotonic()
        waiting = {_name(row): row for row in rows.all if row.state is TcpState.CLOSE_WAIT}
        self._since = {name: self._since.get(name, now) for name in waiting}
        return [row for name, row in waiting.items() if now - self._since[name] >= self._old_after]


# The cookie is unique on a host; /proc/net/tcp has none.
def _name(row: SocketRow) -> object:
    return row.cookie if row.cookie is not None else (row.namespace, row.local, row.peer)


# Of each process: the descriptors that refer to one of these sockets or are claimed; None where nothing is there.
def _holders(
    inodes: Collection[int], pids: Iterable[int], claimed: dict[int, set[int]]
) -> dict[int, dict[int, str | None]]:
    found: dict[int, dict[int, str | None]] = {}
    for pid in {*pids, *claimed}:
        try:
            targets = procfs.targets(pid)
        except (NoSuchProcess, PermissionDenied):
            continue
        wanted: dict[int, str | None] = {fd: targets.get(fd) for fd in claimed.get(pid, ())}
        wanted |= {fd: target for fd, target in targets.items() if inode_of(target) in inodes}
        if wanted:
            found[pid] = wanted
    return found


def _descends_from(pid: int, ancestors: Collection[int]) -> bool:
    while pid > 1:
        if pid in ancestors:
            return True
        try:
            pid = procfs.stat(pid).parent
        except NoSuchProcess:
            return False
    return False


def _told(pid: int, targets: dict[int, str | None], rows: Rows, origin: Numbered) -> Iterator[Record]:
    there = {fd: target for fd, target in targets.items() if target is not None}
    try:
        first = procfs.standing(pid)
        if there:
            yield from tasks(pid, [first], TaskId(first), origin)
        for fd in targets:
            if fd in there:
                yield _still_listed(pid, descriptor_found(pid, fd, there, rows, origin(), first), rows)
            else:
                yield DescriptorFound(TaskId(first), time.time_ns(), origin(), fd, None)
        for tid in procfs.tids(pid) if there else ():
            yield from blocked(pid, tid, origin)
    except (NoSuchProcess, PermissionDenied):
        return


# The kernel lists sockets in every state but CLOSE: a connection that is open and not listed was reset.
def _still_listed(pid: int, record: DescriptorFound, rows: Rows) -> DescriptorFound:
    target = record.target
    if record.state is not None or target is None or inode_of(target) is None or not rows.covers(pid):
        return record
    if procfs.protocol(pid, record.fd) not in _TCP or procfs.targets(pid).get(record.fd) != target:
        return record
    return record._replace(state=TcpState.CLOSE)
