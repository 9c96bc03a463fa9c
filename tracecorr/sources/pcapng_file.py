"""pcapng: sections, interfaces with clocks of their own, and blocks (draft-ietf-opsawg-pcapng)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tracecorr.sources.frames import LONGEST_FRAME, Condition, Frame, Stream

NAME: Final = "pcapng"

_SECTION: Final = 0x0A0D0D0A
_INTERFACE: Final = 1
_PACKET: Final = 2
_SIMPLE_PACKET: Final = 3
_STATISTICS: Final = 5
_ENHANCED_PACKET: Final = 6
_UNKNOWN: Final = 1 << 16
_BYTE_ORDER: Final = b"\x1a\x2b\x3c\x4d"

_END_OF_OPTIONS: Final = 0
_IF_TSRESOL: Final = 9
_IF_TSOFFSET: Final = 14
_ISB_ENDTIME: Final = 3
_ISB_IFDROP: Final = 5
_ISB_OSDROP: Final = 7


class _Interface(NamedTuple):
    # A time counts `per_second` parts of a second from `offset` (nanoseconds) on.
    link: int
    snaplen: int = 0
    per_second: int = 1_000_000
    offset: int = 0


@dataclass(slots=True)
class _Section:
    # `lost` are the drops that the packets of the old kind tell, `dropped` those of each interface's statistics.
    order: str
    interfaces: list[_Interface] = field(default_factory=list)
    dropped: dict[int, int] = field(default_factory=dict)
    lost: int = 0

    @property
    def drops(self) -> int:
        return max(self.lost, sum(self.dropped.values()))


def recognises(head: bytes) -> bool:
    """Say whether it begins with a section header block."""
    return head[:4] == b"\x0a\x0d\x0d\x0a" and head[8:12] in (_BYTE_ORDER, _BYTE_ORDER[::-1])


def frames(stream: Stream, condition: Condition) -> Iterator[Frame]:
    """Yield the frames of a pcapng file, from all its sections and interfaces in the order of the file."""
    section = _Section("<")
    before = 0
    for kind, body in _blocks(stream, condition, section):
        if kind == _SECTION:
            before += section.drops
            section.interfaces, section.dropped, section.lost = [], {}, 0
        elif kind == _INTERFACE:
            section.interfaces.append(_interface(body, section.order))
        elif kind == _STATISTICS:
            _statistics(body, section, condition)
        elif kind in _PACKETS:
            frame = _PACKETS[kind](body, section)
            if frame is not None:
                yield frame
            else:
                condition.damaged += 1
        condition.drops = before + section.drops


# Yields the type of each block and what stands between its lengths.  A section header sets the order of bytes.
def _blocks(stream: Stream, condition: Condition, section: _Section) -> Iterator[tuple[int, bytes]]:
    while stream.holds(12):
        at = stream.position
        if stream.buffer[at : at + 4] == b"\x0a\x0d\x0d\x0a":
            section.order = ">" if stream.buffer[at + 8 : at + 12] == _BYTE_ORDER else "<"
        kind, length = struct.unpack_from(f"{section.order}II", stream.buffer, at)
        if length < 12 or length > LONGEST_FRAME:
            condition.stop(f"a block says that it is {length:,} bytes long")
            return
        # The length is a multiple of four (3.1); some writers count the padding and some do not.
        whole = length + -length % 4
        if not stream.holds(length):
            condition.stop(f"its last block has {stream.left:,} of {length:,} bytes")
            return
        body = stream.buffer[stream.position + 8 : stream.position + length - 4]
        stream.holds(whole)
        stream.position += min(whole, stream.left)
        yield kind, body
    if stream.left:
        condition.stop(f"it ends with {stream.left} bytes that are no block")


def _interface(body: bytes, order: str) -> _Interface:
    if len(body) < 8:
        return _Interface(_UNKNOWN)
    link, snaplen = struct.unpack_from(f"{order}HxxI", body)
    options = dict(_options(body[8:], order))
    resolution = options.get(_IF_TSRESOL, b"\x06")[:1] or b"\x06"
    power = resolution[0] & 0x7F
    per_second = 1 << power if resolution[0] & 0x80 else 10**power
    offset = options.get(_IF_TSOFFSET, b"")
    seconds = struct.unpack(f"{order}q", offset)[0] if len(offset) == 8 else 0
    return _Interface(link, snaplen, per_second, seconds * 1_000_000_000)


def _options(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position + 4 <= len(data):
        code, length = struct.unpack_from(f"{order}HH", data, position)
        if code == _END_OF_OPTIONS:
            return
        yield code, data[position + 4 : position + 4 + length]
        position += 4 + length + -length % 4


def _time(interface: _Interface, high: int, low: int) -> int:
    return (high << 32 | low) * 1_000_000_000 // interface.per_second + interface.offset


def _statistics(body: bytes, section: _Section, condition: Condition) -> None:
    if len(body) < 12:
        return
    (number,) = struct.unpack_from(f"{section.order}I", body)
    options = dict(_options(body[12:], section.order))
    counts = [struct.unpack(f"{section.order}Q", options[code])[0]
              for code in (_ISB_IFDROP, _ISB_OSDROP) if len(options.get(code, b"")) == 8]  # fmt: skip
    if counts:
        section.dropped[number] = max(counts)
    end = options.get(_ISB_ENDTIME, b"")
    if len(end) == 8 and number < len(section.interfaces):
        condition.end = _time(section.interfaces[number], *struct.unpack(f"{section.order}II", end))


def _enhanced(body: bytes, section: _Section) -> Frame | None:
    if len(body) < 20:
        return None
    number, high, low, included, length = struct.unpack_from(f"{section.order}IIIII", body)
    if number >= len(section.interfaces) or included > len(body) - 20:
        return None
    interface = section.interfaces[number]
    return Frame(_time(interface, high, low), interface.link, body[20 : 20 + included], length)


# The packet block of the first drafts, which old versions of Wireshark wrote.
def _packet(body: bytes, section: _Section) -> Frame | None:
    if len(body) < 20:
        return None
    number, drops, high, low, included, length = struct.unpack_from(f"{section.order}HHIIII", body)
    if number >= len(section.interfaces) or included > len(body) - 20:
        return None
    # 65535 says that the number is not known.
    section.lost += drops if drops != 0xFFFF else 0
    interface = section.interfaces[number]
    return Frame(_time(interface, high, low), interface.link, body[20 : 20 + included], length)


# It has no time, and its length is the least of what it says, the interface's limit, and its room.
def _simple(body: bytes, section: _Section) -> Frame | None:
    if len(body) < 4 or not section.interfaces:
        return None
    (length,) = struct.unpack_from(f"{section.order}I", body)
    interface = section.interfaces[0]
    included = min(length, interface.snaplen or length, len(body) - 4)
    return Frame(None, interface.link, body[4 : 4 + included], length)


_PACKETS: Final = {_ENHANCED_PACKET: _enhanced, _PACKET: _packet, _SIMPLE_PACKET: _simple}
