"""A trace instance of our own: a directory under tracefs/instances with its own buffers, events and filters."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Sequence
from typing import Final

from tracecorr.sources.trace_format import Format, parse_format

_PREFIX: Final = "tracecorr"
_AT_ONCE: Final = 256  # numbers in one write
_counter: Final = itertools.count(1)


def name_of_ours() -> str:
    """Return a name that tells whose instance it is: our process, and when it started (for ids are reused)."""
    return f"{_PREFIX}-{os.getpid()}-{_started(os.getpid())}-{next(_counter)}"


# The 22nd field of /proc/PID/stat (proc(5)), None where there is no such process.
def _started(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, IndexError):
        return None


def remove_stale(tracefs: str) -> list[str]:
    """Remove the instances of runs that were killed; return their names."""
    removed = []
    for name in os.listdir(f"{tracefs}/instances"):
        words = name.split("-")
        if len(words) != 4 or words[0] != _PREFIX or not all(word.isdigit() for word in words[1:]):
            continue
        if _started(int(words[1])) == int(words[2]):
            continue
        try:
            os.rmdir(f"{tracefs}/instances/{name}")
        except OSError:
            continue  # another run has just removed it, or somebody looks into it
        removed.append(name)
    return removed


class Instance:
    """One instance, silent until start().  Every method but close() raises OSError where the kernel refuses."""

    def __init__(self, tracefs: str, kilobytes: int) -> None:
        """Make the directory with a buffer of so many kilobytes per CPU."""
        self.path = f"{tracefs}/instances/{name_of_ours()}"
        os.mkdir(self.path)
        self.open = True
        try:
            self.write("tracing_on", "0")
            # Saving the names of tasks would hook into every switch of tasks on the host.
            self.write("trace_options", "norecord-cmd")
            self.write("trace_clock", "mono")
            self.write("buffer_size_kb", str(kilobytes))
        except BaseException:
            self.close()
            raise

    def write(self, name: str, text: str) -> None:
        """Write one file of the instance."""
        with open(f"{self.path}/{name}", "w", encoding="ascii") as file:
            file.write(text)

    def read(self, name: str) -> str:
        """Return one file of the instance."""
        with open(f"{self.path}/{name}", encoding="utf-8", errors="replace") as file:
            return file.read()

    def has(self, event: str) -> bool:
        """Say whether the kernel has the event "system/name"."""
        return os.path.isdir(f"{self.path}/events/{event}")

    def format_of(self, event: str) -> Format:
        """Return the layout of the event "system/name"."""
        return parse_format(self.read(f"events/{event}/format"))

    def enable(self, event: str, condition: str | None = None) -> None:
        """Record an event, filtered by the kernel where a condition is given."""
        if condition is not None:
            self.write(f"events/{event}/filter", condition)
        self.write(f"events/{event}/enable", "1")

    def disable(self, event: str) -> None:
        """Record an event no more."""
        self.write(f"events/{event}/enable", "0")

    def follow(self, tids: Iterable[int]) -> None:
        """Record these threads, and what they fork, alone; threads given before stay."""
        self.write("trace_options", "event-fork")
        file = os.open(f"{self.path}/set_event_pid", os.O_WRONLY | os.O_CLOEXEC)  # not truncated: it adds
        try:
            words = [str(tid) for tid in tids]
            for start in range(0, len(words), _AT_ONCE):
                os.write(file, " ".join(words[start : start + _AT_ONCE]).encode())
        finally:
            os.close(file)

    def start(self) -> None:
        self.write("tracing_on", "1")

    def cpus(self) -> Sequence[str]:
        """Return the directories of the CPUs' buffers."""
        names = [name for name in os.listdir(f"{self.path}/per_cpu") if name.startswith("cpu")]
        return [f"{self.path}/per_cpu/{name}" for name in sorted(names, key=lambda name: int(name[3:]))]

    def close(self) -> None:
        """Stop recording and remove the directory, with everything in it; again does nothing."""
        if not self.open:
            return
        self.open = False
        try:
            self.write("tracing_on", "0")
        finally:
            os.rmdir(self.path)
