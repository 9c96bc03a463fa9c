"""Calls of tracers that print a call as it returns, and of a thread that sleeps in one a line before that.

`accept(3, …) (sleeping...)` is repeated with its result (truss of AIX, tusc of HP-UX): one call, two lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tracecorr.events import Origin, TaskId
from tracecorr.sources.base import Tally
from tracecorr.sources.pairing import Result
from tracecorr.syscalls.record import Record, SyscallRecord, UnfinishedRecord, Value


class Told(NamedTuple):
    """One printed call: who made it, and what the line says of it."""

    task: TaskId
    name: str
    args: list[Value]
    at: int | None
    origin: Origin


class Sleeping:
    """The calls that threads are shown to sleep in."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._asleep: dict[TaskId, Told] = {}

    def asleep(self, told: Told) -> Iterator[Record]:
        """Yield the entry of a call, once."""
        before = self._asleep.get(told.task)
        if before is not None and before.name == told.name:
            return
        self._count(told)
        self._asleep[told.task] = told
        yield UnfinishedRecord(told.task, told.name, told.args, told.at, told.origin)

    def finished(self, told: Told, result: Result) -> SyscallRecord:
        """Return the call, which began where it was first shown.  The time of a line is that of the return."""
        began = self._asleep.pop(told.task, None)
        if began is None or began.name != told.name:
            self._count(told)
            began = None
        return SyscallRecord(
            told.task, told.name, told.args, result.value, result.error, began.at if began else None, told.at,
            told.origin, began.origin if began else told.origin, note=result.note,
        )  # fmt: skip

    def end(self, task: TaskId) -> None:
        """Forget a thread that has ended."""
        self._asleep.pop(task, None)

    def _count(self, told: Told) -> None:
        self._tally.calls += 1
        self._tally.names.add(told.name)
