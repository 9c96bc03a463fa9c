"""Reads and writes that the kernel tells by the connection: the descriptor is looked for among those of the task."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tracecorr.events import ConnectionUsed
from tracecorr.model.address import key
from tracecorr.model.fact import Fact
from tracecorr.model.fd_table import FileDescriptor
from tracecorr.model.open_file import OpenFileDescription
from tracecorr.model.process import Task
from tracecorr.model.system import Ends, System, Use
from tracecorr.model.tasks import task_of
from tracecorr.model.traffic import sent_data, took_data, took_end

# Connections whose descriptor is not known yet, and how many uses are kept of each: the first ones, and the last.
_WAITING: Final = 1 << 14
_USES: Final = 4


def connection_used(system: System, event: ConnectionUsed) -> None:
    """Whose connection it is may be known only later: until then it is kept by its ends."""
    task = task_of(system, event.task)
    fact = Fact(_what(event), event.at, task, None, "", event.origin, system.step)
    ends = key(event.local), key(event.peer)
    description = system.by_address.get(ends)
    if description is not None and description.references:
        _apply(system, description, Use(fact, event.size))
        return
    if len(system.uses) >= _WAITING:
        del system.uses[next(iter(system.uses))]
    kept = system.uses.setdefault(ends, [])
    del kept[_USES - 1 :]
    kept.append(Use(fact, event.size))


def _what(event: ConnectionUsed) -> str:
    if event.sent:
        return "sent"
    if event.size:
        return "read"
    return "peeked" if event.peeked else "eof"


def apply_uses(system: System, description: OpenFileDescription, ends: Ends) -> None:
    """The connection with these ends is now known to be `description`."""
    for use in system.uses.pop(ends, ()):
        _apply(system, description, use)


def _apply(system: System, description: OpenFileDescription, use: Use) -> None:
    fact = use.fact
    slot = _slot_of(fact.task, description)
    on = f" on fd {slot.number}" if slot is not None else ""
    verb = "write" if fact.what == "sent" else "read"
    peek = " with MSG_PEEK" if fact.what == "peeked" else ""
    fact = fact._replace(fd=slot.number if slot is not None else None, call=f"{verb}{on}{peek} = {use.size}")
    if slot is not None:
        slot.used = slot.used or fact._replace(what="used")
        slot.used_at, slot.used_step, slot.user = fact.at, fact.step, fact.task
    if fact.what == "sent":
        sent_data(system, description, fact, use.size)
    elif fact.what == "read":
        took_data(system, description, fact, use.size)
    else:
        took_end(system, description, fact)


# The reader's table holds it, or has held it; of several numbers for one connection the oldest may stand for all.
def _slot_of(task: Task, description: OpenFileDescription) -> FileDescriptor | None:
    def mine(slots: Iterable[FileDescriptor]) -> list[FileDescriptor]:
        return [slot for slot in slots if slot.table is task.table]

    found = sorted(mine(description.references), key=lambda slot: slot.number) or mine(description.past)
    return found[0] if found else None
