"""Get-NetTCPConnection of Windows' PowerShell, as a table, as a list, and as CSV."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from tracecorr.snapshot import Snapshot, SocketRow
from tracecorr.sources.base import Tally
from tracecorr.sources.listings import words
from tracecorr.sources.listings.base import Draft, texts

NAME: Final = "Get-NetTCPConnection"

_ENDS: Final = ("LocalAddress", "LocalPort", "RemoteAddress", "RemotePort")
_FIELD: Final = re.compile(r"(?P<name>[A-Z]\w+)\s*: ?(?P<value>.*)")
_RULE: Final = re.compile(r"[-\s]+")


def recognises(head: list[bytes]) -> bool:
    """Say whether one of the first lines has the names of both ends, or is the first field of a list."""
    lines = list(texts(head))[:20]
    if any(all(name in text for name in _ENDS) for text in lines):
        return True
    fields = {found["name"] for text in lines if (found := _FIELD.fullmatch(text)) is not None}
    return fields.issuperset(_ENDS)


def read(lines: Iterable[tuple[int, str]], tally: Tally) -> Snapshot:
    """Return what a listing shows; the process is in it where OwningProcess was asked for."""
    draft = Draft(tally)
    for line, row in _rows(lines, tally):
        state = words.state(row.get("State", ""))
        if state is None:
            if row.get("State") != "Bound":
                tally.skip(line, repr(dict(row))[:200].encode("utf-8", "surrogatepass"))
            continue
        inode = draft.nameless()
        pid = row.get("OwningProcess", "")
        if pid.isdigit() and int(pid):
            draft.holds(int(pid), row.get("ProcessName") or None, None, inode, line)
        local = words.end(row["LocalAddress"], row["LocalPort"])
        peer = words.end(row["RemoteAddress"], row["RemotePort"])
        draft.sockets.append(SocketRow(state=state, local=local, peer=peer, inode=inode, origin=draft.origin(line)))
    return draft.snapshot()


def _rows(lines: Iterable[tuple[int, str]], tally: Tally) -> Iterator[tuple[int, Mapping[str, str]]]:
    names: list[str] = []
    fields: dict[str, str] = {}
    first = 0
    for number, text in lines:
        if not text.strip():
            continue
        tally.lines = number
        if all(name in text for name in _ENDS):
            names = _words(text)
            continue
        field = _FIELD.fullmatch(text)
        if field is not None and not names:
            if field["name"] in fields:
                yield from _whole(first, fields)
                fields = {}
            first = first if fields else number
            fields[field["name"]] = field["value"].strip()
        elif names and not _RULE.fullmatch(text):
            yield from _row(number, text, names, tally)
    yield from _whole(first, fields)


def _row(number: int, text: str, names: list[str], tally: Tally) -> Iterator[tuple[int, Mapping[str, str]]]:
    values = _words(text)
    # AppliedSetting is blank for a listener.
    if len(values) == len(names) - 1 and "AppliedSetting" in names:
        values.insert(names.index("AppliedSetting"), "")
    row = dict(zip(names, values, strict=False))
    if len(values) < len(_ENDS) + 1 or not row.get("LocalPort", "").isdigit():
        tally.skip(number, text.encode("utf-8", "surrogatepass"))
    else:
        yield from _whole(number, row)


def _whole(number: int, row: Mapping[str, str]) -> Iterator[tuple[int, Mapping[str, str]]]:
    if all(name in row for name in _ENDS):
        yield number, row


def _words(text: str) -> list[str]:
    if '","' in text or text.count(",") >= len(_ENDS):
        try:
            return next(csv.reader([text]), [])
        except csv.Error:
            return []
    return text.split()
