"""The process that should end the connection has let go of it; another one still holds a copy."""

from __future__ import annotations

from tracecorr.kernel import TcpState
from tracecorr.verdicts.cause import Cause, Confidence
from tracecorr.verdicts.look.base import Case, Finding, named, seen
from tracecorr.verdicts.look.ownership import ownership
from tracecorr.verdicts.look.view import Hold
from tracecorr.verdicts.look.words import length

CAUSE = Cause.INHERITED_COPY


def diagnose(case: Case) -> Finding | None:
    """Look for holders that have mere copies, of a connection whose owner is another process."""
    if case.row.state is not TcpState.CLOSE_WAIT or not case.holders:
        return None
    story = ownership(case)
    if not story.let_go or story.owner is None:
        return None
    owner = story.owner
    culprit = next(hold for hold in case.holders if hold.process is story.copies[0])
    because = f"{story.why}; that was not the last copy, so no FIN went out"
    missing = f"close({culprit.fd}) in {named(culprit.process)}, or shutdown() by {named(owner)} before its close"
    finding = Finding(CAUSE, story.detail, story.sure, because, culprit, Hold(owner, culprit.fd), missing)
    finding.how = "exec" if story.detail == "no-cloexec" else "fork" if story.detail == "forked-worker" else "unknown"
    finding.evidence += [seen(*line) for line in _lineage(case, culprit, owner.pid)]
    finding.evidence += story.evidence
    if story.sure is not Confidence.CERTAIN:
        finding.doubts.append("that the holder never serves it is inferred: no thread and no poll of it waits for it")
    return finding


def _lineage(case: Case, culprit: Hold, owner: int) -> list[tuple[str, str, int]]:
    process = culprit.process
    lines = []
    if owner in [one.pid for one in case.look.ancestors(process)]:
        age = length(case.age_of(process))
        text = f"a descendant of {owner}" + (f", started {age} before the look" if age else "")
        lines.append((text, f"/proc/{process.pid}/stat", process.pid))
    if process.descriptors[culprit.fd].close_on_exec is False and process.program is not None:
        lines.append((f"fd {culprit.fd} is not close-on-exec", f"/proc/{process.pid}/fdinfo/{culprit.fd}", process.pid))
    return lines
