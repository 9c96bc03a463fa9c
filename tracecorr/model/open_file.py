"""Open file descriptions: what dup, fork and SCM_RIGHTS share (open(2)), and the connection that one may be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tracecorr.events import Endpoint
from tracecorr.kernel import Domain, Shutdown
from tracecorr.model.fact import Fact
from tracecorr.model.fd_table import FileDescriptor

if TYPE_CHECKING:
    from tracecorr.model.process import Task

# Kept of one description: enough for a chain of evidence, and no list may grow with the log.
_FACTS = 48
_PAST = 24


@dataclass(eq=False, slots=True)
class Registration:
    """What epoll_ctl asked of an epoll descriptor for one description."""

    fd: int
    description: OpenFileDescription
    events: int
    data: int | None
    fact: Fact


@dataclass(eq=False, slots=True)
class OpenFileDescription:
    """`kind` is tcp, stream (a connected stream socket of unknown family), listener, unix, pipe, file, unknown …

    `number` counts connections in the order in which they appeared.  The other fields say what was seen of a
    connection: `fin` the first sign of the peer's FIN, `confirmed` the last look that found it in CLOSE_WAIT,
    `eof` the first read of 0 (not `eof_seen`: the kernel says that some read consumed the end of file, and none was
    recorded), `eof_reads` how often each task read 0, `closed_by_reset` what ended it in both directions, `shut` the
    halves that shutdown(2) closed.
    """

    kind: str
    number: int
    opened: Fact | None = None
    domain: Domain = Domain.UNKNOWN
    role: str | None = None
    inode: int | None = None
    local: Endpoint | None = None
    peer: Endpoint | None = None
    established: bool = False
    references: set[FileDescriptor] = field(default_factory=set)
    past: list[FileDescriptor] = field(default_factory=list)
    accepts: int = 0
    flights: int = 0
    calls: int = 0
    fin: Fact | None = None
    fin_sure: bool = True
    confirmed: Fact | None = None
    eof: Fact | None = None
    eof_seen: bool = True
    eof_reads: dict[Task, int] = field(default_factory=dict)
    last_eof: Fact | None = None
    read_after: Fact | None = None
    sent_after: Fact | None = None
    first_sent_after: Fact | None = None
    sends_after: int = 0
    longest_pause: int = 0
    received: int = 0
    sent: int = 0
    shut: Shutdown = Shutdown.NONE
    shut_by: Fact | None = None
    passed_on: OpenFileDescription | None = None
    closed_by_reset: Fact | None = None
    resets_peer: bool = False
    released: Fact | None = None
    other_end: OpenFileDescription | None = None
    other_end_sure: bool = True
    facts: list[Fact] = field(default_factory=list)
    about: int | None = None
    path: str | None = None
    registrations: dict[int, Registration] = field(default_factory=dict)
    by_data: dict[int, dict[int, Registration]] = field(default_factory=dict)
    watched: Registration | None = None
    unwatched: Fact | None = None

    @property
    def is_connection(self) -> bool:
        return self.kind in ("tcp", "stream")

    def begin_anew(self) -> None:
        """A socket whose connection failed or was dissolved (connect(2)) may be connected again."""
        self.kind, self.role, self.peer, self.established = "socket", None, None, False
        self.fin = self.eof = self.last_eof = self.read_after = self.sent_after = self.first_sent_after = None
        self.closed_by_reset = self.shut_by = self.passed_on = self.other_end = None
        self.shut = Shutdown.NONE
        self.received = self.sent = self.sends_after = 0
        self.eof_reads.clear()
        self.facts.clear()

    def note(self, fact: Fact) -> None:
        """Keep a fact: all of the first ones, then the latest."""
        if len(self.facts) >= _FACTS:
            del self.facts[_FACTS // 2]
        self.facts.append(fact)

    def let_go(self, descriptor: FileDescriptor) -> None:
        """Remember a descriptor that was closed, those that used the connection before all others."""
        if len(self.past) >= _PAST:
            idle = next((index for index, past in enumerate(self.past) if past.used is None), 0)
            del self.past[idle]
        self.past.append(descriptor)
