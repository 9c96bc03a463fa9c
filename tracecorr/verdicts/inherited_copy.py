"""The process that should end the connection has let go of it; another one still holds a copy."""

from __future__ import annotations

from tracecorr.events import Gap
from tracecorr.kernel import WAITING
from tracecorr.model.fact import Fact
from tracecorr.model.fd_table import FileDescriptor
from tracecorr.verdicts.base import Case, Cause, Confidence, Finding, ancestry, maturity, named
from tracecorr.verdicts.handover import handed_over

CAUSE = Cause.INHERITED_COPY


def diagnose(case: Case) -> Finding | None:
    """Look for holders when the owner has none of its descriptors left."""
    owner = case.owner
    if owner is None or not case.holders:
        return None
    keeper = _handed_over(case, owner)
    if keeper is None and case.owner_holds:
        return None
    culprit = keeper or _culprit(case)
    let_go = _let_go(case, owner)
    if let_go is None:
        return None
    if culprit.may_be_gone:
        _cannot_tell(case, culprit)
        return None
    if owner.used is None and not case.recorded.uses and handed_over(case, owner, culprit):
        return None  # whether it is the one that served, what was recorded does not tell
    finding = _with_fin(case, owner, culprit, let_go) if case.socket.fin else _without(case, owner, culprit, let_go)
    if finding is not None:
        _weaken(case, culprit, finding)
    return finding


# The parent used it (read the request, perhaps) before it handed it to a child: then the child is the owner.
def _handed_over(case: Case, owner: FileDescriptor) -> FileDescriptor | None:
    if owner.closed is None:
        return None
    for holder in case.owner_holds:
        if owner.source is holder and holder.process is not owner.process:
            return holder
    return None


def _culprit(case: Case) -> FileDescriptor:
    return min(
        case.holders, key=lambda d: (d.may_be_gone, not d.sure, d.used is not None, d.fact.step if d.fact else -1)
    )


# What was open before the log began may have been close-on-exec, as most is today.
def _cannot_tell(case: Case, holder: FileDescriptor) -> None:
    pid, number = holder.process.pid, holder.number
    exec_ = next(step.survived for step in ancestry(holder) if step.survived is not None)
    why = (
        f"fd {number} was open before the {case.medium} began; whether {named(holder.process)} still has its copy "
        f"after execve() is not known"
    )
    case.system.gap(Gap("close-on-exec unknown", why, f"ls -l /proc/{pid}/fd/{number}", *exec_.origin))


# When the owner's last descriptor went.
def _let_go(case: Case, owner: FileDescriptor) -> Fact | None:
    gone = [d.closed for d in case.socket.past if d.process is owner.process and d.closed is not None]
    return max(gone, key=lambda fact: fact.step) if gone else None


def _with_fin(case: Case, owner: FileDescriptor, culprit: FileDescriptor, let_go: Fact) -> Finding | None:
    fin = case.socket.fin
    assert fin is not None
    since = max(fin, let_go, key=lambda fact: fact.step)
    if case.release is None:
        # Who should have ended it has let go: nothing more will come, however young that is.
        sure: Confidence | None = maturity(case, since, since.task) or Confidence.LIKELY
    else:
        sure = _held_until_killed(case, culprit, since)
    if sure is None:
        return None
    detail = _detail(case, owner, culprit)
    return _finding(case, owner, culprit, let_go, detail, sure, fin)


# A holder that ended by itself within the threshold let go in time; one that was ended in a call would have stayed.
def _held_until_killed(case: Case, culprit: FileDescriptor, since: Fact) -> Confidence | None:
    if case.is_old(since):
        return Confidence.CERTAIN
    return Confidence.LIKELY if _waits(case, culprit) else None


def _without(case: Case, owner: FileDescriptor, culprit: FileDescriptor, let_go: Fact) -> Finding | None:
    # No FIN was seen, but the owner has done with the connection: the peer will wait for ever.
    if owner.used is None or culprit.used is not None or any(d.used is not None for d in case.holders):
        return None
    if any(handed_over(case, owner, holder) for holder in case.holders):
        return None
    if not case.recorded.polled:
        return None  # the holder may be polling it, which is use
    if case.socket.other_end is not None and case.socket.other_end.released is None and not case.is_old(let_go):
        return None
    if case.release is not None and not case.is_old(let_go):
        return None
    if not case.is_old(let_go) and not _waits(case, culprit) and not _runs(case, culprit, let_go):
        return None
    detail = _detail(case, owner, culprit)
    return _finding(case, owner, culprit, let_go, detail, Confidence.LIKELY, let_go)


def _waits(case: Case, holder: FileDescriptor) -> bool:
    return any(task.call is not None for task in holder.table.tasks) or any(
        not task.lines for task in holder.table.tasks
    )


# It has had the time to use it; a program that was just executed may still be starting.
def _runs(case: Case, holder: FileDescriptor, let_go: Fact) -> bool:
    return holder.survived is None and case.gone_on(let_go.task, let_go)


def _finding(
    case: Case,
    owner: FileDescriptor,
    culprit: FileDescriptor,
    let_go: Fact,
    detail: str | None,
    sure: Confidence,
    since: Fact,
) -> Finding:
    verb = "exited" if let_go.what == "exit" else f"closed fd {let_go.fd}"
    shutdown = "shutdown() by the owner before its close"
    missing = f"close({culprit.number}) in {named(culprit.process)}, or {shutdown}"
    because = f"{named(owner.process)} {verb}; that was not the last copy, so no FIN went out"
    finding = Finding(CAUSE, detail, sure, culprit, owner, missing, because, since)
    finding.facts.append((let_go, "not the last copy: no FIN goes out"))
    for step in (*ancestry(owner), *ancestry(culprit)):
        if step.fact is not None and step.how in ("fork", "passed", "dup"):
            finding.facts.append((step.fact, _came_by(step)))
        if step.survived is not None:
            finding.facts.append((step.survived, f"fd {step.number} has no close-on-exec and survives"))
    return finding


def _came_by(step: FileDescriptor) -> str:
    if step.how == "fork":
        return f"fd {step.number} is copied to {named(step.process)}"
    return f"fd {step.number} of {named(step.process)} is a new reference to it"


def _detail(case: Case, owner: FileDescriptor, culprit: FileDescriptor) -> str | None:
    if culprit.how == "passed":
        return "fd-passed"
    if _unseen(culprit):
        return None  # how it came there cannot be told
    line = list(ancestry(owner))
    if any(step.process is culprit.process and step is not owner for step in line):
        return "fd-passed" if any(step.how == "passed" for step in line) else "parent-kept"
    if _raced(case, culprit):
        return "fork-race"
    return "no-cloexec" if culprit.survived is not None else "forked-worker"


# One thread accepted (and served), another forked; or close-on-exec was set when a fork had already copied the slot.
def _raced(case: Case, culprit: FileDescriptor) -> bool:
    fork, source = culprit.fact, culprit.source
    if fork is None or source is None or culprit.how != "fork":
        return False
    if culprit.survived is not None and source.marked is not None and source.marked.step > fork.step:
        return source.close_on_exec is True
    busy = {fact.task for fact in (source.fact, source.used) if fact is not None} | ({source.user} - {None})
    return bool(busy) and fork.task not in busy and any(
        task is not None and task.process is fork.task.process for task in busy
    )  # fmt: skip


# Passed on, and long after the FIN all of its new process wait for something else; or they were killed in that, and
# a listing has caught it.
def _lies_idle(case: Case, heir: FileDescriptor) -> bool:
    caught = case.release is not None and case.socket.confirmed is not None
    if heir.how != "passed" or case.socket.fin is None or not (caught or case.is_old(case.socket.fin)):
        return False
    calls = [task.call for task in heir.table.tasks]
    return bool(calls) and all(
        call is not None and call.name in WAITING and call.on is not case.socket for call in calls
    )


# A look found it, and the record has nothing of its process.
def _unseen(holder: FileDescriptor) -> bool:
    return holder.seen is not None and holder.source is None and not any(task.lines for task in holder.table.tasks)


def _weaken(case: Case, culprit: FileDescriptor, finding: Finding) -> None:
    if _unseen(culprit):
        finding.doubt(Confidence.LIKELY, f"what {named(culprit.process)} does with it is not in the {case.medium}")
    inferred = [step for step in ancestry(culprit) if not step.sure]
    if any(step.how == "passed" for step in inferred):
        finding.doubt(Confidence.LIKELY, "the ends of the unix socket that it came by were matched by order of arrival")
    elif inferred:
        finding.doubt(Confidence.LIKELY, "the fork ran at the same time as the call that opened it")
    if culprit.survived is not None and not case.recorded.flags:
        finding.doubt(Confidence.LIKELY, "fcntl was not recorded: close-on-exec may have been set")
    if culprit.survived is not None and not case.recorded.ranges:
        finding.doubt(Confidence.LIKELY, "close_range was not recorded: it may have closed the copy before the exec")
    if not any(task.lines for task in culprit.table.tasks) and culprit.how == "fork":
        sure = Confidence.LIKELY if case.system.complete else Confidence.POSSIBLE
        finding.doubt(sure, f"{named(culprit.process)} has no line of its own in the {case.medium}")
    owner = finding.owner
    if owner is not None and handed_over(case, owner, culprit):
        sure = Confidence.LIKELY if _lies_idle(case, culprit) else Confidence.POSSIBLE
        finding.doubt(sure, f"{named(culprit.process)} may have been given it to answer, and be at work")
    if case.socket.fin is None:
        finding.doubt(Confidence.LIKELY, f"the peer's FIN is not in the {case.medium}")
    elif not case.socket.fin_sure:
        finding.doubt(Confidence.LIKELY, "the peer's end was matched by order of arrival")
