"""The owner holds the connection, and nobody has read the end of file."""

from __future__ import annotations

from tracecorr.kernel import TcpState
from tracecorr.snapshot import SocketRow, ThreadRow
from tracecorr.verdicts.cause import Cause, Confidence
from tracecorr.verdicts.look.base import Case, Finding, named, seen
from tracecorr.verdicts.look.doing import EPOLL_WAITS, FUTEXES, POLLS, Doing, awaited, words
from tracecorr.verdicts.look.ownership import Ownership, ownership
from tracecorr.verdicts.look.view import Hold
from tracecorr.verdicts.look.words import ends, thread_words, what_is
from tracecorr.verdicts.report import Evidence

CAUSE = Cause.NEVER_READS_EOF

# A pool of connections to one peer that is no larger than this is bounded: libraries keep 10 or fewer for a host.
POOL = 10


def diagnose(case: Case) -> Finding | None:
    """Look for CLOSE_WAIT with a receive queue: the FIN counts one until it is read."""
    if case.row.state is not TcpState.CLOSE_WAIT or not case.row.receive_queue or not case.holders:
        return None
    story = ownership(case)
    if story.owner is None or story.let_go:
        return None
    hold = next(hold for hold in case.holders if hold.process is story.owner)
    detail, because, evidence = _sub_case(case, hold)
    missing = f"read({hold.fd}), then close({hold.fd})"
    finding = Finding(CAUSE, detail, Confidence.CERTAIN, because, hold, hold, missing, evidence=evidence)
    _weigh(case, finding, hold, story)
    if detail == "idle-pool" and _pool(case, hold) <= POOL:
        finding.fault = False
        finding.also.append("bounded by the pool: the library looks at the connection when it uses it next")
    return finding


def _weigh(case: Case, finding: Finding, hold: Hold, story: Ownership) -> None:
    if story.sure is not Confidence.CERTAIN:
        finding.doubt(story.sure, f"that {named(hold.process)} should end it is inferred: {story.why}")
    if case.sent_since is None and case.row.info is not None:
        finding.doubt(Confidence.LIKELY, "data may have been sent since the FIN")
    if case.moves or (case.look.doing(hold.process).running and (case.row.receive_queue or 0) > 1):
        finding.doubt(Confidence.POSSIBLE, "it may still be reading what came before the end of file")
    leg = _slow_leg(case, hold)
    if leg is not None and (case.row.receive_queue or 0) > 1:
        # A proxy stops to read from one side while the other side is slow to take what it has.
        finding.fault = False
        finding.doubt(Confidence.POSSIBLE, "it may have paused until another connection takes its data")
        finding.also.append(f"its connection {ends(leg)} has {leg.send_queue:,} bytes to send")


def _slow_leg(case: Case, hold: Hold) -> SocketRow | None:
    return next((row for row in case.look.legs(hold.process).slow if row is not case.row), None)


Detail = tuple[str | None, str, list[Evidence]]


def _sub_case(case: Case, hold: Hold) -> Detail:
    doing = case.look.doing(hold.process)
    if doing.unseen:
        return _unseen(case)
    if doing.stopped:
        how = "frozen" if hold.process.frozen else words(hold.process.threads[0]).removeprefix("is ")
        return "owner-blocked", f"the process is {how}", _threads(case, hold, hold.process.threads[:1])
    if _is_pooled(case, doing):
        return "idle-pool", "it is idle among its client connections and nobody looks at it", []
    return _blocked(case, hold, doing) or _armed(case, hold, doing) or _unarmed(case, hold, doing)


# A listing tells who holds it, and nothing of what that does.
def _unseen(case: Case) -> Detail:
    if case.role == "connected" and case.row.receive_queue == 1:
        return "idle-pool", "nothing is unread but the end of file, as in a pool of client connections", []
    return None, "nobody has read the end of file", []


def _inode(case: Case) -> int:
    return case.row.inode or 0


# A client's connection that has carried a request and an answer, and that no loop watches for input.
def _is_pooled(case: Case, doing: Doing) -> bool:
    info = case.row.info
    if case.role != "connected" or (info is not None and not (info.bytes_sent and (info.bytes_received or 0) > 1)):
        return False
    armed = any(entry.armed for entry in doing.registered.get(_inode(case), ()))
    return not armed and not doing.waits_for(_inode(case))


# The thread that should read is inside another call.  In an event loop that is the thread which waits for no set now;
# where threads wait for the set, others serve what was taken out of it.
def _blocked(case: Case, hold: Hold, doing: Doing) -> Detail | None:
    if len(hold.process.threads) == 1:
        return _all_blocked(case, hold, "its only thread", doing.obstacles)
    sets = {entry.epfd for entry in doing.registered.get(_inode(case), ())}
    is_awaited = bool(sets & doing.waited_sets)
    if sets and not is_awaited and doing.waited_sets:
        return None  # its set is one that nobody waits for, while others wait for theirs
    outside = [thread for thread in hold.process.threads if _waits_outside(case, doing, thread)]
    if outside:
        more = f" (and {len(outside) - 1} more like it)" if len(outside) > 1 else ""
        return _all_blocked(case, hold, f"thread {outside[0].tid}{more}", outside)
    return None if is_awaited else _some_thread(case, hold, [thread for thread in doing.obstacles if thread.fd is None])


def _all_blocked(case: Case, hold: Hold, who: str, threads: list[ThreadRow]) -> Detail | None:
    if not threads:
        return None
    return "owner-blocked", f"{who} {_waits(case, hold, threads[0])}", _threads(case, hold, threads[:4])


# A thread that waits for one thing which comes from elsewhere serves somebody; for the next connection, or to be woken
# by another thread, it waits when it has nothing to do.
def _waits_outside(case: Case, doing: Doing, thread: ThreadRow) -> bool:
    fd = awaited(thread)
    if fd is None or fd in doing.wakers or not (thread in doing.obstacles or thread.call in POLLS):
        return False
    socket = case.look.socket(doing.inodes.get(fd))
    # The listener, or a connection that came from it: that thread serves another client.
    return socket is None or socket.local is None or case.row.local is None or socket.local.port != case.row.local.port


# One that sleeps, or waits for a child, may be anything: a timer of the program's own, a collector of its children.
def _some_thread(case: Case, hold: Hold, threads: list[ThreadRow]) -> Detail | None:
    if not threads:
        return None
    where = f"thread {threads[0].tid} {_waits(case, hold, threads[0])}"
    because = f"nobody has read the end of file; {where}, and whether that is the one to read it a look cannot tell"
    return None, because, _threads(case, hold, threads[:4])


def _waits(case: Case, hold: Hold, thread: ThreadRow) -> str:
    return "waits " + thread_words(case.look, hold.process, thread).partition(" waits ")[2]


def _armed(case: Case, hold: Hold, doing: Doing) -> Detail | None:
    for entry in doing.registered.get(_inode(case), ()):
        if not entry.armed:
            continue
        source = f"/proc/{hold.process.pid}/fdinfo/{entry.epfd}"
        text = f"epoll set {entry.epfd} watches it for input" + (", at the edge (EPOLLET)" if entry.edge else "")
        evidence = [seen(text, source, hold.process.pid), *_threads(case, hold, hold.process.threads[:2])]
        if entry.edge:
            return "forgotten", "its epoll set has told of it, once, and nobody has read since", evidence
        return "owner-blocked", "its epoll set tells of it, and no thread comes to read", evidence
    return None


def _unarmed(case: Case, hold: Hold, doing: Doing) -> Detail:
    threads = _threads(case, hold, hold.process.threads[:2])
    for entry in doing.registered.get(_inode(case), ()):
        source = f"/proc/{hold.process.pid}/fdinfo/{entry.epfd}"
        text = f"epoll set {entry.epfd} has it with events {entry.watch.events:#x}"
        evidence = [seen(text, source, hold.process.pid), *threads]
        return "not-armed", "its epoll set asks neither for input nor for the hang-up", evidence
    if doing.polls:
        return "not-armed", f"no poll and no epoll set has it{_instead(case, hold, doing)}", threads
    locked = [thread for thread in hold.process.threads if thread.call in FUTEXES and thread.state in ("S", "D")]
    if locked and len(hold.process.threads) > 1:
        some = (
            f"unless it is one of the {len(locked)} that wait" if len(locked) > 1 else "unless it is the one that waits"
        )
        return "forgotten", f"no thread waits for it, {some} in futex(), for a lock or for work", threads
    return "forgotten", "no thread waits for it", threads


# What its only thread waits for instead, where that is one thing or two: the pipe of a child, another server.
def _instead(case: Case, hold: Hold, doing: Doing) -> str:
    thread = hold.process.threads[0]
    entries = (hold.process.watches.get(thread.fd or 0, ()) if thread.call in EPOLL_WAITS else thread.polled) or ()
    things = [what for entry in entries if (what := what_is(case.look, hold.process, entry.fd))]
    if len(hold.process.threads) > 1 or not things or len(things) != len(entries) or len(things) > _FEW:
        return ""
    return f"; its only thread waits for {' and '.join(dict.fromkeys(things))}"


_FEW = 2


def _threads(case: Case, hold: Hold, threads: tuple[ThreadRow, ...] | list[ThreadRow]) -> list[Evidence]:
    pid = hold.process.pid
    return [
        seen(thread_words(case.look, hold.process, thread), f"/proc/{pid}/task/{thread.tid}/syscall", pid)
        for thread in threads
    ]


def _pool(case: Case, hold: Hold) -> int:
    return len(case.look.legs(hold.process).ports[case.row.peer])
