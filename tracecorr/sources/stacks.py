"""Where in its program a traced thread makes the calls that begin, copy or end a reference to a connection.

At a stop only registers, stack and (once for each process) the map of its code are taken; what they mean is worked out
when the thread runs on.
"""

from __future__ import annotations

from typing import Final

from tracecorr.sources import procfs
from tracecorr.sources.memory_map import MemoryMap
from tracecorr.sources.program_image import Images
from tracecorr.sources.ptrace_calls import MACHINE, memory
from tracecorr.sources.syscall_info import WORDS, registers
from tracecorr.sources.system_calls import CALLS
from tracecorr.sources.tracee import Tracee
from tracecorr.sources.unwind import MACHINES, Snapshot, frames
from tracecorr.syscalls.record import STACK_FRAMES
from tracecorr.syscalls.table import READ_FAMILY

_MOST_BYTES: Final = 1 << 16  # of a stack

_TOLD: Final = frozenset(
    [
        "socket", "socketpair", "accept", "accept4", "connect", "dup", "dup2", "dup3", "fcntl", "fork", "vfork",
        "clone", "clone3", "sendmsg", "sendmmsg", "recvmsg", "recvmmsg", "pidfd_getfd", "shutdown", "close",
        "close_range", "exit", "exit_group",
    ]
)  # fmt: skip

# Calls that may put other code where some was: mmap(2) and mprotect(2) with PROT_EXEC, which is in the third argument.
_MAPPING: Final = frozenset(number for number, name in CALLS.items() if name in ("mmap", "mprotect"))
_PROTECTION: Final = 6
_PROT_EXEC: Final = 4


class Stacks:
    """The stacks of one tracing."""

    mapping: Final = _MAPPING

    def __init__(self) -> None:
        self._machine = MACHINES[MACHINE]
        self._images = Images()
        self._maps: dict[int, MemoryMap] = {}
        self._pending: list[tuple[Snapshot, list[str]]] = []

    def take(self, tracee: Tracee, name: str, result: int | None) -> list[str] | None:
        """Return the stack of a stopped thread, empty until settle(); None where nobody will ask for it."""
        if name not in _TOLD and not (name in READ_FAMILY and result == 0):
            return None
        found = registers(tracee.tid)
        if found is None:
            return None
        named = {number: found[place] for number, place in enumerate(self._machine.places)}
        codes = self._map(tracee)
        if codes.code(named[self._machine.counter]) is None:
            self.forget(tracee)
            codes = self._map(tracee)
        stack = memory(tracee.tid, named[self._machine.stack], _MOST_BYTES)
        told: list[str] = []
        self._pending.append((Snapshot(self._machine, named, stack, codes), told))
        return told

    def settle(self) -> None:
        """Work out the stacks that have been taken."""
        for snapshot, told in self._pending:
            told.extend(frames(snapshot, STACK_FRAMES))
        self._pending.clear()

    def remapped(self, tracee: Tracee) -> None:
        """The thread, whose entry is in WORDS, makes one of the calls in `mapping`."""
        if WORDS[_PROTECTION] & _PROT_EXEC:
            self.forget(tracee)

    def forget(self, tracee: Tracee) -> None:
        """The process runs other code, or has ended."""
        if self._maps:
            self._maps.pop(self._process(tracee), None)

    def _map(self, tracee: Tracee) -> MemoryMap:
        process = self._process(tracee)
        found = self._maps.get(process)
        if found is None:
            found = self._maps[process] = MemoryMap(tracee.tid, self._images)
        return found

    def _process(self, tracee: Tracee) -> int:
        if tracee.process is None:
            tracee.process = procfs.process_of(tracee.tid)
        return tracee.process

    def close(self) -> None:
        """Let go of the files."""
        self._images.close()
