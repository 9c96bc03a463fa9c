"""Tables of descriptors: shared by CLONE_FILES, copied at fork (clone(2))."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tracecorr.model.fact import Fact

if TYPE_CHECKING:
    from tracecorr.model.open_file import OpenFileDescription
    from tracecorr.model.process import Process, Task


@dataclass(eq=False, slots=True)
class FileDescriptor:
    """One slot of one table.

    `how` it came there (accept, connect, socket, socketpair, open-at-start, fork, dup, passed, unknown), by which
    fact, copied from which descriptor.  `close_on_exec` is None where it is not known.  `sure` is False where
    the copy itself is inferred (a fork that ran at the same time as the call that opened or closed it).
    `seen` is when a look at the host found it first.
    """

    number: int
    table: FdTable
    description: OpenFileDescription
    close_on_exec: bool | None
    how: str
    fact: Fact | None
    source: FileDescriptor | None = None
    sure: bool = True
    used: Fact | None = None
    used_at: int | None = None
    used_step: int = -1
    user: Task | None = None
    survived: Fact | None = None
    marked: Fact | None = None
    closed: Fact | None = None
    seen: int | None = None

    @property
    def process(self) -> Process:
        return self.table.process

    @property
    def may_be_gone(self) -> bool:
        """Whether an execve() may have closed it: the flag is not known, and nothing has shown the number since."""
        if self.used is not None or self.seen is not None:
            return False
        if self.survived is not None and self.close_on_exec is None:
            return True
        return self.how == "fork" and self.source is not None and self.source.may_be_gone


@dataclass(eq=False, slots=True)
class FdTable:
    """The descriptors of the tasks that share it.

    `touched` are the numbers that were opened or closed since the log began: what any other number refers to was
    open before, and every later fork has inherited it, too; from `floor` on all of them were closed (close_range).
    `parent` is the table that this one was copied from, `executed` the last execve() of its task; `older` says that it
    was there before the log, so tasks may share it which have not shown that they do; `guessed` that who shares it is
    inferred; `incomplete` that a close was not recorded.
    """

    process: Process
    parent: FdTable | None = None
    slots: dict[int, FileDescriptor] = field(default_factory=dict)
    touched: set[int] = field(default_factory=set)
    copies: set[FdTable] = field(default_factory=set)
    tasks: set[Task] = field(default_factory=set)
    forked: Fact | None = None
    executed: Fact | None = None
    older: bool = False
    unseen_sharers: bool = False
    guessed: bool = False
    incomplete: bool = False
    floor: int = 1 << 31

    def is_touched(self, number: int) -> bool:
        """Say whether the log tells what the number refers to, or that it refers to nothing."""
        return number in self.touched or number >= self.floor
