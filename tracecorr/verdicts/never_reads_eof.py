"""The owner holds the connection, and nobody has read since the peer's FIN."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from tracecorr.model.fact import Fact
from tracecorr.model.open_file import OpenFileDescription
from tracecorr.model.process import Task
from tracecorr.verdicts.base import (
    Case,
    Cause,
    Confidence,
    Finding,
    blocked_call,
    is_armed,
    maturity,
    polls,
    waits_for,
)
from tracecorr.verdicts.words import length

CAUSE = Cause.NEVER_READS_EOF

# A pool of connections to one peer that is no larger than this is bounded: libraries keep 10 or fewer for a host.
_POOL = 10


def diagnose(case: Case) -> Finding | None:
    """Look for a FIN that is known and was followed by no read."""
    socket = case.socket
    if socket.fin is None or not case.owner_holds or not case.recorded.read:
        return None
    if not case.eof_unseen:
        return _read_late(case)
    owner = case.owner
    assert owner is not None
    reader = _reader(case)
    # A read that still found data did not get to the end.
    since = socket.read_after or socket.fin
    sure = maturity(case, since, reader)
    if sure is None and case.at_rest and not _reads_it(case, reader):
        sure = Confidence.LIKELY
    if sure is None:
        return None
    holder = case.owner_holds[0]
    detail, because, facts = _sub_case(case, reader)
    missing = f"read({holder.number}), then close({holder.number})"
    finding = Finding(CAUSE, detail, sure, holder, owner, missing, because, socket.fin, facts=facts)
    if not socket.fin_sure:
        finding.doubt(Confidence.LIKELY, "the peer's end was matched by order of arrival")
    if socket.eof is not None:
        finding.doubt(Confidence.LIKELY, "Recv-Q is 0: a read took the FIN with the last data, or was not recorded")
    if detail == "idle-pool" and not any(islice(_pool(case), _POOL, None)):
        finding.fault = False
        finding.also.append("bounded by the pool: the library looks at the connection when it uses it next")
    return finding


# It was let go in time once somebody had read: stuck it was until then.  Where its thread was meanwhile is not known.
def _read_late(case: Case) -> Finding | None:
    socket, release = case.socket, case.release
    if release is None or release.what == "exit" or _is_pooled(case):
        return None
    unread, read = case.age(socket.read_after or socket.fin), case.age(socket.eof)
    if unread is None or read is None or unread - read < case.stuck_after or not socket.fin_sure:
        return None
    holder = case.owner_holds[0]
    because = f"it read the end of file {length(unread - read)} after that had come"
    missing = f"read({holder.number}), then close({holder.number})"
    return Finding(CAUSE, None, Confidence.CERTAIN, holder, case.owner, missing, because, socket.fin)


# Where a thread of several waits for a lock, and one of a pool for its next task: it cannot be seen which.
_LOCKS = frozenset(["futex", "futex_wait", "futex_waitv", "futex_time64", "lwp_park", "_umtx_op"])


# The thread that should read: the one that used the connection last.
def _reader(case: Case) -> Task:
    assert case.owner is not None and case.socket.fin is not None
    users = [d for d in case.owner_holds if d.user is not None]
    user = max(users, key=lambda d: d.used_step).user if users else None
    if user is not None:
        return user
    return case.owner.fact.task if case.owner.fact is not None else case.socket.fin.task


def _reads_it(case: Case, reader: Task) -> bool:
    return reader.call is not None and reader.call.on is case.socket


def _sub_case(case: Case, reader: Task) -> tuple[str | None, str, list[tuple[Fact, str]]]:
    if _is_pooled(case):
        return "idle-pool", "it is idle in a pool of client connections and nobody looks at it", []
    call = blocked_call(case, reader)
    if call is not None and call.name in _LOCKS and len(reader.table.tasks) > 1:
        if case.socket.watched is None:
            because = f"the thread that used it last, {reader.id.tid}, waits in {call.name}(), for a lock or for work"
            return None, because, [(call.since, "still inside")]
        call = None  # another thread is told what comes
    if call is not None:
        target = waits_for(call, reader.process)
        where = f"waits in {call.name}()" + (
            f" for {target}" if target else f" on fd {call.fd}" if call.fd is not None else ""
        )
        return "owner-blocked", f"the thread that should read, {reader.id.tid}, {where}", [(call.since, "still inside")]
    socket = case.socket
    if socket.watched is not None and not is_armed(case):
        return (
            "not-armed",
            "its epoll set does not ask for input or for the hang-up",
            [(socket.watched.fact, "watched, but not for reading")],
        )
    if polls(case) and socket.watched is None and not is_armed(case):
        facts = [(socket.unwatched, "no longer watched")] if socket.unwatched is not None else []
        return "not-armed", "no poll or epoll set has it", facts
    return "forgotten", "no call has touched it since", []


# A client's connection that has answered at least one request and that no loop watches for input.
def _is_pooled(case: Case) -> bool:
    socket = case.socket
    watched = socket.watched is not None and is_armed(case)
    answered = (socket.sent > 0 and socket.received > 0) or socket.opened is None
    return socket.role == "connected" and answered and not watched


def _pool(case: Case) -> Iterator[OpenFileDescription]:
    owner = case.owner
    return (
        other
        for other in case.system.connections.values()
        if other.role == "connected" and other.peer == case.socket.peer
        and any(owner is not None and d.process is owner.process for d in other.references)
    )  # fmt: skip
