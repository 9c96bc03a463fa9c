"""What passes over connections: bytes, ends of file, resets."""

from __future__ import annotations

from tracecorr.events import (
    BytesReceived,
    BytesSent,
    EndOfFileRead,
    Gap,
    ResetSeen,
)
from tracecorr.kernel import Shutdown
from tracecorr.model.connections import established
from tracecorr.model.descriptors import found
from tracecorr.model.fact import Fact
from tracecorr.model.fd_table import FileDescriptor
from tracecorr.model.open_file import OpenFileDescription
from tracecorr.model.process import Task
from tracecorr.model.system import System
from tracecorr.model.tasks import task_of

_FAR = 10_000_000  # ns: lines of different threads may stand in either order when they are this close


# What a transfer was on.  A call that was cut in two is on what its number referred to when it began: another thread
# may have closed it since, and the number may be in use again.
def _target(system: System, task: Task, event: BytesReceived | BytesSent | EndOfFileRead) -> FileDescriptor:
    slot = task.table.slots.get(event.fd)
    if task.closed_inside(event.fd):
        slot = FileDescriptor(event.fd, task.table, OpenFileDescription("unknown", system.step), None, "unknown", None)
    left, task.left = task.left, None
    if left is not None and left.fd == event.fd and left.on is not None and left.name == event.call:
        if slot is not None and slot.description is left.on:
            return slot
        past = [d for d in left.on.past if d.number == event.fd and d.table is task.table]
        return past[-1] if past else FileDescriptor(event.fd, task.table, left.on, None, "unknown", None)
    return slot or found(system, task, event.fd)


def bytes_received(system: System, event: BytesReceived) -> None:
    task = task_of(system, event.task)
    slot = _target(system, task, event)
    description = slot.description
    if not description.is_connection:
        return
    call = f"{event.call}({event.fd}) = {event.size}"
    took_data(system, description, Fact("read", event.at, task, event.fd, call, event.origin, system.step), event.size)
    _mark(system, task, slot, event)


def took_data(system: System, description: OpenFileDescription, fact: Fact, size: int) -> None:
    """A read returned data of a connection."""
    description.received += size
    established(system, description)
    if description.eof is not None:
        _data_after_end(system, description, fact)
    elif description.fin is not None:
        description.read_after = fact


# No data comes after the end of file: what this number refers to has changed unseen.
def _data_after_end(system: System, description: OpenFileDescription, fact: Fact) -> None:
    eof = description.eof
    assert eof is not None
    if eof.at is not None and fact.at is not None and fact.at - eof.at < _FAR:
        return
    inferred, description.eof_seen = not description.eof_seen, True
    description.eof_reads.clear()
    description.eof = None
    if inferred:
        return
    description.fin = None
    source, line = fact.origin
    system.gap(Gap("a connection was replaced unseen", "data was read after an end of file", None, source, line))


def _mark(system: System, task: Task, slot: FileDescriptor, event: BytesReceived | BytesSent | EndOfFileRead) -> Fact:
    if slot.used is None:
        slot.used = Fact("used", event.at, task, event.fd, f"{event.call}({event.fd})", event.origin, system.step)
    slot.used_at, slot.used_step, slot.user = event.at, system.step, task
    return slot.used


def bytes_sent(system: System, event: BytesSent) -> None:
    task = task_of(system, event.task)
    slot = _target(system, task, event)
    description = slot.description
    if not description.is_connection:
        return
    call = f"{event.call}({event.fd}) = {event.size}"
    sent_data(system, description, Fact("sent", event.at, task, event.fd, call, event.origin, system.step), event.size)
    _mark(system, task, slot, event)


def sent_data(system: System, description: OpenFileDescription, fact: Fact, size: int) -> None:
    """A write took data for a connection."""
    description.sent += size
    established(system, description)
    if description.fin is not None:
        before = description.sent_after or description.fin
        if before.at is not None and fact.at is not None:
            description.longest_pause = max(description.longest_pause, fact.at - before.at)
        description.first_sent_after = description.first_sent_after or fact
        description.sent_after = fact
        description.sends_after += 1


def end_of_file_read(system: System, event: EndOfFileRead) -> None:
    task = task_of(system, event.task)
    slot = _target(system, task, event)
    description = slot.description
    if description.kind == "unknown":
        _end_of_unknown(system, task, event)
        return
    if not description.is_connection:
        return
    # After SHUT_RD of our own, after a reset and before a handshake a read of 0 is no FIN.
    if description.closed_by_reset or not description.established:
        return
    if description.shut & Shutdown.RD and description.fin is None:
        return
    _mark(system, task, slot, event)
    call = f"{event.call}({event.fd}{', MSG_PEEK' if event.peeked else ''}) = 0"
    took_end(
        system,
        description,
        Fact("peeked" if event.peeked else "eof", event.at, task, event.fd, call, event.origin, system.step,
             event.entered),
    )  # fmt: skip


def took_end(system: System, description: OpenFileDescription, fact: Fact) -> None:
    """A read returned the end of file of a connection, or (`what` is peeked) looked at it."""
    peeked = fact.what == "peeked"
    if description.fin is None or not description.fin_sure:
        description.fin, description.fin_sure = fact, True
    if not peeked:
        description.eof_reads[fact.task] = description.eof_reads.get(fact.task, 0) + 1
        description.last_eof = fact
        _handed_on(description, fact)
    if description.eof is None or peeked or not description.eof_seen:
        if not peeked:
            description.eof, description.eof_seen = fact, True
        description.note(fact)
        if system.observer is not None:
            system.observer(fact, description)


# A relay hands the end of file on to its other leg: that may have happened already, where the read is told late.
def _handed_on(description: OpenFileDescription, fact: Fact) -> None:
    legs = (leg for leg in fact.task.shut if leg is not description and leg.shut_by is not None)
    later = next((leg for leg in legs if leg.shut_by is not None and leg.shut_by.step > fact.step), None)
    if later is None:
        fact.task.last_eof = description
    elif description.passed_on is None:
        description.passed_on = later


def _end_of_unknown(system: System, task: Task, event: EndOfFileRead) -> None:
    if event.fd <= 2 or not event.call.startswith("recv"):
        return
    why = f"fd {event.fd} of {task.process.pid} was open before the log began; a read of 0 there may be a FIN"
    system.gap(Gap("origin unknown", why, "strace -f -tt -T -yy -p PID", event.origin.source, event.origin.line))


def reset_seen(system: System, event: ResetSeen) -> None:
    task = task_of(system, event.task)
    slot = found(system, task, event.fd)
    description = slot.description
    # EPIPE after our own shutdown(SHUT_WR) tells nothing of the peer (send(2)).
    if description.is_connection and not (event.error == "EPIPE" and description.shut & Shutdown.WR):
        call = f"{event.call}({event.fd}) = -1 {event.error}"
        fact = Fact("reset", event.at, task, event.fd, call, event.origin, system.step)
        was_reset(system, description, fact)


def was_reset(system: System, description: OpenFileDescription, fact: Fact) -> None:
    """A reset has ended the connection in both directions: whoever holds it has a dead descriptor (RFC 9293, 3.5.2)."""
    if description.closed_by_reset is not None:
        return
    if system.released is not None and description.fin is not None:
        system.released(description, fact)
    description.closed_by_reset = fact
    description.note(fact)
    if system.observer is not None:
        system.observer(fact, description)
