"""One look at this host: the sockets that are stuck, who holds them, and what those are doing.

The sockets come first, then every process' descriptors, then the details of the few that matter.  Connections go on
meanwhile: what has no holder is asked for again, so that a socket that was just closed or accepted is left out.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tracecorr.errors import NoSuchProcess, PermissionDenied
from tracecorr.events import Gap
from tracecorr.kernel import TcpState
from tracecorr.snapshot import ProcessRow, Snapshot, SocketRow
from tracecorr.sources import procfs
from tracecorr.sources.namespace import namespace_of
from tracecorr.sources.process_row import process_row
from tracecorr.sources.sock_diag import Wanted, sockets

NAME: Final = "host"

STUCK: Final = frozenset([TcpState.CLOSE_WAIT, TcpState.LAST_ACK, TcpState.FIN_WAIT1])
_FIRST: Final = STUCK | {TcpState.LISTEN}
_ATTEMPTS: Final = 4
# include/linux/proc_ns.h: PROC_PID_INIT_INO.  In any other pid namespace there may be processes that we cannot see.
_INITIAL: Final = "pid:[4026531836]"
# Of how many stuck connections the other end is looked for: those of a leak are alike.
_ENDS: Final = 2000
# How far up the parents of a holder are looked at.
_ANCESTORS: Final = 8

Targets = dict[int, dict[int, str]]


class _Asked(NamedTuple):
    """What is known of a process beforehand, and whether the queues of its unix sockets matter."""

    children: bool
    queues: bool


@dataclass(slots=True)
class _Host:
    """What was found so far."""

    namespaces: dict[int, int | None] = field(default_factory=dict)
    rows: list[SocketRow] = field(default_factory=list)
    targets: Targets = field(default_factory=dict)
    parents: dict[int, int] = field(default_factory=dict)
    hidden: list[int] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)


def look() -> Snapshot:
    """Return what is stuck on this host now, with all that has to do with it."""
    host = _Host()
    _find_namespaces(host)
    host.rows = list(_sockets(host, _FIRST))
    at = time.time_ns()
    processes: dict[int, ProcessRow] = {}
    if any(row.state in STUCK for row in host.rows):
        _find_holders(host)
        processes = _concerned(host)
        host.rows += _others(host, processes)
    return Snapshot(
        source=NAME, at=at, sockets=tuple(host.rows), processes=processes, gaps=tuple(_gaps(host)),
        connections=_connections(host), hidden=len(host.hidden), complete=not host.hidden and _sees_all(),
    )  # fmt: skip


# By inode, with a process that is in it; ours with None.
def _find_namespaces(host: _Host) -> None:
    host.namespaces[namespace_of()] = None
    for pid in procfs.pids():
        try:
            host.namespaces.setdefault(namespace_of(pid), pid)
        except (NoSuchProcess, PermissionDenied):
            continue


def _sockets(host: _Host, states: Collection[TcpState], wanted: Wanted | None = None) -> Iterator[SocketRow]:
    for namespace, pid in host.namespaces.items():
        try:
            yield from sockets(states, pid, wanted)
        except NoSuchProcess:
            continue
        except PermissionDenied as error:
            if states is _FIRST:
                host.gaps.append(Gap("network namespace unseen", f"{error} (net:[{namespace}])", "sudo tracecorr scan"))


# A row without holder may be one that was closed, accepted or passed on while we looked.
def _find_holders(host: _Host) -> None:
    for _ in range(_ATTEMPTS):
        wanted = _wanted(host.rows)
        host.targets, host.hidden = _targets(wanted)
        held = _held(host, wanted)
        loose = [row for row in host.rows if row.state is TcpState.CLOSE_WAIT and f"socket:[{row.inode}]" not in held]
        if not loose:
            return
        if not _ask_again(host, loose):
            _find_in_threads(host, wanted - held)
            return


# What is gone meanwhile is left out, and listeners are as they are now; return whether any was gone.
def _ask_again(host: _Host, rows: list[SocketRow]) -> bool:
    before = {_identity(row) for row in rows}
    now = list(_sockets(host, _FIRST))
    still = {_identity(row) for row in now}
    listening = {row.inode: row for row in now if row.state is TcpState.LISTEN}
    host.rows = [
        listening.get(row.inode, row) if row.state is TcpState.LISTEN else row
        for row in host.rows
        if _identity(row) in still or _identity(row) not in before
    ]
    return not before <= still


# A thread may have a table of its own: unshare(CLONE_FILES), close_range(CLOSE_RANGE_UNSHARE).
def _find_in_threads(host: _Host, unheld: frozenset[str]) -> None:
    for pid in procfs.pids() if unheld else ():
        try:
            tids = procfs.tids(pid)
            for tid in tids if len(tids) > 1 else ():
                found = {fd: target for fd, target in procfs.targets(tid).items() if target in unheld}
                if found:
                    host.targets[pid] = {**host.targets.get(pid, procfs.targets(pid)), **found}
        except (NoSuchProcess, PermissionDenied):
            continue


def _identity(row: SocketRow) -> object:
    return row.namespace, row.local, row.peer, row.inode, row.state


def _wanted(rows: list[SocketRow]) -> frozenset[str]:
    return frozenset(f"socket:[{row.inode}]" for row in rows if row.inode)


def _targets(wanted: frozenset[str]) -> tuple[Targets, list[int]]:
    found: Targets = {}
    hidden: list[int] = []
    for pid in procfs.pids():
        try:
            targets = procfs.targets(pid)
        except NoSuchProcess:
            continue
        except PermissionDenied:
            hidden.append(pid)
            continue
        if not wanted.isdisjoint(targets.values()):
            found[pid] = targets
    return found, hidden


# Holders of what is stuck, of the listeners that it came from, and their parents.
def _concerned(host: _Host) -> dict[int, ProcessRow]:
    stuck = [row for row in host.rows if row.state in STUCK]
    ports = {row.local.port for row in stuck if row.local}
    listeners = [
        row for row in host.rows if row.state is TcpState.LISTEN and row.local and row.local.port in ports
    ]  # fmt: skip
    wanted = _wanted([*stuck, *listeners])
    holders = [pid for pid, targets in host.targets.items() if not wanted.isdisjoint(targets.values())]
    loose = any(row.state is TcpState.CLOSE_WAIT and row.inode for row in stuck) and not _all_held(host, stuck)
    pids = procfs.pids() if loose else [*holders, *_ancestors(host, holders)]
    children = _parents()
    found: dict[int, ProcessRow] = {}
    for pid in dict.fromkeys(pids):
        row = _read(pid, host.targets.get(pid), wanted, _Asked(pid in children, loose))
        if row is not None:
            found[pid] = row
    host.rows = [*stuck, *listeners]
    if loose:
        # Who kept it may have ended before he was looked at.
        _ask_again(host, stuck)
    for pid in _others_on(_pipes(found.values())) - found.keys():
        row = _read(pid, None, wanted, _Asked(pid in children, queues=False))
        if row is not None:
            found[pid] = row
    return found


# Pipes that threads wait for, or have in the epoll sets that they wait for: who has the other end keeps them waiting.
def _pipes(processes: Iterable[ProcessRow]) -> frozenset[str]:
    found: set[str] = set()
    for process in processes:
        for thread in process.threads:
            asked = [watch.fd for watch in (*(thread.polled or ()), *process.watches.get(thread.fd or 0, ()))]
            targets = [process.descriptors.get(fd) for fd in (thread.fd, *asked) if fd is not None]
            found.update(row.target for row in targets if row is not None and row.target.startswith("pipe:["))
    return frozenset(found)


def _others_on(pipes: frozenset[str]) -> set[int]:
    return set(_targets(pipes)[0]) if pipes else set()


def _held(host: _Host, wanted: frozenset[str]) -> set[str]:
    return set().union(*(wanted.intersection(targets.values()) for targets in host.targets.values()))


def _all_held(host: _Host, stuck: list[SocketRow]) -> bool:
    held = _held(host, _wanted(stuck))
    return all(
        f"socket:[{row.inode}]" in held for row in stuck if row.inode and row.state is TcpState.CLOSE_WAIT
    )  # fmt: skip


# What was read of a process is of one and the same only if it started at the same time before and after.
def _read(pid: int, targets: Mapping[int, str] | None, wanted: frozenset[str], asked: _Asked) -> ProcessRow | None:
    try:
        before = procfs.stat(pid)
        if before.flags & procfs.PF_KTHREAD:
            return None
        row = process_row(before, targets, wanted, has_children=asked.children, queues=asked.queues)
        return row if procfs.stat(pid).ticks == before.ticks else None
    except NoSuchProcess:
        return None


def _ancestors(host: _Host, pids: list[int]) -> Iterator[int]:
    seen: set[int] = set()
    for pid in pids:
        for _ in range(_ANCESTORS):
            try:
                pid = procfs.stat(pid).parent
            except NoSuchProcess:
                break
            if pid <= 1 or pid in seen:
                break
            seen.add(pid)
            yield pid


# Everybody who has a child.
def _parents() -> set[int]:
    found: set[int] = set()
    for pid in procfs.pids():
        try:
            found.add(procfs.stat(pid).parent)
        except NoSuchProcess:
            continue
    return found


# The other ends of what is stuck, where they are on this host, and half-closed legs of its holders.
def _others(host: _Host, processes: Mapping[int, ProcessRow]) -> Iterator[SocketRow]:
    stuck = [row for row in host.rows if row.state is TcpState.CLOSE_WAIT]
    if not stuck:
        return
    held = {inode for process in processes.values() for row in process.descriptors.values() if (inode := row.inode)}
    ports = {(row.peer.port, row.local.port) for row in stuck[:_ENDS] if row.local and row.peer}
    yield from _sockets(host, [TcpState.ESTABLISHED, TcpState.FIN_WAIT2], Wanted(held, ports))


# CurrEstab counts ESTABLISHED and CLOSE_WAIT (RFC 4022, tcpCurrEstab).
def _connections(host: _Host) -> int | None:
    total = sum(row.state in STUCK and row.state is not TcpState.CLOSE_WAIT for row in host.rows)
    for pid in host.namespaces.values():
        try:
            lines = procfs.read(f"/proc/{pid or 'self'}/net/snmp", pid or os.getpid()).splitlines()
        except (NoSuchProcess, PermissionDenied):
            continue
        names, values = ([*line.split()] for line in [each for each in lines if each.startswith("Tcp:")][:2])
        total += int(values[names.index("CurrEstab")])
    return total


def _sees_all() -> bool:
    try:
        return os.readlink("/proc/self/ns/pid") == _INITIAL
    except OSError:
        return False


def _gaps(host: _Host) -> Iterator[Gap]:
    yield from host.gaps
    if host.hidden:
        count = len(host.hidden)
        word = "1 process" if count == 1 else f"{count:,} processes"
        why = f"the descriptors of {word} may not be read, and they may hold what is stuck, too"
        yield Gap("processes unseen", why, "sudo tracecorr scan" if os.geteuid() else None)
