"""Everybody has closed; the FIN waits behind data that the peer does not take, or for a peer that has gone."""

from __future__ import annotations

from tracecorr.kernel import TcpState
from tracecorr.verdicts.cause import Cause, Confidence
from tracecorr.verdicts.look.base import Case, Finding, seen
from tracecorr.verdicts.look.words import state

CAUSE = Cause.LINGERING_FIN


def diagnose(case: Case) -> Finding | None:
    """Look at what has sent its FIN, or has it queued, and hears nothing from the peer."""
    row, info = case.row, case.row.info
    if row.state not in (TcpState.LAST_ACK, TcpState.FIN_WAIT1) or not row.send_queue:
        return None
    if case.at_least is not None and not case.is_old:
        return None
    # A FIN counts as one byte of the queue.
    if row.send_queue == 1 and not (info is not None and (info.retransmits or info.probes)):
        return None
    closed = info is not None and info.peer_window == 0 and bool(info.not_sent or info.probes)
    why = "the peer's window is closed" if closed else "the peer acknowledges nothing"
    behind = f"behind {row.send_queue - 1:,} bytes" if row.send_queue > 1 else "unacknowledged"
    sure = Confidence.CERTAIN if closed or (info is not None and info.retransmits) else Confidence.LIKELY
    how = "closed" if not row.inode else "shut down"
    because = f"it is {how} on this side and its FIN waits {behind}: {why}"
    finding = Finding(CAUSE, None, sure, because, fault=False, owner=case.holders[0] if case.holders else None)
    text = f"{state(row)}, Send-Q {row.send_queue:,}" + (f", the {row.timer} timer runs" if row.timer else "")
    finding.evidence.append(seen(text, "sock_diag"))
    return finding
