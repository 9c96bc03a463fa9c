"""Records the kernel's events of some tasks, and of every connection, into instances of our own."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from contextlib import ExitStack
from typing import Final

from tracecorr.sources import tracefs_mount
from tracecorr.sources.ring_buffer import TraceEvent
from tracecorr.sources.trace_format import Format, Layout, layout, part
from tracecorr.sources.trace_instance import Instance, remove_stale
from tracecorr.sources.trace_reader import Buffers
from tracecorr.sources.trace_rows import Row, shape_of
from tracecorr.sources.trace_table import (
    CALLS,
    CLOSES,
    CONNECTIONS,
    ENDS_READ,
    READS,
    SENDS,
    SENDS_FIELDS,
    STATE,
    TASKS,
    TCP,
    Other,
)

# The kernel's memory for one CPU, and for all of them: a machine of 256 CPUs must not give a gigabyte.
_PER_CPU: Final = 4096  # KiB
_ALL_CPUS: Final = 128 * 1024
_LEAST: Final = 256

# A fork in progress copies the list of those that are followed; threads that it made are looked for again.
_LOOKS: Final = 100

# So many sockets fit into one condition.
_CONDITIONS: Final = 64


class Recorder:
    """Recording, from start() to close().  Methods raise OSError where the kernel refuses."""

    def __init__(self) -> None:
        self._open = ExitStack()
        try:
            tracefs = tracefs_mount.locate()
            self._open.callback(tracefs.close)
            remove_stale(tracefs.path)
            self._tasks = self._instance(tracefs.path, _kilobytes())
            self._connections = self._instance(tracefs.path, max(_LEAST, _kilobytes() // 4))
            self._layouts: dict[int, Layout] = {}
            self._watched: set[int] = set()
            self._left_out: list[int] = []
        except BaseException:
            self._open.close()
            raise

    def _instance(self, path: str, kilobytes: int) -> Instance:
        instance = Instance(path, kilobytes)
        self._open.callback(instance.close)
        return instance

    def start(self, tids: Iterable[int]) -> None:
        """Begin to record these threads, whatever they fork, and every connection."""
        self._tasks.follow(tids)
        for name, call in CALLS.items():
            self._call(f"syscalls/sys_enter_{name}", call.entry, call.arguments)
            self._call(f"syscalls/sys_exit_{name}", call.exit, 1)
        self._others(self._tasks, TASKS)
        self._others(self._connections, CONNECTIONS)
        form = self._tasks.format_of(SENDS)
        self._layouts[form.id] = layout(form, SENDS_FIELDS)
        shape = shape_of(self._tasks.format_of(CLOSES), "fd")
        self.buffers = Buffers([self._tasks, self._connections], self._layouts, shape)
        self._open.callback(self.buffers.close)
        self._tasks.start()
        self._connections.start()

    # Not every architecture has every call.
    def _call(self, event: str, condition: str | None, arguments: int) -> None:
        if condition is None or not self._tasks.has(event):
            return
        form = self._tasks.format_of(event)
        self._layouts[form.id] = layout(form, ["common_pid", *_arguments(form)[:arguments]])
        self._tasks.enable(event, condition or None)

    def _others(self, instance: Instance, events: dict[str, Other]) -> None:
        for event, other in events.items():
            if instance.has(event):
                form = instance.format_of(event)
                self._layouts[form.id] = layout(form, other.fields, other.whole)
                if event == STATE:
                    self.ends = part(form, other.whole)
                instance.enable(event, other.condition)

    def follow(self, pids: Iterable[int]) -> dict[int, list[int]]:
        """Follow all threads of these processes; return them, by process.  Those that are gone are left out."""
        found: dict[int, list[int]] = {}
        known: set[int] = set()
        for _ in range(_LOOKS):
            found = {pid: tids for pid in pids if (tids := _threads(pid))}
            new = {tid for tids in found.values() for tid in tids} - known
            if not new:
                break
            self._tasks.follow(new)
            known |= new
        return found

    def attend(self) -> None:
        """From now on somebody reads: wake him when a buffer is a quarter full (Linux 5.0)."""
        for instance in (self._tasks, self._connections):
            if os.path.exists(f"{instance.path}/buffer_percent"):
                instance.write("buffer_percent", "25")

    def watch(self, sockets: Collection[int]) -> None:
        """Record what is written to these sockets, and all that is read of them, not only ends of file."""
        if sockets == self._watched:
            return
        self._watched = set(sockets)
        if not sockets:
            self._tasks.disable(SENDS)
            self._tasks.enable(READS, ENDS_READ)
            return
        # The kernel takes no condition that is longer than a page.
        few = len(sockets) <= _CONDITIONS
        these = " || ".join(f"sk == {socket:#x}" for socket in sockets) if few else TCP
        self._tasks.enable(READS, f"({ENDS_READ}) || {these}")
        self._tasks.enable(SENDS, these)

    def leave_out(self, ports: Collection[int]) -> None:
        """Record no connection to one of these remote ports: of a server on this host they are its clients' ends."""
        few = sorted(ports)[:_CONDITIONS]
        if few != self._left_out:
            self._left_out = few
            condition = " && ".join([f"({CONNECTIONS[STATE].condition})", *(f"dport != {port}" for port in few)])
            self._connections.enable(STATE, condition)

    def followed(self) -> set[int]:
        """Return the threads whose events the kernel records now."""
        return {int(word) for word in self._tasks.read("set_event_pid").split() if word.isdigit()}

    def read(self, into: list[TraceEvent], rows: list[Row]) -> int:
        """Append the events that there are; return the time up to which they are complete, on the trace clock."""
        return self.buffers.read(into, rows)

    def close(self) -> None:
        """Stop, and take everything of ours out of the kernel; again does nothing."""
        self._open.close()


def _arguments(form: Format) -> list[str]:
    fields = sorted(form.fields.values(), key=lambda field: field.offset)
    return [field.name for field in fields if not field.name.startswith("common_") and field.name != "__syscall_nr"]


def _threads(pid: int) -> list[int]:
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _kilobytes() -> int:
    return max(_LEAST, min(_PER_CPU, _ALL_CPUS // (os.cpu_count() or 1)))
