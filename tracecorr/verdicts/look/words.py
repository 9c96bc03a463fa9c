"""Sockets, descriptors and threads in the words of a report."""

from __future__ import annotations

from tracecorr.kernel import TcpState
from tracecorr.snapshot import ProcessRow, SocketRow, ThreadRow
from tracecorr.verdicts.look.base import Case, named
from tracecorr.verdicts.look.doing import STOPPED, awaited, words
from tracecorr.verdicts.look.view import Look

# The kernel's tables spell them without the second underscore, RFC 9293 and people with it.
STATES = {TcpState.FIN_WAIT1: "FIN_WAIT_1", TcpState.FIN_WAIT2: "FIN_WAIT_2"}


def ends(row: SocketRow, arrow: str = "–") -> str:
    """Return "127.0.0.1:6379 – 127.0.0.1:47374"."""
    return f"{row.local or '?'} {arrow} {row.peer or '?'}"


def connection(case: Case) -> str:
    """Return both ends; the arrow points to who accepted, where that is known."""
    return ends(case.row, {"connected": "→", "accepted": "←"}.get(case.role or "", "–"))


def state(row: SocketRow) -> str:
    return STATES.get(row.state, row.state.value)


def farther(look: Look, row: SocketRow) -> str:
    """Say what is known of the other end of a connection."""
    other = look.other_end(row)
    if other is None:
        return f"{row.peer} has not sent its FIN"
    holders = look.holders(other.inode)
    if not holders:
        return f"{row.peer} has not sent its FIN, and who holds it is not known"
    return f"{named(holders[0].process)} holds {row.peer} as fd {holders[0].fd}"


def what_is(look: Look, process: ProcessRow, fd: int | None) -> str:
    """Say what a descriptor refers to, for "waits in read(5), …"; nothing where that is not known."""
    row = process.descriptors.get(fd) if fd is not None else None
    if row is None:
        return ""
    inode = row.inode
    if row.target.startswith("pipe:["):
        others = [hold for hold in look_pipe(look, row.target) if hold[0].pid != process.pid]
        if others:
            return f"a pipe, whose other end {named(others[0][0])} holds as fd {others[0][1]}"
        return "a pipe"
    socket = look.socket(inode)
    if socket is not None:
        if socket.state is TcpState.LISTEN:
            return f"the listener {socket.local}"
        return f"the connection {ends(socket)}"
    return "" if row.target.startswith(("socket:", "anon_inode:")) else row.target


def look_pipe(look: Look, target: str) -> list[tuple[ProcessRow, int]]:
    """Return who has an end of a pipe, among the processes that were looked at."""
    return [(process, row.fd) for process, row in look.snapshot.targets(target)]


def thread_words(look: Look, process: ProcessRow, thread: ThreadRow) -> str:
    """Return "thread 1234 waits in read(5), the connection 192.0.2.1:4 – 192.0.2.2:5"."""
    name = "its only thread" if len(process.threads) == 1 else f"thread {thread.tid}"
    what = what_is(look, process, awaited(thread)) if thread.state not in STOPPED else ""
    return f"{name} {words(thread)}" + (f", {what}" if what else "")


def length(milliseconds: float | None) -> str | None:
    """Return "18.6 s" or "12 ms", "3 h 05 min"."""
    if milliseconds is None:
        return None
    seconds = milliseconds / 1000
    if seconds < 1:
        return f"{milliseconds:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = int(seconds // 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02} min"
