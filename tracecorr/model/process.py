"""Processes and threads.  As in the kernel the table of descriptors hangs on the thread."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tracecorr.events import TaskId
from tracecorr.model.fact import Fact

if TYPE_CHECKING:
    from tracecorr.model.fd_table import FdTable
    from tracecorr.model.open_file import OpenFileDescription

_SHUT = 16


@dataclass(eq=False, slots=True)
class Call:
    """A call that a thread has entered and not left; `on` is what its first descriptor refers to.

    `new` says that the log had not named that descriptor before.
    """

    name: str
    fd: int | None
    since: Fact
    on: OpenFileDescription | None
    new: bool = False


@dataclass(eq=False, slots=True)
class Process:
    """A process.  `forked` is the fact of its creation, None for one that is older than the log."""

    pid: int | None
    comm: str | None = None
    parent: Process | None = None
    forked: Fact | None = None
    executed: Fact | None = None
    ended: Fact | None = None
    unseen_children: Fact | None = None
    tasks: set[Task] = field(default_factory=set)


@dataclass(eq=False, slots=True)
class Task:
    """A thread.

    `left` is the call that it has just returned from, when that began in another line; `lines` counts its events: a
    task without any may be asleep, or not traced at all.  `seen` is one that a look at the host found.  `reaped` says
    that the log told of its very end: until then lines of calls that its process' exit cut short may follow.
    `detached` says that the tracer has let go of it.
    """

    id: TaskId
    process: Process
    table: FdTable
    call: Call | None = None
    left: Call | None = None
    ended: Fact | None = None
    lines: int = 0
    reaped: bool = False
    detached: bool = False
    older: bool = False
    seen: bool = False
    last_eof: OpenFileDescription | None = None
    shut: deque[OpenFileDescription] = field(default_factory=lambda: deque(maxlen=_SHUT))

    def closed_inside(self, number: int) -> bool:
        """Say whether a descriptor older than the log was closed while this thread was in a call on it."""
        left = self.left
        return (
            left is not None and left.new and left.fd == number
            and number not in self.table.slots and self.table.is_touched(number)
        )  # fmt: skip
