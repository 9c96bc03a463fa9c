"""Many logs of one trace (strace -ff) as one stream: in time order, in causal order where times are missing or coarse.

Causal order is what no schedule of the traced program can break: a child runs after its fork was entered, a parent's
wait returns after the child's end, a number is returned only while it is free, and used only while it is open,
a passed descriptor is received after it was sent.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Iterator
from typing import Final

from tracecorr.events import Origin
from tracecorr.kernel import CLONE_FILES
from tracecorr.syscalls.processes import clone_flags
from tracecorr.syscalls.record import ExitRecord, Record, SignalRecord, SyscallRecord, UnfinishedRecord
from tracecorr.syscalls.table import FORK_FAMILY, READ_FAMILY, WRITE_FAMILY

# What these do is done by their return at the latest, and may be seen by others from their entry on.
_AT_ENTRY: Final = {"close", "exit_group", "exit", "_exit"}
_OPENS: Final = frozenset(
    ["accept", "accept4", "socket", "dup", "open", "openat", "creat", "epoll_create", "epoll_create1", "eventfd2"]
)
_USES: Final = READ_FAMILY.keys() | WRITE_FAMILY.keys() | {"close", "shutdown", "dup"}
_WAITS: Final = {"wait4", "waitpid", "waitid"}
_FORKED: Final = re.compile(rb"(?:clone3?|v?fork)\b.*\)\s+= (\d{1,10})")

# How far two records of different tasks may stand in the wrong order: the grain of the clock.
_GRAIN: Final = 2_000_000
_COARSE: Final = 1_000_000_000


def forked_in(blocks: Iterable[bytes]) -> set[int]:
    """Return the numbers that fork calls return in a log."""
    return {int(number) for block in blocks for number in _FORKED.findall(block)}


class _Stream:
    """One log: `head` is its next record, `key` the time by which that is ordered."""

    def __init__(self, pid: int, records: Iterator[Record]) -> None:
        self.pid = pid
        self.table = pid
        self.key = 0
        self.timed = False
        self.coarse = True
        self._records = _expanded(records)
        self._next = next(self._records, None)
        self.head: Record | None = None
        self.advance()

    def advance(self) -> None:
        record, self._next = self._next, next(self._records, None)
        self.head = record
        if record is None:
            return
        if isinstance(record, SyscallRecord) and record.returned == record.entered and record.name not in _AT_ENTRY:
            # Without -T a call has returned, at the latest, when the same task enters its next one.
            later = _time(self._next) if self._next is not None else None
            if later is not None:
                record = self.head = record._replace(returned=later)
        at = _time(record)
        if at is not None:
            self.timed = True
            # Durations make sums look finer than the clock is.
            entered = getattr(record, "entered", None)
            self.coarse = self.coarse and (at if entered is None else entered) % _COARSE == 0
            self.key = max(self.key, at)


def _time(record: Record) -> int | None:
    if isinstance(record, SyscallRecord):
        return record.entered if record.name in _AT_ENTRY or record.name == "sendmsg" else record.returned
    if isinstance(record, UnfinishedRecord):
        return record.entered
    return getattr(record, "at", None)


# A fork acts between its entry and its return, and its child may be seen in between: tell of both.
def _expanded(records: Iterator[Record]) -> Iterator[Record]:
    for record in records:
        if isinstance(record, SyscallRecord) and record.name in FORK_FAMILY:
            yield UnfinishedRecord(record.task, record.name, record.args, record.entered, record.origin)
            yield record._replace(began=Origin(*record.origin))
        else:
            yield record


class Merge:
    """Yields the records of several logs; `children` are the tasks that some fork in the set returns."""

    def __init__(self, streams: dict[int, Iterator[Record]], children: set[int]) -> None:
        self._streams = {pid: _Stream(pid, records) for pid, records in streams.items()}
        self._unborn = children & self._streams.keys()
        self._open: dict[int, set[int]] = {}
        self._closed: dict[int, set[int]] = {}
        self._sent = 0
        self._done = {pid for pid, stream in self._streams.items() if stream.head is None}

    def __iter__(self) -> Iterator[Record]:
        heap = [(stream.key, index, stream) for index, stream in enumerate(self._streams.values()) if stream.head]
        heapq.heapify(heap)
        held: list[tuple[int, int, _Stream]] = []
        while heap or held:
            entry = heapq.heappop(heap) if heap else held.pop(0)
            _, index, stream = entry
            if heap and self._must_wait(stream, heap[0]):
                held.append(entry)
                continue
            record = stream.head
            assert record is not None
            self._did(stream, record)
            yield record
            stream.advance()
            if stream.head is None:
                self._done.add(stream.pid)
            else:
                heapq.heappush(heap, (stream.key, index, stream))
            for waiting in held:
                heapq.heappush(heap, waiting)
            held.clear()

    # Only within the grain of the clock may order be corrected; without times there is no such bound.
    def _must_wait(self, stream: _Stream, following: tuple[int, int, _Stream]) -> bool:
        if stream.pid in self._unborn:
            return True  # also where its clock is wrong: time of day that has passed midnight
        grain = _COARSE if stream.coarse else _GRAIN
        if stream.timed and following[2].timed and following[0] - stream.key > grain:
            return False
        return not self._enabled(stream)

    def _enabled(self, stream: _Stream) -> bool:
        if stream.pid in self._unborn:
            return False
        record = stream.head
        if not isinstance(record, SyscallRecord) or record.errno is not None or record.result is None:
            return True
        if record.name in _WAITS:
            return record.result not in self._streams or record.result in self._done
        shared = self._shared(stream)
        if record.name in _OPENS:
            return not shared or record.result not in self._open.get(stream.table, ())
        if record.name == "recvmsg" and "SCM_RIGHTS" in repr(record.args[1:2]):
            return self._sent > 0
        if record.name in _USES and shared and record.args and isinstance(record.args[0], int):
            return int(record.args[0]) not in self._missing(stream)
        return True

    def _shared(self, stream: _Stream) -> bool:
        return any(
            other is not stream and other.table == stream.table and other.head is not None
            for other in self._streams.values()
        )

    # Numbers that were closed, and not opened again so far.
    def _missing(self, stream: _Stream) -> set[int]:
        return self._closed.get(stream.table, set()) - self._open.get(stream.table, set())

    def _did(self, stream: _Stream, record: Record) -> None:
        if isinstance(record, UnfinishedRecord) and record.name in FORK_FAMILY:
            return
        if isinstance(record, SyscallRecord):
            self._called(stream, record)
        elif isinstance(record, (ExitRecord, SignalRecord)):
            return

    def _called(self, stream: _Stream, record: SyscallRecord) -> None:
        if record.errno is not None or record.result is None:
            return
        if record.name in FORK_FAMILY:
            self._born(stream, record)
        elif record.name in ("execve", "execveat", "close_range"):
            # What stays open depends on flags: nothing is known of the numbers from here on.
            stream.table = stream.pid if record.name != "close_range" else stream.table
            self._open[stream.table] = set()
            self._closed[stream.table] = set()
        elif record.name in _OPENS:
            self._open.setdefault(stream.table, set()).add(record.result)
            self._closed.setdefault(stream.table, set()).discard(record.result)
        elif record.name == "close" and record.args and isinstance(record.args[0], int):
            self._open.setdefault(stream.table, set()).discard(int(record.args[0]))
            self._closed.setdefault(stream.table, set()).add(int(record.args[0]))
        elif record.name == "sendmsg" and "SCM_RIGHTS" in repr(record.args[1:2]):
            self._sent += 1
        elif record.name == "recvmsg" and "SCM_RIGHTS" in repr(record.args[1:2]):
            self._sent -= 1

    def _born(self, stream: _Stream, record: SyscallRecord) -> None:
        child = self._streams.get(record.result or 0)
        self._unborn.discard(record.result or 0)
        if child is not None and clone_flags(record) & CLONE_FILES and record.name in ("clone", "clone3"):
            child.table = stream.table
        elif child is not None:
            self._open[child.table] = set(self._open.get(stream.table, ()))
