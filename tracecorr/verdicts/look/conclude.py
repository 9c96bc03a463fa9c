"""A finding of a rule as a Verdict: the plain values and the words of a report."""

from __future__ import annotations

from collections.abc import Callable

from tracecorr.kernel import TcpState
from tracecorr.snapshot import ProcessRow
from tracecorr.verdicts.cause import Cause, Confidence
from tracecorr.verdicts.explanations import advice
from tracecorr.verdicts.look.base import Case, Finding, named, seen
from tracecorr.verdicts.look.view import Hold
from tracecorr.verdicts.look.words import connection, length, state
from tracecorr.verdicts.report import Evidence, Holder, Party, SocketView, Verdict

Judge = Callable[[Case], "Finding | None"]


class LookVerdict(Verdict):
    """A verdict whose words are found when somebody reads them: of thousands that are alike, few are.

    `_finding` is its own, or where `_judge` is given, that of another connection of the same likeness.
    """

    __slots__ = ("_age", "_case", "_finding", "_judge", "_party", "_view", "_words")

    _case: Case
    _finding: Finding
    _judge: Judge | None
    _age: float | None
    _party: Party | None
    _view: SocketView
    _words: Verdict | None

    def plain(self) -> Verdict:
        """Return it with everything in it."""
        if self._words is None:
            own = self._judge(self._case) if self._judge is not None else None
            object.__setattr__(self, "_words", _plain(self._case, own or self._finding))
        assert self._words is not None
        return self._words

    @property
    def cause(self) -> str:
        return self._finding.cause.value

    @property
    def detail(self) -> str | None:
        return self._finding.detail

    @property
    def fault(self) -> bool:
        return self._finding.fault

    @property
    def confidence(self) -> str:
        return self._finding.confidence.word

    @property
    def socket(self) -> SocketView:
        return self._view

    @property
    def eof_at(self) -> float | None:
        return _eof_at(self._case, self.stuck_for)

    @property
    def stuck_for(self) -> float | None:
        return self._age

    @property
    def released_at(self) -> float | None:
        return None

    @property
    def released_by(self) -> str | None:
        return None

    @property
    def holders(self) -> tuple[Holder, ...]:
        return self.plain().holders

    @property
    def culprit(self) -> Party | None:
        return self._party

    @property
    def owner(self) -> Party | None:
        return self.plain().owner

    @property
    def missing(self) -> str | None:
        return self.plain().missing

    @property
    def summary(self) -> str:
        return self.plain().summary

    @property
    def advice(self) -> tuple[str, ...]:
        return self.plain().advice

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        return self.plain().evidence

    def __eq__(self, other: object) -> bool:
        return self.plain() == (other.plain() if isinstance(other, LookVerdict) else other)

    def __hash__(self) -> int:
        return hash(self.plain())


def conclude(case: Case, finding: Finding, judge: Judge | None = None) -> Verdict:
    """Return the verdict that the finding makes of the case; with `judge` the finding is that of one like it."""
    verdict = object.__new__(LookVerdict)
    keep = object.__setattr__
    keep(verdict, "_case", case)
    keep(verdict, "_finding", finding)
    keep(verdict, "_judge", judge)
    keep(verdict, "_age", _age(case))
    keep(verdict, "_party", _culprit(finding) if judge is None else _like(case, _culprit(finding)))
    keep(verdict, "_view", _view(case))
    keep(verdict, "_words", None)
    return verdict


def _age(case: Case) -> float | None:
    return None if case.at_least is None else round(case.at_least / 1000, 3)


# The same process as of the connection that is alike, with its own descriptor.
def _like(case: Case, party: Party | None) -> Party | None:
    for hold in case.holders:
        if party is not None and hold.process.pid == party.pid:
            return Party(pid=party.pid, comm=party.comm, fd=hold.fd)
    return party


def _plain(case: Case, finding: Finding) -> Verdict:
    stuck_for = _age(case)
    return Verdict(
        cause=finding.cause.value,
        detail=finding.detail,
        fault=finding.fault,
        confidence=finding.confidence.word,
        socket=_view(case),
        eof_at=_eof_at(case, stuck_for),
        stuck_for=stuck_for,
        released_at=None,
        holders=tuple(_holder(case, finding, hold) for hold in case.holders),
        culprit=_culprit(finding),
        owner=_party(finding.owner) if finding.owner is not None else None,
        missing=finding.missing,
        summary=_summary(case, finding),
        advice=finding.advice or advice(finding.cause.value, finding.detail),
        evidence=tuple(_evidence(case, finding)),
    )


def _view(case: Case) -> SocketView:
    row = case.row
    return SocketView(
        local=str(row.local) if row.local else None,
        peer=str(row.peer) if row.peer else None,
        inode=row.inode or None,
        role=case.role,
        state=row.state.value,
    )


# The last segment was the FIN only if nothing that the peer had to acknowledge followed it.
def _eof_at(case: Case, stuck_for: float | None) -> float | None:
    at = case.look.snapshot.at
    if at is None or stuck_for is None or case.sent_since is not False or case.row.state is not TcpState.CLOSE_WAIT:
        return None
    return round(at / 1e9 - stuck_for, 3)


def _holder(case: Case, finding: Finding, hold: Hold) -> Holder:
    process = hold.process
    uses = case.row.inode is not None and case.look.doing(process).is_watched(case.row.inode)
    how = "unknown"
    if finding.owner is not None and finding.owner.process is process:
        how = finding.how or {"accepted": "accept", "connected": "connect"}.get(case.role or "", "unknown")
    elif finding.how is not None:
        how = finding.how
    return Holder(pid=process.pid, comm=process.comm, fd=hold.fd, how=how, since=None, used=True if uses else None)


def _culprit(finding: Finding) -> Party | None:
    if finding.culprit is not None:
        return _party(finding.culprit)
    return Party(pid=finding.party.pid, comm=finding.party.comm, fd=None) if finding.party is not None else None


def _party(hold: Hold) -> Party:
    return Party(pid=hold.process.pid, comm=hold.process.comm, fd=hold.fd)


def _summary(case: Case, finding: Finding) -> str:
    return "; ".join([f"{_subject(case, finding)}: {finding.because}", *_others(case, finding), *finding.also]) + "."


def _subject(case: Case, finding: Finding) -> str:
    where = connection(case)
    if finding.cause is Cause.NEVER_ACCEPTED:
        return f"{where} waits in the accept queue"
    hold = finding.culprit or finding.owner
    if hold is None:
        return f"{where} ({state(case.row)})" if case.holders else f"{where} is held by no descriptor"
    verb = "still holds" if finding.fault else "holds"
    return f"{named(hold.process)} {verb} {where} as fd {hold.fd}"


def _others(case: Case, finding: Finding) -> list[str]:
    if not finding.fault or finding.culprit is None or finding.cause in (Cause.NEVER_ACCEPTED, Cause.UNEXPLAINED):
        return []
    others = [hold for hold in case.holders if hold != finding.culprit]
    texts = [f"{named(hold.process)} holds a copy too, as fd {hold.fd}" for hold in others[:3]]
    if len(others) > 3:
        texts.append(f"and {len(others) - 3:,} more do")
    return [f"closing it there will not be enough: {', '.join(texts)}"] if texts else []


def _evidence(case: Case, finding: Finding) -> list[Evidence]:
    found = [_kernel(case)]
    found += [_descriptor(case, hold) for hold in case.holders[:4]]
    found += finding.evidence
    other = case.look.other_end(case.row)
    if other is not None and case.row.state is TcpState.CLOSE_WAIT:
        found.append(seen(_peer(case, other.inode, state(other)), "sock_diag"))
    if finding.confidence is not Confidence.CERTAIN:
        found += [
            Evidence(text=f"{finding.confidence.word}: {doubt}", source=None, line=None, at=None)
            for doubt in finding.doubts
        ]
    return found


def _kernel(case: Case) -> Evidence:
    row = case.row
    text = state(row)
    if row.receive_queue is not None:
        text += f", Recv-Q {row.receive_queue:,}"
        if row.state is TcpState.CLOSE_WAIT:
            text += ": nobody has read the end of file" if row.receive_queue else ": the end of file has been read"
    since = length(case.at_least)
    return seen(text + (f"; the last segment came {since} ago" if since else ""), "sock_diag")


def _descriptor(case: Case, hold: Hold) -> Evidence:
    text = f"fd {hold.fd} of {named(hold.process)} is socket:[{case.row.inode}]"
    return seen(text, f"/proc/{hold.process.pid}/fd/{hold.fd}", hold.process.pid)


def _peer(case: Case, inode: int | None, its_state: str) -> str:
    holders = case.look.holders(inode)
    if holders:
        return f"the peer's end is in {its_state}, held by {named(holders[0].process)} as fd {holders[0].fd}"
    return f"the peer's end is in {its_state}" + (", closed by its process" if inode == 0 else "")


def label(process: ProcessRow) -> str:
    """Return "redis-server[30516]" for a drawing."""
    return f"{process.comm or 'process'}[{process.pid}]"
