"""The end of file was read, and the program neither closed the connection nor sends."""

from __future__ import annotations

from tracecorr.kernel import TcpState
from tracecorr.verdicts.cause import Cause, Confidence
from tracecorr.verdicts.look.base import Case, Finding, named, seen
from tracecorr.verdicts.look.doing import Doing
from tracecorr.verdicts.look.ownership import Ownership, ownership
from tracecorr.verdicts.look.view import Hold
from tracecorr.verdicts.look.words import thread_words

CAUSE = Cause.EOF_IGNORED


def diagnose(case: Case) -> Finding | None:
    """Look for an empty receive queue in CLOSE_WAIT: somebody has taken the end of file out of it."""
    if case.row.state is not TcpState.CLOSE_WAIT or case.row.receive_queue != 0 or not case.holders:
        return None
    story = ownership(case)
    if story.owner is None or story.let_go:
        return None
    hold = next(hold for hold in case.holders if hold.process is story.owner)
    doing = case.look.doing(hold.process)
    detail = "spinning" if _spins(case, doing) else "forgotten"
    because = (
        "it has read the end of file and reads again and again"
        if detail == "spinning"
        else "the end of file has been read, and it was neither closed nor used since"
    )
    finding = Finding(
        CAUSE, detail, Confidence.LIKELY, because, hold, hold, f"close({hold.fd}) in {named(hold.process)}"
    )
    if story.sure is not Confidence.CERTAIN:
        finding.doubt(story.sure, f"that {named(hold.process)} should end it is inferred: {story.why}")
    _weigh(case, finding, hold, doing, story)
    return finding


# With one number left nobody can tell the last copy from the only one.
def _weigh(case: Case, finding: Finding, hold: Hold, doing: Doing, story: Ownership) -> None:
    inode = case.row.inode or 0
    finding.doubts.append(
        "one read can take the last data and the end of file together: the program may have seen no 0"
    )
    if (
        not doing.unseen
        and not doing.is_watched(inode)
        and len([one for one in case.holders if one.process is hold.process]) == 1
    ):
        if hold.process.forked:
            finding.doubt(Confidence.POSSIBLE, "a child of it may have read to the end and closed its copy")
        lower = next((fd for fd in range(3, hold.fd) if fd not in hold.process.descriptors), None)
        if lower is not None or len(hold.process.descriptors) <= hold.fd:
            finding.doubt(Confidence.POSSIBLE, f"fd {hold.fd} may be a duplicate of one that was closed")
    if case.sent_since is None and case.row.info is not None:
        finding.doubt(Confidence.POSSIBLE, "data may have been sent since the FIN")
    for thread in hold.process.threads[:3]:
        text = thread_words(case.look, hold.process, thread)
        source = f"/proc/{hold.process.pid}/task/{thread.tid}/syscall"
        finding.evidence.append(seen(text, source, hold.process.pid))


# A level-triggered poll for input never sleeps on an end of file: who has one armed and runs goes round and round.
def _spins(case: Case, doing: Doing) -> bool:
    inode = case.row.inode or 0
    armed = any(entry.armed and not entry.edge for entry in doing.registered.get(inode, ()))
    if armed and not doing.stopped and not doing.obstacles:
        return True
    return len(doing.process.threads) == 1 and bool(doing.running)
