"""Passes over what is of no interest: files that are closed, and connections that were accepted and closed at once.

A busy server has thousands of them a second, and what healthy ones do would drown the few that matter.  A connection
is passed over only when the kernel says that its close was the last one: its FIN went out inside that very call.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from tracecorr.kernel import CLONE_FILES, CLONE_THREAD, TCP_STATES, TcpState
from tracecorr.sources.ring_buffer import TraceEvent
from tracecorr.sources.trace_ends import ends_of
from tracecorr.sources.trace_rows import Row
from tracecorr.sources.trace_table import NEW_NUMBERS
from tracecorr.sources.trace_waits import Waits

_UNSIGNED: Final = 0xFFFFFFFF

_LISTEN: Final = TCP_STATES.index(TcpState.LISTEN)
_SYN_SENT: Final = TCP_STATES.index(TcpState.SYN_SENT)

# A task enters these by close(2) or shutdown(2) alone: nothing that comes from the network leads there.
_SENT_FIN: Final = {TCP_STATES.index(state) for state in (TcpState.FIN_WAIT1, TcpState.LAST_ACK)}

# Those that return a new number.
_OPENING: Final = frozenset(f"sys_exit_{name}" for name in NEW_NUMBERS)

# Whatever may copy descriptors, or end many at once.
_BARRIERS: Final = (
    "sched_process_exec", "sched_process_exit", "sys_enter_close_range", "sys_enter_dup", "sys_enter_dup2",
    "sys_enter_dup3", "sys_enter_fcntl", "sys_enter_shutdown", "sys_enter_unshare", "sys_enter_pidfd_getfd",
)  # fmt: skip


class _Accepted(NamedTuple):
    entry: TraceEvent
    exit: TraceEvent


class _Closed(NamedTuple):
    accepted: _Accepted
    close: TraceEvent


class Sieve:
    """Looks through events in order of time, before they are passed on.

    `void` has the id() of events that are waiting to be passed on and shall not be; `passed_over` counts connections.
    """

    def __init__(
        self,
        waits: Waits,
        parts: struct.Struct,
        threads: dict[int, int],
        numbers: set[int],
        ports: set[int],
        called: Iterable[int] = (),
    ) -> None:
        """`parts` is for ends_of(); `numbers` are of sockets, in any process.

        Traced processes listen on `ports`, and are connected to the remote ports `called`.
        """
        self._numbers = numbers
        self.void: set[int] = set()
        self.passed_over = 0
        self._waits = waits
        self._parts = parts
        self._ports = ports
        self._called = set(called)
        self._emitted = 0
        self._threads = dict(threads)
        self._entries: dict[int, TraceEvent] = {}
        self._accepted: dict[int, dict[int, _Accepted]] = {}
        self._closing: dict[int, _Closed] = {}
        self._vacant: dict[int, set[int]] = {}
        self._split: set[int] = set()
        self._handlers: dict[str, Callable[[TraceEvent], bool]] = {
            "sys_enter_close": self._close,
            "inet_sock_set_state": self._state,
            "sock_recv_length": self._read,
            "task_newtask": self._new_task,
            **dict.fromkeys(_OPENING, self._number),
            **dict.fromkeys(("sys_enter_accept", "sys_enter_accept4"), self._accept),
            **dict.fromkeys(("sys_exit_accept", "sys_exit_accept4"), self._accept_exit),
            **dict.fromkeys(_BARRIERS, self._barrier),
        }

    def sift(self, events: Iterable[TraceEvent], emitted: int) -> list[TraceEvent]:
        """Return the events that may matter; `emitted` is the time up to which they have been passed on."""
        self._emitted = emitted
        self._forget()
        get = self._handlers.get
        return [event for event in events if (handler := get(event.name)) is None or handler(event)]

    def concerned(self, rows: Iterable[Row], newer: Iterable[TraceEvent]) -> Iterator[Row]:
        """Yield those rows of closes of which sift() might keep one, after these newer events, too."""
        opened, made = set(), set()
        for event in newer:
            if event.name in _OPENING:
                opened.add(event.values[1])
            elif event.name == "task_newtask":
                made.add(event.values[1])
        for row in rows:
            if not row.numbers.isdisjoint(opened) or not row.threads.isdisjoint(made) or self._may_keep(row):
                yield row

    def _may_keep(self, row: Row) -> bool:
        numbers = row.numbers & self._numbers
        tables = {self._threads.get(tid, tid) for tid in row.threads} if numbers else ()
        return any(table in self._split or not numbers <= self._vacant.get(table, set()) for table in tables)

    # An accept that has been passed on is told for good, and so is its close.
    def _forget(self) -> None:
        for accepted in self._accepted.values():
            for fd in list(accepted):
                if accepted[fd].exit.at > self._emitted:
                    break
                del accepted[fd]

    def _close(self, event: TraceEvent) -> bool:
        tid, fd = event.values
        fd &= _UNSIGNED
        self._closing.pop(tid, None)
        if fd not in self._numbers:
            return False
        table = self._threads.get(tid, tid)
        vacant = self._vacant.setdefault(table, set())
        if fd in vacant and table not in self._split:
            return False  # what is closed was opened by a call that is not recorded: a file
        vacant.add(fd)
        accepted = self._accepted.get(table)
        if accepted is not None and (pair := accepted.pop(fd, None)) is not None:
            self._closing[tid] = _Closed(pair, event)
        return True

    def found(self, pid: int, fd: int) -> None:
        """A look has found that this number is a socket in this process."""
        self._numbers.add(fd)
        self._vacant.get(self._threads.get(pid, pid), set()).discard(fd)

    def _accept(self, event: TraceEvent) -> bool:
        self._entries[event.values[0]] = event
        return True

    def _accept_exit(self, event: TraceEvent) -> bool:
        tid, fd = event.values
        entry = self._entries.pop(tid, None)
        if fd >= 0:
            self._opened(tid, fd)
            if entry is not None:
                self._accepted.setdefault(self._threads.get(tid, tid), {})[fd] = _Accepted(entry, event)
        return True

    def _number(self, event: TraceEvent) -> bool:
        self._opened(*event.values)
        return True

    def _opened(self, tid: int, fd: int) -> None:
        self._numbers.add(fd)
        vacant = self._vacant.get(self._threads.get(tid, tid))
        if vacant:
            vacant.discard(fd)

    def _state(self, event: TraceEvent) -> bool:
        tid, new = event.values[0], event.values[3]
        if new in (_LISTEN, _SYN_SENT):
            self._note_port(event)
        elif new in _SENT_FIN and (closed := self._closing.pop(tid, None)) is not None:
            self.passed_over += not self._own_clients() and self._drop(*closed.accepted, closed.close)
        return self._waits.note_state(event, self._drop)

    # A client that is traced, too, waits for an accept to be told, or for its own close by the server.
    def _note_port(self, event: TraceEvent) -> None:
        ends = ends_of(self._parts, event.values[4])
        if ends is not None and event.values[3] == _LISTEN:
            self._ports.add(ends.local.port)
        elif ends is not None:
            self._called.add(ends.peer.port)

    def _own_clients(self) -> bool:
        return not self._called.isdisjoint(self._ports)

    @property
    def unconcerned(self) -> set[int]:
        """The remote ports whose connections can not be ours: only we listen there, and none of us calls."""
        return self._ports - self._called

    # All of them, or none: what has been passed on can not be taken back.
    def _drop(self, *events: TraceEvent) -> bool:
        for event in events:
            if event.at <= self._emitted:
                return False
        self.void.update(map(id, events))
        return True

    def _read(self, event: TraceEvent) -> bool:
        self._waits.note_read(event.values[1])
        return True

    def _new_task(self, event: TraceEvent) -> bool:
        parent, child, _, flags = event.values
        pid = self._threads.get(parent, parent)
        self._threads[child] = pid if flags & (CLONE_THREAD | CLONE_FILES) else child
        return self._barrier(event)

    # Only a thread that was never told of may have the wrong process: then it is the child's own.
    def _barrier(self, event: TraceEvent) -> bool:
        tid = event.values[0]
        table = self._threads.get(tid, tid)
        self._closing.pop(tid, None)
        self._accepted.pop(table, None)
        if event.name == "sys_enter_unshare":
            self._split.add(table)  # some of its threads have a table of their own now
        elif event.name == "sched_process_exec":
            self._threads[tid] = tid
            self._vacant.pop(tid, None)
        elif event.name == "sched_process_exit":
            self._vacant.pop(tid, None)
            self._split.discard(tid)
            for index in (self._threads, self._entries):
                index.pop(tid, None)
        return True
