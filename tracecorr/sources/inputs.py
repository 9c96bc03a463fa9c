"""Paths into traces: which files there are, of which format, and which belong together (strace -ff)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from tracecorr.errors import UnreadableInput, UnrecognisedLog
from tracecorr.events import Gap
from tracecorr.sources.all import LOG_FORMATS
from tracecorr.sources.base import LogFormat, Tally
from tracecorr.sources.blocks import LONGEST_LINE, Input, Progress
from tracecorr.sources.dressing import both, undressings, washing
from tracecorr.sources.merge import Merge, forked_in
from tracecorr.sources.recording import NAME as RECORDING
from tracecorr.sources.wrapping import wrapped
from tracecorr.syscalls.record import Record

_SUFFIX: Final = re.compile(r"(.+)\.(\d{1,10})(\.gz|\.xz|\.zst|\.bz2)?")
_COLUMN: Final = re.compile(rb"(?m)^(?:\[pid +\d+|\d{1,7} +(?:[a-z_]\w*\(|\d\d:|\d{8,}\.|\+\+\+|---|<\.\.\.))")
_HEAD_LINES: Final = 400


@dataclass(slots=True)
class Trace:
    """One recording: a log, or the logs of one `strace -ff`.

    `pids` are the tasks that have a log of their own, `medium` is the word for it in reports.  `opened` is an input
    whose beginning was looked at and that can be read only once; `kept` has the bytes of such a one.
    """

    paths: list[str]
    pids: list[int] | None = None
    tallies: list[Tally] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    unordered: bool = False
    skim: int | None = None
    medium: str = "log"
    opened: Input | None = None
    kept: IO[bytes] | None = None

    @property
    def follows(self) -> bool:
        """Whether the log names the tasks of its lines, as it does when children are traced."""
        return self.pids is not None or any(tally.columns for tally in self.tallies)

    def records(self, progress: Progress | None = None) -> Iterator[Record]:
        """Yield the records of all its logs in order; `tallies` and `gaps` are complete when it ends."""
        if self.pids is None:
            yield from self._read(self.paths[0], None, progress)
            return
        files = dict(zip(self.pids, self.paths, strict=True))
        children = {child for path in self.paths for child in _forked(path)}
        streams = {pid: self._read(path, pid, progress) for pid, path in files.items()}
        merge = Merge(streams, children)
        self.unordered = all(tally.clock is None or tally.first is None for tally in self.tallies)
        yield from merge

    def _read(self, path: str, pid: int | None, progress: Progress | None) -> Iterator[Record]:
        source, self.opened = self.opened or Input(path, progress, self.kept), None
        try:
            if pid is not None and not source.head:
                return  # strace -ff: a task that made no call
            format_ = format_of(source)
            tally = Tally(
                source.name, format_.NAME, pid=pid, every_line=pid is not None, skim=self.skim, size=source.plain_size,
                progress=source.progress,
            )  # fmt: skip
            self.tallies.append(tally)
            if format_.NAME == RECORDING:
                self.medium = "trace"
            yield from format_.read(source.blocks(), tally)
            self._note(source, tally)
        finally:
            source.close()

    def _note(self, source: Input, tally: Tally) -> None:
        for line in source.cut_lines[:3]:
            why = f"the line is longer than {LONGEST_LINE >> 20} MiB: only its beginning was read"
            self.gaps.append(Gap("a line was cut", why, None, tally.name, line))
        if tally.cut:
            why = f"the lines of {tally.cut} calls were cut: what they returned is unknown"
            ask = "strace -f -tt -T -yy -o FILE, and the file as it is"
            self.gaps.append(Gap("lines were cut", why, ask, tally.name))
        if tally.headless:
            why = f"{tally.headless} calls began before the log, so their arguments are unknown"
            ask = "lsof -nP -p PID beside the log, for what was open before"
            self.gaps.append(Gap("the log starts in the middle", why, ask, tally.name, 1))


def _forked(path: str) -> set[int]:
    source = Input(path)
    try:
        return forked_in(source.blocks())
    finally:
        source.close()


def format_of(source: Input) -> LogFormat:
    """Return the one format that claims this input; raise UnrecognisedLog with what it looks like instead."""
    head = source.head
    if not head.strip():
        raise UnrecognisedLog(f"{source.name}: the file is empty")
    source.undress = washing(head)
    start = b"\n".join((head if source.undress is None else source.undress(head)).split(b"\n")[:_HEAD_LINES])
    claims = _claims(source, start)
    for undress in undressings(start) if len(claims) != 1 and b"\0" not in start else ():
        if len(dressed := _claims(source, undress(start))) == 1:
            claims = dressed
            source.undress = undress if source.undress is None else both(source.undress, undress)
            break
    if len(claims) == 1:
        return claims[0]
    raise UnrecognisedLog(f"{source.name}:1: {_looks_like(head)}")


# Lines that were broken are put together first: what is left of them may look like a log, but calls would be missing.
def _claims(source: Input, head: bytes) -> list[LogFormat]:
    broken = wrapped(head)
    source.unwrap = broken.unwrap if broken is not None else None
    text = b"".join(broken.unwrap([head])) if broken is not None else head
    lines = text.split(b"\n")
    return [format_ for format_ in LOG_FORMATS.values() if format_.recognises(lines)]


def _looks_like(head: bytes) -> str:
    if b"\0" in head[:4096]:
        return "this is a binary file: neither a log of system calls nor a capture (pcap, pcapng, snoop)"
    if b"% time" in head[:200] and b"usecs/call" in head[:400]:
        return "this is the summary of strace -c: it has counts and no calls; record without -c"
    if re.search(rb"(?m)^[^\n\"]{0,60}\bSYS_[a-z]\w{1,40}\(", head[:4096]):
        return "this is a log of ltrace, which lacks what strace shows: record with strace -f -tt -T -yy"
    first = head.split(b"\n", 1)[0][:80].decode("utf-8", "backslashreplace")
    return f"no log of a known format; it begins with {first!r}"


def traces_of(paths: list[str], opened: Collection[str] = ("-",)) -> list[Trace]:
    """Return the recordings that the paths name: files, `-`, directories, and prefixes of strace -ff sets.

    Those that are `opened` can be read only once, and are none of a set.
    """
    files = [file for path in paths for file in files_of(path)]
    traces: list[Trace] = []
    sets: dict[str, Trace] = {}
    for path in dict.fromkeys(files):
        match = _SUFFIX.fullmatch(path) if path not in opened and path != "-" else None
        if match is None or not _lacks_pids(path):
            traces.append(Trace([path]))
            continue
        known = sets.get(match[1])
        if known is None or known.pids is None:
            sets[match[1]] = Trace([path], [int(match[2])])
            traces.append(sets[match[1]])
        else:
            known.paths.append(path)
            known.pids.append(int(match[2]))
    for trace in traces:
        if trace.pids is not None and not any(os.path.getsize(path) for path in trace.paths):
            raise UnrecognisedLog(f"{trace.paths[0]}: the file is empty")
    return traces


def files_of(path: str, wanted: Callable[[str], bool] | None = None) -> list[str]:
    """Return the files that a path stands for; of a directory those that are `wanted`, logs if nothing is said."""
    if path == "-":
        return [path]
    place = Path(path)
    try:
        is_directory, exists = place.is_dir(), place.exists()
    except OSError as error:
        raise UnreadableInput(f"{path}: {error.strerror}") from error
    if is_directory:
        return _wanted_in(place, wanted or is_log)
    if exists:
        return [path]
    siblings = sorted(
        (int(match[2]), str(file))
        for file in (place.parent.iterdir() if place.parent.is_dir() else ())
        if file.is_file() and (match := _SUFFIX.fullmatch(str(file))) and Path(match[1]) == place
    )
    if not siblings:
        raise UnreadableInput(f"{path}: No such file or directory")
    return [file for _, file in siblings]


def _wanted_in(place: Path, wanted: Callable[[str], bool]) -> list[str]:
    files = sorted(str(file) for file in place.iterdir() if file.is_file())
    logs = [file for file in files if wanted(file)]
    if not logs:
        raise UnrecognisedLog(f"{place}: no log of a known format in this directory")
    # A task of a set that made no call has an empty file.
    sets = {match[1] for file in logs if (match := _SUFFIX.fullmatch(file))}
    empty = [f for f in files if not os.path.getsize(f) and (match := _SUFFIX.fullmatch(f)) and match[1] in sets]
    return sorted(logs + empty)


def is_log(path: str) -> bool:
    """Say whether a file is a log of calls."""
    try:
        source = Input(path)
    except UnreadableInput:
        return False
    try:
        format_of(source)
    except UnrecognisedLog:
        return False
    finally:
        source.close()
    return True


# A file of strace -ff has its task in its name and none in its lines; a rotated log (trace.log.1) has it in its lines.
def _lacks_pids(path: str) -> bool:
    source = Input(path)
    try:
        undress = washing(source.head)
        head = source.head if undress is None else undress(source.head)
        lines = head.split(b"\n")[:_HEAD_LINES]
        if not source.head and not Path(path).with_suffix("").exists():
            return True  # of a set: a task that made no call
        return LOG_FORMATS["strace"].recognises(lines) and not _COLUMN.search(head)
    finally:
        source.close()
