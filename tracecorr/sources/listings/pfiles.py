"""pfiles of Solaris and illumos: what a process has open.  It tells the ends of a connection and not its state."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from tracecorr.events import Endpoint
from tracecorr.kernel import TcpState
from tracecorr.snapshot import Ends, Snapshot, SocketRow
from tracecorr.sources.base import Tally
from tracecorr.sources.listings import words
from tracecorr.sources.listings.base import Draft, texts

NAME: Final = "pfiles"

_PROCESS: Final = re.compile(r"(?P<pid>\d+):\s+(?P<command>\S.*)")
_LIMIT: Final = re.compile(r"\s*Current (?:soft )?rlimit: (?:\d+|unlimited) file descriptors.*")
_FILE: Final = re.compile(r"\s*(?P<fd>\d+): (?P<type>S_IF\w+|\S+) mode:\S+(?P<rest>.*)")
_INODE: Final = re.compile(r"\bino:(\d+)")
_FLAGS: Final = re.compile(r"\s*O_\w+.*")
_NAME: Final = re.compile(r"\s*(?P<side>sockname|peername): AF_INET6? (?P<address>\S+)\s+port: (?P<port>\d+)")
# A pfiles for Linux tells the state.
_STATE: Final = re.compile(r"\s*state: TCP_(?P<state>\w+)")


@dataclass(slots=True)
class _File:
    """The socket that the lines which follow tell of."""

    line: int
    pid: int
    comm: str | None
    fd: int | None
    inode: int
    marked: bool | None = None
    stream: bool = False
    sides: dict[str, Endpoint | None] | None = None
    state: TcpState | None = None


def recognises(head: list[bytes]) -> bool:
    """Say whether a process' line is followed by its limit, by a file, or by what grep has left of one."""
    lines = list(texts(head))
    return any(
        _PROCESS.fullmatch(one) and any(shape.fullmatch(other) for shape in (_LIMIT, _FILE, _NAME))
        for one, other in pairwise(lines)
    )


def read(lines: Iterable[tuple[int, str]], tally: Tally) -> Snapshot:
    """Return what a listing of pfiles shows: the same `ino` in two processes is one socket."""
    draft = Draft(tally)
    pid, comm, file = 0, None, None
    for number, text in lines:
        if not text.strip():
            continue
        tally.lines = number
        opened = _FILE.fullmatch(text)
        process = _PROCESS.fullmatch(text) if opened is None else None
        if process is not None or opened is not None or _begins_alone(file, text):
            _take(draft, file)
            file = None
        if process is not None:
            pid, comm = int(process["pid"]), _comm(process["command"])
            draft.process(pid, comm)
        elif opened is not None and pid:
            file = _opened(number, pid, comm, opened, draft)
        elif file is None and pid and _NAME.fullmatch(text.rstrip()):
            file = _File(number, pid, comm, None, draft.nameless(), stream=True)
        if file is not None and opened is None:
            _about(file, text)
        elif pid == 0 and not _LIMIT.fullmatch(text) and not text.startswith("pfiles:"):
            tally.skip(number, text.encode("utf-8", "surrogatepass"))
    _take(draft, file)
    return draft.snapshot()


# grep has left the names alone: each local one begins a socket, of TCP if it has a peer.
def _begins_alone(file: _File | None, text: str) -> bool:
    found = _NAME.fullmatch(text.rstrip())
    return file is not None and file.fd is None and found is not None and found["side"] == "sockname"


def _comm(command: str) -> str | None:
    return command.split()[0].rpartition("/")[2] or None


def _opened(line: int, pid: int, comm: str | None, found: re.Match[str], draft: Draft) -> _File | None:
    inode = _INODE.search(found["rest"])
    if found["type"] != "S_IFSOCK":
        return None
    return _File(line, pid, comm, int(found["fd"]), int(inode[1]) if inode else draft.nameless())


def _about(file: _File, text: str) -> None:
    name = _NAME.fullmatch(text.rstrip())
    if name is not None:
        file.sides = {**(file.sides or {}), name["side"]: words.end(name["address"], name["port"])}
    elif _FLAGS.fullmatch(text) and file.fd is not None:
        file.marked = "FD_CLOEXEC" in text or "O_CLOEXEC" in text
    elif "SOCK_STREAM" in text:
        file.stream = True
    elif (state := _STATE.fullmatch(text.rstrip())) is not None:
        file.state = words.state(state["state"])


def _take(draft: Draft, file: _File | None) -> None:
    if file is None or not file.stream or file.sides is None:
        return
    local, peer = file.sides.get("sockname"), file.sides.get("peername")
    if file.fd is None and peer is None:
        return
    draft.holds(file.pid, file.comm, file.fd, file.inode, file.line, file.marked)
    origin = draft.origin(file.line)
    if file.state is not None:
        draft.sockets.append(SocketRow(state=file.state, local=local, peer=peer, inode=file.inode, origin=origin))
    else:
        draft.ends.setdefault(file.inode, Ends(local, peer, origin))
