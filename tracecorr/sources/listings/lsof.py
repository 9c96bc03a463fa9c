"""lsof, as a table (with whatever columns) and with -F, in lines or in NULs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from tracecorr.events import Endpoint, Gap
from tracecorr.kernel import TcpState
from tracecorr.snapshot import Ends, Snapshot, SocketRow
from tracecorr.sources.base import Tally
from tracecorr.sources.listings import words
from tracecorr.sources.listings.base import Draft, texts

NAME: Final = "lsof"

_HEADER: Final = re.compile(r"COMMAND\s+PID\s.*\bFD\b.*\bNAME\s*")
# COMMAND has no blanks (they are \x20), but in old versions; between PID and FD stand TID, TASKCMD, PGID, PPID, USER,
# or some of them.  SIZE is blank for a socket in old versions.
_ROW: Final = re.compile(
    r"(?P<comm>\S+(?: [A-Za-z(]\S*)*)\s+(?P<pid>\d+)\s+(?P<middle>\S.*?)\s+(?P<fd>\d+)[rwu -]?[a-zA-Z ]?\s+(?:\S+\s+)?"
    r"(?P<type>IPv4|IPv6|inet|sock)\s+(?P<device>\S+)\s+(?:(?P<size>0t\d+|0x[0-9a-f]+|\d+)\s+)?"
    r"(?P<node>[A-Z][A-Z0-9-]*|\d+)\s+(?P<name>\S.*)"
)
# Any other file: cwd, txt, mem, a number, or NOFD where the descriptors may not be read.
_OTHER: Final = re.compile(r"\S+\s+\d+\s+\S.*?\s+(?:NOFD|pd|tr|v86|-?\d+[rwu -]?[a-zA-Z]?|[A-Za-z]{3,4})\b.*")
_NOTICE: Final = re.compile(r"lsof: .*|\s+Output information may be incomplete\.|\s+assuming .*|\s+\S.*")
_NAME: Final = re.compile(
    r"(?:TCP(?:v6)?\s+)?(?P<local>[^\s>]*?)(?:->(?P<peer>\S+))?(?:\s+\((?P<info>[^()]*)\))?(?:\s.*)?"
)


@dataclass(slots=True)
class _File:
    """One open file, as its fields or its columns tell."""

    line: int
    pid: int
    comm: str | None
    parent: int | None
    fd: int | None
    type: str = ""
    protocol: str = ""
    device: str = ""
    node: str = ""
    name: str = ""
    info: dict[str, str] = field(default_factory=dict)
    unnumbered: bool = False


def recognises(head: list[bytes]) -> bool:
    """Say whether these lines have the header of lsof, most are rows of it, or they are its fields."""
    if _is_fields(head):
        return True
    rows = others = 0
    for text in texts(head):
        if _HEADER.fullmatch(text):
            return True
        if _ROW.fullmatch(text):
            rows += 1
        elif not _NOTICE.fullmatch(text):
            others += 1
    return rows > others


# With -F the first line is always a process; every file begins with its descriptor, but where a version does not add
# that to the fields that were asked for.
def _is_fields(head: list[bytes]) -> bool:
    lines = [line for piece in head for line in piece.rstrip(b"\r").split(b"\0") if line]
    return (
        len(lines) > 1
        and re.fullmatch(rb"p\d+", lines[0]) is not None
        and any(re.match(rb"f(?:\d+|cwd|txt|rtd|mem|NOFD)$|tIPv[46]$|PTCP$", line) for line in lines[:50])
    )


def read(lines: Iterable[tuple[int, str]], tally: Tally) -> Snapshot:
    """Return what a listing of lsof shows: every descriptor that its user was allowed to see, and nothing else."""
    draft = Draft(tally)
    seen: dict[object, tuple[int, TcpState | None]] = {}
    numbered = [(number, text) for number, text in lines if text.strip("\0 \t")]
    if numbered:
        tally.lines = numbered[-1][0]
    heads = [text.encode("utf-8", "surrogatepass") for _, text in numbered[:50]]
    for file in _fields(numbered, tally) if _is_fields(heads) else _rows(numbered, tally, draft):
        _take(draft, file, seen)
    return draft.snapshot()


def _rows(lines: list[tuple[int, str]], tally: Tally, draft: Draft) -> Iterable[_File]:
    columns: list[str] = []
    unseen: list[int] = []
    for number, text in lines:
        if _HEADER.fullmatch(text):
            columns = _between(text.split())
            continue
        found = _ROW.fullmatch(text.rstrip())
        if found is not None:
            yield _File(
                number, int(found["pid"]), _unescaped(found["comm"]), _parent(found["middle"].split(), columns),
                int(found["fd"]), found["type"], found["node"], found["device"], found["node"], found["name"],
            )  # fmt: skip
        elif " NOFD " in text:
            unseen.append(number)
        elif not _OTHER.fullmatch(text) and not _NOTICE.fullmatch(text):
            tally.skip(number, text.encode("utf-8", "surrogatepass"))
    if unseen:
        why = f"lsof was not allowed to see the descriptors of {len(unseen):,} processes"
        draft.gaps.append(Gap("holders unseen", why, "sudo lsof -nP -iTCP", tally.name, unseen[0]))


# The columns between PID and FD.
def _between(columns: list[str]) -> list[str]:
    if "PID" not in columns or "FD" not in columns:
        return []
    return columns[columns.index("PID") + 1 : columns.index("FD")]


# Columns stand in one order; those of threads are blank for the process itself.
def _parent(middle: list[str], columns: list[str]) -> int | None:
    if "PPID" not in columns or len(middle) < 2:
        return None
    place = len(columns) - columns.index("PPID")
    text = middle[-place] if len(middle) >= place else ""
    return int(text) if text.isdigit() else None


# lsof writes blanks and what cannot be printed as \x20.
def _unescaped(text: str) -> str:
    return re.sub(r"\\x([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), text)


def _fields(lines: list[tuple[int, str]], tally: Tally) -> Iterable[_File]:
    pieces = [(number, piece) for number, text in lines for piece in text.split("\0") if piece]
    first = _first_field(pieces)
    process = _File(0, 0, None, None, None)
    file: _File | None = None
    for number, piece in pieces:
        key, value = piece[0], piece[1:]
        if key in ("p", first):
            if file is not None:
                yield file
            file = None
        if key == "p":
            process = _File(number, int(value) if value.isdigit() else 0, None, None, None)
            continue
        if key == first:
            file = _File(number, process.pid, process.comm, process.parent, None, unnumbered=first != "f")
        if key == "f" and file is not None:
            file.fd = int(value) if value.isdigit() else None
        elif not _field(file or process, key, value):
            tally.skip(number, piece.encode("utf-8", "surrogatepass"))
    if file is not None:
        yield file


# The field that every file begins with.
def _first_field(pieces: Iterable[tuple[int, str]]) -> str:
    keys = [piece[0] for _, piece in pieces]
    return "f" if "f" in keys else next((key for key in keys if key in "atdinPT"), "f")


_FIELDS: Final = {"t": "type", "P": "protocol", "d": "device", "i": "node", "n": "name"}


def _field(file: _File, key: str, value: str) -> bool:
    if key == "T":
        name, _, number = value.partition("=")
        file.info[name] = number
    elif key == "c":
        file.comm = _unescaped(value)
    elif key == "R" and value.isdigit():
        file.parent = int(value)
    elif key in _FIELDS:
        setattr(file, _FIELDS[key], value)
    return key.isalpha()


def _take(draft: Draft, file: _File, seen: dict[object, tuple[int, TcpState | None]]) -> None:
    draft.process(file.pid, file.comm, file.parent)
    if not file.pid or (file.fd is None and not file.unnumbered):
        return
    if file.type == "sock":
        # Not a connection any more, or of another network namespace: its inode is all that there is.
        if file.node.isdigit():
            draft.holds(file.pid, file.comm, file.fd, int(file.node), file.line)
        return
    if file.type not in ("IPv4", "IPv6", "inet") or not (file.protocol or "TCP").startswith("TCP"):
        return
    found = _NAME.fullmatch(file.name)
    if found is None:
        draft.tally.skip(file.line, file.name.encode("utf-8", "surrogatepass"))
        return
    if found["info"]:
        _info(file, found["info"])
    _socket(draft, file, words.split(found["local"]), words.split(found["peer"] or "*:*"), seen)


# "(CLOSE_WAIT QR=1 QS=0)"
def _info(file: _File, text: str) -> None:
    for word in text.split():
        key, found, value = word.partition("=")
        file.info[key if found else "ST"] = value if found else key


def _socket(
    draft: Draft, file: _File, local: Endpoint | None, peer: Endpoint | None,
    seen: dict[object, tuple[int, TcpState | None]],
) -> None:  # fmt: skip
    own, cookie = _identity(file)
    name: object = own if own is not None else cookie if cookie is not None else (local, peer or file.line)
    state = words.state(file.info.get("ST", ""))
    inode, before = seen.get(name) or (own if own is not None else draft.nameless(), None)
    draft.holds(file.pid, file.comm, file.fd, inode, file.line)
    if name in seen and before is state:
        return  # another holder; with -r, a state may be another one the next time
    seen[name] = inode, state
    if state is None:
        draft.ends[inode] = Ends(local, peer, draft.origin(file.line))
        return
    draft.sockets.append(
        SocketRow(
            state=state, local=local, peer=peer, receive_queue=_queue(file, "QR", state, linux=own is not None),
            send_queue=_queue(file, "QS", state, linux=True), inode=inode, cookie=cookie,
            origin=draft.origin(file.line),
        )
    )  # fmt: skip


# DEVICE is the inode on Linux, and the address of a structure of the kernel elsewhere.
def _identity(file: _File) -> tuple[int | None, int | None]:
    if file.device.isdigit():
        return int(file.device), None
    return None, int(file.device, 16) if re.fullmatch(r"0x[0-9a-fA-F]{1,16}", file.device) else None


def _queue(file: _File, key: str, state: TcpState, *, linux: bool) -> int | None:
    text = file.info.get(key, "")
    if not text.isdigit() or (text == "0" and not linux and state is not TcpState.LISTEN):
        return None  # the FIN counts on Linux alone: elsewhere 0 says nothing
    return int(text)
