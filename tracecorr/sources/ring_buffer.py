"""Pages of the kernel's trace ring buffer, as per_cpu/cpuN/trace_pipe_raw gives them (include/linux/ring_buffer.h)."""

from __future__ import annotations

import struct
import sys
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from tracecorr.sources.trace_format import Layout, located_text, parse_fields
from tracecorr.sources.trace_rows import Row, Shape, first_row

# kernel/trace/ring_buffer.c: the upper bits of a page's commit word.
RB_MISSED_EVENTS: Final = 1 << 31
RB_MISSED_STORED: Final = 1 << 30
_COMMIT_MASK: Final = (1 << 20) - 1

# include/linux/ring_buffer.h, enum ring_buffer_type
RINGBUF_TYPE_DATA_TYPE_LEN_MAX: Final = 28
RINGBUF_TYPE_PADDING: Final = 29
RINGBUF_TYPE_TIME_EXTEND: Final = 30
RINGBUF_TYPE_TIME_STAMP: Final = 31
_TS_SHIFT: Final = 27
_ABSOLUTE: Final = (1 << 59) - 1  # a time stamp holds this much; the rest is that of the page

_WORD: Final = struct.Struct("=I")
_TWO_WORDS: Final = struct.Struct("=II")
_WORD_AND_TYPE: Final = struct.Struct("=IH")

# The bit field of 5 and 27 bits lies the other way round on big-endian machines.
_LITTLE: Final = sys.byteorder == "little"


class TraceEvent(NamedTuple):
    """One event: `at` is in nanoseconds of the trace clock, `values` are those of its layout, in order."""

    at: int
    name: str
    values: tuple[Any, ...]  # numbers, bytes of arrays, texts


class PageHeader(NamedTuple):
    """What events/header_page says: where a page has its commit word and its events, and how many bytes it has."""

    time: struct.Struct
    commit: struct.Struct
    commit_at: int
    data_at: int
    size: int


class BadPage(ValueError):
    """A page that no kernel writes; the events before the damage have been read."""


def parse_header_page(text: str) -> PageHeader:
    """Return what events/header_page says.  Raises ValueError, KeyError for anything else."""
    fields = parse_fields(text)
    commit = struct.Struct("=Q" if fields["commit"].size == 8 else "=I")
    data = fields["data"]
    return PageHeader(struct.Struct("=Q"), commit, fields["commit"].offset, data.offset, data.offset + data.size)


def read_page(
    page: bytes,
    header: PageHeader,
    layouts: Mapping[int, Layout],
    into: list[TraceEvent],
    rows: list[Row] | None = None,
    shape: Shape | None = None,
) -> int | None:
    """Append the events of one page that have a layout; return how many were lost before it, None if nobody counted.

    A row of events of that shape at the page's beginning is appended to `rows` instead: unfold() has its events.
    Raises BadPage.
    """
    try:
        base = header.time.unpack_from(page, 0)[0]
        commit = header.commit.unpack_from(page, header.commit_at)[0]
        end = header.data_at + (commit & _COMMIT_MASK)
        if end > len(page):
            raise BadPage(f"{end} bytes committed in a page of {len(page)}")
        at = header.data_at
        if rows is not None and shape is not None and (row := first_row(page, at, end, base, shape)) is not None:
            rows.append(row)
            at, base = row.end, row.at
        _read_events(page, at, end, base, layouts, into)
        return _lost(page, header, commit, end)
    except struct.error as error:
        raise BadPage(str(error)) from error


def unfold(row: Row, layouts: Mapping[int, Layout], into: list[TraceEvent]) -> None:
    """Append the events of a row."""
    _read_events(row.page, row.start, row.end, row.before, layouts, into)


def _lost(page: bytes, header: PageHeader, commit: int, end: int) -> int | None:
    if not commit & RB_MISSED_EVENTS:
        return 0
    if not commit & RB_MISSED_STORED:
        return None
    return int(header.commit.unpack_from(page, end)[0]) or None


# Written out in one loop: at some hundred thousand events a second every call counts.
def _read_events(
    page: bytes, at: int, end: int, now: int, layouts: Mapping[int, Layout], into: list[TraceEvent]
) -> None:
    unpack, get, append, new = _WORD_AND_TYPE.unpack_from, layouts.get, into.append, tuple.__new__
    while at + 8 <= end:
        word, kind = unpack(page, at)
        size, delta = (word & 31, word >> 5) if _LITTLE else (word >> 27, word & 0x7FFFFFF)
        if 0 < size <= RINGBUF_TYPE_DATA_TYPE_LEN_MAX:
            now += delta
            start = at + 4
            at = start + size * 4
            known = get(kind)
        elif size == 0:
            # Longer ones have their length in a word of its own, which counts itself.
            now += delta
            start = at + 8
            at += 4 + (_length(page, at) + 3 & ~3)
            known = get(_WORD_AND_TYPE.unpack_from(page, start - 4)[1])
        else:
            at, now = _time(page, at, size, delta, now)
            if at == 0:
                return
            continue
        if known is not None:
            if at > end:
                raise BadPage("an event reaches beyond its page")
            values = known.unpack.unpack_from(page, start)
            if known.located:
                values = _texts(known, values, page[start:at])
            append(new(TraceEvent, (now, known.name, values)))


def _length(page: bytes, at: int) -> int:
    length: int = _WORD.unpack_from(page, at + 4)[0]
    if length < 4 or length > len(page):
        raise BadPage(f"an event of {length} bytes")
    return length


# Padding, a long pause, or an absolute time.  Place 0 stands for the end of the page.
def _time(page: bytes, at: int, size: int, delta: int, now: int) -> tuple[int, int]:
    high = _WORD.unpack_from(page, at + 4)[0]
    if size == RINGBUF_TYPE_TIME_EXTEND:
        return at + 8, now + (high << _TS_SHIFT) + delta
    if size == RINGBUF_TYPE_TIME_STAMP:
        return at + 8, now & ~_ABSOLUTE | (high << _TS_SHIFT) + delta
    if delta == 0:
        return 0, now
    # An event that was discarded after it had been begun.
    return at + 4 + (_length(page, at) + 3 & ~3), now + delta


def _texts(known: Layout, values: tuple[Any, ...], event: bytes) -> tuple[Any, ...]:
    texts = list(values)
    for index in known.located:
        texts[index] = located_text(event, values[index])
    return tuple(texts)
