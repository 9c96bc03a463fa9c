"""The connection is stuck, and one look does not single out one cause."""

from __future__ import annotations

from tracecorr.kernel import TcpState
from tracecorr.verdicts.cause import Cause, Confidence
from tracecorr.verdicts.look.base import Case, Finding, named
from tracecorr.verdicts.look.ownership import ownership

CAUSE = Cause.UNEXPLAINED


def diagnose(case: Case) -> Finding | None:
    """Speak for a connection in CLOSE_WAIT that no other rule has explained, and say what would tell."""
    if case.row.state is not TcpState.CLOSE_WAIT:
        return None
    if not case.holders:
        because = "its holder is among the processes whose descriptors may not be read"
        return Finding(CAUSE, None, Confidence.POSSIBLE, because, missing="sudo tracecorr scan")
    hold = case.holders[0]
    story = ownership(case)
    because = story.why if story.owner is None else "its queue was not told"
    pids = " ".join(str(process.pid) for process in case.processes[:8])
    command = f"tracecorr attach {pids}"
    finding = Finding(CAUSE, None, Confidence.POSSIBLE, because, missing=f"{command}, until the next one is stuck")
    finding.advice = (f"Record who reads and closes: {command}, from before the next connection until it is stuck.",)
    if len(case.processes) == 1:
        finding.culprit = hold
        finding.also.append(f"whatever the cause, {named(hold.process)} alone holds it and could close it")
    return finding
