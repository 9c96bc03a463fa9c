"""The process closed the number under which it watched the connection, and holds another one."""

from __future__ import annotations

from tracecorr.kernel import TcpState
from tracecorr.verdicts.cause import Cause, Confidence
from tracecorr.verdicts.look.base import Case, Finding, named, seen

CAUSE = Cause.DUPLICATE_KEPT


def diagnose(case: Case) -> Finding | None:
    """Look for an epoll set that has the connection under a number which the process has closed since.

    That is all that a look can show of a duplicate: an entry keeps the number of EPOLL_CTL_ADD, and stays as long as
    any descriptor of the file is open (epoll(7), questions 6).
    """
    if case.row.state is not TcpState.CLOSE_WAIT or len(case.processes) != 1:
        return None
    process, inode = case.processes[0], case.row.inode or 0
    held = {hold.fd for hold in case.holders}
    for entry in case.look.doing(process).registered.get(inode, ()):
        if entry.watch.inode == inode and entry.watch.fd not in held:
            hold = case.holders[0]
            because = f"it has closed fd {entry.watch.fd} of it, and fd {hold.fd} is a duplicate"
            missing = f"close({hold.fd}) in {named(process)}"
            finding = Finding(CAUSE, None, Confidence.CERTAIN, because, hold, hold, missing, how="dup")
            text = f"epoll set {entry.epfd} has the connection as fd {entry.watch.fd}, which is closed"
            finding.evidence.append(seen(text, f"/proc/{process.pid}/fdinfo/{entry.epfd}", process.pid))
            return finding
    return None
