"""Expressions of DWARF (DWARF 5, 2.5) as frames use them: no branches, so that each ends."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Final

from tracecorr.sources.bytes_cursor import Cursor

_WORD: Final = (1 << 64) - 1

_CONSTANTS: Final[dict[int, Callable[[Cursor], int]]] = {
    0x08: lambda cursor: cursor.number(1), 0x09: lambda cursor: cursor.number(1, signed=True),
    0x0A: lambda cursor: cursor.number(2), 0x0B: lambda cursor: cursor.number(2, signed=True),
    0x0C: lambda cursor: cursor.number(4), 0x0D: lambda cursor: cursor.number(4, signed=True),
    0x0E: lambda cursor: cursor.number(8), 0x0F: lambda cursor: cursor.number(8, signed=True),
    0x10: Cursor.uleb, 0x11: Cursor.sleb,
}  # fmt: skip
_PAIRS: Final[dict[int, Callable[[int, int], int]]] = {
    0x1A: operator.and_, 0x1C: operator.sub, 0x1E: operator.mul, 0x21: operator.or_, 0x22: operator.add,
    0x24: lambda a, b: a << min(b, 64), 0x25: lambda a, b: a >> min(b, 64), 0x27: operator.xor,
    0x29: operator.eq, 0x2A: operator.ge, 0x2B: operator.gt, 0x2C: operator.le, 0x2D: operator.lt, 0x2E: operator.ne,
}  # fmt: skip
_DEREF, _DUP, _DROP, _SWAP, _PLUS, _NOP = 0x06, 0x12, 0x13, 0x16, 0x23, 0x96
_LITERALS, _REGISTERS = range(0x30, 0x50), range(0x70, 0x90)


def evaluate(
    expression: bytes, registers: Mapping[int, int], word: Callable[[int], int | None], *first: int
) -> int | None:
    """Return what an expression gives, None where it does what frames do not, or asks for what is not known."""
    stack = list(first)
    cursor = Cursor(expression)
    try:
        while cursor.more():
            _step(cursor, stack, registers, word)
        return stack[-1] & _WORD
    except LookupError:
        return None


def _step(
    cursor: Cursor, stack: list[int], registers: Mapping[int, int], word: Callable[[int], int | None]
) -> None:  # fmt: skip
    code = cursor.number(1)
    if code in _REGISTERS:
        stack.append(registers[code - _REGISTERS.start] + cursor.sleb() & _WORD)
    elif code in _LITERALS:
        stack.append(code - _LITERALS.start)
    elif code in _CONSTANTS:
        stack.append(_CONSTANTS[code](cursor) & _WORD)
    elif code in _PAIRS:
        last = stack.pop()
        stack[-1] = int(_PAIRS[code](stack[-1], last)) & _WORD
    elif code == _DEREF:
        found = word(stack.pop())
        if found is None:
            raise LookupError("memory that was not copied")
        stack.append(found)
    elif code == _PLUS:
        stack[-1] = stack[-1] + cursor.uleb() & _WORD
    else:
        _shuffle(code, stack)


def _shuffle(code: int, stack: list[int]) -> None:
    if code == _DUP:
        stack.append(stack[-1])
    elif code == _DROP:
        stack.pop()
    elif code == _SWAP:
        stack[-2:] = [stack[-1], stack[-2]]
    elif code != _NOP:
        raise LookupError("an operation that no frame needs")
