"""Every descriptor is closed, and something that is none keeps the description: a blocked call, a queued message."""

from __future__ import annotations

from collections.abc import Iterable

from tracecorr.kernel import TcpState
from tracecorr.snapshot import ProcessRow, SocketRow, ThreadRow
from tracecorr.verdicts.cause import Cause, Confidence
from tracecorr.verdicts.look.base import Case, Finding, named, seen
from tracecorr.verdicts.look.words import thread_words

CAUSE = Cause.HELD_WITHOUT_FD

_WRITES = frozenset(["write", "writev", "sendto", "sendmsg", "sendmmsg", "sendfile", "splice"])


def diagnose(case: Case) -> Finding | None:
    """Look for CLOSE_WAIT with an inode that no process has a descriptor of."""
    if case.row.state is not TcpState.CLOSE_WAIT or not case.row.inode or case.holders:
        return None
    return _registered(case) or _blocked(case) or _in_flight(case) or _unknown(case)


def _registered(case: Case) -> Finding | None:
    for process in case.look.snapshot.processes.values():
        if case.row.inode in process.registered:
            because = f"the io_uring of {named(process)} has it among its registered files"
            missing = f"its removal from the registered files by {named(process)}, or shutdown() before close()"
            return Finding(CAUSE, "io-uring", Confidence.CERTAIN, because, party=process, missing=missing)
    return None


def _blocked(case: Case) -> Finding | None:
    found = [
        (process, thread)
        for process in case.look.snapshot.processes.values()
        for thread in process.threads
        if _is_inside(case, process, thread) and _may_have_had(case, process)
    ]
    if not found:
        return None
    process, thread = found[0]
    because = (
        f"thread {thread.tid} of {named(process)} waits in {thread.call}({thread.fd}) on it, and that number is closed"
    )
    missing = f"shutdown() by {named(process)} before its close({thread.fd})"
    finding = Finding(
        CAUSE, "blocked-call", Confidence.LIKELY, because, party=_only(each[0] for each in found), missing=missing
    )
    source = f"/proc/{process.pid}/task/{thread.tid}/syscall"
    finding.evidence.append(seen(thread_words(case.look, process, thread), source, process.pid))
    finding.doubts.append("the call names a number alone: that it meant this connection is inferred")
    if not case.look.snapshot.complete:
        finding.doubts.append("not everything that could hold it was seen")
    if len({(process.pid, thread.fd) for process, thread in found}) > 1 or len(_orphans(case)) > 1:
        finding.doubt(Confidence.POSSIBLE, "there are several such calls, or several such connections")
    return finding


# Of several nobody is blamed.
def _only(processes: Iterable[ProcessRow]) -> ProcessRow | None:
    found = {process.pid: process for process in processes}
    return next(iter(found.values())) if len(found) == 1 else None


# A connection that was accepted came from a listener, and who is inside a call on it has, or had, that one's process.
def _may_have_had(case: Case, process: ProcessRow) -> bool:
    acceptors = {hold.process.pid for listener in case.listeners for hold in case.look.holders(listener.inode)}
    if not acceptors:
        return True
    return process.pid in acceptors or any(parent.pid in acceptors for parent in case.look.ancestors(process))


# Connections like this one, which nobody has a descriptor of.
def _orphans(case: Case) -> list[SocketRow]:
    return [
        row
        for row in case.look.snapshot.sockets
        if row.state is case.row.state and row.inode and row.namespace == case.row.namespace
        and not case.look.holders(row.inode)
    ]  # fmt: skip


# close() leaves a call on the number that it has begun; what the number means now, if anything, is something else.
# A read would find the end of file; a write sleeps for as long as there is no room, so there is data to send.
def _is_inside(case: Case, process: ProcessRow, thread: ThreadRow) -> bool:
    if thread.fd is None or thread.call not in _WRITES or thread.fd in process.descriptors or not case.row.send_queue:
        return False
    return bool(process.descriptors) and process.namespace in (None, case.row.namespace)


def _in_flight(case: Case) -> Finding | None:
    found, related = _queues(case)
    if not found:
        return None
    process, fd, count = found[0]
    what = "1 descriptor waits" if count == 1 else f"{count:,} descriptors wait"
    because = f"{what} unreceived in the queue of a unix socket, fd {fd} of {named(process)}"
    missing = f"recvmsg({fd}) by {named(process)}, and close() of what it receives"
    finding = Finding(
        CAUSE, "in-flight", Confidence.LIKELY, because, party=_only(each[0] for each in found), missing=missing
    )
    source = f"/proc/{process.pid}/fdinfo/{fd}"
    finding.evidence.append(seen(f"scm_fds: {count:,}", source, process.pid))
    finding.doubts.append("which connections are in the queue is not told: that this is one of them is inferred")
    if not related:
        finding.doubt(Confidence.POSSIBLE, "it is no relative of the processes that accept such connections")
    if len(found) > 1:
        finding.doubt(Confidence.POSSIBLE, "there are several such queues")
    if len(_orphans(case)) > sum(waiting for _, _, waiting in found):
        finding.doubt(Confidence.POSSIBLE, "there are more such connections than descriptors that wait")
    for other, number, _ in found[1:3]:
        finding.also.append(f"descriptors also wait in fd {number} of {named(other)}")
    return finding


# Whoever passes a connection on has accepted it, and is as a rule a relative of the one for whom it waits: the two ends
# of a socketpair are inherited.
def _queues(case: Case) -> tuple[list[tuple[ProcessRow, int, int]], bool]:
    processes = case.look.snapshot.processes.values()
    found = [(process, fd, count) for process in processes for fd, count in process.in_flight.items()]
    acceptors = [hold.process for listener in case.listeners for hold in case.look.holders(listener.inode)]
    related = [queue for queue in found if any(_is_kin(case, queue[0], acceptor) for acceptor in acceptors)]
    return related or found, bool(related) or not acceptors


def _is_kin(case: Case, one: ProcessRow, other: ProcessRow) -> bool:
    if one is other or one in case.look.ancestors(other) or other in case.look.ancestors(one):
        return True
    return one.parent == other.parent and (one.parent or 0) > 1


def _unknown(case: Case) -> Finding | None:
    if not case.look.snapshot.complete:
        return None
    rings = [process for process in case.look.snapshot.processes.values() if process.io_uring]
    if rings:
        because = f"no process has a descriptor of it; a request in the io_uring of {named(rings[0])} may keep it"
        return Finding(CAUSE, "io-uring", Confidence.POSSIBLE, because, party=rings[0] if len(rings) == 1 else None)
    because = "no process has a descriptor of it; the kernel's own clients (NFS, SMB, iSCSI) have such sockets"
    return Finding(CAUSE, None, Confidence.POSSIBLE, because)
