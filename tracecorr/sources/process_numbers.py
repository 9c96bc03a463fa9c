"""Numbers of processes as other pid namespaces know them (pid_namespaces(7))."""

from __future__ import annotations

import os
from typing import Final

_UNKNOWN: Final = -1


class ProcessNumbers:
    """Maps numbers of other pid namespaces to ours: one dict a namespace, None for our own."""

    def __init__(self) -> None:
        self._ours = _namespace("self")
        self._by_namespace: dict[int, dict[int, int]] = {}

    def of(self, tid: int) -> dict[int, int] | None:
        """Return the map of the namespace that a thread is in, and note its number there."""
        namespace = _namespace(str(tid))
        if namespace in (self._ours, _UNKNOWN):
            return None
        local = self._by_namespace.setdefault(namespace, {})
        numbers = _numbers(tid)
        if numbers:
            local[numbers[-1]] = tid
        return local

    def of_child(self, tid: int, parents: dict[int, int] | None) -> dict[int, int] | None:
        """Return the map for a new thread or process; its parent may know it by a number of another namespace."""
        local = self.of(tid)
        if parents is not None and local is not parents:
            numbers = _numbers(tid)
            if len(numbers) > 1:
                parents[numbers[-2]] = tid
        return local

    def ours(self, local: dict[int, int] | None, number: int) -> int | None:
        """Return our number of the process that a thread with that map calls `number`; None when it is unknown."""
        return number if local is None else local.get(number)


def _namespace(pid: str) -> int:
    try:
        return os.stat(f"/proc/{pid}/ns/pid").st_ino
    except OSError:
        return _UNKNOWN


# NSpid has the number in each namespace, from ours to its own (proc(5)).
def _numbers(tid: int) -> list[int]:
    try:
        with open(f"/proc/{tid}/status", "rb") as stream:
            line = next((line for line in stream if line.startswith(b"NSpid:")), b"")
    except OSError:
        return []
    return [int(word) for word in line.split()[1:]]
