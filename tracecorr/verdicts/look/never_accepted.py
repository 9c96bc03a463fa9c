"""The kernel completed the connection, the client has closed, and nobody accepted it."""

from __future__ import annotations

from tracecorr.kernel import TcpState
from tracecorr.snapshot import SocketRow
from tracecorr.verdicts.cause import Cause, Confidence
from tracecorr.verdicts.look.base import Case, Finding, named, seen
from tracecorr.verdicts.look.doing import words
from tracecorr.verdicts.look.view import Hold
from tracecorr.verdicts.look.words import thread_words

CAUSE = Cause.NEVER_ACCEPTED


def diagnose(case: Case) -> Finding | None:
    """Look for CLOSE_WAIT without an inode: accept() gives a connection its first one."""
    if case.row.state is not TcpState.CLOSE_WAIT or case.row.inode != 0:
        return None
    full = [one for one in case.listeners if one.receive_queue]
    if not full:
        because = "it was never accepted, and no listener with a queue is in sight"
        return Finding(CAUSE, None, Confidence.POSSIBLE, because)
    listener = max(full, key=lambda one: one.receive_queue or 0)
    holders = case.look.holders(listener.inode)
    # The kernel takes one more than the limit (sk_acceptq_is_full() in include/net/sock.h).
    most = (listener.send_queue or 0) + 1
    queue = f"{listener.receive_queue:,} of at most {most:,} wait in the queue of {listener.local}"
    if not holders:
        because = f"it was never accepted: {queue}, whose owner cannot be seen"
        return Finding(CAUSE, None, Confidence.LIKELY, because, evidence=[seen(queue, "sock_diag")])
    owner = _owner(case, holders)
    because = f"{named(owner.process)} has not accepted it from fd {owner.fd}{_doing(case, owner, listener)}"
    finding = Finding(CAUSE, None, Confidence.CERTAIN, because, owner, owner, f"accept({owner.fd})")
    finding.evidence.append(seen(queue, "sock_diag"))
    _add(case, finding, holders, owner)
    if len(full) > 1:
        finding.doubt(Confidence.LIKELY, f"{len(full)} listeners share the port, and it waits in one of their queues")
    return finding


# Of several, the youngest: a master holds the listener for its workers.
def _owner(case: Case, holders: list[Hold]) -> Hold:
    workers = [
        hold for hold in holders if not any(other.process in case.look.ancestors(hold.process) for other in holders)
    ]
    heads = workers or holders
    below = [hold for hold in holders if hold not in heads and case.look.doing(hold.process).obstacles]
    return min(below or heads, key=lambda hold: (hold.process.pid, hold.fd))


def _doing(case: Case, owner: Hold, listener: SocketRow) -> str:
    process, doing = owner.process, case.look.doing(owner.process)
    if process.limit is not None and len(process.descriptors) >= process.limit:
        return f", because it has all of its {process.limit:,} descriptors in use (EMFILE)"
    if doing.stopped:
        return ", because it is " + ("frozen" if process.frozen else words(process.threads[0]).removeprefix("is "))
    if doing.obstacles:
        return f": {thread_words(case.look, process, doing.obstacles[0])}"
    if doing.running:
        return f": thread {doing.running[0].tid} runs"
    if not doing.waits_for(listener.inode or 0) and process.threads:
        return f": no thread waits for the listener, {thread_words(case.look, process, process.threads[0])}"
    return ""


def _add(case: Case, finding: Finding, holders: list[Hold], owner: Hold) -> None:
    pid = owner.process.pid
    if owner.process.limit is not None:
        text = f"{len(owner.process.descriptors):,} descriptors, RLIMIT_NOFILE {owner.process.limit:,}"
        finding.evidence.append(seen(text, f"/proc/{pid}/limits", pid))
    for thread in owner.process.threads[:4]:
        text = thread_words(case.look, owner.process, thread)
        finding.evidence.append(seen(text, f"/proc/{pid}/task/{thread.tid}/syscall", pid))
    others = [hold for hold in holders if hold.process is not owner.process]
    if others:
        names = ", ".join(named(hold.process) for hold in others[:3]) + (
            f" and {len(others) - 3} more" if len(others) > 3 else ""
        )
        finding.also.append(f"{names} could accept it, too")
