"""Rows: many events of one kind, one behind the other in a page, that are looked at as columns and not one by one.

A server that opens a file for each request closes tens of thousands a second, and none of these closes matters.
"""

from __future__ import annotations

import sys
from typing import Final, NamedTuple

from tracecorr.sources.trace_format import Format

# Shorter rows are not worth it.
_LEAST: Final = 8
# include/linux/ring_buffer.h: the first word of an event has its length in words in the lowest bits.
_LENGTH_BITS: Final = 5
_LENGTH: Final = (1 << _LENGTH_BITS) - 1
_LONGEST: Final = 28
_TYPE: Final = 0xFFFF
_WORD: Final = 4


class Shape(NamedTuple):
    """Events of one kind: how long they are, and where they have thread and number, in words from their first."""

    kind: int
    length: int
    thread: int
    number: int


class Row(NamedTuple):
    """A row: where it lies in its page, the time before its first event and (`at`) of its last, and what they name."""

    page: bytes
    start: int
    end: int
    before: int
    at: int
    threads: frozenset[int]
    numbers: frozenset[int]


def shape_of(form: Format, number: str) -> Shape | None:
    """Return the shape of an event whose field `number` is of interest, None where rows of it cannot be read."""
    thread, field = form.fields["common_pid"], form.fields[number]
    end = max(each.offset + each.size for each in form.fields.values())
    if sys.byteorder != "little" or (thread.offset | field.offset | end) % _WORD or end // _WORD > _LONGEST:
        return None
    return Shape(form.id, end // _WORD + 1, thread.offset // _WORD + 1, field.offset // _WORD + 1)


def first_row(page: bytes, start: int, end: int, before: int, shape: Shape) -> Row | None:
    """Return the row that a page begins with, None where there is none; `before` is the time of the page."""
    size = shape.length * _WORD
    words = memoryview(page)[start : start + (end - start) // size * size].cast("I")
    heads, kinds = words[:: shape.length].tolist(), words[1 :: shape.length].tolist()
    count = next(
        (
            place
            for place, (head, kind) in enumerate(zip(heads, kinds, strict=True))
            if head & _LENGTH != shape.length - 1 or kind & _TYPE != shape.kind
        ),
        len(heads),
    )
    if count < _LEAST:
        return None
    stop = count * shape.length
    return Row(
        page, start, start + count * size, before, before + sum(head >> _LENGTH_BITS for head in heads[:count]),
        frozenset(words[shape.thread : stop : shape.length].tolist()),
        frozenset(words[shape.number : stop : shape.length].tolist()),
    )  # fmt: skip
