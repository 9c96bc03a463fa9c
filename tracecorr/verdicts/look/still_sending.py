"""A legitimate half-close: the peer has sent its FIN and data still goes out, or another leg has to end first."""

from __future__ import annotations

from tracecorr.kernel import TcpState
from tracecorr.snapshot import SocketRow
from tracecorr.verdicts.cause import Cause, Confidence
from tracecorr.verdicts.look.base import Case, Finding, named, seen
from tracecorr.verdicts.look.view import Hold
from tracecorr.verdicts.look.words import ends, farther

CAUSE = Cause.STILL_SENDING


def diagnose(case: Case) -> Finding | None:
    """Look for data that went out since, or waits to, and for a half-closed leg that it has to wait for."""
    if case.row.state is not TcpState.CLOSE_WAIT or not case.holders:
        return None
    return _sends(case) or _relays(case)


def _sends(case: Case) -> Finding | None:
    row, info = case.row, case.row.info
    if case.sent_since:
        text = f"{info.bytes_sent:,} bytes have been sent, more than a moment before" if info else ""
        return _finding(case, None, Confidence.CERTAIN, "it goes on sending", text)
    if not row.send_queue:
        return None
    text = f"Send-Q {row.send_queue:,}: the peer has not taken it yet"
    if info is not None and info.peer_window == 0:
        text += ", and its window is closed"
    return _finding(case, None, Confidence.LIKELY, f"{row.send_queue:,} bytes still wait to be sent", text)


def _finding(case: Case, detail: str | None, sure: Confidence, because: str, text: str) -> Finding:
    finding = Finding(CAUSE, detail, sure, because, owner=case.holders[0], fault=False)
    if text:
        finding.evidence.append(seen(text, "sock_diag"))
    return finding


# It read the end of file here and called shutdown() there: the leg is in FIN_WAIT_2 and still has a descriptor.
def _relays(case: Case) -> Finding | None:
    if case.row.receive_queue != 0:
        return None
    for hold in case.holders:
        leg = _leg(case, hold)
        if leg is None:
            continue
        row, fd, sure = leg
        where = farther(case.look, row)
        because = f"it has shut down its other leg, fd {fd}, and waits for that to end: {where}"
        finding = Finding(CAUSE, "relay", sure, because, owner=hold, fault=False)
        text = f"fd {fd}, {ends(row)}, is in FIN_WAIT_2: the end of file was passed on"
        finding.evidence.append(seen(text, f"/proc/{hold.process.pid}/fd/{fd}", hold.process.pid))
        if sure is not Confidence.CERTAIN:
            finding.doubts.append(f"that {named(hold.process)} relays between the two is inferred")
        return finding
    return None


def _leg(case: Case, hold: Hold) -> tuple[SocketRow, int, Confidence] | None:
    doing = case.look.doing(hold.process)
    found: list[tuple[SocketRow, int, Confidence]] = []
    for fd, row in case.look.legs(hold.process).half_closed:
        if _mirrors(case.row, row):
            return row, fd, Confidence.CERTAIN
        if doing.waits_for(row.inode or 0):
            found.append((row, fd, Confidence.LIKELY))
    return found[0] if len(found) == 1 else None


# What came in here went out there, and the reverse; the FIN counts as a byte received.
def _mirrors(one: SocketRow, other: SocketRow) -> bool:
    if one.info is None or other.info is None or not one.info.bytes_received or not one.info.bytes_sent:
        return False
    there = one.info.bytes_received - 1 == other.info.bytes_sent
    return there and one.info.bytes_sent == other.info.bytes_received
