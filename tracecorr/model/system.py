"""System: everything at one instant, and the questions that one may ask of it.  Only replay changes it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tracecorr.events import Endpoint, Gap, Origin, TaskId
from tracecorr.model.fact import Fact
from tracecorr.model.fd_table import FdTable, FileDescriptor
from tracecorr.model.open_file import OpenFileDescription
from tracecorr.model.process import Process, Task

Observer = Callable[[Fact, "OpenFileDescription | None"], None]
Ends = tuple[Endpoint, Endpoint]
Release = Callable[[OpenFileDescription, Fact], None]


@dataclass(eq=False, slots=True)
class Flight:
    """A reference in the queue of a unix socket (SCM_RIGHTS): held by no process."""

    description: OpenFileDescription
    sender: FileDescriptor | None
    sent: Fact
    via: OpenFileDescription


@dataclass(eq=False, slots=True)
class Fork:
    """A fork that was entered; `child` once it has shown itself."""

    task: Task
    shares_files: bool
    same_process: bool
    fact: Fact
    child: Task | None = None


class Arrival(NamedTuple):
    """When the kernel said that a FIN had arrived."""

    at: int | None
    origin: Origin
    step: int


class Use(NamedTuple):
    """A read or write on a connection whose descriptor is not known yet."""

    fact: Fact
    size: int


@dataclass(eq=False, slots=True)
class System:
    """`connections` are the TCP connections (and streams of unknown family) that still have a reference.

    `step` numbers what happens, `by_line` by the lines of the one log there is.
    `began_with_exec`: the tracer started the program, so every task descends from the first one; `traced` are those
    that have a log of their own (strace -ff), None where one log has them all;
    `looked_at`: a look at the host told of every task and descriptor that was there, and names of tasks are exact;
    `forks` are those that have not returned, by who called; `childless` those of them whose child is not known;
    `opened` are the tables older than the log in which a number was opened within it, which may be closed again;
    `callers` are the unix sockets that have connected and are not known to be accepted;
    `unordered` that what different tasks did is in no certain order.
    `concluded` is what a look at the host came to by itself, as plain values that mean nothing to the model,
    and `concluded_at` until when everything was seen.
    `released` is called when one that has seen a FIN is about to lose its last reference; `observer` with each fact.
    """

    tasks: dict[TaskId, Task] = field(default_factory=dict)
    processes: dict[int, Process] = field(default_factory=dict)
    connections: dict[int, OpenFileDescription] = field(default_factory=dict)
    listeners: set[OpenFileDescription] = field(default_factory=set)
    forks: dict[Task, Fork] = field(default_factory=dict)
    childless: dict[Task, Fork] = field(default_factory=dict)
    opened: dict[int, dict[FdTable, None]] = field(default_factory=dict)
    ended: deque[Task] = field(default_factory=deque)
    orphans: deque[Task] = field(default_factory=lambda: deque(maxlen=64))
    flights: list[Flight] = field(default_factory=list)
    callers: deque[OpenFileDescription] = field(default_factory=lambda: deque(maxlen=256))
    connecting: dict[int, deque[OpenFileDescription]] = field(default_factory=dict)
    unmatched: deque[OpenFileDescription] = field(default_factory=lambda: deque(maxlen=64))
    by_inode: dict[int, OpenFileDescription] = field(default_factory=dict)
    by_address: dict[tuple[Endpoint, Endpoint], OpenFileDescription] = field(default_factory=dict)
    exhausted: dict[OpenFileDescription, tuple[Fact, int]] = field(default_factory=dict)
    gaps: dict[tuple[str, str], Gap] = field(default_factory=dict)
    seen: int = 0
    step: int = 0
    by_line: bool = False
    began_with_exec: bool = False
    looked_at: bool = False
    traced: set[int] | None = None
    unordered: bool = False
    arrivals: dict[Ends, Arrival] = field(default_factory=dict)
    uses: dict[Ends, list[Use]] = field(default_factory=dict)
    concluded: Sequence[Any] = ()
    concluded_at: int | None = None
    stacks: dict[Origin, Sequence[str]] = field(default_factory=dict)
    io_uring: set[Process] = field(default_factory=set)
    released: Release | None = None
    observer: Observer | None = None

    @property
    def complete(self) -> bool:
        """Whether every task that there is has shown itself, or been seen."""
        return self.began_with_exec or self.looked_at

    def gap(self, gap: Gap) -> None:
        """Keep one gap of each kind."""
        self.gaps.setdefault((gap.what, gap.why), gap)

    def holders(self, description: OpenFileDescription) -> list[FileDescriptor]:
        """Return the descriptors that refer to it, oldest reference first."""
        return sorted(description.references, key=lambda d: (_age(d), d.process.pid or 0, d.number))

    def living_tasks(self, process: Process) -> Iterator[Task]:
        return (task for task in process.tasks if task.ended is None)


# A descriptor from before it is the oldest.
def _age(descriptor: FileDescriptor) -> int:
    return descriptor.fact.step if descriptor.fact is not None else -1
