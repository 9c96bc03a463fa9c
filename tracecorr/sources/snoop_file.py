"""snoop: the capture files of Solaris and illumos (RFC 1761)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from tracecorr.sources.frames import LONGEST_FRAME, Condition, Frame, Stream

NAME: Final = "snoop"

_MAGIC: Final = b"snoop\0\0\0"
_RECORD: Final = struct.Struct(">IIIIII")

# RFC 1761 and the registry of snoop's data link types, as LINKTYPE_ values: 802.3, Ethernet, and the loopback and
# ipnet devices of Solaris 11 and illumos (DL_IPNET in sys/dlpi.h).
_LINKS: Final = {0: 1, 4: 1, 26: 226}
_UNKNOWN: Final = 1 << 16


def recognises(head: bytes) -> bool:
    """Say whether it begins with snoop's identification pattern."""
    return head.startswith(_MAGIC)


def frames(stream: Stream, condition: Condition) -> Iterator[Frame]:
    """Yield the frames of a snoop file."""
    if not stream.holds(16):
        condition.stop("the file ends within its header")
        return
    version, kind = struct.unpack(">8xII", stream.take(16))
    if version != 2:
        condition.stop(f"it is of version {version} of the format; RFC 1761 has version 2")
        return
    yield from _records(stream, condition, _LINKS.get(kind, _UNKNOWN | kind))


# A record is as long as it says, whatever padding that is: of Solaris versions not all pad to four bytes.
def _records(stream: Stream, condition: Condition, link: int) -> Iterator[Frame]:
    while stream.holds(24):
        length, included, record, drops, seconds, fraction = _RECORD.unpack_from(stream.buffer, stream.position)
        if record < 24 + included or record > LONGEST_FRAME:
            condition.stop(f"a record says that it is {record:,} bytes long, with {included:,} of a frame")
            return
        if not stream.holds(24 + included):
            condition.stop(f"its last record has {stream.left - 24:,} of {included:,} bytes")
            return
        condition.drops = max(condition.drops, drops)
        start = stream.position + 24
        yield Frame(seconds * 1_000_000_000 + fraction * 1000, link, stream.buffer[start : start + included], length)
        # The padding of the last record may be missing.
        stream.holds(record)
        stream.position += min(record, stream.left)
    if stream.left:
        condition.stop(f"it ends with {stream.left} bytes that are no record")
