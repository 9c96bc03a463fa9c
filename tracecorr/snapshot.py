"""What one look at a host showed: frozen values, whether the kernel was asked or somebody's listing was read.

None stands for what the look could not tell, in every field.  What there are thousands of is a NamedTuple, which is
five times cheaper to build than a frozen dataclass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from tracecorr.events import Endpoint, Gap, Origin
from tracecorr.kernel import Shutdown, TcpState


class TcpInfo(NamedTuple):
    """struct tcp_info (include/uapi/linux/tcp.h), as far as it says who waits for whom; times in milliseconds ago.

    The three times begin with the connection: with no byte sent, `last_data_sent` is its age.  A segment with nothing
    but a FIN counts for `last_ack_received` and not for `last_data_received` (tcp_data_queue(), tcp_ack() in
    net/ipv4/tcp_input.c), so a FIN that has come is as old as the one at least and as the other at most.
    """

    retransmits: int | None = None
    probes: int | None = None
    unacked: int | None = None
    last_data_sent: int | None = None
    last_data_received: int | None = None
    last_ack_received: int | None = None
    bytes_acked: int | None = None
    bytes_received: int | None = None
    not_sent: int | None = None
    bytes_sent: int | None = None
    peer_window: int | None = None


class SocketRow(NamedTuple):
    """One TCP socket.

    Of a listener `receive_queue` counts the connections that wait to be accepted and `send_queue` is their limit; of
    others they are bytes, and an end of file that nobody has read counts as one.  `inode` is 0 where no descriptor
    refers to it (never accepted, or closed by all).  `namespace` is the inode of its network namespace.  `timer` is
    the kind of the running timer (retransmit, keepalive, timewait, persist), `timer_expires` milliseconds from now.
    """

    state: TcpState
    local: Endpoint | None = None
    peer: Endpoint | None = None
    receive_queue: int | None = None
    send_queue: int | None = None
    inode: int | None = None
    namespace: int | None = None
    cookie: int | None = None
    uid: int | None = None
    shutdown: Shutdown | None = None
    timer: str | None = None
    timer_expires: int | None = None
    info: TcpInfo | None = None
    origin: Origin | None = None


class Watch(NamedTuple):
    """One entry of an epoll set (/proc/PID/fdinfo) or of a poll's array.

    `fd` is the number that was given to EPOLL_CTL_ADD; that number may mean another file by now, and `inode` is the
    one that is watched (Linux 4.13).  `events` are bits of poll(2) and epoll_ctl(2), `data` is what the program gave.
    """

    fd: int
    events: int
    inode: int | None = None
    data: int | None = None


class ThreadRow(NamedTuple):
    """One thread: `state` as in proc(5) (R S D T t Z), `call` the system call that it sleeps in, and on which `fd`.

    `polled` is what a poll or select that it sleeps in waits for.
    """

    tid: int
    comm: str | None = None
    state: str | None = None
    call: str | None = None
    fd: int | None = None
    wait_channel: str | None = None
    polled: tuple[Watch, ...] | None = None


class DescriptorRow(NamedTuple):
    """One descriptor; `target` is the link as in /proc/PID/fd: "socket:[4711]", "pipe:[5]", a path."""

    fd: int
    target: str
    close_on_exec: bool | None = None
    origin: Origin | None = None

    @property
    def inode(self) -> int | None:
        """The inode of a socket or pipe."""
        number = self.target.partition(":[")[2].rstrip("]")
        return int(number) if number.isdigit() else None


class Ends(NamedTuple):
    """The ends of a socket of which a listing does not tell the state."""

    local: Endpoint | None
    peer: Endpoint | None
    origin: Origin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRow:
    """One process.  It is the same one later only if `started` (seconds since the epoch) is the same, too.

    `program` is the file that it runs, `namespace` its network namespace, `limit` its RLIMIT_NOFILE.  `forked` says
    whether it can have had children: one that was waited for, one that lives, or any while it ignores SIGCHLD.
    `descriptors` may hold only those that matter; `watches` are the epoll sets by their descriptor, `in_flight` how
    many descriptors wait in the queues of its unix sockets, `registered` the sockets that its io_uring refers to.
    """

    pid: int
    started: float | None = None
    parent: int | None = None
    comm: str | None = None
    command: str | None = None
    program: str | None = None
    namespace: int | None = None
    tracer: int | None = None
    frozen: bool = False
    limit: int | None = None
    forked: bool | None = None
    threads: tuple[ThreadRow, ...] = ()
    descriptors: Mapping[int, DescriptorRow] = field(default_factory=dict)
    watches: Mapping[int, tuple[Watch, ...]] = field(default_factory=dict)
    in_flight: Mapping[int, int] = field(default_factory=dict)
    registered: frozenset[int] = frozenset()
    io_uring: bool = False


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A host at one instant: `at` is in nanoseconds since the epoch, `source` names the look.

    `connections` counts all that there are, `sockets` holds those that matter.  `hidden` counts the processes whose
    descriptors may not be read; with `complete` there is no other that could hold a socket.  Of a listing `ends` are
    the sockets whose state it does not tell, by inode, and `users` the processes that have a socket with a local port.
    """

    source: str
    at: int | None = None
    connections: int | None = None
    hidden: int = 0
    complete: bool = False
    sockets: tuple[SocketRow, ...] = ()
    processes: Mapping[int, ProcessRow] = field(default_factory=dict)
    gaps: tuple[Gap, ...] = ()
    ends: Mapping[int, Ends] = field(default_factory=dict)
    users: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    def holders(self, inode: int) -> list[tuple[ProcessRow, DescriptorRow]]:
        """Return every descriptor that refers to the socket, by process."""
        return self.targets(f"socket:[{inode}]")

    def targets(self, target: str) -> list[tuple[ProcessRow, DescriptorRow]]:
        """Return every descriptor that has this target: both ends of a pipe, who has a file open."""
        return self._by_target.get(target, [])

    @cached_property
    def _by_target(self) -> dict[str, list[tuple[ProcessRow, DescriptorRow]]]:
        found: dict[str, list[tuple[ProcessRow, DescriptorRow]]] = {}
        for process in self.processes.values():
            for row in process.descriptors.values():
                found.setdefault(row.target, []).append((process, row))
        return found
