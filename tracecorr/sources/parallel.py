"""Skims the pieces of a large file in several processes; what is left of each is skimmed again, in order.

A piece is skimmed without what came before it: whatever it cannot decide alone it hands on.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tracecorr.sources.skim import Line, Skim

PIECE: Final = 8 << 20

# Below this the processes cost more than they save.
WORTHWHILE: Final = 48 << 20

# A line that began in one piece is read to its end, but no further than this.
_OVERHANG: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Piece:
    """What is left of one piece: `lines` are numbered from the piece's first, 1."""

    lines: list[Line]
    count: int
    others: int
    passed_over: int
    head: bytes
    tail: bytes
    end: int


def processes() -> int:
    """Return how many processes may run at once."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def skimmed(path: str, start: int, size: int, names: frozenset[bytes], wanted: bytes, skim: Skim) -> Iterator[Piece]:
    """Yield what is left of the file from `start` (the beginning of a line) on, piece by piece and in order."""
    workers = processes()
    with ProcessPoolExecutor(workers) as pool:
        waiting: deque[Future[Piece]] = deque()
        offsets = iter(range(start, size, PIECE))
        for offset in offsets:
            waiting.append(
                pool.submit(_piece, path, start, offset, names, wanted, skim.stuck_after, frozenset(skim.ports))
            )
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _piece(
    path: str,
    start: int,
    offset: int,
    names: frozenset[bytes],
    wanted: bytes,
    stuck_after: int,
    ports: frozenset[bytes],
) -> Piece:
    text, end = _text(path, start, offset)
    skim = Skim(names, wanted, stuck_after, ports)
    skim.dropped = {}
    lines = list(skim.lines(text, 0)) if text else []
    lines += skim.finish()
    # Whether the peer had sent its FIN before this piece is not known here: when bytes last moved counts.
    for at in skim.dropped.values():
        end = text.find(b"\n", at)
        lines.append((text[at : end if end >= 0 else len(text)], text.count(b"\n", 0, at)))
    lines.sort(key=lambda line: line[1])
    tail = text[-8192:]
    head = text[1 : 1 << 16]
    return Piece(
        lines,
        text.count(b"\n", 1) + (len(text) > 1 and not text.endswith(b"\n")),
        skim.others,
        skim.passed_over,
        head,
        tail,
        end,
    )


# The lines that begin within the piece, after a line end of our own.
def _text(path: str, start: int, offset: int) -> tuple[bytes, int]:
    with Path(path).open("rb") as file:
        if offset == start:
            file.seek(offset)
            text = b"\n" + file.read(PIECE)
        else:
            file.seek(offset - 1)
            raw = file.read(PIECE + 1)
            first = raw.find(b"\n")
            if first < 0:
                return b"", offset + PIECE
            text = raw[first:]
        if not text.endswith(b"\n"):
            rest = file.readline(_OVERHANG)
            text += rest
        return (text if text != b"\n" else b""), file.tell()
