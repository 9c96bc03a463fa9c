"""Who watches connections with poll, select and epoll, and who was told of a FIN."""

from __future__ import annotations

from tracecorr import kernel
from tracecorr.events import (
    DescriptorsPolled,
    EpollChanged,
    EpollReported,
    HangupReported,
)
from tracecorr.kernel import Shutdown
from tracecorr.model.connections import established
from tracecorr.model.descriptors import found
from tracecorr.model.fact import Fact
from tracecorr.model.fd_table import FileDescriptor
from tracecorr.model.open_file import OpenFileDescription, Registration
from tracecorr.model.process import Task
from tracecorr.model.system import System
from tracecorr.model.tasks import task_of


def used(system: System, task: Task, slot: FileDescriptor, fact: Fact) -> None:
    """Note that the process reads, writes or polls the connection."""
    if slot.used is None:
        slot.used = fact
    slot.used_at, slot.used_step = fact.at, system.step
    # Who polls for others is not who should read: that is the thread that moved bytes, if any has.
    slot.user = slot.user or task


def descriptors_polled(system: System, event: DescriptorsPolled) -> None:
    task = task_of(system, event.task)
    for fd in event.fds:
        slot = task.table.slots.get(fd)
        if slot is not None and slot.description.is_connection:
            call = f"{event.call}({fd})"
            used(system, task, slot, Fact("polled", event.at, task, fd, call, event.origin, system.step))


def hangup_reported(system: System, event: HangupReported) -> None:
    task = task_of(system, event.task)
    slot = task.table.slots.get(event.fd)
    if slot is not None:
        _told(system, task, slot, event.both, Fact(
            "hangup", event.at, task, event.fd, f"{event.call}({event.fd}) told of the FIN", event.origin, system.step,
        ))  # fmt: skip


def _told(system: System, task: Task, slot: FileDescriptor, both: bool, fact: Fact) -> None:
    description = slot.description
    if not description.is_connection:
        return
    used(system, task, slot, fact)
    # Our own shutdown(SHUT_RD) is told by POLLRDHUP, too (tcp_poll()): it says nothing of the peer.
    if description.shut & Shutdown.RD and not both:
        return
    if both:
        if not description.shut & Shutdown.WR and description.closed_by_reset is None:
            description.closed_by_reset = fact._replace(what="reset")
        return
    if description.closed_by_reset is None and (description.fin is None or not description.fin_sure):
        established(system, description)
        description.fin, description.fin_sure = fact, True
        description.note(fact)
        if system.observer is not None:
            system.observer(fact, description)


def epoll_changed(system: System, event: EpollChanged) -> None:
    task = task_of(system, event.task)
    epoll = found(system, task, event.epfd, alone=True).description
    slot = task.table.slots.get(event.fd) or found(system, task, event.fd)
    description = slot.description
    call = f"epoll_ctl({event.epfd}, EPOLL_CTL_{event.op.upper()}, {event.fd})"
    fact = Fact("watched", event.at, task, event.fd, call, event.origin, system.step)
    old = epoll.registrations.pop(event.fd, None)
    if old is not None and old.data is not None:
        same = epoll.by_data[old.data]
        del same[event.fd]
        if not same:
            del epoll.by_data[old.data]
    if event.op == "del":
        description.watched, description.unwatched = _still_watched(epoll, description), fact
        return
    registration = Registration(event.fd, description, event.events, event.data, fact)
    epoll.registrations[event.fd] = registration
    if event.data is not None:
        epoll.by_data.setdefault(event.data, {})[event.fd] = registration
    description.watched = registration
    if description.is_connection:
        used(system, task, slot, fact)


# A duplicate may be in the set under its own number (epoll(7), Q0).
def _still_watched(epoll: OpenFileDescription, description: OpenFileDescription) -> Registration | None:
    entries = (epoll.registrations.get(slot.number) for slot in description.references)
    return next((entry for entry in entries if entry is not None and entry.description is description), None)


def epoll_reported(system: System, event: EpollReported) -> None:
    task = task_of(system, event.task)
    epoll = found(system, task, event.epfd, alone=True).description
    for events, data in event.ready:
        # What the program put there need not be a descriptor: only its own registrations say what it means.
        entries = epoll.by_data.get(data, {}) if data is not None else {}
        named = [entry for entry in entries.values() if entry.description.references]
        if len(named) != 1:
            continue
        slot = next((s for s in named[0].description.references if s.table is task.table), None)
        if slot is not None:
            call = f"{event.call}({event.epfd}) told of fd {slot.number}: EPOLLRDHUP"
            fact = Fact("hangup", event.at, task, slot.number, call, event.origin, system.step)
            _told(system, task, slot, bool(events & kernel.POLLHUP), fact)
