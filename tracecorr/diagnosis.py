"""Diagnosis: asks the rules about one recording, at each release and at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tracecorr.errors import BadReport
from tracecorr.events import Gap
from tracecorr.kernel import Shutdown
from tracecorr.model.fact import Fact
from tracecorr.model.fd_table import FileDescriptor
from tracecorr.model.open_file import OpenFileDescription
from tracecorr.model.system import System
from tracecorr.recorded import recorded
from tracecorr.sources.inputs import Trace
from tracecorr.verdicts.all import QUEUE_RULE, RULES
from tracecorr.verdicts.base import Case, Cause, Confidence, Finding, Recorded
from tracecorr.verdicts.both import Replayed, both
from tracecorr.verdicts.conclude import conclude
from tracecorr.verdicts.inheritance import Inheritance
from tracecorr.verdicts.json_values import decoded
from tracecorr.verdicts.never_accepted import waiting_clients
from tracecorr.verdicts.report import Verdict

# Released connections are answers of the past: beyond this many they are only counted.
_RELEASED = 5000

# So many calls whose lines were cut are no accident, if they are one in so many.
_FEW, _RARE = 5, 50

_ROUND_TRIP = 10**9  # ns: longer than any network's


class Diagnosis:
    """The verdicts of one trace."""

    def __init__(self, system: System, trace: Trace, stuck_after: int, everything: bool) -> None:
        self.system = system
        self.inheritance = Inheritance()
        self.verdicts: list[Verdict] = []
        self.uncounted = 0
        self._trace = trace
        self._stuck_after = stuck_after
        self._everything = everything
        self._unrecorded = False

    @property
    def clock(self) -> str | None:
        return next((tally.clock for tally in self._trace.tallies if tally.clock is not None), None)

    @property
    def first(self) -> int | None:
        return min((tally.first for tally in self._trace.tallies if tally.first is not None), default=None)

    @property
    def last(self) -> int | None:
        return max((tally.last for tally in self._trace.tallies if tally.last is not None), default=None)

    @property
    def seen(self) -> int:
        """How many connections the recording has, those that its reader passed over or a look alone saw among them."""
        known = self.system.seen + sum(tally.passed_over for tally in self._trace.tallies)
        return max(known, len(self.verdicts))

    def released(self, socket: OpenFileDescription, fact: Fact) -> None:
        """Called just before a connection is let go: was it stuck until now?"""
        if socket.fin is None and not socket.past:
            return
        if socket.shut & Shutdown.WR or socket.closed_by_reset is not None:
            return
        if len(self.verdicts) >= _RELEASED:
            self.uncounted += 1
            return
        # A healthy server closes at once: without times nothing but the end of its holder is worth a look.
        case = self._case(socket, fact.at, recorded(self._trace.tallies), fact)
        if fact.what != "exit" and not case.is_old(socket.fin) and (socket.fin is not None or fact.at is None):
            return
        finding = self._asked(case)
        # What a listing shows to be stuck is explained to the end of its holder, also where nobody is at fault.
        told = finding is not None and (finding.fault or (fact.what == "exit" and socket.confirmed is not None))
        if finding is not None and told and finding.confidence > Confidence.POSSIBLE:
            self.verdicts.append(conclude(case, finding, self.clock))
            self.inheritance.add(case.socket, case.holders)

    def conclude(self, now: int | None) -> None:
        """Judge what is still open at the end of the input; `now` is the last time in any of them."""
        # A recording goes on a little after the last event: what the last looks found.
        self.verdicts += self.now(self.system.concluded_at if self.system.concluded_at is not None else now)

    def now(self, now: int | None) -> list[Verdict]:
        """Return what is wrong at this instant, as the replay tells it, or the look at the host that knows more."""
        replayed = []
        for case, finding in self.standing(now):
            self.inheritance.add(case.socket, case.holders)
            replayed.append(Replayed(conclude(case, finding, self.clock), _is_known(case)))
        return list(both(replayed, self._looked()))

    def _looked(self) -> list[Verdict]:
        try:
            return [decoded(Verdict, each, "verdict") for each in self.system.concluded]
        except BadReport as error:
            self.system.gap(Gap("a look was not understood", str(error), None))
            return []

    def standing(self, now: int | None) -> Iterator[tuple[Case, Finding]]:
        """Yield what is wrong at this instant with connections that are open."""
        in_log = recorded(self._trace.tallies)
        for socket in list(self.system.connections.values()):
            if socket.shut & Shutdown.WR or socket.closed_by_reset is not None or not socket.established:
                continue
            if socket.fin is None and not socket.past:
                continue  # nobody has let go, and neither has the peer
            case = self._case(socket, now, in_log)
            finding = self._asked(case) or (self._young(case) if self._everything else None)
            if finding is not None:
                yield case, finding
        for client in waiting_clients(self.system):
            case = self._case(client, now, in_log)
            finding = QUEUE_RULE.diagnose(case)
            if finding is not None:
                yield case, finding

    def _case(
        self, socket: OpenFileDescription, now: int | None, in_log: Recorded, release: Fact | None = None
    ) -> Case:
        return Case(self.system, socket, now, self._stuck_after, in_log, release, self._trace.medium)

    # With --all: a FIN that is known, and nothing that can be concluded from it yet.
    def _young(self, case: Case) -> Finding | None:
        fin = case.socket.fin
        if fin is None or not case.holders or case.is_old(fin):
            return None
        cause = Cause.EOF_IGNORED if case.socket.eof is not None else Cause.NEVER_READS_EOF
        because = "too young to tell: its owner may still be about to close it"
        return Finding(cause, None, Confidence.POSSIBLE, None, case.owner, None, because, fin, fault=False)

    def _asked(self, case: Case) -> Finding | None:
        for rule in RULES:
            finding = rule.diagnose(case)
            if finding is not None:
                return self._weighed(case, finding)
        return None

    # What is wrong with the whole record weighs on every finding.
    def _weighed(self, case: Case, finding: Finding) -> Finding | None:
        if not finding.fault:
            return _answered(case, finding)
        if not case.recorded.close:
            # What could have ended it was never recorded: silence, and a gap that says so.
            self._unrecorded = True
            return None
        if any(tally.cut >= _FEW and tally.cut * _RARE >= tally.calls for tally in self._trace.tallies):
            return None  # what could have ended it may be among the calls that are not whole: the gap says so
        if self.system.unordered and finding.cause is Cause.INHERITED_COPY and not _certainly_copied(finding):
            why = "strace -ff without times does not tell what came first in different tasks"
            self.system.gap(Gap("order unknown", why, "strace -ff -tt -T"))
            return None
        if finding.cause is Cause.INHERITED_COPY and _may_be_gone(finding.culprit):
            why = "a descriptor from before the log was inherited by a program that may have got it without FD_CLOEXEC"
            self.system.gap(Gap("close-on-exec unknown", why, "ls -l /proc/PID/fd of that program, and lsof -p PID"))
            return None
        _answered(case, finding)
        if any(holder.table.guessed for holder in case.holders):
            finding.doubt(Confidence.LIKELY, "threads older than the log are taken to share one table")
        if case.socket.kind == "stream":
            finding.doubt(Confidence.POSSIBLE, "the log does not say whether it is a TCP or a unix socket")
        if any(holder.table.unseen_sharers for holder in case.holders):
            return None  # threads that are not in the log may have closed it: the gap says so
        self._doubt(case, finding)
        return _confirmed(case, finding)

    # What the tracer could not tell, or did not.
    def _doubt(self, case: Case, finding: Finding) -> None:
        if not self._trace.follows and not self.system.complete:
            finding.doubt(Confidence.LIKELY, "other threads of the process, if it has any, are not in the log")
        if case.holders and case.holders[0].process in self.system.io_uring:
            finding.doubt(Confidence.POSSIBLE, "the process also works through io_uring, unseen")
        if not case.recorded.shutdown and case.socket.confirmed is None:
            finding.doubt(
                Confidence.POSSIBLE, "no shutdown occurs in the log: if it was not recorded, one may have ended it"
            )
        if any(tally.cut for tally in self._trace.tallies):
            finding.doubt(Confidence.POSSIBLE, "lines were cut: what ended the connection may be among them")
        if any(holder.table.incomplete for holder in case.holders):
            finding.doubt(
                Confidence.POSSIBLE, "another close of its holder was not recorded: this one may be missing, too"
            )
        if any(tally.lost for tally in self._trace.tallies):
            finding.doubt(Confidence.POSSIBLE, "events were lost: what ended the connection may be among them")
        if not all(tally.deaths for tally in self._trace.tallies):
            finding.doubt(Confidence.LIKELY, "a process that is killed leaves no line in such a log")

    @property
    def _shown(self) -> bool:
        return all(tally.arrays for tally in self._trace.tallies)

    def gaps(self) -> Iterator[Gap]:
        """Yield what the input could not tell."""
        yield from self._trace.gaps
        yield from self.system.gaps.values()
        if self._unrecorded:
            why = "no close occurs in the log: what could have ended a connection was not traced"
            yield Gap("close not recorded", why, "strace -f -tt -T -yy -p PID")
        if self.uncounted:
            yield Gap("too many to list", f"{self.uncounted} more connections were stuck and then released", None)
        yield from self._exhausted()
        yield from self._undated()
        yield from self._arrays()

    def _arrays(self) -> Iterator[Gap]:
        if not self._shown:
            why = "it prints addresses in memory, not what is there: whose connection, what poll told, what was passed"
            yield Gap("arguments are not shown", why, "strace -f -tt -T -yy -p PID", self._trace.tallies[0].name)

    def _exhausted(self) -> Iterator[Gap]:
        for fact, count in self.system.exhausted.values():
            why = (
                f"accept() of {fact.pid} failed {count} times ({fact.call.rpartition(' ')[2]}): clients wait unaccepted"
            )
            yield Gap("connections wait in a full server", why, "ss -ltn, and raise RLIMIT_NOFILE",
                      fact.origin.source, fact.origin.line)  # fmt: skip

    def _undated(self) -> Iterator[Gap]:
        open_with_fin = Counter(socket.fin is not None for socket in self.system.connections.values())
        if self.last is None and open_with_fin[True]:
            yield Gap(
                "no times", "the log has no times, so how long a connection was stuck is unknown", "strace -f -tt -T"
            )


# Whether the replay saw how the connection came about, or who used it.
def _is_known(case: Case) -> bool:
    return case.socket.opened is not None or any(holder.used is not None for holder in case.everybody)


# A look at the host found it in CLOSE_WAIT: with no other doubt, the kernel's own word makes it certain.
def _confirmed(case: Case, finding: Finding) -> Finding:
    if case.socket.confirmed is not None and not finding.doubts and finding.cause is not Cause.UNEXPLAINED:
        finding.confidence = Confidence.CERTAIN
    return finding


def _answered(case: Case, finding: Finding) -> Finding:
    if _may_be_reset(case.socket) and case.socket.confirmed is None:
        why = "it was written to after the FIN: a peer that had closed both ways has answered with a reset"
        finding.doubt(Confidence.POSSIBLE, why)
    return finding


# Nobody saw it opened or marked, and the program that was executed has not used it: exec may have closed it.
def _may_be_gone(culprit: FileDescriptor | None) -> bool:
    if culprit is None or culprit.survived is None or culprit.close_on_exec is not None or culprit.seen is not None:
        return False
    return culprit.used is None or culprit.used_step < culprit.survived.step


# Within one task order is certain, and what a process got by fork it had before it forked itself.
def _certainly_copied(finding: Finding) -> bool:
    culprit = finding.culprit
    while culprit is not None and culprit.source is not None:
        opened, fork = culprit.source.fact, culprit.fact
        both = culprit.how == "fork" and culprit.source.how != "fork" and opened is not None and fork is not None
        if both and opened is not None and fork is not None and opened.task is not fork.task:
            return False
        culprit = culprit.source
    return True


# A write that is answered with a reset succeeds all the same; the next one, a round trip later, would fail (EPIPE).
def _may_be_reset(socket: OpenFileDescription) -> bool:
    first, last, other = socket.first_sent_after, socket.sent_after, socket.other_end
    if first is None or last is None:
        return False
    if other is not None and other.released is None and socket.other_end_sure:
        return False
    return first.at is None or last.at is None or last.at - first.at < _ROUND_TRIP
