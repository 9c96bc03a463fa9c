"""Entry and return of a call that a log prints apart: joined per task.

Each entry becomes an UnfinishedRecord at once, because what other tasks do until the return may depend on it; the
return becomes a SyscallRecord with the arguments of the entry.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from tracecorr.events import Origin, TaskId
from tracecorr.sources.base import Tally
from tracecorr.syscalls.record import Record, SyscallRecord, UnfinishedRecord, Value
from tracecorr.syscalls.table import FORK_FAMILY

# Their return is told by the task that is new, or runs a new program: no entry of its own goes before it.
_SEEN_TWICE: Final = FORK_FAMILY.keys() | {"execve", "execveat"}

# A hostile log may name any number of tasks.
_MOST: Final = 1 << 16


class Result(NamedTuple):
    """What a call returned: the value, the name of the error, what the log notes behind it (see SyscallRecord)."""

    value: int | None
    error: str | None = None
    note: Value = None
    path: str | None = None


class _Entry(NamedTuple):
    name: str
    args: list[Value]
    at: int | None
    origin: Origin


class Pairing:
    """The calls that tasks are inside of."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._inside: dict[TaskId, _Entry] = {}

    def enter(self, task: TaskId, name: str, args: list[Value], at: int | None, origin: Origin) -> UnfinishedRecord:
        """Note that a task entered a call.  A call that it was inside of before has returned unseen."""
        if len(self._inside) >= _MOST:
            self._inside.clear()
        self._inside[task] = _Entry(name, args, at, origin)
        self._tally.calls += 1
        self._tally.names.add(name)
        return UnfinishedRecord(task, name, args, at, origin)

    def arguments(self, task: TaskId) -> list[Value] | None:
        """The arguments of the call that a task is inside of, to be completed by what is told later."""
        entry = self._inside.get(task)
        return entry.args if entry is not None else None

    def name(self, task: TaskId) -> str | None:
        """The name of the call that a task is inside of."""
        entry = self._inside.get(task)
        return entry.name if entry is not None else None

    def leave(self, task: TaskId, name: str, result: Result, at: int | None, origin: Origin) -> Iterator[Record]:
        """Yield the call that returned; its arguments are unknown where its entry was not recorded."""
        entry = self._inside.pop(task, None)
        if entry is not None and entry.name == name:
            yield self._record(task, entry, result, at, origin)
            return
        if name in _SEEN_TWICE and not result.value:
            return
        self._tally.names.add(name)
        self._tally.headless += 1
        yield self._record(task, _Entry(name, [], None, origin), result, at, origin)

    @staticmethod
    def _record(task: TaskId, entry: _Entry, result: Result, at: int | None, origin: Origin) -> SyscallRecord:
        return SyscallRecord(
            task, entry.name, entry.args, result.value, result.error, entry.at, at, origin, entry.origin,
            result.path, note=result.note,
        )  # fmt: skip

    def end(self, task: TaskId) -> None:
        """Forget a task that has ended."""
        self._inside.pop(task, None)
