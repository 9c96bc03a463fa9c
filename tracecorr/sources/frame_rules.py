"""What .eh_frame says of a place in a program: where its frame is, and where the caller's registers are.

DWARF 5, 6.4 (call frame information); Linux Standard Base 5, Core, 10.6 (.eh_frame, .eh_frame_hdr).  Only the entry of
the place that is asked for is read, found by the sorted table in .eh_frame_hdr, however large the program is.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tracecorr.sources.bytes_cursor import Cursor
from tracecorr.sources.elf_file import PT_GNU_EH_FRAME, ElfFile

# The one form in which linkers write the table: numbers of 32 bits, relative to the section.
_TABLE: Final = b"\x03\x3b"
_LARGEST: Final = 1 << 16  # bytes of an entry
_MOST_ENTRIES: Final = 1 << 23
_DEEPEST: Final = 64  # remembered states


class Rule(NamedTuple):
    """Where a register of the caller is.

    "at" CFA + value, "is" CFA + value, "in" the register `value`, "undefined"; "at=" and "is=" give an expression.
    """

    how: str
    value: int = 0
    expression: bytes = b""


@dataclass(slots=True)
class Rules:
    """The frame of one place: the canonical frame address is register + offset, or an expression.

    `back` is the register that stands for the return address.  A frame of a `signal` was not left by a call.
    """

    register: int = 0
    offset: int = 0
    expression: bytes | None = None
    saved: dict[int, Rule] = field(default_factory=dict)
    back: int = 16
    signal: bool = False


@dataclass(slots=True)
class _Common:
    instructions: bytes
    code: int
    data: int
    back: int
    augmented: bool
    encoding: int = 0
    signal: bool = False


class FrameRules:
    """The call frame information of a file."""

    def __init__(self, elf: ElfFile) -> None:
        self._elf = elf
        self._base = 0
        self._table = memoryview(b"").cast("i")
        header = elf.segment(PT_GNU_EH_FRAME)
        if header is None:
            return
        self._base = header.address
        with suppress(IndexError):
            self._read_table(Cursor(elf.read(header.offset, min(header.size, 12 + 8 * _MOST_ENTRIES)), header.address))

    def _read_table(self, cursor: Cursor) -> None:
        version, encoding = cursor.number(1), cursor.number(1)
        if version == 1 and cursor.block(2) == _TABLE:
            cursor.pointer(encoding)
            count = cursor.number(4)
            self._table = memoryview(cursor.block(8 * count)).cast("i")

    def at(self, address: int) -> Rules | None:
        """Return the rules of an address in the file's own numbering, None where nothing is told of it."""
        place = bisect_right(self._table[0::2], address - self._base) - 1
        if place < 0:
            return None
        try:
            return self._entry(self._base + self._table[2 * place + 1], address)
        except IndexError:
            return None

    def _entry(self, where: int, address: int) -> Rules | None:
        cursor = self._cursor(where)
        back = cursor.number(4)
        common = self._common(where + 4 - back)
        start = cursor.pointer(common.encoding)
        if not start <= address < start + cursor.pointer(common.encoding & 0x0F):
            return None
        if common.augmented:
            cursor.block(cursor.uleb())
        program = _Program(common)
        program.run(common.instructions, start, None)
        program.initial = dict(program.rules.saved)
        program.run(cursor.data[cursor.at :], start, address)
        return program.rules

    # An entry begins with its length; one that has 64 bits occurs in no .eh_frame.
    def _cursor(self, where: int) -> Cursor:
        offset = self._elf.offset(where)
        if offset is None:
            raise IndexError("not in the file")
        length = int.from_bytes(self._elf.read(offset, 4), "little")
        if not 4 < length < _LARGEST:
            raise IndexError("no entry")
        return Cursor(self._elf.read(offset + 4, length), where + 4)

    def _common(self, where: int) -> _Common:
        cursor = self._cursor(where)
        cursor.number(4)
        version, augmentation = cursor.number(1), cursor.text()
        code, data = cursor.uleb(), cursor.sleb()
        back = cursor.number(1) if version == 1 else cursor.uleb()
        common = _Common(b"", code, data, back, augmentation.startswith(b"z"))
        if common.augmented:
            more = Cursor(cursor.block(cursor.uleb()))
            for letter in augmentation[1:]:
                _augment(common, letter, more)
        common.instructions = cursor.data[cursor.at :]
        return common


def _augment(common: _Common, letter: int, more: Cursor) -> None:
    if letter == ord("R"):
        common.encoding = more.number(1)
    elif letter == ord("L"):
        more.number(1)
    elif letter == ord("P"):
        more.pointer(more.number(1) & 0x0F)
    elif letter == ord("S"):
        common.signal = True


class _Program:
    """Runs the instructions that lead from the start of a function to a place in it."""

    def __init__(self, common: _Common) -> None:
        self.rules = Rules(back=common.back, signal=common.signal)
        self.initial: dict[int, Rule] = {}
        self._code, self._data = common.code, common.data
        self._encoding = common.encoding
        self._kept: list[tuple[int, int, bytes | None, dict[int, Rule]]] = []

    def run(self, instructions: bytes, here: int, until: int | None) -> None:
        cursor = Cursor(instructions)
        while cursor.more():
            byte = cursor.number(1)
            high, low = byte & 0xC0, byte & 0x3F
            if high == 0x40 or byte in _ADVANCES:
                here += self._code * (low if high else cursor.number(_ADVANCES[byte]))
                if until is not None and here > until:
                    return
            elif high == 0x80:
                self.rules.saved[low] = Rule("at", cursor.uleb() * self._data)
            elif high:
                self._restore(low)
            else:
                operands, act = _ACTIONS.get(byte, ("?", _nothing))
                act(self, *(_OPERANDS[each](cursor) for each in operands))

    def _restore(self, register: int) -> None:
        if register in self.initial:
            self.rules.saved[register] = self.initial[register]
        else:
            self.rules.saved.pop(register, None)

    def save(self, how: str, register: int, value: int) -> None:
        self.rules.saved[register] = Rule(how, value)

    def factored(self, how: str, register: int, value: int) -> None:
        self.rules.saved[register] = Rule(how, value * self._data)

    def computed(self, how: str, register: int, expression: bytes) -> None:
        self.rules.saved[register] = Rule(how, 0, expression)

    def frame(self, register: int | None, offset: int | None) -> None:
        rules = self.rules
        rules.expression = None
        rules.register = register if register is not None else rules.register
        rules.offset = offset if offset is not None else rules.offset

    def frame_factored(self, register: int | None, offset: int) -> None:
        self.frame(register, offset * self._data)

    def frame_computed(self, expression: bytes) -> None:
        self.rules.expression = expression

    def remember(self) -> None:
        rules = self.rules
        if len(self._kept) >= _DEEPEST:
            raise IndexError("too many states")
        self._kept.append((rules.register, rules.offset, rules.expression, dict(rules.saved)))

    def recall(self) -> None:
        rules = self.rules
        rules.register, rules.offset, rules.expression, rules.saved = self._kept.pop()

    restore = _restore


def _nothing(*_: object) -> None:
    pass


def _unknown(_: Cursor) -> int:
    raise IndexError("an unknown instruction")


_ADVANCES: Final = {0x02: 1, 0x03: 2, 0x04: 4}
_OPERANDS: Final[dict[str, Callable[[Cursor], int | bytes]]] = {
    "u": Cursor.uleb, "s": Cursor.sleb, "b": lambda cursor: cursor.block(cursor.uleb()), "?": _unknown,
}  # fmt: skip
_P = _Program
# DW_CFA_*: the operands, and what they do.  negate_ra_state (0x2d) says that the return address is signed.
_ACTIONS: Final[dict[int, tuple[str, Callable[..., None]]]] = {
    0x00: ("", _nothing),
    0x05: ("uu", lambda program, register, value: _P.factored(program, "at", register, value)),
    0x06: ("u", _P.restore),
    0x07: ("u", lambda program, register: _P.save(program, "undefined", register, 0)),
    0x08: ("u", lambda program, register: program.rules.saved.pop(register, None)),
    0x09: ("uu", lambda program, register, other: _P.save(program, "in", register, other)),
    0x0A: ("", _P.remember),
    0x0B: ("", _P.recall),
    0x0C: ("uu", _P.frame),
    0x0D: ("u", lambda program, register: _P.frame(program, register, None)),
    0x0E: ("u", lambda program, offset: _P.frame(program, None, offset)),
    0x0F: ("b", _P.frame_computed),
    0x10: ("ub", lambda program, register, data: _P.computed(program, "at=", register, data)),
    0x11: ("us", lambda program, register, value: _P.factored(program, "at", register, value)),
    0x12: ("us", _P.frame_factored),
    0x13: ("s", lambda program, offset: _P.frame_factored(program, None, offset)),
    0x14: ("uu", lambda program, register, value: _P.factored(program, "is", register, value)),
    0x15: ("us", lambda program, register, value: _P.factored(program, "is", register, value)),
    0x16: ("ub", lambda program, register, data: _P.computed(program, "is=", register, data)),
    0x2D: ("", _nothing),
    0x2E: ("u", _nothing),
    0x2F: ("uu", lambda program, register, value: _P.factored(program, "at", register, -value)),
}
