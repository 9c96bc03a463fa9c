"""sockstat of FreeBSD and NetBSD, and the Linux program of that name: each process and descriptor of each socket."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from tracecorr.events import Endpoint, Gap
from tracecorr.kernel import TcpState
from tracecorr.snapshot import Ends, Snapshot, SocketRow
from tracecorr.sources.base import Tally
from tracecorr.sources.listings import words
from tracecorr.sources.listings.base import Draft, texts

NAME: Final = "sockstat"

_HEADER: Final = re.compile(r"USER\s+(?:COMMAND|PROCESS)\s+PID\s+(?:FD\s+)?PROTO\s+(?:LOCAL|SOURCE) ADDRESS\s.*")
_ROW: Final = re.compile(
    r"(?P<user>\S+)\s+(?P<comm>\S.*?)\s+(?P<pid>\d+|\?)\s+(?:(?P<fd>\d+|\?)\s+)?(?P<proto>(?:tcp|udp|sctp|raw|div)\S*)\s+"
    r"(?P<local>\S+)\s+(?P<peer>\S+)(?:\s+(?P<rest>\S.*))?"
)
_LOCAL_SOCKET: Final = re.compile(r"\S+\s+\S.*?\s+(?:\d+|\?)\s+(?:\d+|\?)\s+(?:stream|dgram|seqpac)\b.*")


def recognises(head: list[bytes]) -> bool:
    """Say whether one of the first lines is the header of sockstat, or most of them are its rows."""
    lines = list(texts(head))
    if any(_HEADER.fullmatch(text) for text in lines[:10]):
        return True
    rows = sum(_ROW.fullmatch(text) is not None for text in lines)
    return rows > len(lines) - rows


def read(lines: Iterable[tuple[int, str]], tally: Tally) -> Snapshot:
    """Return what a listing of sockstat shows; it has states with -s alone."""
    draft = Draft(tally)
    stateless = 0
    known: dict[object, int] = {}
    for number, text in lines:
        if not text.strip():
            continue
        tally.lines = number
        found = _ROW.fullmatch(text.rstrip())
        if found is not None:
            stateless += found["proto"].startswith("tcp") and _take(draft, number, found, known)
        elif not _HEADER.fullmatch(text.rstrip()) and not _LOCAL_SOCKET.fullmatch(text.rstrip()):
            tally.skip(number, text.encode("utf-8", "surrogatepass"))
    if stateless and not draft.sockets:
        draft.gaps.append(Gap("states unknown", "it has no states", "sockstat -46s", tally.name, None))
    return draft.snapshot()


# The same ends in two lines are one socket: a connection has no second one, and listeners do not matter.
def _take(draft: Draft, line: int, found: re.Match[str], known: dict[object, int]) -> bool:
    local, peer = _end(found["local"]), _end(found["peer"])
    first = (local, peer) not in known
    inode = known.setdefault((local, peer), draft.nameless())
    if found["pid"] != "?":
        fd = int(found["fd"]) if found["fd"] not in (None, "?") else None
        draft.holds(int(found["pid"]), found["comm"], fd, inode, line)
    state = _state(found["rest"])
    if first and state is not None:
        row = SocketRow(state=state, local=local, peer=peer, inode=inode, origin=draft.origin(line))
        draft.sockets.append(row)
    elif first:
        draft.ends[inode] = Ends(local, peer, draft.origin(line))
    return state is None


def _state(rest: str | None) -> TcpState | None:
    return next((state for word in reversed((rest or "").split()) if (state := words.state(word)) is not None), None)


# NetBSD separates the port with a dot.
def _end(text: str) -> Endpoint | None:
    return words.split(text, ":" if ":" in text else ".")
