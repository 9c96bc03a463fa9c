"""Contract of the live engines: what traces running processes, and what it needs to do so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from tracecorr.syscalls.record import Record


class Requirement(NamedTuple):
    """One thing that this host lacks: what it is, why it fails, in words, and what would make it work."""

    what: str
    why: str
    remedy: str


class Tracing(Protocol):
    """Processes that are being traced now.  All its methods are called from one thread."""

    def records(self, tick: float) -> Iterator[Record | None]:
        """Yield what happens, and None at least every `tick` seconds, busy or not; end when nobody is left to trace.

        First come a TaskFound for each thread and a DescriptorFound for each descriptor that was there, in a state to
        which the records that follow join without a hole; later ones also for what is found out of sight.  Times are
        nanoseconds since the epoch; `origin` is the engine's name and the running number of the record, from 1.
        A loss of events is a Gap.
        """

    def close(self) -> None:
        """Let go of everything that is traced, as it was; it may be called at any time, and again."""


@runtime_checkable
class Delayed(Protocol):
    """A Tracing that tells things a while after they happened: what a look at the host finds must wait for its turn."""

    @property
    def lag(self) -> float:
        """How many seconds that may be, at the most."""

    @property
    def told(self) -> int:
        """Up to which time, in nanoseconds since the epoch, records() has told everything."""

    @property
    def passed_over(self) -> int:
        """How many connections came and went in good order, so that nothing else is told of them."""

    def interleave(self, records: Iterable[Record]) -> None:
        """Take what a look has just found: records() yields it in its place, unless events say what came of it."""


class Engine(Protocol):
    """A way to trace live processes.  A module is enough: these are its names."""

    @property
    def NAME(self) -> str: ...

    @property
    def COST(self) -> str:
        """What it does to the traced program, in a sentence for people."""

    @property
    def STACKS(self) -> bool:
        """Whether it can tell where in the program a call was made."""

    def missing(self, *, stacks: bool = False) -> list[Requirement]:
        """Return what this host lacks for it, with `stacks` for those, too; nothing when it works here."""

    def attach(self, pids: Sequence[int], *, stacks: bool = False) -> Tracing:
        """Begin to trace live processes, all their threads, and what they fork from now on.

        With `stacks` a StackRecord follows each call that makes, copies or ends a reference to a connection.

        Raises NoSuchProcess, PermissionDenied, AlreadyTraced (which names the tracer), EngineUnavailable.
        """

    def launch(self, command: Sequence[str], *, stacks: bool = False) -> Tracing:
        """Start a command, traced from its first call.  It is our child, and outlives us."""
