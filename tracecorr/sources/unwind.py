"""From the registers of a stopped thread and a copy of its stack to the places that called each other.

The rules of .eh_frame come first; where there are none the chain of frame pointers is followed (System V ABI of x86-64,
3.2.2; AAPCS64, 6.4.6).  A stack that makes no sense ends where it ceases to: every frame lies above the one before.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from tracecorr.sources.dwarf_expression import evaluate
from tracecorr.sources.frame_rules import Rule, Rules
from tracecorr.sources.memory_map import MemoryMap

_WORD: Final = (1 << 64) - 1
_LAYOUT: Final = struct.Struct("<Q")


class Machine(NamedTuple):
    """Where PTRACE_GETREGSET has the registers that DWARF numbers, and which of them are the pointers.

    `code` are the bits of a return address that are no signature of it (pointer authentication).
    """

    places: tuple[int, ...]
    counter: int
    stack: int
    frame: int
    code: int


# System V ABI of x86-64, figure 3.36; DWARF for the Arm 64-bit Architecture, 4.1.
MACHINES: Final = {
    "x86_64": Machine((10, 12, 11, 5, 13, 14, 4, 19, 9, 8, 7, 6, 3, 2, 1, 0, 16), 16, 7, 6, _WORD),
    "aarch64": Machine(tuple(range(33)), 32, 31, 29, (1 << 48) - 1),
}


class Snapshot(NamedTuple):
    """A thread at a stop: its registers as DWARF numbers them, the stack from its pointer on, the code around."""

    machine: Machine
    registers: dict[int, int]
    stack: bytes
    codes: MemoryMap


def frames(snapshot: Snapshot, limit: int) -> Iterator[str]:
    """Yield the places, the innermost first, as strace -k writes them."""
    machine, registers, after_call = snapshot.machine, dict(snapshot.registers), False
    base = registers[machine.stack]
    memory = _Copied(base, snapshot.stack)
    for depth in range(limit):
        found = snapshot.codes.place(registers[machine.counter], after_call=after_call)
        if found is None:
            return
        place, text = found
        yield text
        above = registers[machine.stack]
        caller = _caller(machine, registers, memory, place.rules)
        # Only a function that has not used the stack yet, on a machine with a link register, leaves it as it was.
        if caller is None or not above + (depth > 0) <= caller[machine.stack] <= base + len(snapshot.stack):
            return
        registers, after_call = caller, not (place.rules is not None and place.rules.signal)


class _Copied:
    def __init__(self, base: int, data: bytes) -> None:
        self._base, self._data, self._last = base, data, len(data) - 8

    def word(self, address: int) -> int | None:
        place = address - self._base
        return int(_LAYOUT.unpack_from(self._data, place)[0]) if 0 <= place <= self._last else None


def _caller(machine: Machine, registers: dict[int, int], memory: _Copied, rules: Rules | None) -> dict[int, int] | None:
    if rules is None:
        return _by_frame_pointer(machine, registers, memory)
    if rules.expression is not None:
        frame = evaluate(rules.expression, registers, memory.word)
    else:
        frame = registers.get(rules.register, 0) + rules.offset & _WORD
    if frame is None:
        return None
    found = {**registers, machine.stack: frame}
    for number, rule in rules.saved.items():
        value = _recovered(rule, frame, registers, memory)
        if value is None:
            found.pop(number, None)
        else:
            found[number] = value
    back = found.get(rules.back)
    if back is None or machine.stack not in found:
        return None
    found[machine.counter] = back & machine.code
    return found


def _recovered(rule: Rule, frame: int, registers: dict[int, int], memory: _Copied) -> int | None:
    if rule.how == "at":
        return memory.word(frame + rule.value & _WORD)
    if rule.how == "is":
        return frame + rule.value & _WORD
    if rule.how == "in":
        return registers.get(rule.value)
    if not rule.expression:
        return None
    value = evaluate(rule.expression, registers, memory.word, frame)
    return memory.word(value) if value is not None and rule.how == "at=" else value


# Both machines keep the caller's frame pointer there, and the return address above it.
def _by_frame_pointer(machine: Machine, registers: dict[int, int], memory: _Copied) -> dict[int, int] | None:
    frame = registers.get(machine.frame)
    if frame is None:
        return None
    before, back = memory.word(frame), memory.word(frame + 8)
    if before is None or not back:
        return None
    return {**registers, machine.frame: before, machine.counter: back & machine.code, machine.stack: frame + 16}
