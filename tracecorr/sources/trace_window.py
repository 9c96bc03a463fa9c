"""What happened while the picture was taken: the events tell it, so the picture must not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from tracecorr.kernel import CLONE_FILES, CLONE_THREAD
from tracecorr.sources.ring_buffer import TraceEvent
from tracecorr.sources.trace_table import NEW_NUMBERS
from tracecorr.syscalls.record import DescriptorFound, Record, TaskFound

_UNSIGNED: Final = 0xFFFFFFFF

# Where these events have the number that comes or goes: behind the thread, or behind an older number.
_PLACE: Final = {
    **dict.fromkeys((f"sys_exit_{name}" for name in NEW_NUMBERS), 1),
    "sys_enter_close": 1,
    "sys_enter_dup2": 2,
    "sys_enter_dup3": 2,
}


def with_new(events: Iterable[TraceEvent], threads: Mapping[int, int]) -> dict[int, int]:
    """Return the process of each thread, those that these events make among them."""
    known = dict(threads)
    for event in events:
        if event.name == "task_newtask":
            parent, child, _, flags = event.values
            if flags & (CLONE_THREAD | CLONE_FILES):
                known[child] = known.get(parent, parent)
    return known


class Window:
    """The numbers that events in a window of time have touched, and the tasks that were made in it."""

    def __init__(self, events: Sequence[TraceEvent], threads: Mapping[int, int]) -> None:
        self._threads = with_new(events, threads)
        self._numbers: set[tuple[int, int]] = set()
        self._from: dict[int, int] = {}
        self._made: set[int] = set()
        for event in events:
            self._note(event)

    def _note(self, event: TraceEvent) -> None:
        name, values = event.name, event.values
        if (place := _PLACE.get(name)) is not None:
            self._numbers.add((self._process(values[0]), values[place] & _UNSIGNED))
        elif name == "sys_enter_close_range":
            pid, first = self._process(values[0]), values[1] & _UNSIGNED
            self._from[pid] = min(self._from.get(pid, first), first)
        elif name == "task_newtask":
            self._made.add(values[1])

    def _process(self, tid: int) -> int:
        return self._threads.get(tid, tid)

    def untouched(self, record: Record) -> bool:
        """Say whether what a record of the picture tells was so when the window began."""
        if isinstance(record, TaskFound):
            return record.task.tid not in self._made
        if isinstance(record, DescriptorFound):
            pid = self._process(record.task.tid)
            touched = (pid, record.fd) in self._numbers or record.fd >= self._from.get(pid, 1 << 31)
            return not touched and record.task.tid not in self._made
        return True
