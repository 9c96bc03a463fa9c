"""The kernel completed the connection, the client has closed, and the server never accepted it.

The connection has no descriptor on the server's side: a log shows it only where it has the client, too.
"""

from __future__ import annotations

from tracecorr.kernel import WAITING
from tracecorr.model.address import may_reach
from tracecorr.model.fact import Fact
from tracecorr.model.fd_table import FileDescriptor
from tracecorr.model.open_file import OpenFileDescription
from tracecorr.model.system import System
from tracecorr.verdicts.base import Case, Cause, Confidence, Finding, named

CAUSE = Cause.NEVER_ACCEPTED


def waiting_clients(system: System) -> list[OpenFileDescription]:
    """Return the client ends in the log whose connection no accept returned and which have sent their FIN."""
    return [
        client
        for queue in system.connecting.values()
        for client in queue
        if client.established and client.closed_by_reset is None and _fin(client) is not None
    ]


def _fin(client: OpenFileDescription) -> Fact | None:
    return client.shut_by if client.shut_by is not None else client.released


def diagnose(case: Case) -> Finding | None:
    """Look for the listener whose queue holds the connection; `case.socket` is the client's end."""
    client = case.socket
    fin = _fin(client)
    if client.peer is None or fin is None or client.other_end is not None:
        return None
    listener = _listener(case.system, client)
    if listener is None or (case.system.unordered and listener.accepts):
        return None  # without any order it cannot be told which clients were accepted
    owner = min(listener.references, key=lambda d: (d.process.pid or 0, d.number))
    sure = _sure(case, owner, fin)
    if sure is None:
        return None
    because = f"{named(owner.process)} has not accepted it from fd {owner.number}{_doing(case, owner, listener)}"
    finding = Finding(CAUSE, None, sure, owner, owner, f"accept({owner.number})", because, fin)
    finding.facts.append((fin, "the client has closed: its FIN waits in the queue"))
    if client.opened is not None:
        finding.facts += [
            (fact, "the kernel completes the connection") for fact in client.facts if fact.what == "connected"
        ]
    return finding


def _listener(system: System, client: OpenFileDescription) -> OpenFileDescription | None:
    assert client.peer is not None
    for listener in system.listeners:
        if listener.local is not None and listener.references and may_reach(client.peer, listener.local):
            return listener
    return None


def _sure(case: Case, owner: FileDescriptor, fin: Fact) -> Confidence | None:
    if case.is_old(fin):
        return Confidence.LIKELY
    accepting = any(task.call is not None and task.call.on is owner.description for task in owner.table.tasks)
    return Confidence.LIKELY if case.at_rest and not accepting else None


def _doing(case: Case, owner: FileDescriptor, listener: OpenFileDescription) -> str:
    exhausted = case.system.exhausted.get(listener)
    if exhausted is not None:
        fact, count = exhausted
        return f": accept failed {count} times, {fact.call.rpartition(' ')[2]}"
    for task in owner.table.tasks:
        if task.call is not None and task.call.name in WAITING and task.call.on is not listener:
            return f": thread {task.id.tid} waits in {task.call.name}()"
    return ""
