"""Every descriptor is closed, and something that is none keeps the description: a blocked call, a queued message."""

from __future__ import annotations

from tracecorr.verdicts.base import Case, Cause, Finding, maturity, named

CAUSE = Cause.HELD_WITHOUT_FD


def diagnose(case: Case) -> Finding | None:
    """Look for calls and messages that refer to the connection when no table does."""
    if case.holders or case.socket.fin is None or case.release is not None:
        return None
    return _blocked(case) or _in_flight(case)


def _blocked(case: Case) -> Finding | None:
    tasks = [
        task for task in case.system.tasks.values()
        if task.ended is None and task.call is not None and task.call.on is case.socket
    ]  # fmt: skip
    if not tasks or not case.socket.past:
        return None
    task, last = tasks[0], case.socket.past[-1]
    assert task.call is not None and last.closed is not None
    sure = maturity(case, last.closed, last.closed.task)
    if sure is None:
        return None
    call = task.call
    because = (
        f"thread {task.id.tid} is still inside {call.name}({call.fd}), which holds it although fd {call.fd} is closed"
    )
    finding = Finding(
        CAUSE, "blocked-call", sure, None, case.owner, f"shutdown({call.fd}) before close({call.fd})", because,
        case.socket.fin, party=task.process, party_fd=call.fd,
    )  # fmt: skip
    finding.facts += [(call.since, "still inside"), (last.closed, "no FIN goes out: a call still uses it")]
    return finding


def _in_flight(case: Case) -> Finding | None:
    flight = next((flight for flight in case.system.flights if flight.description is case.socket), None)
    if flight is None or not case.socket.past:
        return None
    end = flight.via.other_end
    if end is None or not end.references:
        return None  # gone with its socket, or received by a process that the log does not have
    if any(d.process.unseen_children is not None for d in end.references):
        return None  # a child that is not in the log has the other end, too, and may have received it
    last = case.socket.past[-1]
    assert last.closed is not None
    sure = maturity(case, last.closed, last.closed.task)
    if sure is None:
        return None
    receiver = min(end.references, key=lambda d: (d.process is last.process, d.number))
    because = f"it was passed over a unix socket and {named(receiver.process)} has not received it"
    finding = Finding(CAUSE, "in-flight", sure, None, case.owner, "recvmsg() by the receiver", because, case.socket.fin)
    finding.facts += [(flight.sent, "a reference is in the queue from here on"), (last.closed, "the last descriptor")]
    finding.party, finding.party_fd = receiver.process, receiver.number
    return finding
