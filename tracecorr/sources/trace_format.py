"""How the kernel lays out its trace events: events/SYSTEM/EVENT/format, read at start, never assumed."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

_FIELD: Final = re.compile(r"field:(.*?)(\w+)(?:\[(\w*)\])?;\s*offset:(\d+);\s*size:(\d+);\s*signed:(\d);")
_ID: Final = re.compile(r"^ID: (\d+)$", re.MULTILINE)
_NAME: Final = re.compile(r"^name: (\S+)$", re.MULTILINE)

# struct's letter for a number of so many bytes.
_UNSIGNED: Final = {1: "B", 2: "H", 4: "I", 8: "Q"}


class Field(NamedTuple):
    """One field of an event: where it is, and whether it is a number, an array, or text at a place of its own."""

    name: str
    offset: int
    size: int
    signed: bool
    array: bool
    located: bool


class Format(NamedTuple):
    """One kind of event."""

    name: str
    id: int
    fields: dict[str, Field]


class Layout(NamedTuple):
    """What we take of one kind of event: `unpack` gives it the names' values, of which `located` are text."""

    name: str
    unpack: struct.Struct
    located: Sequence[int]


def parse_format(text: str) -> Format:
    """Return what a format file says.  Raises ValueError for anything else."""
    number, name = _ID.search(text), _NAME.search(text)
    if number is None or name is None:
        raise ValueError("this is no description of a trace event")
    return Format(name[1], int(number[1]), parse_fields(text))


def parse_fields(text: str) -> dict[str, Field]:
    """Return the fields that a description names."""
    fields: dict[str, Field] = {}
    for kind, field, array, offset, size, signed in _FIELD.findall(text):
        located = "__data_loc" in kind
        is_array = bool(array) or (int(size) not in _UNSIGNED)
        fields[field] = Field(field, int(offset), int(size), signed == "1", is_array and not located, located)
    return fields


def layout(form: Format, names: Sequence[str], whole: Sequence[str] = ()) -> Layout:
    """Return how to take these fields, in this order of their places, out of an event's bytes.

    Those of `whole`, which lie behind them, come last and as the bytes that they are: see part().
    Raises KeyError where the kernel's event has no such field.
    """
    wanted = _in_order(form, names)
    if whole:
        rest = _in_order(form, whole)
        start, end = rest[0].offset, rest[-1].offset + rest[-1].size
        wanted.append(Field("", start, end - start, signed=False, array=True, located=False))
    return Layout(form.name, _struct(wanted, 0), [i for i, field in enumerate(wanted) if field.located])


def part(form: Format, whole: Sequence[str]) -> struct.Struct:
    """Return how to take fields out of the bytes that layout() left whole."""
    fields = _in_order(form, whole)
    return _struct(fields, fields[0].offset)


def _in_order(form: Format, names: Sequence[str]) -> list[Field]:
    wanted = sorted((form.fields[name] for name in names), key=lambda field: field.offset)
    if [field.name for field in wanted] != list(names):
        raise KeyError(f"{form.name}: the fields lie in another order than {', '.join(names)}")
    return wanted


def _struct(wanted: Sequence[Field], at: int) -> struct.Struct:
    code = "="
    for field in wanted:
        if field.offset > at:
            code += f"{field.offset - at}x"
        code += _code(field)
        at = field.offset + field.size
    return struct.Struct(code)


def _code(field: Field) -> str:
    if field.array:
        return f"{field.size}s"
    letter = _UNSIGNED[field.size]
    return letter.lower() if field.signed else letter


def located_text(data: bytes, word: int) -> str:
    """Return the text that a __data_loc field refers to: the low half is its place, the high half its length."""
    start, length = word & 0xFFFF, word >> 16
    return data[start : start + length].split(b"\0", 1)[0].decode("utf-8", "replace")
