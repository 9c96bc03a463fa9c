"""Copies of /proc/net/tcp and /proc/net/tcp6, one or both in a file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from tracecorr.snapshot import Snapshot
from tracecorr.sources.base import Tally
from tracecorr.sources.listings.base import Draft, texts
from tracecorr.sources.proc_net import read_table

NAME: Final = "proc-net-tcp"

_HEADER: Final = re.compile(r"\s*sl\s+local_address\s+rem(?:ote)?_address\s+st\b.*")
_ROW: Final = re.compile(
    r"\s*\d+:\s+(?:[0-9A-F]{8}|[0-9A-F]{32}):[0-9A-F]{4}\s+(?:[0-9A-F]{8}|[0-9A-F]{32}):[0-9A-F]{4}\s.*"
)


def recognises(head: list[bytes]) -> bool:
    """Say whether the first line is the kernel's header, or one of its rows."""
    first = next(texts(head), "")
    return _HEADER.fullmatch(first) is not None or _ROW.fullmatch(first) is not None


def read(lines: Iterable[tuple[int, str]], tally: Tally) -> Snapshot:
    """Return what the copy shows.  It names no process: its inodes join it to what does."""
    draft = Draft(tally)
    for number, text in lines:
        if not text.strip():
            continue
        tally.lines = number
        row = next(read_table([text], tally.name), None) if _ROW.fullmatch(text) else None
        if row is not None:
            peer = row.peer if row.peer is not None and row.peer.port else None
            draft.sockets.append(row._replace(origin=draft.origin(number), peer=peer))
        elif not _HEADER.fullmatch(text):
            tally.skip(number, text.encode("utf-8", "surrogatepass"))
    return draft.snapshot()
