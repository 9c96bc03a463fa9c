"""One traced thread: the call that it is in, and what has been told of it."""

from __future__ import annotations

from typing import Final

from tracecorr.events import Origin, TaskId
from tracecorr.sources.register_arguments import Plan
from tracecorr.syscalls.record import Value

# `entered` of a call that is not to be told of any more: of its end the record is out, or its beginning was not seen.
PAST: Final = 0


class Tracee:
    """A thread.  `call` is the number of the call that it is in, None outside of any.

    `plan` is how to read that call, None when it has no meaning; `told` is the origin of the UnfinishedRecord that told
    of its entry.  `go` is the request that lets it run on to its next stop.  `ending` holds the words for its end once
    the kernel has announced it.  `local` maps process numbers of its pid namespace to ours where that is another one.
    `process` is None until somebody has asked for it.
    """

    __slots__ = ("call", "ending", "entered", "foreign", "go", "local", "plan", "process", "registers", "task", "tid", "told", "values")  # fmt: skip  # noqa: E501

    def __init__(self, tid: int, go: int, local: dict[int, int] | None = None) -> None:
        self.tid = tid
        self.task = TaskId(tid)
        self.go = go
        self.local = local
        self.process: int | None = None
        self.foreign = False
        self.ending: str | None = None
        self.registers: tuple[int, ...] = ()
        self.call: int | None = None
        self.plan: Plan | None = None
        self.told: Origin | None = None
        self.entered = PAST
        self.values: list[Value] = []

    def leave(self) -> None:
        """It is outside of any call."""
        self.call = self.plan = self.told = None

    def rename(self, tid: int) -> None:
        """It goes on under another number: execve(2) by a thread that is not the leader."""
        self.tid = tid
        self.task = TaskId(tid)
