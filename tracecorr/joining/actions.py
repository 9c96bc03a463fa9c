"""What other inputs do to the replay of a log, each at its moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tracecorr.events import DescriptorGone, DescriptorSeen, Endpoint, Gap, Origin, ResetSeen, TaskId, TaskSeen
from tracecorr.joining.elimination import Found, adopt
from tracecorr.joining.match import Ends
from tracecorr.joining.survey import Life, Survey
from tracecorr.kernel import TcpState
from tracecorr.model.fd_table import FileDescriptor
from tracecorr.model.looks import fin_arrived, revive
from tracecorr.model.open_file import OpenFileDescription
from tracecorr.model.replay import replay
from tracecorr.model.system import System
from tracecorr.snapshot import DescriptorRow, ProcessRow, Snapshot, SocketRow


class Action(Protocol):
    """Something to be done before the first record that is not earlier than `at`; None is after all of them."""

    @property
    def at(self) -> int | None: ...

    def apply(self, survey: Survey) -> None:
        """Change the System of the survey."""


class Agenda:
    """Actions in the order of their times."""

    def __init__(self, survey: Survey, actions: Iterable[Action]) -> None:
        self._survey = survey
        self._waiting = sorted(actions, key=lambda action: (action.at is None, action.at or 0))
        self._place = 0

    def until(self, now: int) -> None:
        """Do what is due before a record of this time."""
        while self._place < len(self._waiting):
            at = self._waiting[self._place].at
            if at is None or at > now:
                return
            self._next()

    def finish(self) -> None:
        """Do all the rest: the log has ended."""
        while self._place < len(self._waiting):
            self._next()

    def _next(self) -> None:
        self._place += 1
        self._waiting[self._place - 1].apply(self._survey)


# Lines of other inputs do not order what is in the log: they come after the line that was read last.
def _advance(system: System) -> None:
    system.step = min(system.step + 1, system.step | 0xFF) if system.by_line else system.step + 1


# The references that a connection has, the oldest process first.
def _first(description: OpenFileDescription) -> FileDescriptor | None:
    return min(description.references, key=lambda d: (d.process.pid or 0, d.number), default=None)


@dataclass(frozen=True, slots=True)
class FinArrived:
    """A capture shows the peer's FIN, or the peer's own log its close: `call` says which."""

    at: int
    opened_as: Origin | None
    local: Endpoint
    peer: Endpoint
    origin: Origin
    call: str
    what: str = "arrived"

    def apply(self, survey: Survey) -> None:
        """Tell the connection, if anything of this log still holds it."""
        description = found(survey, self.opened_as, self.local, self.peer)
        if description is not None:
            description.local, description.peer = self.local, self.peer
            _advance(survey.system)
            fin_arrived(survey.system, description, self.at, self.origin, self.call, self.what)


@dataclass(frozen=True, slots=True)
class ResetArrived:
    """A capture shows a RST of the peer: the connection is closed, in no CLOSE_WAIT any more (RFC 9293, 3.10.7.4)."""

    at: int
    opened_as: Origin | None
    local: Endpoint
    peer: Endpoint
    origin: Origin

    def apply(self, survey: Survey) -> None:
        """Tell the connection, if anything of this log still holds it."""
        description = found(survey, self.opened_as, self.local, self.peer)
        slot = _first(description) if description is not None else None
        task = next(iter(slot.table.tasks), None) if slot is not None else None
        if slot is not None and task is not None:
            event = ResetSeen(self.at, task.id, self.origin, slot.number, "RST", "the capture")
            _beside(survey.system, event)


def found(
    survey: Survey, opened_as: Origin | None, local: Endpoint, peer: Endpoint
) -> OpenFileDescription | None:  # fmt: skip
    """Return the connection that was opened by this line, or has these ends, and is still held."""
    life = survey.openings.get(opened_as) if opened_as is not None else None
    description = life.description if life is not None else survey.system.by_address.get((local, peer))
    return description if description is not None and description.references else None


# As a look at the live host, but that it does not tell of everything.  It is no line of the task's own, and a task
# whose tracing has ended is not traced again by being seen.
def _beside(system: System, event: TaskSeen | DescriptorSeen | DescriptorGone | ResetSeen) -> None:
    looked_at, by_line = system.looked_at, system.by_line
    task = system.tasks.get(event.task)
    lines = task.lines if task is not None else 0
    _advance(system)
    step, system.by_line, system.looked_at = system.step, False, True
    replay(system, event)
    system.looked_at, system.by_line, system.step = looked_at, by_line, step
    if task is not None:
        task.lines = lines


@dataclass(slots=True)
class Shown:
    """What listings show at one moment.  `rows` are those that this log has, found by its connections' ends.

    `pids` are the processes of the log; `strangers` says that those of the listings are of another namespace, so that
    no holder can be told; `whole` that they list all connections of the host.  `found` are the ends of connections
    whose peer the log does not tell.  `did` counts what came of it.
    """

    at: int | None
    snapshot: Snapshot
    rows: Ends[SocketRow]
    strangers: bool
    whole: bool
    roles: Mapping[int, str]
    pids: frozenset[int] = frozenset()
    time: int | None = None
    found: Sequence[Found] = ()
    did: Counter[str] = field(default_factory=Counter)
    told: set[SocketRow] = field(default_factory=set)

    def apply(self, survey: Survey) -> None:
        """Let the System learn what the listings show of its connections and processes."""
        adopt(survey, self.found)
        if not self.strangers:
            for row, holders in self._known(survey.system):
                for process, descriptor in holders:
                    self._seen(survey, process, descriptor.fd, row, descriptor.origin)
        for life in list(survey.lives.values()):
            rows = self.rows.of(life)
            if len(rows) == 1:
                self._state(survey, life, rows[0])
            elif not rows and self.whole:
                self._absent(survey, life)

    # Sockets that a process of this log has: those that were open before it began among them.
    def _known(self, system: System) -> Iterator[tuple[SocketRow, Sequence[tuple[ProcessRow, DescriptorRow]]]]:
        dead = {pid for pid, process in system.processes.items() if process.ended is not None}
        living = self.pids - dead
        for row in self.snapshot.sockets:
            holders = self.snapshot.holders(row.inode) if row.inode else []
            if any(process.pid in living for process, _ in holders) and (row.peer is None or not _ending(row)):
                yield row, holders

    def _seen(self, survey: Survey, process: ProcessRow, fd: int, row: SocketRow, origin: Origin | None) -> None:
        if fd < 0:
            return
        system, origin = survey.system, origin or row.origin or Origin(self.snapshot.source, 0)
        known = system.processes.get(process.pid)
        task = next((task.id for task in known.tasks if task.ended is None), None) if known is not None else None
        if task is None:
            task = TaskId(process.pid)
            _beside(system, TaskSeen(self.time, task, origin, process.pid, process.parent, process.comm, task))
        elif known is not None:
            known.comm = known.comm or process.comm
        before = system.tasks[task].table.slots.get(fd)
        was = before.description if before is not None else None
        _beside(system, self._event(task, fd, row, origin))
        slot = system.tasks[task].table.slots.get(fd)
        if slot is None:
            return
        self.told.add(row)
        if was is not slot.description and slot.description.is_connection:
            self.did["descriptors"] += 1
            self._released(survey, row, slot)

    def _event(self, task: TaskId, fd: int, row: SocketRow, origin: Origin) -> DescriptorSeen:
        listens = row.state is TcpState.LISTEN
        return DescriptorSeen(
            self.time, task, origin, fd, "listener" if listens else "tcp",
            row.inode if row.inode is not None and row.inode > 0 else None, None, None if listens else row.state,
            row.local, row.peer, None if listens else row.receive_queue, self.roles.get(row.inode or 0), (), None,
        )  # fmt: skip

    # The log shows the last close of it, and here is another holder: that close was not the last.
    def _released(self, survey: Survey, row: SocketRow, slot: FileDescriptor) -> None:
        for life in list(survey.lives.values()):
            old = life.description
            if old.references or old is slot.description or not old.past or row not in self.rows.of(life):
                continue
            last = old.past[-1].closed
            revive(survey.system, old, slot.description)
            self.did["revived"] += 1
            where = f", closed in {last.origin}," if last is not None else ""
            why = (
                f"{old.local} – {old.peer}{where} is still held by PID {slot.process.pid}, which the log does not have"
            )
            source, line = row.origin or (None, None)
            survey.system.gap(Gap("a listing contradicts the log", why, "strace -f from before the fork", source, line))
            return

    def _state(self, survey: Survey, life: Life, row: SocketRow) -> None:
        description = life.description
        slot = _first(description)
        task = next(iter(slot.table.tasks), None) if slot is not None else None
        if slot is None or task is None:
            if row.state is TcpState.CLOSE_WAIT and life.ended is not None and not self._held_on(survey, life, row):
                self._closed(survey, life, row)
            return
        if description.fin is not None and row.state is TcpState.ESTABLISHED:
            self.did["withdrawn"] += 1
        if row.state is TcpState.CLOSE_WAIT:
            self.did["confirmed"] += 1
        self.told.add(row)
        origin = row.origin or Origin(self.snapshot.source, 0)
        _beside(survey.system, self._event(task.id, slot.number, row, origin))
        if not self.strangers and row.inode:
            for process, descriptor in self.snapshot.holders(row.inode):
                if not any(d.process.pid == process.pid for d in description.references):
                    self.did["holders"] += 1
                    self._seen(survey, process, descriptor.fd, row, descriptor.origin)
                    self._same(survey.system, process, descriptor.fd, description)

    # The inode joins them; a listing without inodes has said by the row that they are one.
    def _same(self, system: System, process: ProcessRow, fd: int, description: OpenFileDescription) -> None:
        known = system.processes.get(process.pid)
        for task in known.tasks if known is not None else ():
            slot = task.table.slots.get(fd)
            if slot is not None and slot.description is not description and slot.description.is_connection:
                revive(system, description, slot.description)
                return

    # A process holds it that nobody saw take it: the close in the log was not the last.
    def _held_on(self, survey: Survey, life: Life, row: SocketRow) -> bool:
        before = {descriptor.process.pid for descriptor in life.description.past}
        for process, descriptor in self.snapshot.holders(row.inode or 0) if not self.strangers else ():
            if process.pid not in before:
                self._seen(survey, process, descriptor.fd, row, descriptor.origin)
        return bool(life.description.references)

    def _closed(self, survey: Survey, life: Life, row: SocketRow) -> None:
        if row in self.told:
            return
        last = life.fin
        where = f" in {last.origin}" if last is not None else ""
        why = f"{row.local} – {row.peer} is in CLOSE_WAIT, and closed{where}: a process that is not in the log has it"
        source, line = row.origin or (None, None)
        try_ = "sudo ss -tanpe, or lsof -nP -iTCP, for its holder"
        survey.system.gap(Gap("a listing contradicts the log", why, try_, source, line))
        self.did["contradicted"] += 1

    # It lists all connections and not this one: how it went was not seen, and nobody is accused of holding it.
    def _absent(self, survey: Survey, life: Life) -> None:
        description = life.description
        if life.local is None or life.peer is None or not description.established or description.fin is None:
            return
        origin = Origin(self.snapshot.source, 1)
        for slot in list(description.references):
            task = next(iter(slot.table.tasks), None)
            if task is not None:
                self.did["gone"] += 1
                _beside(survey.system, DescriptorGone(self.time, task.id, origin, slot.number))


def _ending(row: SocketRow) -> bool:
    return row.state in (TcpState.TIME_WAIT, TcpState.CLOSE)
