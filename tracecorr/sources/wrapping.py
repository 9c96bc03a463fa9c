"""Logs whose lines were broken: by a terminal at its last column, or by a mail program at blanks.

Lines keep their numbers: the pieces of a line are put together at its beginning, and empty lines follow.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Final

from tracecorr.syscalls.table import SYSCALLS

_STRACE_CALL: Final = rb"(?:<\.\.\. \w|--- |\+\+\+ |[a-z_]\w*\()"

# How the lines of a log may begin, the surest first.
_TASK: Final = rb"(?:\[pid {1,12}\d{1,10}\] |\d{1,7}(?:<[^>\n]{0,64}>)? {1,12})"
_TIME: Final = rb"(?:\d\d:\d\d:\d\d|\d{8,11}\.\d| {0,12}\d{1,6}\.\d{6} )"
_NAMES: Final = "|".join(SYSCALLS).encode()
_STARTS: Final = tuple(
    re.compile(text)
    for text in (
        _TASK + rb"?" + _TIME,
        rb"\[pid {1,12}\d{1,10}\] ",
        rb"\d{1,7}(?:<[^>\n]{0,64}>)? {1,12}" + _STRACE_CALL,
        rb" {0,12}(?:\d{1,10}(?:/\d{1,10}(?:@\d{1,10})?)?:|/\d{1,10}:)(?:[ \t]|\Z)",  # truss
        rb" {0,12}\d{1,10} (?: {0,12}\d{1,10} )?\S{1,64} {1,12}(?:CALL|RET|NAMI|GIO|STRU|PSIG|CSW|USER) ",  # kdump
        rb"<\.\.\. \w|--- SIG|\+\+\+ |(?:" + _NAMES + rb"|[a-z]\w{2,20})\(",
    )
)
_COMMON: Final = 0.15

_ENDED: Final = re.compile(
    rb"[)>.]\s*(?:= ?-?[0-9a-zA-Z?]|Err#\d|ERR#\d|argc[:=] ?)"
    rb"|<(?:unfinished|detached) \.\.\.>|\(sleeping\.\.\.\)|(?:---|\+\+\+)\s*\Z"
)
_RECORD: Final = re.compile(rb"^[^(]{0,120} (?:RET|NAMI|GIO|STRU|PSIG|CSW) |^[^(]{0,120} CALL .*\)\s*\Z", re.DOTALL)

# What strace says between two pieces of a line; its reader knows how to go on.
_NOTICE: Final = re.compile(rb"Process \d{1,10} (?:attached|detached|suspended|resumed)")

# What strace calls within arguments: no line begins with it, the rest of one may.
_WITHIN: Final = re.compile(rb"(?:htons|htonl|inet_addr|inet_pton|makedev|if_nametoindex|sizeof)\(")

_NARROWEST, _WIDEST = 40, 400
_FEWEST: Final = 3  # broken lines that make it no accident
_CUT: Final = 2  # the same, of lines that end in the same column
_LONGEST: Final = 1 << 16


class Wrapped:
    """How a log was broken: `start` is how its lines begin, `width` the widest, `cut` whether in the midst of words."""

    def __init__(self, start: re.Pattern[bytes], width: int, *, cut: bool) -> None:
        self.start = start
        self.width = width
        self.cut = cut

    def begins(self, line: bytes) -> bool:
        """Say whether a line is the beginning of one."""
        return self.start.match(line) is not None and _WITHIN.match(line) is None

    def unwrap(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the blocks with lines put together; a block ends where a line does."""
        held = _Held(self)
        for block in blocks:
            whole = []
            for line in block.removesuffix(b"\n").split(b"\n"):
                if not held.takes(line):
                    whole.append(held.given())
                    held.begin(line)
            if any(whole):
                yield b"".join(whole)
        if rest := held.given():
            yield rest


class _Held:
    """A line to which more may belong."""

    def __init__(self, wrapped: Wrapped) -> None:
        self.wrapped = wrapped
        self.text: bytes | None = None
        self.last = b""
        self.pieces = 0

    def begin(self, line: bytes) -> None:
        self.text, self.last, self.pieces = line, line, 1

    def takes(self, line: bytes) -> bool:
        """Take a line that belongs to this one, or say that it does not."""
        if self.text is None or not line.strip() or self.wrapped.begins(line) or len(self.text) > _LONGEST:
            return False
        if _NOTICE.search(line) or _NOTICE.search(self.last):
            return False
        cut = self.wrapped.cut and len(self.last) == self.wrapped.width
        if not cut and _is_whole(self.text) and (self.wrapped.cut or self._has_room(line)):
            return False
        blank = b"" if cut or self.text.endswith((b" ", b"\t")) or line.startswith((b" ", b"\t")) else b" "
        self.text += blank + line
        self.last, self.pieces = line, self.pieces + 1
        return True

    # Whether the next word would have had room in the last line, so that nobody put it into one of its own.
    def _has_room(self, line: bytes) -> bool:
        return len(self.last) + 1 + len(line.split(None, 1)[0]) <= self.wrapped.width

    def given(self) -> bytes:
        text, self.text = self.text, None
        return b"" if text is None else text + b"\n" * self.pieces


def _is_whole(line: bytes) -> bool:
    return _ENDED.search(line) is not None or _RECORD.match(line) is not None


def wrapped(head: bytes) -> Wrapped | None:
    """Return how the lines of the head were broken; None where they were not."""
    lines = [line for line in head.split(b"\n") if line.strip()]
    start = next((one for one in _STARTS if sum(map(_matches(one), lines)) >= max(2, _COMMON * len(lines))), None)
    if start is None:
        return None
    width = max(map(len, lines))
    cut = _NARROWEST <= width <= _WIDEST and sum(map(_is_cut(width, start), lines, lines[1:])) >= _CUT
    found = Wrapped(start, width if cut else _room(start, lines), cut=cut)
    return found if _mended(found, lines) >= (_CUT if cut else max(_FEWEST, len(lines) // 20)) else None


# A word that did not go into its line would have made it too long; no line that could be broken is longer than allowed.
def _room(start: re.Pattern[bytes], lines: list[bytes]) -> int:
    broken = ((one, two) for one, two in pairwise(lines) if not (_is_whole(one) or start.match(two)))
    over = min((len(one) + 1 + len(two.split(None, 1)[0]) for one, two in broken), default=0)
    return max((len(line) for line in lines if len(line) < over), default=0)


# How many lines become whole when they are put together.
def _mended(found: Wrapped, lines: list[bytes]) -> int:
    held = _Held(found)
    mended = 0
    for line in lines:
        whole = held.text is None or _is_whole(held.text)
        if not held.takes(line):
            held.begin(line)
        else:
            mended += not whole and held.text is not None and _is_whole(held.text)
    return mended


def _is_cut(width: int, start: re.Pattern[bytes]) -> Callable[[bytes, bytes], bool]:
    return lambda line, after: len(line) == width and start.match(after) is None


def _matches(start: re.Pattern[bytes]) -> Callable[[bytes], bool]:
    return lambda line: start.match(line) is not None
