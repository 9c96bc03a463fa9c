"""pcap: the file format of libpcap, in either byte order, with micro- or nanoseconds (draft-ietf-opsawg-pcap).

Also the "modified" records of old Linux distributions, and the files of AIX's tcpdump, which are pcap 2.2 with
nanoseconds and interface types instead of link types.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from tracecorr.sources.frames import LONGEST_FRAME, Condition, Frame, Stream

NAME: Final = "pcap"

_HEADER_LENGTH: Final = 24


class _Kind(NamedTuple):
    # `unit` is the length of a fraction of a second in nanoseconds, `extra` what follows the four numbers of a record.
    unit: int
    extra: int


# The modified format has an interface index, a protocol and a packet type in each record.
_KINDS: Final = {0xA1B2C3D4: _Kind(1000, 0), 0xA1B23C4D: _Kind(1, 0), 0xA1B2CD34: _Kind(1000, 8)}

# The interface types of AIX (IFT_ETHER, IFT_LOOP in its net/if_types.h), as link types.
_AIX_LINKS: Final = {6: 1, 24: 0}


def recognises(head: bytes) -> bool:
    """Say whether it begins with one of the magic numbers, in either order of bytes."""
    return len(head) >= 4 and _order(head) is not None


def _order(head: bytes) -> str | None:
    return next((order for order in "<>" if struct.unpack_from(f"{order}I", head)[0] in _KINDS), None)


def frames(stream: Stream, condition: Condition) -> Iterator[Frame]:
    """Yield the frames of a pcap file."""
    if not stream.holds(_HEADER_LENGTH):
        condition.stop("the file ends within its header")
        return
    head = stream.take(_HEADER_LENGTH)
    order = _order(head) or "<"
    magic, _, minor, _, _, _, link = struct.unpack(f"{order}IHHiIII", head)
    # The upper half says how long a frame check sequence is.
    link &= 0xFFFF
    unit, extra = _KINDS[magic]
    if minor == 2 and link in _AIX_LINKS:
        link, unit = _AIX_LINKS[link], 1
    yield from _records(stream, condition, struct.Struct(f"{order}IIII{extra}x"), link, unit)


def _records(stream: Stream, condition: Condition, record: struct.Struct, link: int, unit: int) -> Iterator[Frame]:
    size, unpack, holds = record.size, record.unpack_from, stream.holds
    while holds(size):
        seconds, fraction, included, length = unpack(stream.buffer, stream.position)
        if included > LONGEST_FRAME:
            condition.stop(f"a record says that it is {included:,} bytes long")
            return
        if not holds(size + included):
            condition.stop(f"its last record has {stream.left - size:,} of {included:,} bytes")
            return
        start = stream.position + size
        stream.position = end = start + included
        yield Frame(seconds * 1_000_000_000 + fraction * unit, link, stream.buffer[start:end], length)
    if stream.left:
        condition.stop(f"it ends with {stream.left} bytes that are no record")
