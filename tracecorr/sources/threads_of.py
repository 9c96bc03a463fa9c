"""Threads by process, for logs that name both: the first thread of a process is 1, as its creator names it.

fork tells the number of the process and not that of its thread, which the log prints from its first line on.
"""

from __future__ import annotations

from tracecorr.events import TaskId


class ThreadsOf:
    """Which number the first thread of each process has in the log."""

    def __init__(self) -> None:
        self._first: dict[int, int] = {}

    def task(self, pid: int | None, tid: int | None) -> TaskId:
        """Return the thread; where the line names none, the process' first.  A log without any column has one task."""
        if pid is None:
            return TaskId(tid or 0)
        if tid is None or self._first.setdefault(pid, tid) == tid:
            return TaskId(1, pid)
        return TaskId(tid, pid)

    def born(self, pid: int | None) -> None:
        """Begin a process, whose number another may have had before."""
        if pid is not None:
            self._first.pop(pid, None)
