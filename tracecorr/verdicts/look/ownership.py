"""Who should have ended the connection: the owner, or, once it has let go, nobody that still holds it.

A look does not see who read and wrote.  What it sees is who waits for the connection, who waits for the listener's
next one, who is whose child and since when, who runs which program, and whose epoll set still has it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tracecorr.kernel import TcpState
from tracecorr.snapshot import ProcessRow
from tracecorr.verdicts.cause import Confidence
from tracecorr.verdicts.look.base import Case, named, seen
from tracecorr.verdicts.report import Evidence

# A child that was forked for a connection starts when that is accepted: it may have waited in the queue for a while.
FOR_IT = 5000


@dataclass(slots=True)
class Ownership:
    """`owner` is a holder, or the process that has let go (then the holders have `copies` only).

    With no owner it cannot be told, and `why` says between what.
    """

    owner: ProcessRow | None
    sure: Confidence
    why: str
    copies: list[ProcessRow] = field(default_factory=list)
    detail: str | None = None
    let_go: bool = False
    evidence: list[Evidence] = field(default_factory=list)


def ownership(case: Case) -> Ownership:
    """Return who should have ended the connection of this case, which has holders."""
    if not isinstance(case.story, Ownership):
        case.story = _ownership(case)
    return case.story


def _ownership(case: Case) -> Ownership:
    users = [process for process in case.processes if _uses(case, process)]
    if users:
        others = [process for process in case.processes if process is not users[0]]
        return Ownership(users[0], Confidence.CERTAIN, f"{named(users[0])} waits for it", others)
    gone = _still_registered(case)
    if gone is not None:
        return gone
    if len(case.processes) == 1:
        return _alone(case, case.processes[0])
    return _several(case)


def _inode(case: Case) -> int:
    return case.row.inode or 0


def _uses(case: Case, process: ProcessRow) -> bool:
    inode = _inode(case)
    doing = case.look.doing(process)
    if inode in doing.asleep_on or inode in doing.polled:
        return True
    return any(not _inherited_set(case, process, entry.epfd) for entry in doing.registered.get(inode, ()))


# A forked child has its parent's epoll sets under the same numbers; unless it waits for one, that is no use of them.
def _inherited_set(case: Case, process: ProcessRow, epfd: int) -> bool:
    if epfd in case.look.doing(process).waited_sets:
        return False
    parent = case.look.parent(process)
    return parent is not None and parent.watches.get(epfd) == process.watches.get(epfd)


# A set that was made before a fork is one and the same for both: a holder may be who added the connection.
def _shared_set(case: Case, process: ProcessRow, epfd: int) -> bool:
    watches = process.watches.get(epfd)
    return _inherited_set(case, process, epfd) or any(watches in one.watches.values() for one in case.processes)


# An epoll set keeps a file as long as that is open anywhere: who has it there without a descriptor has closed its own.
def _still_registered(case: Case) -> Ownership | None:
    inode = _inode(case)
    holders = {process.pid for process in case.processes}
    for process in case.look.snapshot.processes.values():
        if process.pid in holders:
            continue
        for entry in case.look.doing(process).registered.get(inode, ()):
            shared = _shared_set(case, process, entry.epfd)
            if shared and entry.epfd not in case.look.doing(process).waited_sets:
                continue
            if entry.watch.inode == inode:
                text = (
                    f"its epoll set {entry.epfd} still has the connection, as fd {entry.watch.fd}, which it has closed"
                )
                sure = Confidence.LIKELY if shared else Confidence.CERTAIN
                found = Ownership(process, sure, f"{named(process)} has closed its copy", case.processes)
                found.let_go = True
                found.detail = _way(case, case.processes[0], process)
                found.evidence.append(seen(text, f"/proc/{process.pid}/fdinfo/{entry.epfd}", process.pid))
                return found
    return None


def _acceptors(case: Case) -> list[ProcessRow]:
    held = [hold.process for listener in case.listeners for hold in case.look.holders(listener.inode)]
    return list({process.pid: process for process in held}.values())


def _accepts(case: Case, process: ProcessRow) -> bool:
    """Whether a thread of it waits for the next connection of the listener."""
    doing = case.look.doing(process)
    return any(doing.waits_for(listener.inode) for listener in case.listeners if listener.inode)


def _alone(case: Case, process: ProcessRow) -> Ownership:
    if case.is_younger_than(process) and (case.role == "connected" or process in _acceptors(case)):
        if case.role != "connected" and _may_have_been_passed(case, process):
            return Ownership(process, Confidence.LIKELY, "it has the listener, but another process accepts")
        return Ownership(process, Confidence.CERTAIN, "it was there before the connection")
    if case.role == "accepted":
        return _accepted(case, process)
    return _connected(case, process)


# One that has nothing to do with the listener may have been given the connection (SCM_RIGHTS) by one that accepts.
def _may_have_been_passed(case: Case, process: ProcessRow) -> bool:
    doing = case.look.doing(process)
    if any(doing.is_watched(listener.inode) for listener in case.listeners if listener.inode):
        return False
    others = [one for one in _acceptors(case) if one is not process]
    return not _accepts(case, process) and any(_accepts(case, one) for one in others)


def _accepted(case: Case, process: ProcessRow) -> Ownership:
    acceptors = _acceptors(case)
    forebear = next((one for one in case.look.ancestors(process) if one in acceptors), None)
    if process not in acceptors:
        return _child(case, process, forebear) if forebear is not None else _stranger(case, process, acceptors)
    if _accepts(case, process):
        # Its child may have been the one that served, and have gone; or its parent, before it forked this one.
        inherits = forebear is not None and not case.look.doing(forebear).is_master
        sure = Confidence.LIKELY if process.forked or inherits else Confidence.CERTAIN
        return Ownership(process, sure, "it accepts the listener's connections")
    if forebear is None:
        others = [one for one in acceptors if one is not process and one.program != process.program]
        if any(_accepts(case, one) for one in others):
            return _stranger(case, process, others)
        return Ownership(process, _busy(case, process), "it has the listener")
    if _accepts(case, forebear):
        return _child(case, process, forebear)
    return Ownership(process, Confidence.LIKELY, f"it is a worker of {named(forebear)}, which does not accept itself")


# A server that does something else just now, or a helper of a server that has died: who works on a descriptor is no
# mere keeper.
def _busy(case: Case, process: ProcessRow) -> Confidence:
    doing = case.look.doing(process)
    if doing.unseen:
        return Confidence.LIKELY if len(_acceptors(case)) == 1 else Confidence.POSSIBLE
    if doing.stopped or any(thread.fd is not None for thread in doing.obstacles) or doing.running or doing.polls:
        return Confidence.LIKELY
    return Confidence.POSSIBLE


def _child(case: Case, child: ProcessRow, parent: ProcessRow) -> Ownership:
    fds = [hold.fd for hold in case.holders if hold.process is child]
    if min(fds) <= 2:
        return Ownership(child, Confidence.LIKELY, "it was started with the connection as its input or output")
    way = _way(case, child, parent)
    shared = _shared(case, child, parent)
    if way == "no-cloexec" or shared is not None or case.is_older_than(child, FOR_IT):
        found = Ownership(parent, Confidence.LIKELY, f"{named(parent)} accepts and no longer holds it", [child], way)
        found.let_go = True
        if shared is not None:
            text = f"it has fd {shared} in common with {named(parent)}: it was forked in the middle of its work"
            found.evidence.append(seen(text, f"/proc/{child.pid}/fd/{shared}", child.pid))
        return found
    if _one_each(case, child, parent):
        why = f"each child of {named(parent)} has a connection of its own"
        return Ownership(child, Confidence.LIKELY, why)
    why = f"{named(child)} may serve it, or have a copy that {named(parent)} closed"
    return Ownership(None, Confidence.POSSIBLE, why)


# A server that forks for each connection, as far as its other children are known.
def _one_each(case: Case, child: ProcessRow, parent: ProcessRow) -> bool:
    others = [one for one in case.look.snapshot.processes.values() if one.parent == parent.pid and one is not child]
    own = [_connections(case, one) for one in [child, *others]]
    return len(own) > 1 and all(len(each) == 1 for each in own) and len(set().union(*own)) == len(own)


def _connections(case: Case, process: ProcessRow) -> set[int]:
    """The connections of this listener that a process holds."""
    found = set()
    for inode in case.look.doing(process).inodes.values():
        row = case.look.socket(inode)
        if row is not None and row.state is not TcpState.LISTEN and case.look.listeners(row) == case.listeners:
            found.add(inode)
    return found


# A connection that both hold under the same number, as fork leaves it; who forks for one connection has no other.
def _shared(case: Case, child: ProcessRow, parent: ProcessRow) -> int | None:
    for fd, inode in case.look.doing(child).inodes.items():
        row = case.look.socket(inode)
        if row is None or inode == case.row.inode or row.state is TcpState.LISTEN or row.local is None:
            continue
        if case.look.doing(parent).inodes.get(fd) == inode and case.look.listeners(row) == case.listeners:
            return fd
    return None


def _way(case: Case, holder: ProcessRow, owner: ProcessRow) -> str | None:
    if holder.program is None or owner.program is None:
        return None
    if holder.program != owner.program:
        kept = [holder.descriptors[hold.fd].close_on_exec for hold in case.holders if hold.process is holder]
        # Close-on-exec set now did not act at the exec: then it was passed, or set afterwards.
        return "no-cloexec" if False in kept or None in kept else None
    return "forked-worker" if owner in case.look.ancestors(holder) else None


# No relative of the acceptors: it got the connection over a unix socket, or its parents have died.
def _stranger(case: Case, process: ProcessRow, acceptors: list[ProcessRow]) -> Ownership:
    fds = [hold.fd for hold in case.holders if hold.process is process]
    accepting = [one for one in acceptors if _accepts(case, one)]
    if min(fds) > 2 and accepting and not case.look.doing(process).polls:
        owner = accepting[0]
        if _way(case, process, owner) == "no-cloexec" and len(process.threads) == 1:
            found = Ownership(owner, Confidence.LIKELY, f"{named(owner)} accepts and no longer holds it", [process])
            found.let_go, found.detail = True, "no-cloexec"
            return found
    return Ownership(None, Confidence.POSSIBLE, f"how {named(process)} came by it cannot be seen")


def _connected(case: Case, process: ProcessRow) -> Ownership:
    relatives = [one for one in case.look.ancestors(process) if one.program == process.program]
    if case.is_older_than(process) and relatives:
        found = Ownership(relatives[0], Confidence.LIKELY, "it is older than its holder", [process])
        found.let_go, found.detail = True, "forked-worker"
        return found
    executed = [one for one in case.look.ancestors(process) if one.program not in (None, process.program)]
    if case.is_older_than(process) and executed:
        return Ownership(None, Confidence.POSSIBLE, f"{named(process)} is younger than the connection")
    if case.role is None and _is_left_over(case, process):
        why = f"{named(process)} shows no sign of working with connections; whoever started it has gone"
        return Ownership(None, Confidence.POSSIBLE, why)
    seen_ = not relatives and not case.look.doing(process).unseen
    sure = Confidence.CERTAIN if case.role == "connected" and seen_ else Confidence.LIKELY
    return Ownership(process, sure, "it alone holds it")


# An orphan with this one socket that sleeps in a call on nothing: what a server leaves behind that started a program.
def _is_left_over(case: Case, process: ProcessRow) -> bool:
    doing = case.look.doing(process)
    busy = doing.polls or doing.running or any(thread.fd is not None for thread in process.threads)
    if (process.parent or 0) > 1 or len(process.threads) != 1 or busy:
        return False
    return len(case.holders) == sum(row.target.startswith("socket:[") for row in process.descriptors.values())


def _several(case: Case) -> Ownership:
    processes = case.processes
    heads = [one for one in processes if not any(up in processes for up in case.look.ancestors(one))]
    if len(heads) == 1:
        return _head(case, heads[0], [one for one in processes if one is not heads[0]])
    parents = {one.parent for one in heads}
    parent = case.look.parent(heads[0]) if len(parents) == 1 else None
    if parent is not None and _same_number(case, heads) and not any(_accepts(case, one) for one in processes):
        # Brothers cannot have got it from each other by fork, which leaves numbers as they are.
        found = Ownership(parent, Confidence.LIKELY, f"{named(parent)} no longer holds it", processes)
        found.let_go, found.detail = True, _way(case, heads[0], parent)
        return found
    return Ownership(None, Confidence.POSSIBLE, "which of its holders should have ended it cannot be told")


def _same_number(case: Case, processes: list[ProcessRow]) -> bool:
    return bool(set.intersection(*({hold.fd for hold in case.holders if hold.process is one} for one in processes)))


# The eldest holds it still.  It owns it, unless one of the younger ones was forked to serve it.
def _head(case: Case, head: ProcessRow, others: list[ProcessRow]) -> Ownership:
    if case.role == "connected":
        return Ownership(head, Confidence.LIKELY, "the others are its children", others)
    copies = [one for one in others if _is_copy(case, one, head)]
    if len(copies) == len(others):
        return Ownership(head, Confidence.LIKELY, "the others have mere copies", others)
    servants = [one for one in others if one not in copies]
    names = " or ".join(named(one) for one in [head, *servants][:3])
    return Ownership(None, Confidence.POSSIBLE, f"whether {names} serves it cannot be told")


def _is_copy(case: Case, process: ProcessRow, head: ProcessRow) -> bool:
    if min(hold.fd for hold in case.holders if hold.process is process) <= 2:
        return False
    executed = process.program is not None and process.program != head.program
    return executed or _shared(case, process, head) is not None or case.is_older_than(process, FOR_IT)
