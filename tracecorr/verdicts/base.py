"""What a rule gets (Case) and what it says (Finding).

A rule is a module with CAUSE and `diagnose(case) -> Finding | None`: one pure function that looks at a connection and
the System around it at one instant, the end of the log or just before the connection was let go.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from tracecorr.kernel import POLLIN, POLLRDHUP, WAITING
from tracecorr.model.fact import Fact
from tracecorr.model.fd_table import FileDescriptor
from tracecorr.model.open_file import OpenFileDescription
from tracecorr.model.process import Call, Process, Task
from tracecorr.model.system import System
from tracecorr.verdicts.cause import Cause as Cause
from tracecorr.verdicts.cause import Confidence as Confidence

# Where a server waits for work: to be there again is no obstacle, the connection was dropped on the way.
_LOOP = frozenset(
    [
        "accept",
        "accept4",
        "epoll_wait",
        "epoll_pwait",
        "epoll_pwait2",
        "poll",
        "ppoll",
        "ppoll_time64",
        "pollsys",
        "select",
        "_newselect",
        "pselect6",
        "pselect6_time64",
        "port_get",
        "port_getn",
        "rt_sigsuspend",
        "sigsuspend",
    ]
)
_POLLING = _LOOP - {"accept", "accept4"}


@dataclass(frozen=True, slots=True)
class Recorded:
    """Which families of calls the log can have recorded, told from the names that occur in it (domain.md, part 2).

    `polled` is False where poll or select occurs and what it watches is not shown, `uses` where reads and writes are
    recorded of connections alone whose peer has closed.  `ranges` is close_range, which strace has in no class.
    """

    close: bool = True
    read: bool = True
    write: bool = True
    flags: bool = True
    fork: bool = True
    shutdown: bool = True
    polled: bool = True
    uses: bool = True
    ranges: bool = True


@dataclass(frozen=True)
class Case:
    """One connection at one instant.  `now` is in nanoseconds; `release` is what is about to end it, if anything is.

    `medium` is where all this was read, in a word: a log, or a trace.
    """

    system: System
    socket: OpenFileDescription
    now: int | None
    stuck_after: int
    recorded: Recorded
    release: Fact | None = None
    medium: str = "log"

    @cached_property
    def holders(self) -> list[FileDescriptor]:
        return self.system.holders(self.socket)

    @cached_property
    def everybody(self) -> list[FileDescriptor]:
        """Every descriptor that refers, or is known to have referred, to the connection."""
        return [*self.holders, *self.socket.past]

    @cached_property
    def owner(self) -> FileDescriptor | None:
        """The process that used it last, or else the one that accepted or connected it."""
        used = [d for d in self.everybody if d.used is not None]
        if used:
            return max(used, key=lambda d: d.used_step)
        opened = self.socket.opened
        if opened is None and self.system.looked_at and len({d.process for d in self.everybody}) == 1:
            # It was there before the tracing, and nobody else has it: nobody can have left it to this one.
            return self.everybody[0] if self.everybody[0].process.parent is None else None
        return next((d for d in self.everybody if opened is not None and d.fact is opened), None)

    @cached_property
    def owner_holds(self) -> list[FileDescriptor]:
        """The descriptors that the owner still has."""
        owner = self.owner
        return [d for d in self.holders if owner is not None and d.process is owner.process]

    def age(self, since: Fact | None) -> int | None:
        """Return nanoseconds from `since` to now, None where the log has no times."""
        if since is None or since.at is None or self.now is None:
            return None
        # Lines of one second (strace -t) are given times in their order, and the last line's may be a little larger.
        return max(self.now - since.at, 0)

    def is_old(self, since: Fact | None) -> bool:
        age = self.age(since)
        return age is not None and age >= self.stuck_after

    def gone_on(self, task: Task, since: Fact) -> bool:
        """Say whether the thread has gone on to wait for something else, or has ended, since then."""
        if task.ended is not None and task.ended is not self.release:
            # Of a holder that was killed in a call it had not left: it would have stayed there.
            return self.release is None or any(self._inside(other) for d in self.holders for other in d.table.tasks)
        call = task.call
        return (
            call is not None and call.name in WAITING and call.since.step > since.step and call.on is not self.socket
        )  # fmt: skip

    @cached_property
    def eof_unseen(self) -> bool:
        """Say whether no read has returned 0, as far as is known, though the end of file may be consumed.

        A read that takes the last data can take the FIN with it, and Recv-Q is 0 then: where every read since the
        connection was opened is recorded, the program has not been told.
        """
        socket = self.socket
        if socket.eof is None:
            return True
        told_all = self.recorded.read and self.recorded.uses and socket.opened is not None
        return told_all and not socket.eof_seen and not self.system.io_uring

    @cached_property
    def at_rest(self) -> bool:
        """Say whether every task that the log knows waits in a call at its end: nothing more was about to happen."""
        tasks = [task for task in self.system.tasks.values() if task.ended is None and task.lines]
        return self.release is None and all(self._inside(task) for task in tasks)

    @staticmethod
    def _inside(task: Task) -> bool:
        return task.call is not None and task.call.name in WAITING


@dataclass(slots=True)
class Finding:
    """What a rule concluded.

    `culprit` is the descriptor that should be closed, `doing` names a process without one.  `because` completes the
    summary, `facts` are the evidence besides the connection's own history.
    """

    cause: Cause
    detail: str | None
    confidence: Confidence
    culprit: FileDescriptor | None
    owner: FileDescriptor | None
    missing: str | None
    because: str
    since: Fact | None
    fault: bool = True
    facts: list[tuple[Fact, str]] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    also: list[str] = field(default_factory=list)
    party: Process | None = None
    party_fd: int | None = None

    def doubt(self, confidence: Confidence, why: str) -> None:
        """Lower the confidence, and say why."""
        if confidence < self.confidence:
            self.confidence = confidence
        self.doubts.append(why)


class Rule(Protocol):
    """Contract of a rule; a module is enough."""

    @property
    def CAUSE(self) -> Cause: ...

    def diagnose(self, case: Case) -> Finding | None:
        """Return what the case is, None when it is not of this cause."""


def named(process: Process) -> str:
    """Return "PID 30516 (redis-server)" for a sentence."""
    number = f"PID {process.pid}" if process.pid else "the process"
    return f"{number} ({process.comm})" if process.comm else number


def maturity(case: Case, since: Fact, task: Task) -> Confidence | None:
    """Say how sure it is that nothing more will come: None where it is too early to tell."""
    if case.is_old(since):
        return Confidence.CERTAIN
    if case.release is not None and case.release.what != "exit":
        return None  # something did come, in time
    if case.gone_on(task, since):
        return Confidence.LIKELY
    return None


def blocked_call(case: Case, task: Task | None) -> Call | None:
    """Return the call that keeps a thread from looking at the connection, unless it waits for work there."""
    if task is None or task.call is None:
        return None
    # Where an exit released the connection, the thread was in that call until then.
    if task.ended is not None and (case.release is None or task.ended.what != "exit"):
        return None
    call = task.call
    return call if call.name in WAITING and call.name not in _LOOP and call.on is not case.socket else None


def is_armed(case: Case) -> bool:
    """Say whether some epoll set or the last poll would tell of the end of file."""
    watched = case.socket.watched
    if watched is not None:
        return bool(watched.events & (POLLIN | POLLRDHUP))
    owner = case.owner
    return owner is not None and owner.used is not None and owner.used.what == "polled"


def polls(case: Case) -> bool:
    """Say whether the owner's process waits in an event loop at all."""
    owner = case.owner
    if owner is None:
        return False
    if any(d.description.kind == "epoll" for d in owner.table.slots.values()):
        return True
    return any(task.call is not None and task.call.name in _POLLING for task in owner.table.tasks)


def waits_for(call: Call, process: Process) -> str | None:
    """Say what a blocked call waits for where the trace shows it: "pipe 5, whose writing end PID 7 (sleep) holds"."""
    if call.on is None or call.on.kind not in ("pipe", "unix"):
        return None
    end = call.on.other_end
    others = [d for d in end.references if d.process is not process] if end is not None else []
    word = "writing" if call.on.kind == "pipe" else "other"
    if not others:
        return f"{call.on.kind} {call.fd}"
    return f"{call.on.kind} {call.fd}, whose {word} end {named(others[0].process)} holds as fd {others[0].number}"


def ancestry(descriptor: FileDescriptor) -> Iterator[FileDescriptor]:
    """Yield the descriptor and those it was copied from, nearest first."""
    step: FileDescriptor | None = descriptor
    while step is not None:
        yield step
        step = step.source
