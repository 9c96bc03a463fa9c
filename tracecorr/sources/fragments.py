"""Fragments: how long a datagram is, and the TCP header at its beginning (RFC 791, 3.2; RFC 8200, 4.5).

The payload is not put together: nothing but its length matters.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

# The longest TCP header is 15 * 4 bytes: of each fragment no more than that is kept.
LONGEST_HEADER: Final = 60

# How many datagrams may be incomplete at once; whoever sends more of them is at it on purpose.
_DATAGRAMS: Final = 512

Key = tuple[bytes, bytes, int]


@dataclass(slots=True)
class _Datagram:
    # `pieces` are those that reach into the header, `received` counts bytes of all.
    pieces: dict[int, bytes] = field(default_factory=dict)
    offsets: set[int] = field(default_factory=set)
    received: int = 0
    total: int | None = None

    def header(self) -> bytes:
        found = b""
        for offset in sorted(self.pieces):
            if offset > len(found):
                break
            found += self.pieces[offset][len(found) - offset :]
        return found[:LONGEST_HEADER]


class Fragments:
    """Datagrams that are not whole yet; `lost` counts those that never were."""

    def __init__(self) -> None:
        self._waiting: dict[Key, _Datagram] = {}
        self._given_up = 0

    @property
    def lost(self) -> int:
        """How many datagrams lack a fragment, up to now."""
        return self._given_up + len(self._waiting)

    def add(self, key: Key, offset: int, body: bytes, size: int, *, last: bool) -> tuple[bytes, int] | None:
        """Return the beginning of the datagram and its length once all of it was seen.

        `offset` and `size` are bytes of the datagram's payload, `body` is at most its first LONGEST_HEADER bytes.
        """
        datagram = self._waiting.get(key)
        if datagram is None:
            datagram = self._waiting[key] = _Datagram()
            self._forget_oldest()
        if offset in datagram.offsets:
            return None  # captured twice, or a retransmission
        datagram.offsets.add(offset)
        datagram.received += size
        if offset < LONGEST_HEADER:
            datagram.pieces[offset] = body
        if last:
            datagram.total = offset + size
        if datagram.total is None or datagram.received < datagram.total:
            return None
        del self._waiting[key]
        return datagram.header(), datagram.total

    def _forget_oldest(self) -> None:
        if len(self._waiting) > _DATAGRAMS:
            del self._waiting[next(iter(self._waiting))]
            self._given_up += 1
