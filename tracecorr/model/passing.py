"""Descriptors that go from one process to another: SCM_RIGHTS (unix(7)) and pidfd_getfd(2)."""

from __future__ import annotations

from tracecorr.events import (
    DescriptorFetched,
    DescriptorsReceived,
    DescriptorsSent,
    UnixSocketNamed,
)
from tracecorr.model.descriptors import found, install, new_description
from tracecorr.model.fact import Fact
from tracecorr.model.open_file import OpenFileDescription
from tracecorr.model.system import Flight, System
from tracecorr.model.tasks import task_of


def descriptors_sent(system: System, event: DescriptorsSent) -> None:
    task = task_of(system, event.task)
    via = found(system, task, event.via).description
    for fd in event.fds:
        slot = found(system, task, fd)
        call = f"sendmsg({event.via}, SCM_RIGHTS [{fd}])"
        fact = Fact("passed", event.at, task, fd, call, event.origin, system.step)
        slot.description.flights += 1
        system.flights.append(Flight(slot.description, slot, fact, via))
        if slot.description.is_connection:
            slot.description.note(fact)
            if system.observer is not None:
                system.observer(fact, slot.description)


def descriptors_received(system: System, event: DescriptorsReceived) -> None:
    task = task_of(system, event.task)
    via = found(system, task, event.via).description
    for fd in event.fds:
        flight = _landing(system, via)
        call = f"recvmsg({event.via}, SCM_RIGHTS [{fd}])"
        fact = Fact("received", event.at, task, fd, call, event.origin, system.step)
        if flight is None:
            description, source = new_description(system, "unknown", None), None
        else:
            description, source = flight.description, flight.sender
        slot = install(system, task, fd, description, fact, "passed", event.close_on_exec, source)
        if flight is not None:
            slot.sure = via.other_end_sure
            description.flights -= 1
        if description.is_connection:
            description.note(fact)
            if system.observer is not None:
                system.observer(fact, description)


# Messages of one socket arrive in order.  Where the other end is not known, only one socket must have sent any: then it
# is the other end.
def _landing(system: System, via: OpenFileDescription) -> Flight | None:
    if via.other_end is None:
        senders = {id(flight.via) for flight in system.flights if flight.via.other_end is None}
        if len(senders) != 1:
            return None
        sender = next(flight.via for flight in system.flights if id(flight.via) in senders)
        via.other_end, sender.other_end = sender, via
        via.other_end_sure = sender.other_end_sure = False
    for index, flight in enumerate(system.flights):
        if flight.via is via.other_end:
            return system.flights.pop(index)
    return None


def unix_socket_named(system: System, event: UnixSocketNamed) -> None:
    """Remember who waits to be accepted at which path: the first is accepted first."""
    description = found(system, task_of(system, event.task), event.fd).description
    description.path = event.path
    if event.connected:
        system.callers.append(description)


def unix_socket_accepted(system: System, listener: OpenFileDescription, accepted: OpenFileDescription) -> None:
    """Pair the accepted end with the first of those that have connected to the listener."""
    paths = {caller.path for caller in system.callers}
    path = listener.path if listener.path is not None or len(paths) != 1 else paths.pop()
    caller = next((caller for caller in system.callers if caller.path == path), None)
    if caller is not None and not system.unordered:
        system.callers.remove(caller)
        accepted.other_end, caller.other_end = caller, accepted
        accepted.other_end_sure = caller.other_end_sure = False


def descriptor_fetched(system: System, event: DescriptorFetched) -> None:
    task = task_of(system, event.task)
    pidfd = found(system, task, event.pidfd).description
    target = system.processes.get(pidfd.about) if pidfd.about is not None else None
    table = next((t.table for t in target.tasks), None) if target is not None else None
    source = table.slots.get(event.target) if table is not None else None
    description = source.description if source is not None else new_description(system, "unknown", None)
    call = f"pidfd_getfd({event.pidfd}, {event.target}) = {event.fd}"
    fact = Fact("received", event.at, task, event.fd, call, event.origin, system.step)
    install(system, task, event.fd, description, fact, "passed", True, source)
    if description.is_connection:
        description.note(fact)
