"""The owner read 0 and went on as if nothing had happened."""

from __future__ import annotations

from tracecorr.model.fd_table import FileDescriptor
from tracecorr.model.open_file import OpenFileDescription
from tracecorr.verdicts.base import Case, Cause, Confidence, Finding, blocked_call, maturity, named, waits_for

CAUSE = Cause.EOF_IGNORED

# Reads of 0 that make a loop of it; one or two more may be a last look before close.
_SPINS = 3


def diagnose(case: Case) -> Finding | None:
    """Look for an end of file that was read by an owner which still holds the connection."""
    socket = case.socket
    if socket.eof is None or case.eof_unseen or not case.owner_holds:
        return None
    holder = _reader(case) or case.owner_holds[0]
    reads = _reads(socket, holder)
    spinning = reads >= _SPINS
    sure = maturity(case, socket.eof, socket.eof.task)
    if sure is None and spinning and case.release is None:
        sure = Confidence.LIKELY
    if sure is None:
        return None
    detail = "spinning" if spinning else "forgotten"
    because = f"it read the end of file {reads} times over" if spinning else "it read the end of file"
    finding = Finding(
        CAUSE, detail, sure, holder, case.owner, f"close({holder.number})", f"{because} and never closed", socket.eof
    )
    if not socket.eof_seen:
        finding.because = "the end of file was consumed, and it was never closed"
        finding.doubt(Confidence.LIKELY, "no read of 0 was seen: one read may have taken the last data and the FIN")
    elif not reads:
        finding.because = (
            f"{named(socket.eof.task.process)} read the end of file and let go, and this one, used last, did not"
        )
        finding.doubt(Confidence.LIKELY, f"{named(holder.process)} did not read the end of file itself")
    if spinning and socket.last_eof is not None:
        finding.facts.append((socket.last_eof, f"the last of {sum(socket.eof_reads.values())} reads of 0"))
    if not case.recorded.write:
        finding.doubt(Confidence.POSSIBLE, "no write was recorded: it may still be sending")
    _what_it_waits_for(case, finding)
    return finding


# Of those who hold it, one who read the end of file: the owner before others, and the number that was read.
def _reader(case: Case) -> FileDescriptor | None:
    eof = case.socket.eof
    assert eof is not None
    readers = [d for d in case.holders if _reads(case.socket, d)]
    return max(
        readers,
        key=lambda d: (d in case.owner_holds, d.process is eof.task.process and d.number == eof.fd, -d.number),
        default=next((d for d in case.owner_holds if d.number == eof.fd), None),
    )


# Tasks that share a table are one reader, and so are those of a process that has a new one since an exec.
def _reads(socket: OpenFileDescription, holder: FileDescriptor) -> int:
    return sum(
        count
        for task, count in socket.eof_reads.items()
        if task.process is holder.process or task.table is holder.table
    )


def _what_it_waits_for(case: Case, finding: Finding) -> None:
    assert case.socket.eof is not None
    task = case.socket.eof.task
    call = blocked_call(case, task)
    if call is None:
        return
    target = waits_for(call, task.process)
    if target is not None:
        finding.also.append(f"it waits in {call.name}() for {target}")
