"""A legitimate half-close: the peer has sent its FIN and data still goes out, or waits for another leg to end."""

from __future__ import annotations

from tracecorr.kernel import WRITES, Shutdown
from tracecorr.model.open_file import OpenFileDescription
from tracecorr.verdicts.base import Case, Cause, Confidence, Finding, named

CAUSE = Cause.STILL_SENDING


def diagnose(case: Case) -> Finding | None:
    """Look for writes that still succeed, and for a leg that this end of file was handed on to."""
    if not case.holders or case.socket.fin is None:
        return None
    return _relays(case) or _sends(case)


def _sends(case: Case) -> Finding | None:
    socket = case.socket
    writing = any(task.call is not None and task.call.on is socket and task.call.name in WRITES
                  for holder in case.holders for task in holder.table.tasks)  # fmt: skip
    if not writing and not _sender_holds(case):
        return None
    silent = case.age(socket.sent_after)
    patience = max(case.stuck_after, 2 * socket.longest_pause)
    if not writing and silent is not None and silent > patience:
        return None
    owner = case.owner
    times = f"{socket.sends_after} time{'s' if socket.sends_after != 1 else ''}"
    because = f"it has written {times} since the peer's FIN" if socket.sends_after else "it is inside a write on it"
    finding = Finding(CAUSE, None, Confidence.CERTAIN, None, owner, None, because, socket.fin, fault=False)
    for fact in (socket.first_sent_after, socket.sent_after):
        if fact is not None and fact not in [known for known, _ in finding.facts]:
            finding.facts.append((fact, "still sending"))
    if silent is None and not writing:
        finding.doubt(Confidence.LIKELY, "the log has no times: the sending may be over")
    return finding


# Who has sent and let go sends no more, whoever holds a copy.
def _sender_holds(case: Case) -> bool:
    sent = case.socket.sent_after
    return sent is not None and any(sent.process is d.process or sent.task in d.table.tasks for d in case.holders)


def _relays(case: Case) -> Finding | None:
    leg = case.socket.passed_on
    if leg is None or leg.eof is not None or leg.released is not None or leg.closed_by_reset is not None:
        return None
    if not leg.references or leg.shut & Shutdown.RD:
        return None
    because = f"it passed the end of file on by shutdown() of its other leg and waits for that to end: {_far_end(leg)}"
    finding = Finding(CAUSE, "relay", Confidence.CERTAIN, None, case.owner, None, because, case.socket.fin, fault=False)
    if leg.shut_by is not None:
        finding.facts.append((leg.shut_by, "the end of file is passed on to the other leg"))
    return finding


def _far_end(leg: OpenFileDescription) -> str:
    other = leg.other_end
    where = f"{leg.peer}" if leg.peer is not None else "its peer"
    if other is not None and other.references:
        holder = min(other.references, key=lambda d: d.number)
        return f"{named(holder.process)} holds {where} as fd {holder.number}"
    return f"{where} has not sent its FIN"
