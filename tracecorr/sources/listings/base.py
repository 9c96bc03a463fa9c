"""Contract of listings, and what they are drawn up in while they are read.

A listing is what netstat, ss, lsof, pfiles … print of a host at one instant.  It becomes a Snapshot, as a look at the
live host does, with less in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from tracecorr.events import Gap, Origin
from tracecorr.kernel import TcpState
from tracecorr.snapshot import DescriptorRow, Ends, ProcessRow, Snapshot, SocketRow
from tracecorr.sources.base import Tally
from tracecorr.sources.listings.fuse import pair

# Of a line of a head: enough to know it by.
_HEAD_LINE: Final = 1000
# No tool writes longer lines, but for JSON: what follows is cut off.
LONGEST_LINE: Final = 10_000
# A shell's prompt, with the command that printed the listing: of sh, of csh, of Windows.
_PROMPT: Final = re.compile(
    r"\s*(?:\(\S+\) ?)?(?:\[?[\w.-]+@[\w.-]+[^#$%>]{0,80}[#$%>](?:\s.*)?|(?:bash|sh|ksh)-\d[\w.]*[#$](?:\s.*)?"
    r"|[$#%](?:\s+\S.*)?|(?:PS )?[A-Z]:\\[^>]{0,200}>.*)"
)
# Of a mail that quotes a listing, and of PowerShell's Select-String.
_QUOTED: Final = re.compile(r"(?:> ?)+(?=.*\S)")


class Listing(Protocol):
    """A format of listings.  A module is enough: these are its names."""

    @property
    def NAME(self) -> str: ...

    def recognises(self, head: list[bytes]) -> bool:
        """Say whether these first lines (without line ends) are of this format."""

    def read(self, lines: Iterable[tuple[int, str]], tally: Tally) -> Snapshot:
        """Return what the numbered lines show; what is not understood is counted in `tally`."""


@dataclass(slots=True)
class _Process:
    pid: int
    comm: str | None
    parent: int | None = None
    descriptors: dict[int, DescriptorRow] = field(default_factory=dict)


@dataclass(slots=True)
class Draft:
    """What has been read so far.

    A socket whose inode the listing does not tell gets a number below zero, which joins it to its holders and means
    nothing else; so does a descriptor of which only the process is told.
    """

    tally: Tally
    sockets: list[SocketRow] = field(default_factory=list)
    ends: dict[int, Ends] = field(default_factory=dict)
    users: dict[int, tuple[int, ...]] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)
    _processes: dict[int, _Process] = field(default_factory=dict)
    _nameless: int = 0

    def origin(self, line: int) -> Origin:
        return Origin(self.tally.name, line)

    def nameless(self) -> int:
        """Return a number below zero that nothing else has."""
        self._nameless -= 1
        return self._nameless

    def process(self, pid: int, comm: str | None, parent: int | None = None) -> None:
        """Note a process that the listing names."""
        known = self._processes.setdefault(pid, _Process(pid, comm))
        known.comm, known.parent = known.comm or comm, parent if parent is not None else known.parent

    def holds(
        self, pid: int, comm: str | None, fd: int | None, inode: int, line: int, close_on_exec: bool | None = None
    ) -> None:
        """Note that a process has a descriptor of this socket."""
        self.process(pid, comm)
        number = fd if fd is not None else self.nameless()
        row = DescriptorRow(number, f"socket:[{inode}]", close_on_exec, self.origin(line))
        self._processes[pid].descriptors[number] = row

    def snapshot(self) -> Snapshot:
        """Return what was read."""
        self._forget_cut_inodes()
        sockets, same = _once(self.sockets)
        return Snapshot(
            source=self.tally.name,
            connections=sum(row.state is not TcpState.LISTEN for row in sockets),
            sockets=tuple(sockets),
            processes={
                each.pid: ProcessRow(
                    pid=each.pid, comm=each.comm, parent=each.parent, descriptors=_renamed(each.descriptors, same)
                )
                for each in self._processes.values()
            },
            ends=self.ends, users=self.users, gaps=tuple(self.gaps),
        )  # fmt: skip

    # One inode is one socket: where rows with other ends have the same one, a terminal, cut(1) or a column has cut it.
    def _forget_cut_inodes(self) -> None:
        known: dict[int, set[object]] = {}
        for row in self.sockets:
            if row.inode is not None and row.inode > 0 and (both := pair(row)) is not None:
                known.setdefault(row.inode, set()).add(both)
        cut = {inode for inode, ends in known.items() if len(ends) > 1}
        if not cut:
            return
        own = {row.origin: self.nameless() for row in self.sockets if row.inode in cut}
        self.sockets = [row._replace(inode=own[row.origin]) if row.origin in own else row for row in self.sockets]
        for process in self._processes.values():
            for fd, held in process.descriptors.items():
                if held.origin in own:
                    process.descriptors[fd] = held._replace(target=f"socket:[{own[held.origin]}]")
        first = next(row for row in self.sockets if row.origin in own)
        why = f"{len(own)} sockets have the inode of another: the lines were cut, and what stood behind is unknown"
        line = first.origin.line if first.origin is not None else None
        self.gaps.append(
            Gap("lines were cut", why, "the listing as it is, not as wide as a terminal", self.tally.name, line)
        )


# A connection has one line for each of its processes (netstat -u of illumos, sockstat), or one for each time that the
# tool was asked to list again (netstat -c): what came last is true.
def _once(sockets: Sequence[SocketRow]) -> tuple[list[SocketRow], dict[int, int]]:
    rows: list[SocketRow] = []
    places: dict[object, int] = {}
    same: dict[int, int] = {}
    for row in sockets:
        ends = pair(row) if row.peer is not None else None
        place = places.setdefault(ends, len(rows)) if ends is not None else len(rows)
        if place == len(rows) or _are_two(rows[place], row):
            rows.append(row)
            continue
        old = rows[place]
        inode = row.inode if old.inode is None or (row.inode or 0) > 0 else old.inode
        for each in (old.inode, row.inode):
            if each is not None and inode is not None and each != inode:
                same[each] = inode
        rows[place] = row._replace(inode=inode, origin=old.origin if old.state is row.state else row.origin)
    return rows, same


def _are_two(one: SocketRow, other: SocketRow) -> bool:
    return min(one.inode or 0, other.inode or 0) > 0 and one.inode != other.inode


def _renamed(descriptors: dict[int, DescriptorRow], same: dict[int, int]) -> dict[int, DescriptorRow]:
    if not same:
        return descriptors
    found: dict[int, DescriptorRow] = {}
    nameless: set[str] = set()
    for fd, row in descriptors.items():
        number = row.target[8:-1]
        inode = int(number) if number.lstrip("-").isdigit() else 0
        while inode in same:
            inode = same[inode]
        target = f"socket:[{inode}]" if inode else row.target
        if fd >= 0 or target not in nameless:
            found[fd] = row._replace(target=target)
        if fd < 0:
            nameless.add(target)
    return found


def texts(lines: list[bytes]) -> Iterator[str]:
    """Yield the lines of a head as text, those of Windows' UTF-16 among them, without blank ones.

    They are as `numbered` has them.
    """
    found = []
    for line in lines:
        text = line[:_HEAD_LINE].replace(b"\0", b"").lstrip(b"\xff\xfe\xef\xbb\xbf").decode("utf-8", "replace").rstrip()
        if text.strip():
            found.append(text)
    yield from filter(str.strip, _flush(found))


def numbered(data: bytes) -> Iterator[tuple[int, str]]:
    """Yield the lines of a listing, counted from 1, without line ends.

    A shell of Windows writes UTF-16 with a byte order mark.  What was pasted is indented, or quoted with ">".
    """
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    text = data.decode(encoding, "replace" if encoding == "utf-16" else "backslashreplace")
    limit = None if text.lstrip().startswith("{") else LONGEST_LINE
    yield from enumerate(_flush([line.rstrip("\r")[:limit] for line in text.split("\n")]), 1)


def _flush(lines: list[str]) -> list[str]:
    lines = [_QUOTED.sub("", line, count=1) if line.startswith(">") else line for line in lines]
    lines = ["" if _PROMPT.fullmatch(line) else line for line in lines]
    margins = {line[: len(line) - len(line.lstrip(" \t"))] for line in lines if line.strip()}
    margin = min(margins, key=len, default="")
    while not all(each.startswith(margin) for each in margins):
        margin = margin[:-1]
    return [line[len(margin) :] for line in lines] if margin else lines
