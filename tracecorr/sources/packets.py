"""Packets: from a captured frame to the TCP segment in it.

Link headers are those of the registry at tcpdump.org, IPv4 is RFC 791, IPv6 RFC 8200, TCP RFC 9293.  Lengths come from
the IP header, never from what was captured: a snapshot length cuts the payload, and Ethernet pads short frames.
Checksums are not looked at: of what a host sends, its network card makes them after the capture.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final, NamedTuple

from tracecorr.sources.fragments import LONGEST_HEADER, Fragments

FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
ACK: Final = 0x10

# What is no TCP is passed over, which is no loss.
UDP: Final = "UDP"
ICMP: Final = "ICMP"
ARP: Final = "ARP"
NOT_IP: Final = "not IP"
NOT_TCP: Final = "other IP protocols"
FRAGMENT: Final = "fragments"
OTHER: Final = frozenset([UDP, ICMP, ARP, NOT_IP, NOT_TCP, FRAGMENT])

CUT: Final = "cut before the end of its headers"
MALFORMED_IP: Final = "no IP header where one should be"
MALFORMED_TCP: Final = "no TCP header where one should be"
UNKNOWN_LINK: Final = "a link type that is not read"

_IPV4: Final = 0x0800
_IPV6: Final = 0x86DD
_ARP: Final = 0x0806
_PPPOE: Final = 0x8864
_VLANS: Final = frozenset([0x8100, 0x88A8, 0x9100, 0x9200])
# Below that it is the length of an 802.3 frame (IEEE 802.3, 3.2.6).
_LEAST_ETHERTYPE: Final = 0x0600
_SNAP: Final = b"\xaa\xaa\x03\0\0\0"
_PPP_IPV4: Final = 0x0021
_PPP_IPV6: Final = 0x0057

_TCP: Final = 6
_FRAGMENT_HEADER: Final = 44
_AUTHENTICATION: Final = 51
# Hop-by-hop, routing, destination options, mobility, host identity, shim6: (length + 1) * 8 bytes (RFC 6564).
_EXTENSIONS: Final = frozenset([0, 43, 60, 135, 139, 140])
_PROTOCOLS: Final = {17: UDP, 1: ICMP, 58: ICMP}

_WINDOW_SCALE: Final = 3
# RFC 7323, 2.3: a greater shift counts as 14.
_GREATEST_SCALE: Final = 14

_word: Final = struct.Struct(">H").unpack_from
_ipv4: Final = struct.Struct(">BxHHHxB").unpack_from
_ipv6: Final = struct.Struct(">HB").unpack_from
_tcp: Final = struct.Struct(">HHIIHH").unpack_from


class Segment(NamedTuple):
    """One TCP segment.

    `source` and `destination` are an address and a port as they stand in the packet.  `payload` is a number of bytes,
    `scale` the window scale of a SYN (None: it offers none).  `identity` is the identification of the IP
    header and the TCP header: equal in two frames that are one packet, captured twice.  A bare ACK has none.
    """

    source: bytes
    destination: bytes
    sequence: int
    acknowledgment: int
    flags: int
    window: int
    payload: int
    scale: int | None
    identity: tuple[int, bytes] | None


class Packets:
    """Finds the segment in a frame; keeps fragments until their datagram is whole."""

    def __init__(self) -> None:
        self.fragments = Fragments()

    def segment(self, link: int, data: bytes, length: int) -> Segment | str:
        """Return the segment, or in a word what the frame is instead: one of OTHER, or what is wrong with it."""
        if link == 1 and data[12:14] == b"\x08\x00":
            return self._ip(data, 14, length)
        header = _LINKS.get(link)
        if header is None:
            return UNKNOWN_LINK
        if len(data) < 4:
            return CUT
        start = header(data)
        return start if isinstance(start, str) else self._ip(data, start, length)

    def _ip(self, data: bytes, start: int, length: int) -> Segment | str:
        if len(data) < start + 20:
            return CUT
        version = data[start] >> 4
        if version == 4:
            return self._of_ipv4(data, start, length)
        return self._of_ipv6(data, start, length) if version == 6 else MALFORMED_IP

    def _of_ipv4(self, data: bytes, start: int, length: int) -> Segment | str:
        first, total, identity, fragment, protocol = _ipv4(data, start)
        header = (first & 15) * 4
        # Segmentation offload leaves the length of a packet over 64 KiB out.
        size = (total or length - start) - header
        if header < 20 or size < 0:
            return MALFORMED_IP
        if protocol != _TCP:
            return _PROTOCOLS.get(protocol, NOT_TCP)
        source, destination = data[start + 12 : start + 16], data[start + 16 : start + 20]
        begin = start + header
        if not fragment & 0x3FFF:
            return _segment(source, destination, identity, data, begin, size)
        body = data[begin : begin + min(size, LONGEST_HEADER)]
        key = (source, destination, identity)
        return self._joined(key, (fragment & 0x1FFF) * 8, body, size, last=not fragment & 0x2000)

    def _of_ipv6(self, data: bytes, start: int, length: int) -> Segment | str:
        if len(data) < start + 40:
            return CUT
        size, protocol = _ipv6(data, start + 4)
        # A jumbogram (RFC 2675), which is also what offload makes of several segments.
        size = size or length - start - 40
        source, destination = data[start + 8 : start + 24], data[start + 24 : start + 40]
        begin = start + 40
        while protocol != _TCP:
            if protocol not in _EXTENSIONS and protocol not in (_FRAGMENT_HEADER, _AUTHENTICATION):
                return _PROTOCOLS.get(protocol, NOT_TCP)
            if len(data) < begin + 8:
                return CUT
            if protocol == _FRAGMENT_HEADER:
                return self._of_ipv6_fragment(source + destination, data, begin, size - 8)
            units = data[begin + 1]
            extension = (units + 2) * 4 if protocol == _AUTHENTICATION else (units + 1) * 8
            protocol = data[begin]
            begin += extension
            size -= extension
        return _segment(source, destination, 0, data, begin, size)

    # What follows the fragment header is TCP in practice; extension headers behind it would be fragmented themselves.
    def _of_ipv6_fragment(self, ends: bytes, data: bytes, begin: int, size: int) -> Segment | str:
        if data[begin] != _TCP:
            return _PROTOCOLS.get(data[begin], NOT_TCP)
        if size < 0:
            return MALFORMED_IP
        fragment, identity = struct.unpack_from(">HI", data, begin + 2)
        body = data[begin + 8 : begin + 8 + min(size, LONGEST_HEADER)]
        if not fragment & 0xFFF9:
            # An atomic fragment (RFC 6946) is whole.
            return _segment(ends[:16], ends[16:], identity, data, begin + 8, size)
        return self._joined((ends[:16], ends[16:], identity), fragment & 0xFFF8, body, size, last=not fragment & 1)

    def _joined(
        self, key: tuple[bytes, bytes, int], offset: int, body: bytes, size: int, *, last: bool
    ) -> Segment | str:
        whole = self.fragments.add(key, offset, body, size, last=last)
        if whole is None:
            return FRAGMENT
        head, total = whole
        return _segment(key[0], key[1], key[2], head, 0, total)


def _segment(source: bytes, destination: bytes, identity: int, data: bytes, start: int, size: int) -> Segment | str:
    if len(data) < start + 16:
        return CUT if size >= 20 else MALFORMED_TCP
    _, _, sequence, acknowledgment, flags, window = _tcp(data, start)
    header = flags >> 10 & 0x3C
    payload = size - header
    if header < 20 or payload < 0:
        return MALFORMED_TCP
    flags &= 0x3F
    return Segment(
        source + data[start : start + 2],
        destination + data[start + 2 : start + 4],
        sequence,
        acknowledgment,
        flags,
        window,
        payload,
        _scale(data[start + 20 : start + header]) if flags & SYN else None,
        (identity, data[start : start + header]) if payload or flags & (FIN | SYN) else None,
    )


def _scale(options: bytes) -> int | None:
    position = 0
    while position < len(options):
        kind = options[position]
        if kind == 0:
            break
        if kind == 1:
            position += 1
            continue
        if kind == _WINDOW_SCALE and position + 2 < len(options):
            return min(options[position + 2], _GREATEST_SCALE)
        # An option is at least as long as its own two bytes.
        position += max(options[position + 1], 2) if position + 1 < len(options) else 2
    return None


# Below: where the IP header begins, by link type; each may be cut anywhere.


def _ethernet(data: bytes) -> int | str:
    if len(data) < 14:
        return CUT
    kind = _word(data, 12)[0]
    if kind < _LEAST_ETHERTYPE:
        return _network(data, _word(data, 20)[0], 22) if data[14:20] == _SNAP and len(data) >= 22 else NOT_IP
    return _network(data, kind, 14)


def _network(data: bytes, kind: int, start: int) -> int | str:
    while kind in _VLANS:
        if len(data) < start + 4:
            return CUT
        kind = _word(data, start + 2)[0]
        start += 4
    if kind in (_IPV4, _IPV6):
        return start
    if kind == _PPPOE:
        return _ppp(data, start + 6)
    return ARP if kind == _ARP else NOT_IP


def _cooked(data: bytes) -> int | str:
    return _network(data, _word(data, 14)[0], 16) if len(data) >= 16 else CUT


def _cooked_2(data: bytes) -> int | str:
    return _network(data, _word(data)[0], 20) if len(data) >= 20 else CUT


# A byte or two that tell the protocol (RFC 1661, 2); the address before them may be left out.
def _ppp(data: bytes, start: int = 0) -> int | str:
    if data[start : start + 2] == b"\xff\x03":
        start += 2
    if len(data) < start + 2:
        return CUT
    kind, begin = (data[start], start + 1) if data[start] & 1 else (_word(data, start)[0], start + 2)
    return begin if kind in (_PPP_IPV4, _PPP_IPV6) else NOT_IP


def _hdlc(data: bytes) -> int | str:
    return _network(data, _word(data, 2)[0], 4)


# BSD's loopback: an address family in the byte order of some host.  The IP header itself tells its version.
def _loopback(data: bytes) -> int | str:
    return 4 if len(data) > 4 and data[4] >> 4 in (4, 6) else NOT_IP


# dl_ipnetinfo_t of Solaris' sys/dlpi.h.
def _ipnet(data: bytes) -> int | str:
    return 24


def _raw(data: bytes) -> int | str:
    return 0


# macOS' pktap_header: its own length, and at 8 the link type of what follows, in the byte order of every Mac.
def _pktap(data: bytes) -> int | str:
    if len(data) < 12:
        return CUT
    length, link = struct.unpack_from("<I4xI", data)
    inner = _LINKS.get(link)
    if inner is None or inner is _pktap:
        return UNKNOWN_LINK
    rest = data[length : length + 64]
    start = inner(rest) if len(rest) >= 4 else CUT
    return start if isinstance(start, str) else length + start


_LINKS: Final[dict[int, Callable[[bytes], int | str]]] = {
    0: _loopback,  # NULL
    1: _ethernet,
    9: _ppp,
    12: _raw,
    14: _raw,  # what OpenBSD calls raw
    50: _ppp,  # PPP in HDLC-like framing
    101: _raw,
    104: _hdlc,  # Cisco's
    108: _loopback,  # LOOP
    113: _cooked,  # LINUX_SLL
    226: _ipnet,
    228: _raw,  # IPV4
    229: _raw,  # IPV6
    258: _pktap,
    276: _cooked_2,  # LINUX_SLL2
}
