"""What listings alone can tell: the rules for a look at a host, with the doubts that a listing leaves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Final

from tracecorr.events import Origin
from tracecorr.kernel import TcpState
from tracecorr.snapshot import ProcessRow
from tracecorr.verdicts.cause import Cause, Confidence
from tracecorr.verdicts.look.all import judged
from tracecorr.verdicts.look.base import Case, Finding, named
from tracecorr.verdicts.look.conclude import conclude
from tracecorr.verdicts.look.view import Hold, Look
from tracecorr.verdicts.look.words import connection, ends, length, state
from tracecorr.verdicts.report import Evidence, Holder, Party, Verdict

STUCK: Final = frozenset([TcpState.CLOSE_WAIT, TcpState.LAST_ACK, TcpState.FIN_WAIT1])

# What tells who holds a connection, where the listing does not.
_ASK_HOLDERS: Final = "sudo ss -tanpeoi on Linux; pfiles of every process on Solaris; sudo lsof -nP -iTCP elsewhere"


def listed_verdicts(look: Look, *, everything: bool = False) -> Iterator[Verdict]:
    """Yield a verdict for each connection that a listing shows to be stuck."""
    for row in look.snapshot.sockets:
        if row.state not in STUCK:
            continue
        case = Case(look, row)
        young = case.at_least is not None and not case.is_old
        finding = judged(case) if not young else None
        if finding is not None:
            _weigh(case, finding)
            yield _verdict(case, finding)
        elif young and everything and row.state is TcpState.CLOSE_WAIT:
            because = "too young to tell: its owner may still be about to close it"
            owner = case.holders[0] if case.holders else None
            cause = Cause.NEVER_READS_EOF if row.receive_queue else Cause.EOF_IGNORED
            yield _verdict(case, Finding(cause, None, Confidence.POSSIBLE, because, owner=owner, fault=False))


def _weigh(case: Case, finding: Finding) -> None:
    if finding.cause is Cause.EOF_IGNORED and _may_relay(case, finding):
        finding.cause, finding.detail, finding.confidence = Cause.UNEXPLAINED, None, Confidence.POSSIBLE
        _explain(case, finding)
        finding.because = (
            "the end of file has been read; its process has shut down as many others as are in CLOSE_WAIT: it may be a "
            "relay that waits for their ends"
        )
        finding.culprit = None
        return
    if finding.cause is Cause.UNEXPLAINED:
        _explain(case, finding)
        return
    if case.at_least is None and case.row.state is TcpState.CLOSE_WAIT:
        finding.doubt(Confidence.LIKELY, "one listing does not tell for how long it has been in CLOSE_WAIT")
    if any(hold.fd < 0 for hold in case.holders) and finding.cause is not Cause.NEVER_ACCEPTED:
        finding.doubt(Confidence.LIKELY, "the listing names one process of those that hold it, there may be others")


# A relay passes the end of file on and waits for the other leg.  What was sent and received would tell it from a leak.
def _may_relay(case: Case, finding: Finding) -> bool:
    hold = finding.culprit or finding.owner
    if case.row.info is not None or hold is None:
        return False
    legs = case.look.legs(hold.process)
    return 0 < legs.stuck <= len(legs.half_closed)


# What to ask next depends on what this listing has told.
def _explain(case: Case, finding: Finding) -> None:
    users = _users(case)
    if not case.holders and users:
        names = ", ".join(named(one) for one in users[:4])
        finding.because = f"the listing does not say who holds it; {names} use its port"
        finding.missing = (
            f"sudo ss -tanpeoi, or sudo lsof -nP -a -iTCP -p {','.join(str(one.pid) for one in users[:8])}"
        )
    elif not case.holders:
        finding.because = "the listing does not say who holds it"
        finding.missing = _ASK_HOLDERS
    else:
        pids = " ".join(f"-p {process.pid}" for process in case.processes[:8])
        finding.missing = (
            f"tracecorr attach {pids.replace('-p ', '')} (elsewhere strace or truss with {pids}), "
            "until the next one is stuck"
        )
    finding.advice = (f"Record more: {finding.missing}.",)


def _users(case: Case) -> list[ProcessRow]:
    port = case.row.local.port if case.row.local is not None else 0
    pids = case.look.snapshot.users.get(port, ())
    return [process for pid in pids if (process := case.look.snapshot.processes.get(pid)) is not None]


def _verdict(case: Case, finding: Finding) -> Verdict:
    made = conclude(case, finding)
    inode = case.row.inode
    # A look makes its verdicts as they are asked: what a listing changes needs all the values of one.
    values = {each.name: getattr(made, each.name) for each in fields(Verdict)}
    changed = {
        "socket": replace(made.socket, inode=inode if inode is not None and inode > 0 else None),
        "holders": tuple(_holder(holder) for holder in made.holders),
        "culprit": _party(made.culprit),
        "owner": _party(made.owner),
        "missing": _without_numbers(made.missing) if made.missing is not None else None,
        "summary": _summary(case, finding),
        "evidence": tuple(_evidence(case, finding)),
    }
    return Verdict(**{**values, **changed})


def _number(fd: int | None) -> int | None:
    return fd if fd is not None and fd >= 0 else None


def _holder(holder: Holder) -> Holder:
    return replace(holder, fd=_number(holder.fd))


def _party(party: Party | None) -> Party | None:
    return replace(party, fd=_number(party.fd)) if party is not None else None


def _without_numbers(text: str) -> str:
    """Return the text without descriptors that have no number: "read(-3), then close(-3)"."""
    words = text.split("(-")
    return words[0] + "".join("()" + word.partition(")")[2] for word in words[1:])


def _summary(case: Case, finding: Finding) -> str:
    because = _without_numbers(finding.because).replace(" from fd -", " from -")
    parts = [f"{_subject(case, finding)}: {because}", *_others(case, finding), *finding.also]
    return "; ".join(parts) + "."


def _subject(case: Case, finding: Finding) -> str:
    where = connection(case)
    if finding.cause is Cause.NEVER_ACCEPTED:
        return f"{where} waits in the accept queue"
    hold = finding.culprit or finding.owner
    if hold is not None:
        return f"{named(hold.process)} {'still holds' if finding.fault else 'holds'} {where}{_as(hold)}"
    return f"{where} is in {state(case.row)}"


def _as(hold: Hold) -> str:
    return f" as fd {hold.fd}" if hold.fd >= 0 else ""


def _others(case: Case, finding: Finding) -> list[str]:
    if not finding.fault or finding.culprit is None or finding.cause in (Cause.NEVER_ACCEPTED, Cause.UNEXPLAINED):
        return []
    others = [hold for hold in case.holders if hold != finding.culprit]
    texts = [f"{named(hold.process)} holds a copy too{_as(hold)}" for hold in others[:3]]
    texts += [f"and {len(others) - 3:,} more do"] if len(others) > 3 else []
    return [f"closing it there will not be enough: {', '.join(texts)}"] if texts else []


def _evidence(case: Case, finding: Finding) -> Iterator[Evidence]:
    yield _line(_row_words(case), case.row.origin)
    for hold in case.holders[:4]:
        row = hold.process.descriptors[hold.fd]
        yield _line(f"{named(hold.process)} has it open{_as(hold)}", row.origin, hold.process.pid)
    for item in finding.evidence:
        yield replace(item, source=None)
    other = case.look.other_end(case.row)
    if other is not None and case.row.state is TcpState.CLOSE_WAIT:
        yield _line(f"the peer's end, {ends(other)}, is in {state(other)}", other.origin)
    if finding.confidence is not Confidence.CERTAIN:
        for doubt in finding.doubts:
            yield _line(f"{finding.confidence.word}: {doubt}", None)


def _line(text: str, origin: Origin | None, pid: int | None = None) -> Evidence:
    source, line = origin if origin is not None else (None, None)
    return Evidence(text=text, source=source, line=line, at=None, pid=pid)


def _row_words(case: Case) -> str:
    row = case.row
    text = f"{ends(row)} is in {state(row)}"
    if row.receive_queue is not None:
        text += f", Recv-Q {row.receive_queue:,}"
    if row.send_queue:
        text += f", Send-Q {row.send_queue:,}"
    if row.state is TcpState.CLOSE_WAIT and row.receive_queue is not None:
        read = "the end of file has been read" if row.receive_queue == 0 else "nobody has read the end of file"
        text += f": {read}"
    since = length(case.at_least)
    return text + (f"; the last segment came {since} ago" if since else "")
