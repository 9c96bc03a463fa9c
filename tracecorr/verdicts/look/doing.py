"""What a process waits for: its threads' calls, what they poll, its epoll sets."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import NamedTuple

from tracecorr.kernel import POLLIN, POLLRDHUP
from tracecorr.snapshot import ProcessRow, ThreadRow, Watch

EPOLLET = 1 << 31
EPOLLONESHOT = 1 << 30
# What a program asks for; EPOLLERR and EPOLLHUP are always told.
_READABLE = POLLIN | 0x40 | POLLRDHUP  # EPOLLRDNORM

EPOLL_WAITS = frozenset(["epoll_wait", "epoll_pwait", "epoll_pwait2"])
POLLS = frozenset(["poll", "ppoll", "select", "pselect6"])
ACCEPTS = frozenset(["accept", "accept4"])
# Where a server waits for work, and a thread of a pool for its next task: no obstacle.
LOOPS = EPOLL_WAITS | POLLS | ACCEPTS | {"io_uring_enter", "io_getevents", "io_pgetevents", "rt_sigtimedwait"}
FUTEXES = frozenset(["futex", "futex_wait", "futex_waitv"])
IDLE = FUTEXES | frozenset(["pause", "rt_sigsuspend", "restart_syscall"])
STOPPED = frozenset("Tt")


# Targets of descriptors that a program reads to be woken (eventfd(2), signalfd(2), timerfd_create(2)).
_WAKERS = frozenset(f"anon_inode:{name}" for name in ("[eventfd]", "[signalfd]", "[timerfd]"))


# Where one waits that leaves connections to its children: whoever sleeps elsewhere may have accepted some itself.
_OF_MASTERS = EPOLL_WAITS | POLLS | {"pause", "rt_sigsuspend", "rt_sigtimedwait", "wait4", "waitid", "clock_nanosleep"}


class Registered(NamedTuple):
    """A socket in an epoll set."""

    epfd: int
    watch: Watch

    @property
    def armed(self) -> bool:
        """Whether the set would tell of input or of the FIN; EPOLLONESHOT clears all events after one."""
        return bool(self.watch.events & _READABLE)

    @property
    def edge(self) -> bool:
        return bool(self.watch.events & EPOLLET)


class Doing:
    """One process, asked what it waits for."""

    def __init__(self, process: ProcessRow) -> None:
        self.process = process

    @cached_property
    def inodes(self) -> dict[int, int]:
        """The socket or pipe that each descriptor refers to."""
        return {fd: inode for fd, row in self.process.descriptors.items() if (inode := row.inode) is not None}

    @cached_property
    def asleep_on(self) -> frozenset[int]:
        """Inodes of what its threads are inside a call on, but for epoll sets."""
        fds = [thread.fd for thread in self.process.threads if thread.call not in EPOLL_WAITS]
        return frozenset(self.inodes[fd] for fd in fds if fd in self.inodes)

    @cached_property
    def polled(self) -> dict[int, int]:
        """Inodes in a poll or select that a thread sleeps in, with the events asked for."""
        watches = [watch for thread in self.process.threads for watch in thread.polled or ()]
        return {self.inodes[watch.fd]: watch.events for watch in watches if watch.fd in self.inodes}

    @cached_property
    def waited_sets(self) -> frozenset[int]:
        """The epoll sets that its threads wait for."""
        return frozenset(
            thread.fd for thread in self.process.threads if thread.call in EPOLL_WAITS and thread.fd is not None
        )

    @cached_property
    def registered(self) -> dict[int, list[Registered]]:
        """What its epoll sets watch, by inode; an old kernel tells numbers alone, which mean what they mean now."""
        found: dict[int, list[Registered]] = {}
        for epfd, watches in self.process.watches.items():
            for watch in watches:
                inode = watch.inode if watch.inode is not None else self.inodes.get(watch.fd)
                if inode is not None:
                    found.setdefault(inode, []).append(Registered(epfd, watch))
        return found

    @cached_property
    def polls(self) -> bool:
        """Whether it has an event loop at all."""
        return bool(self.process.watches) or any(thread.call in POLLS for thread in self.process.threads)

    @property
    def stopped(self) -> bool:
        """Whether none of its threads may run."""
        threads = self.process.threads
        return bool(threads) and (self.process.frozen or all(thread.state in STOPPED for thread in threads))

    @property
    def is_master(self) -> bool:
        """Whether all of its threads sleep where one does that leaves connections to its children."""
        return all(thread.call in _OF_MASTERS for thread in self.process.threads)

    @property
    def unseen(self) -> bool:
        """Whether nothing is known of what it does: a listing tells descriptors alone."""
        return not self.process.threads and not self.process.watches

    @property
    def readable(self) -> bool:
        """Whether the calls of its threads could be seen."""
        return any(thread.call is not None or thread.state in ("R", "Z") for thread in self.process.threads)

    def waits_for(self, inode: int) -> bool:
        """Whether one of its threads waits for this socket, by whatever means."""
        if inode in self.asleep_on or inode in self.polled:
            return True
        return any(entry.epfd in self.waited_sets for entry in self.registered.get(inode, ()))

    def is_watched(self, inode: int) -> bool:
        """Whether it has the socket in a poll or in an epoll set."""
        return inode in self.polled or inode in self.registered

    @cached_property
    def wakers(self) -> frozenset[int]:
        """Descriptors by which it wakes itself: both ends of a pipe, eventfd(2) and its like."""
        pipes = Counter(row.target for row in self.process.descriptors.values() if row.target.startswith("pipe:["))
        return frozenset(
            fd
            for fd, row in self.process.descriptors.items()
            if row.target in _WAKERS or pipes.get(row.target, 0) > 1
        )  # fmt: skip

    @cached_property
    def obstacles(self) -> list[ThreadRow]:
        """Threads inside a call that is no place to wait for work; those with a descriptor first."""
        found = [
            thread
            for thread in self.process.threads
            if thread.state in ("S", "D")
            and thread.call is not None
            and thread.call not in LOOPS | IDLE
            and thread.fd not in self.wakers
        ]
        return sorted(found, key=lambda thread: (thread.fd is None, thread.tid))

    @cached_property
    def running(self) -> list[ThreadRow]:
        return [thread for thread in self.process.threads if thread.state == "R"]


def words(thread: ThreadRow) -> str:
    """Return what a thread does, for a sentence: "waits in read(5)", "is stopped"."""
    if thread.state in STOPPED:
        return "is stopped" if thread.state == "T" else "is stopped by a tracer"
    if thread.state == "R":
        return "runs"
    if thread.call is None:
        return f"sleeps in {thread.wait_channel}" if thread.wait_channel else "sleeps"
    fd = awaited(thread)
    return f"waits in {thread.call}({'' if fd is None else fd})"


def awaited(thread: ThreadRow) -> int | None:
    """Return the only descriptor that the thread waits for: that of its call, or the one that it polls alone."""
    if thread.fd is None and thread.polled is not None and len(thread.polled) == 1:
        return thread.polled[0].fd
    return thread.fd
