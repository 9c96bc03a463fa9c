"""What traced processes have open and do at one instant, as records that come before those of a live engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from tracecorr.errors import NoSuchProcess, PermissionDenied
from tracecorr.events import Gap, Origin, TaskId
from tracecorr.kernel import TcpState
from tracecorr.snapshot import SocketRow
from tracecorr.sources import procfs, sock_diag
from tracecorr.sources.kcmp import same_table
from tracecorr.sources.namespace import namespace_of
from tracecorr.sources.threads import thread
from tracecorr.syscalls.record import DescriptorFound, Record, TaskFound, UnfinishedRecord

Numbered = Callable[[], Origin]

# All states in which somebody may hold a socket.  A busy server leaves tens of thousands in TIME_WAIT behind, and while
# they are listed its threads stand still.
HELD: Final = tuple(state for state in TcpState if state is not TcpState.TIME_WAIT)

_EPOLL: Final = "anon_inode:[eventpoll]"
_PIDFD: Final = "anon_inode:[pidfd]"
_SOCKET: Final = "socket:["
_SHOWN: Final = 32


def picture(threads: Mapping[int, Sequence[int]], origin: Numbered) -> Iterator[Record]:
    """Yield a TaskFound for each thread, a DescriptorFound for each descriptor, and the calls that threads sleep in.

    `threads` are the threads of each process.  Those that end meanwhile are left out; what may not be read is a Gap.
    """
    rows = Rows(threads)
    for pid in _parents_first(threads):
        try:
            yield from _process(pid, threads[pid], threads, rows, origin)
        except NoSuchProcess:
            continue
        except PermissionDenied as error:
            yield Gap("descriptors unseen", str(error), "run tracecorr as root", *origin())
    yield from _left_out(threads, origin)


# What a process forked before it was traced is not traced with it.
def _left_out(threads: Mapping[int, Sequence[int]], origin: Numbered) -> Iterator[Gap]:
    for pid in threads:
        others = sorted(set(procfs.descendants(pid)) - threads.keys())
        if others:
            shown = ", ".join(map(str, others[:_SHOWN])) + ", …" * (len(others) > _SHOWN)
            who = f"{len(others)} processes that" if len(others) > 1 else "a process that"
            why = f"PID {pid} has forked {who} ran before it was traced ({shown}): what those do is not seen"
            everyone = " ".join(map(str, [pid, *others[:_SHOWN]]))
            yield Gap("children not traced", why, f"tracecorr attach {everyone}", *origin())


class Rows:
    """The TCP sockets of the network namespaces of some processes."""

    def __init__(self, pids: Iterable[int], states: Sequence[TcpState] = HELD) -> None:
        self.all: list[SocketRow] = []
        seen = self._seen = set[int]()
        for pid in pids:
            try:
                namespace = namespace_of(pid)
                if namespace not in seen:
                    self.all += sock_diag.sockets(states, pid)
                    seen.add(namespace)
            except (NoSuchProcess, PermissionDenied):
                continue
        self._by_inode = {row.inode: row for row in self.all if row.inode}
        listeners = [row for row in self.all if row.state is TcpState.LISTEN]
        self._ports = {(row.namespace, row.local.port) for row in listeners if row.local}

    def of(self, target: str) -> SocketRow | None:
        """Return the socket that a link such as "socket:[4711]" names, if it is one of TCP."""
        return self._by_inode.get(inode_of(target) or 0)

    def covers(self, pid: int) -> bool:
        """Say whether the sockets of the network namespace of this process were listed.

        Raises NoSuchProcess, PermissionDenied.
        """
        return namespace_of(pid) in self._seen

    def role(self, row: SocketRow) -> str | None:
        """Say which side we are: a connection to a port on which this host listens was accepted."""
        if row.local is None or row.state is TcpState.LISTEN:
            return None
        return "accepted" if (row.namespace, row.local.port) in self._ports else "connected"


def inode_of(target: str) -> int | None:
    """Return the inode in "socket:[4711]", None for other links."""
    number = target[len(_SOCKET) : -1]
    return int(number) if target.startswith(_SOCKET) and number.isdigit() else None


def _parents_first(threads: Mapping[int, Sequence[int]]) -> list[int]:
    parents: dict[int, int] = {}
    for pid in threads:
        try:
            parents[pid] = procfs.stat(pid).parent
        except NoSuchProcess:
            continue
    ordered: dict[int, None] = {}

    def place(pid: int) -> None:
        if pid in parents and pid not in ordered:
            place(parents.pop(pid))
            ordered[pid] = None

    for pid in list(parents):
        place(pid)
    return list(ordered)


def _process(
    pid: int, tids: Sequence[int], threads: Mapping[int, Sequence[int]], rows: Rows, origin: Numbered
) -> Iterator[Record]:
    about = procfs.stat(pid)
    first = procfs.standing(pid)
    leader = TaskId(about.parent) if about.parent in threads and same_table(first, about.parent) else TaskId(first)
    # The first thread of a process that goes on without it has nothing any more.
    yield from tasks(pid, [tid for tid in tids if tid != pid or first == pid], leader, origin)
    targets = procfs.targets(pid)
    # What epoll sets refer to comes before them.
    for fd in sorted(targets, key=lambda fd: (targets[fd] == _EPOLL, fd)):
        try:
            yield descriptor_found(pid, fd, targets, rows, origin(), first)
        except NoSuchProcess:
            procfs.stat(pid)  # the descriptor has gone, or the process
    for tid in tids:
        try:
            yield from blocked(pid, tid, origin)
        except NoSuchProcess:
            continue


def tasks(pid: int, tids: Iterable[int], leader: TaskId, origin: Numbered) -> Iterator[TaskFound]:
    """Yield a TaskFound for each thread, the leader first; they share the table of `leader` unless kcmp denies it.

    Raises NoSuchProcess.
    """
    about, at, first = procfs.stat(pid), time.time_ns(), procfs.standing(pid)
    for tid in sorted(tids, key=lambda tid: (tid != first, tid)):
        shares = tid == first or same_table(first, tid) is not False
        table = leader if shares else TaskId(tid)
        yield TaskFound(TaskId(tid), at, origin(), pid, about.parent, about.comm, table)


def descriptor_found(
    pid: int, fd: int, targets: Mapping[int, str], rows: Rows, origin: Origin, first: int | None = None
) -> DescriptorFound:
    """Return what a descriptor refers to; `targets` are the links of all, `first` is procfs.standing().

    Raises NoSuchProcess when it was closed.
    """
    task, at, target = TaskId(first or pid), time.time_ns(), targets[fd]
    marked = procfs.descriptor(pid, fd, target).close_on_exec
    if target == _EPOLL:
        return DescriptorFound(task, at, origin, fd, target, marked, watches=tuple(_watches(pid, fd, targets)))
    if target == _PIDFD:
        return DescriptorFound(task, at, origin, fd, target, marked, about=procfs.pidfd_process(pid, fd))
    row = rows.of(target)
    if row is None:
        return DescriptorFound(task, at, origin, fd, target, marked)
    return DescriptorFound(
        task, at, origin, fd, target, marked, row.state, row.local, row.peer, row.receive_queue, rows.role(row)
    )


# An entry has the number that epoll_ctl was given; what it watches may have another by now, or none (epoll(7), Q6).
def _watches(pid: int, fd: int, targets: Mapping[int, str]) -> Iterator[tuple[int, int, int | None]]:
    sockets = {inode_of(target): number for number, target in targets.items()}
    for watch in procfs.watches(pid, fd):
        inode = inode_of(targets.get(watch.fd, ""))
        if inode == watch.inode or (inode is None and watch.inode not in sockets):
            yield watch.fd, watch.events, watch.data
        elif watch.inode in sockets:
            yield sockets[watch.inode], watch.events, watch.data


def blocked(pid: int, tid: int, origin: Numbered) -> Iterator[UnfinishedRecord]:
    """Yield the call that a thread sleeps in.  Raises NoSuchProcess."""
    row = thread(pid, tid)
    if row.call is not None and row.state in ("S", "D"):
        yield UnfinishedRecord(TaskId(tid), row.call, [] if row.fd is None else [row.fd], time.time_ns(), origin())
