"""The connection is stuck, and the evidence does not single out one cause."""

from __future__ import annotations

from tracecorr.verdicts.base import Case, Cause, Confidence, Finding

CAUSE = Cause.UNEXPLAINED


def diagnose(case: Case) -> Finding | None:
    """Speak for a connection that is old enough and that no other rule has explained."""
    socket = case.socket
    if socket.fin is None or not case.is_old(socket.fin) or not case.holders or case.release is not None:
        return None
    if case.owner is not None and (socket.eof is not None or case.owner_holds):
        # Its reads or its closes were not recorded: the gap says so.
        return None
    holder = case.holders[0]
    because, missing = "its holders are known, but not which of them should have ended it", None
    if not case.recorded.uses:
        because = "whether its holder serves it, or has a copy of what another was to end, these events do not tell"
        missing = f"tracecorr attach --engine ptrace {(case.owner or holder).process.pid}, until the next one is stuck"
    return Finding(CAUSE, None, Confidence.POSSIBLE, holder, case.owner, missing, because, socket.fin)
