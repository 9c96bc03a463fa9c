"""A Finding, put into the plain values and the words of a report."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from tracecorr.kernel import TcpState
from tracecorr.model.fact import Fact
from tracecorr.model.fd_table import FileDescriptor
from tracecorr.model.process import Process
from tracecorr.verdicts.base import Case, Cause, Confidence, Finding, named
from tracecorr.verdicts.explanations import ADVICE
from tracecorr.verdicts.report import Evidence, Holder, Party, SocketView, Verdict
from tracecorr.verdicts.words import connection, length, moment, seconds

_HOW = {"socket": "connect", "accept": "accept", "connect": "connect"}

_RIGHT_BEFORE = 1000  # ns


def conclude(case: Case, finding: Finding, clock: str | None) -> Verdict:
    """Return the verdict that the finding makes of the case."""
    release = case.release
    fin = case.socket.fin
    since = finding.since
    return Verdict(
        cause=finding.cause.value,
        detail=finding.detail,
        fault=finding.fault,
        confidence=finding.confidence.word,
        socket=_view(case, finding),
        eof_at=seconds(
            fin.at if fin is not None else since.at if finding.cause is Cause.NEVER_ACCEPTED and since else None
        ),
        stuck_for=seconds(_stuck_for(case, since)),
        released_at=seconds(release.at) if release is not None else None,
        released_by=_released_by(release),
        holders=tuple(_holder(case, descriptor) for descriptor in case.holders)
        if fin is not None or case.holders
        else (),
        culprit=_culprit(finding),
        owner=_owner(finding.owner),
        missing=finding.missing,
        summary=_summary(case, finding, clock),
        advice=ADVICE.get((finding.cause.value, finding.detail)) or ADVICE.get((finding.cause.value, None), ()),
        evidence=tuple(_evidence(case, finding)),
    )


def _released_by(release: Fact | None) -> str | None:
    if release is None:
        return None
    return release.what if release.what in ("exit", "shutdown", "reset", "dup", "exec") else "close"


def _view(case: Case, finding: Finding) -> SocketView:
    socket = case.socket
    local, peer, role = socket.local, socket.peer, socket.role
    state = TcpState.CLOSE_WAIT.value if socket.fin is not None else None
    if finding.cause is Cause.NEVER_ACCEPTED:
        # The case is the client's end; the connection that is stuck is the server's.
        local, peer, role, state = socket.peer, socket.local, "accepted", TcpState.CLOSE_WAIT.value
    return SocketView(
        local=str(local) if local else None,
        peer=str(peer) if peer else None,
        inode=socket.inode,
        role=role,
        state=state,
    )


def _holder(case: Case, descriptor: FileDescriptor) -> Holder:
    fact = descriptor.survived or descriptor.fact
    unknown = _is_quiet(descriptor) or not case.recorded.uses
    used = True if descriptor.used is not None else None if unknown else False
    return Holder(
        pid=descriptor.process.pid, comm=descriptor.process.comm, fd=descriptor.number, how=_how(descriptor),
        since=seconds(fact.at) if fact is not None else None, used=used,
    )  # fmt: skip


def _how(descriptor: FileDescriptor) -> str:
    if descriptor.survived is not None and descriptor.how == "fork":
        return "exec"
    return _HOW.get(descriptor.how, descriptor.how)


def _culprit(finding: Finding) -> Party | None:
    if finding.culprit is not None:
        process, fd = finding.culprit.process, finding.culprit.number
        return Party(pid=process.pid, comm=process.comm, fd=fd)
    if finding.party is not None:
        return Party(pid=finding.party.pid, comm=finding.party.comm, fd=finding.party_fd)
    return None


def _owner(owner: FileDescriptor | None) -> Party | None:
    if owner is None:
        return None
    closed = seconds(owner.closed.at) if owner.closed is not None else None
    return Party(pid=owner.process.pid, comm=owner.process.comm, fd=owner.number, closed_at=closed)


def _summary(case: Case, finding: Finding, clock: str | None) -> str:
    subject = _subject(case, finding, clock)
    # Who let go, and when, is said already where the copy was made before.
    inherited = finding.cause is Cause.INHERITED_COPY and finding.culprit is not None
    copy = finding.culprit if inherited and finding.culprit is not None and finding.culprit.how == "fork" else None
    told = copy is not None and copy.fact is not None and bool(_before(copy.fact, finding))
    parts = [f"{subject}, so no FIN went out" if told else f"{subject}: {finding.because}"]
    if inherited and finding.culprit is not None and _never_used(finding.culprit):
        parts += _unused(case, finding.culprit)
    if case.release is not None:
        by = {"exit": "the end of its holder", "shutdown": "a shutdown()", "reset": "a reset", "exec": "an exec"}
        word = by.get(_released_by(case.release) or "", "a close()")
        stuck = length(_stuck_for(case, finding.since))
        parts.append(f"released by {word}{moment(case.release.at, clock)}" + (f", after {stuck}" if stuck else ""))
    return "; ".join(parts + _others(case, finding) + finding.also) + "."


def _unused(case: Case, holder: FileDescriptor) -> list[str]:
    if case.recorded.uses:
        return [f"{named(holder.process)} never used it"]
    return [f"{named(holder.process)} has not used it since the peer's FIN"] if case.socket.fin is not None else []


# A listing that may be of any time is put right before the release: for how long it was stuck is not known.
def _stuck_for(case: Case, since: Fact | None) -> int | None:
    age = case.age(since)
    placed = case.release is not None and since is not None and since.what == "found"
    return None if placed and age is not None and age <= _RIGHT_BEFORE else age


# Of a process that only a look has shown nobody knows what it did.
def _never_used(holder: FileDescriptor) -> bool:
    return holder.used is None and not (holder.seen is not None and _is_quiet(holder))


def _is_quiet(holder: FileDescriptor) -> bool:
    return not any(task.lines for task in holder.table.tasks)


def _subject(case: Case, finding: Finding, clock: str | None) -> str:
    where = connection(case.socket)
    if finding.cause is Cause.NEVER_ACCEPTED:
        return f"{case.socket.peer} ← {case.socket.local or 'a client'} waits in the accept queue"
    holder = finding.culprit or finding.owner
    if holder is None or (finding.culprit is None and not case.holders):
        return f"{where} is held by no descriptor"
    verb = "held" if case.release is not None else "still holds" if finding.fault else "holds"
    return f"{named(holder.process)} {verb} {where} as fd {holder.number}{_came_by(case, holder, finding, clock)}"


def _came_by(case: Case, holder: FileDescriptor, finding: Finding, clock: str | None) -> str:
    fact = holder.fact
    if fact is None:
        inherited = f", inherited from {named(holder.source.process)}" if holder.source is not None else ""
        return f"{inherited}, open since before the {case.medium} began"
    when = moment(fact.at, clock)
    if holder.how == "fork":
        verb = "copied there by unshare()" if fact.what == "unshare" else f"forked from {named(fact.process)}"
        text = f", {verb}{when}{_before(fact, finding)}"
        return text + (f", kept across {holder.survived.call}" if holder.survived is not None else "")
    if holder.how == "passed":
        giver = f" from {named(holder.source.process)}" if holder.source is not None else ""
        return f", received{giver}{when}"
    word = {"dup": "duplicated", "accept": "accepted", "connect": "connected"}.get(holder.how)
    return f", {word}{when}" if word else ""


# ", 0.9 s before PID 30505 closed its copy"
def _before(fork: Fact, finding: Finding) -> str:
    owner = finding.owner
    closed = owner.closed if owner is not None else None
    if owner is None or closed is None or closed.at is None or fork.at is None or closed.at < fork.at:
        return ""
    word = "exited" if closed.what == "exit" else "closed its copy"
    return f", {length(closed.at - fork.at)} before {named(owner.process)} {word}"


def _others(case: Case, finding: Finding) -> list[str]:
    culprit = finding.culprit
    if not finding.fault or culprit is None or finding.cause is Cause.NEVER_ACCEPTED:
        return []
    others = [d for d in case.holders if d is not culprit]
    texts = [f"{named(d.process)} holds a copy too, as fd {d.number}" for d in others[:3]]
    if len(others) > 3:
        texts.append(f"and {len(others) - 3} more do")
    return [f"closing it there will not be enough: {', '.join(texts)}"] if texts else []


_TEXT = {
    "accepted": "accepted as fd {fd}",
    "connected": "connected as fd {fd}",
    "eof": "the end of file: the peer has closed",
    "peeked": "a look at the end of file: the peer has closed",
    "hangup": "the peer has closed",
    "arrived": "the peer's FIN arrives",
    "found": "found in this state",
    "dup": "fd {fd} is a duplicate",
    "closed": "fd {fd} is closed",
    "exit": "the end of the process closes fd {fd}",
    "passed": "fd {fd} is passed over a unix socket",
    "received": "received as fd {fd}",
    "shutdown": "shut down",
    "sent": "still sending",
}


_END = {"shutdown": "its FIN goes out, whoever holds it", "reset": "the peer has reset it"}


def _evidence(case: Case, finding: Finding) -> Iterable[Evidence]:
    chain = {fact.step: (fact, _text(fact)) for fact in case.socket.facts if fact.what in _TEXT}
    # A look finds it again and again: the first time and the last say it all.
    for fact in [fact for fact in case.socket.facts if fact.what == "found"][1:]:
        del chain[fact.step]
        if fact is case.socket.confirmed:
            chain[fact.step] = (fact, "found in this state again")
    if case.socket.opened is not None:
        chain[case.socket.opened.step] = (case.socket.opened, _text(case.socket.opened))
    if finding.since is not None:
        chain[finding.since.step] = (finding.since, _peer_end(case, finding.since))
    for fact, text in finding.facts:
        chain[fact.step] = (fact, text)
    if case.release is not None:
        chain[case.release.step] = (
            case.release,
            f"released: {_END.get(case.release.what, 'nothing holds it any more')}",
        )
    for _, (fact, text) in sorted(chain.items()):
        yield Evidence(
            text=text, source=fact.origin.source, line=fact.origin.line, at=seconds(fact.at), pid=fact.pid,
            call=fact.call + _frame(case, fact),
        )  # fmt: skip
    yield from _to_the_end(case, finding)


# As strace -k writes it: file(function+offset in the function) [offset in the file]; a function of C++ has parentheses.
_FRAME: Final = re.compile(
    r"(?P<file>/.*?)(?: \(deleted\))?\((?:(?P<function>.+)\+0x[0-9a-f]+)?\) \[(?P<offset>0x[0-9a-f]+)\]"
)
_C_LIBRARY: Final = re.compile(r".*/(?:libc|libpthread|ld)\b[-.\w]*\.so[^/]*")


# The user function that made the call, where there is a stack; of one that has no name, what addr2line asks for.
def _frame(case: Case, fact: Fact) -> str:
    for frame in case.system.stacks.get(fact.origin, ()):
        match = _FRAME.fullmatch(frame)
        if match is None or _C_LIBRARY.fullmatch(match["file"]):
            continue
        if match["function"] is None:
            return f" at {match['file']}+{match['offset']}"
        return f" in {match['function']}" + ("" if match["function"].endswith(")") else "()")
    return ""


def _text(fact: Fact) -> str:
    return _TEXT.get(fact.what, fact.what).format(fd=fact.fd)


# The close of the other end, when that is what we know of the FIN.
def _peer_end(case: Case, fact: Fact) -> str:
    if fact is case.socket.fin and fact.what in ("closed", "exit", "shutdown"):
        return f"the other end, in {named(fact.process)}, sends its FIN"
    return _text(fact)


def _to_the_end(case: Case, finding: Finding) -> Iterable[Evidence]:
    if case.release is not None:
        return
    for descriptor in case.holders[:4]:
        text = f"fd {descriptor.number} stays open to the end of the {case.medium}"
        yield Evidence(text=text, source=None, line=None, at=None, pid=descriptor.process.pid)
    for doubt in finding.doubts if finding.confidence is not Confidence.CERTAIN else ():
        yield Evidence(text=f"{finding.confidence.word}: {doubt}", source=None, line=None, at=None)


def process_label(process: Process) -> str:
    """Return "redis-server[30516]" for a drawing."""
    return f"{process.comm or 'process'}[{process.pid if process.pid is not None else '?'}]"
