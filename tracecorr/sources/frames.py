"""Captured frames, and what the readers of the three file formats share: a stream of bytes, and a note of trouble.

Why no library reads the files (dpkt 1.9.8, python-pcapng 2.1.1, scapy 2.8.0 and their sources, weighed in 2026): dpkt
drops a frame's original length, the counts of drops and all interfaces of a pcapng file but the first, and raises at a
cut header; python-pcapng has times as floating point, which loses the nanoseconds, and a tenth of this speed; scapy is
under the GPL and reads no snoop.  The formats are headers of fixed length, and what a verdict hangs on (exact times,
drops, where a file is cut) is just what the libraries leave out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from tracecorr.events import Gap

# No frame is longer: the largest snapshot length of tcpdump is 256 KiB, and that of a BIG TCP packet 512 KiB.
LONGEST_FRAME: Final = 1 << 24

_BIGGER_BUFFER: Final = "tcpdump -B 65536 -s 128 -i any -w capture.pcap tcp"


class Frame(NamedTuple):
    """One frame: nanoseconds since the epoch (None: the file has no time for it), link type, captured bytes, length.

    `link` is a LINKTYPE_ value of the registry of tcpdump.org, `length` that on the wire.
    """

    at: int | None
    link: int
    data: bytes
    length: int


@dataclass(slots=True)
class Condition:
    """What is wrong with a file as a whole; the reader fills it while it reads.

    `drops` are packets that the capturing system says it lost.  `end` is when the capturing ended, where the file
    tells (a capture of an idle host goes on after its last frame).  `broken` says why reading stopped early, `damaged`
    counts records that are not as the format says.
    """

    drops: int = 0
    end: int | None = None
    broken: str | None = None
    damaged: int = 0

    def stop(self, why: str) -> None:
        """Say why reading ends early; the first reason stands."""
        self.broken = self.broken or why

    def gaps(self, name: str, frames: int) -> Iterator[Gap]:
        """Yield what the file lacks."""
        if self.broken is not None:
            yield Gap(
                "the capture is cut", self.broken, "copy the file again, after tcpdump has ended", name, frames + 1
            )
        if self.damaged:
            why = f"{self.damaged:,} records are not as the format says, and were left out"
            yield Gap("the capture is damaged", why, None, name)
        if self.drops:
            why = f"{self.drops:,} packets were dropped where it was taken: a FIN may be among them"
            yield Gap("packets are missing", why, _BIGGER_BUFFER, name)


class CaptureFormat(Protocol):
    """A format of capture files.  A module is enough: these are its names."""

    @property
    def NAME(self) -> str: ...

    def recognises(self, head: bytes) -> bool:
        """Say whether a file that begins so is of this format."""

    def frames(self, stream: Stream, condition: Condition) -> Iterator[Frame]:
        """Yield the frames of a file, as far as it goes; what is wrong with it goes into `condition`."""


@dataclass(slots=True)
class Stream:
    """The bytes of a file, piece by piece: `buffer` from `position` on is what has not been taken yet."""

    pieces: Iterable[bytes]
    buffer: bytes = b""
    position: int = 0
    _rest: Iterator[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self._rest = iter(self.pieces)

    def holds(self, size: int) -> bool:
        """Read on until the buffer holds so many bytes more; False where the file ends before."""
        if self.position + size <= len(self.buffer):
            return True
        parts = [self.buffer[self.position :]]
        have = len(parts[0])
        while have < size:
            piece = next(self._rest, None)
            if piece is None:
                break
            parts.append(piece)
            have += len(piece)
        self.buffer, self.position = b"".join(parts), 0
        return have >= size

    @property
    def left(self) -> int:
        """How many bytes the buffer still holds."""
        return len(self.buffer) - self.position

    def take(self, size: int) -> bytes:
        """Return the next bytes, which `holds` has promised."""
        end = self.position + size
        data = self.buffer[self.position : end]
        self.position = end
        return data
