"""lsfd of util-linux: --json, and the default table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from tracecorr.events import Endpoint
from tracecorr.snapshot import Ends, Snapshot, SocketRow
from tracecorr.sources.base import Tally
from tracecorr.sources.listings import words
from tracecorr.sources.listings.base import Draft, texts

NAME: Final = "lsfd"

_HEADER: Final = re.compile(r"\s*COMMAND\s+PID\s+USER\s+ASSOC\s.*\bNAME\s*")
_ROW: Final = re.compile(
    r"\s*(?P<command>\S.*?)\s+(?P<pid>\d+)\s+(?P<user>\S+)\s+(?P<assoc>\S+)\s+(?P<mode>[r-][w-][x-]\S*)\s+(?P<type>\S+)\s+"
    r"(?P<source>\S+)\s+(?P<mntid>\d+)\s+(?P<inode>\d+)(?:\s+(?P<name>\S.*))?"
)
# "TCP:[4711]", and since util-linux 2.39 "state=close-wait laddr=192.0.2.1:80 raddr=192.0.2.2:4711".
_INODE: Final = re.compile(r"TCP(?:v6)?:\[(\d+)\]")
_KEYS: Final = re.compile(r"(state|laddr|raddr)=(\S+)")
# How far the beginning of the document is: more than a head of lines has.
_BEGINNING: Final = re.compile(r'\s*\{\s*"lsfd"\s*:\s*\[')


def recognises(head: list[bytes]) -> bool:
    """Say whether they are the beginning of lsfd's JSON, or its table."""
    beginning = list(texts(head[:20]))
    if _BEGINNING.match("\n".join(beginning)):
        return True
    return bool(beginning) and _HEADER.fullmatch(beginning[0]) is not None


def read(lines: Iterable[tuple[int, str]], tally: Tally) -> Snapshot:
    """Return what a listing of lsfd shows."""
    draft = Draft(tally)
    numbered = list(lines)
    tally.lines = sum(1 for _, text in numbered if text.strip())
    document = "\n".join(text for _, text in numbered)
    rows = _objects(document, tally) if _BEGINNING.match(document) else _rows(numbered, tally)
    for line, row in rows:
        _take(draft, line, row)
    return draft.snapshot()


# Objects one by one: a document that was cut off has told all that stands before the cut.
def _objects(document: str, tally: Tally) -> Iterator[tuple[int, Mapping[str, Any]]]:
    decoder = json.JSONDecoder()
    beginning = _BEGINNING.match(document)
    place = beginning.end() if beginning is not None else len(document)
    while True:
        start = document.find("{", place)
        if start < 0:
            return
        line = document.count("\n", 0, start) + 1
        try:
            row, place = decoder.raw_decode(document, start)
        except (ValueError, RecursionError):
            tally.skip(line, document[start : start + 200].encode("utf-8", "surrogatepass"))
            return
        yield line, row


def _rows(lines: Iterable[tuple[int, str]], tally: Tally) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, text in lines:
        found = _ROW.fullmatch(text.rstrip())
        if found is not None:
            yield number, found.groupdict()
        elif text.strip() and not _HEADER.fullmatch(text):
            tally.skip(number, text.encode("utf-8", "surrogatepass"))


def _take(draft: Draft, line: int, row: Mapping[str, Any]) -> None:
    pid, inode = _number(row.get("pid")), _number(row.get("inode"))
    comm = row.get("command")
    comm = comm if isinstance(comm, str) else None
    if pid is None:
        draft.tally.skip(line, repr(dict(row))[:200].encode("utf-8", "surrogatepass"))
        return
    draft.process(pid, comm)
    fd = _number(row.get("assoc", row.get("fd")))
    name = str(row.get("name") or "")
    known = _INODE.fullmatch(name)
    keys = dict(_KEYS.findall(name))
    if fd is None or (known is None and "laddr" not in keys):
        return
    inode = int(known[1]) if known is not None else inode if inode is not None else draft.nameless()
    draft.holds(pid, comm, fd, inode, line)
    if keys and inode not in draft.ends and not any(each.inode == inode for each in draft.sockets):
        _socket(draft, line, inode, keys)


def _socket(draft: Draft, line: int, inode: int, keys: Mapping[str, str]) -> None:
    local, peer = _end(keys.get("laddr")), _end(keys.get("raddr"))
    state = words.state(keys.get("state", ""))
    if state is None:
        draft.ends[inode] = Ends(local, peer, draft.origin(line))
        return
    draft.sockets.append(SocketRow(state=state, local=local, peer=peer, inode=inode, origin=draft.origin(line)))


def _end(text: str | None) -> Endpoint | None:
    return words.split(text) if text else None


def _number(value: object) -> int | None:
    text = str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
