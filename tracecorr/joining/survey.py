"""What a log tells of each connection that another input could tell of, too: its ends and the times around segments.

A survey goes along with a replay.  It keeps of each connection the calls that segments on the wire stand in a certain
order with: accept returns after the SYN-ACK, a write begins before its first segment, a read of 0 returns after the
FIN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from tracecorr.events import BytesReceived, BytesSent, Endpoint, Event, Origin, TaskId
from tracecorr.kernel import WRITES, Shutdown
from tracecorr.model.address import is_wildcard, key
from tracecorr.model.fact import Fact
from tracecorr.model.open_file import OpenFileDescription
from tracecorr.model.system import System
from tracecorr.syscalls.record import Record, SyscallRecord, UnfinishedRecord

# No list may grow with the log: this many connections are enough to align clocks, and those that are stuck are few.
_LIVES: Final = 100_000


# Their lines carry the time of the return, others that of the entry, with a duration if it was asked for.
_AT_RETURN: Final = frozenset(["truss-solaris", "truss-freebsd", "truss-aix"])


@dataclass(slots=True, eq=False)
class Life:
    """One connection of a log.  Times are nanoseconds of the log's clock; `opened_as` names it in every replay.

    `opened` and `ended` are the numbers of records, which order a log without times.  `connecting` is the entry of
    connect, `made` a time at which connect or accept had returned, `sending` the entry of the first write, `received`
    when the first read with data had returned, `eof_at` the first read of 0, `ending` the entry of the shutdown or
    close that sent our FIN; each of these is None where the log does not tell it for certain.  `opened_at`, `read_at`
    and `ended_at` are about when it was opened, the first read of 0, and when the last reference went.
    """

    description: OpenFileDescription
    opened_as: Origin | None
    opened: int
    ended: int | None = None
    opened_at: int | None = None
    read_at: int | None = None
    connecting: int | None = None
    made: int | None = None
    sending: int | None = None
    received: int | None = None
    eof_at: int | None = None
    ending: int | None = None
    ended_at: int | None = None
    fin: Fact | None = None

    @property
    def local(self) -> Endpoint | None:
        """Our end, None where the log does not tell the address (a listener may be bound to any)."""
        local = self.description.local
        return key(local) if local is not None and local.port and not is_wildcard(local) else None

    @property
    def port(self) -> int | None:
        local = self.description.local
        return local.port if local is not None and local.port else None

    @property
    def peer(self) -> Endpoint | None:
        peer = self.description.peer
        return key(peer) if peer is not None and peer.port else None


class Survey:
    """Goes along with one replay: hand it the records and the events, and let it observe the System.

    `inside` are the calls that have been entered and not left.
    """

    def __init__(self, system: System, format_: Callable[[], str]) -> None:
        self.system = system
        self._format = format_
        self.lives: dict[int, Life] = {}
        self.openings: dict[Origin, Life] = {}
        self.number = 0
        self.inside: dict[TaskId, UnfinishedRecord] = {}
        self._record: Record | None = None
        self._waiting: dict[TaskId, list[tuple[Life, str]]] = {}
        self._before = system.observer
        system.observer = self.observe

    def records(self, records: Iterable[Record]) -> Iterator[Record]:
        """Hand on the records, numbered from 1."""
        for record in records:
            self.number += 1
            self._record = record
            if self._waiting:
                self._went_on(record)
            if type(record) is UnfinishedRecord:
                self.inside[record.task] = record
            elif type(record) is SyscallRecord:
                self.inside.pop(record.task, None)
            yield record

    def event(self, event: Event) -> None:
        """Note a transfer, which no observer is told of; call it after the replay of the event."""
        if type(event) is BytesSent or type(event) is BytesReceived:
            life = self._life_of(event)
            if life is None:
                return
            if type(event) is BytesSent and life.sending is None:
                life.sending = self._entered
            elif type(event) is BytesReceived and life.received is None:
                self._return_of(life, "received", event.task)

    @property
    def _at_return(self) -> bool:
        return self._format() in _AT_RETURN

    # When a call had returned for certain: its task has entered the next one.  An entry and a duration say less: strace
    # takes the time of the entry before it looks up what descriptors refer to, and the duration after that.
    def _return_of(self, life: Life, name: str, task: TaskId) -> None:
        record = self._record
        if self._at_return and isinstance(record, SyscallRecord):
            setattr(life, name, record.returned)
        elif getattr(life, name) is None:
            self._waiting.setdefault(task, []).append((life, name))

    def _went_on(self, record: Record) -> None:
        if isinstance(record, SyscallRecord):
            at = record.entered if record.began is record.origin else None
        else:
            at = time_of(record)
        task = getattr(record, "task", None)
        if at is not None and task is not None:
            for life, name in self._waiting.pop(task, ()):
                setattr(life, name, at)

    # A line with one time alone has that of the entry or that of the return: the other one is not known.
    @property
    def _entered(self) -> int | None:
        record = self._record
        if isinstance(record, SyscallRecord):
            return None if self._at_return and record.entered == record.returned else record.entered
        return record.entered if isinstance(record, UnfinishedRecord) else None

    def _life_of(self, event: BytesSent | BytesReceived) -> Life | None:
        task = self.system.tasks.get(event.task)
        slot = task.table.slots.get(event.fd) if task is not None else None
        if slot is None or not slot.description.is_connection:
            return None
        return self.life(slot.description)

    def life(self, description: OpenFileDescription) -> Life | None:
        """Return what is known of a connection, None where there are too many."""
        life = self.lives.get(description.number)
        if life is None and len(self.lives) < _LIVES:
            opened = description.opened
            life = Life(description, opened.origin if opened is not None else None, self.number)
            self.lives[description.number] = life
            if opened is not None:
                self.openings[opened.origin] = life
        return life

    def observe(self, fact: Fact, description: OpenFileDescription | None) -> None:
        """Take a fact of the replay."""
        if self._before is not None:
            self._before(fact, description)
        if description is None or not description.is_connection:
            return
        life = self.life(description)
        if life is not None:
            self._note(life, fact)

    def _note(self, life: Life, fact: Fact) -> None:
        if fact.what == "accepted":
            life.opened_at = fact.at
            self._return_of(life, "made", fact.task.id)
        elif fact.what == "connected":
            life.connecting, life.opened_at = self._entered, fact.at
            if fact.call.endswith("= 0"):
                self._return_of(life, "made", fact.task.id)
        elif fact.what == "eof" and life.read_at is None:
            life.read_at = fact.at
            self._return_of(life, "eof_at", fact.task.id)
        elif fact.what in ("closed", "exit", "shutdown", "exec", "dup"):
            self._ended(life, fact)

    def _ended(self, life: Life, fact: Fact) -> None:
        description = life.description
        if fact.what == "shutdown":
            if description.shut & Shutdown.WR and life.fin is None:
                life.fin, life.ending = fact, self._entered
        elif len(description.references) == 1 and not _survives(description, fact):
            if life.fin is None:
                life.fin, life.ending = fact, self._entered
            life.ended, life.ended_at = self.number, fact.at


def _survives(description: OpenFileDescription, fact: Fact) -> bool:
    return any(d.survived is not None and d.survived.step == fact.step for d in description.references)


def time_of(record: Record) -> int | None:
    """Return when a record's effect took place, as far as its line tells: what was written was so from the entry on."""
    if isinstance(record, SyscallRecord):
        late = record.returned is not None and record.name not in WRITES
        return record.returned if late else record.entered
    return record.entered if isinstance(record, UnfinishedRecord) else getattr(record, "at", None)
