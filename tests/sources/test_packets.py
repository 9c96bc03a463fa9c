"""From frames to segments: every link type, IP with all that may stand before TCP, and lengths that lie."""

from __future__ import annotations

import struct

import pytest

from tests.captures import ACK, CLIENT, SERVER, SYN, ethernet, ipv4, ipv6, of_bytes, pcap, tcp
from tracecorr.events import Endpoint
from tracecorr.sources import packets
from tracecorr.sources.packets import Packets, Segment

DATA = tcp(41007, 80, ACK, 100, 200, payload=b"hello", window=77)
V4 = ipv4("192.0.2.20", "192.0.2.10", DATA)
V6 = ipv6("2001:db8::20", "2001:db8::10", DATA)
ENDS = (bytes([192, 0, 2, 20]) + b"\xa0\x2f", bytes([192, 0, 2, 10]) + b"\0\x50")

SNAP = bytes(12) + struct.pack(">H", len(V4) + 8) + b"\xaa\xaa\x03\0\0\0\x08\0"


def segment(link: int, data: bytes, length: int | None = None) -> Segment | str:
    return Packets().segment(link, data, len(data) if length is None else length)


def taken(found: Segment | str) -> tuple[int, int, int, int, int]:
    assert not isinstance(found, str), found
    return found.sequence, found.acknowledgment, found.flags, found.window, found.payload


@pytest.mark.parametrize(
    ("link", "data"),
    [
        pytest.param(1, ethernet(V4), id="Ethernet"),
        pytest.param(1, ethernet(V6), id="Ethernet, IPv6"),
        pytest.param(1, ethernet(V4) + bytes(20), id="padded"),
        pytest.param(1, ethernet(V4, 0x8100), id="802.1Q"),
        pytest.param(1, ethernet(V6, 0x88A8, 0x8100), id="QinQ"),
        pytest.param(1, ethernet(V4, 0x9100, 0x8100), id="QinQ of old"),
        pytest.param(1, SNAP + V4, id="802.3 with SNAP"),
        pytest.param(
            1, bytes(12) + b"\x88\x64" + b"\x11\0\0\1" + struct.pack(">HH", len(V4) + 2, 0x21) + V4, id="PPPoE"
        ),
        pytest.param(0, b"\2\0\0\0" + V4, id="NULL, little-endian"),
        pytest.param(0, b"\0\0\0\x1e" + V6, id="NULL, big-endian"),
        pytest.param(108, b"\0\0\0\2" + V4, id="LOOP"),
        pytest.param(101, V4, id="raw"),
        pytest.param(12, V6, id="raw, as BSD numbers it"),
        pytest.param(228, V4, id="IPv4"),
        pytest.param(229, V6, id="IPv6"),
        pytest.param(113, bytes(14) + b"\x08\0" + V4, id="cooked"),
        pytest.param(113, bytes(14) + b"\x81\0\0\5\x86\xdd" + V6, id="cooked, 802.1Q"),
        pytest.param(276, b"\x08\0" + bytes(18) + V4, id="cooked 2"),
        pytest.param(276, b"\x86\xdd" + bytes(18) + V6, id="cooked 2, IPv6"),
        pytest.param(9, b"\xff\x03\0\x21" + V4, id="PPP"),
        pytest.param(9, b"\0\x57" + V6, id="PPP without its address"),
        pytest.param(50, b"\xff\x03\x21" + V4, id="PPP, protocol in one byte"),
        pytest.param(104, b"\x0f\0\x08\0" + V4, id="HDLC"),
        pytest.param(226, bytes(24) + V4, id="ipnet"),
        pytest.param(258, struct.pack("<III", 108, 1, 1) + bytes(96) + ethernet(V4), id="pktap"),
    ],
)
def test_a_segment_is_found_behind_every_link_header(link: int, data: bytes) -> None:
    assert taken(segment(link, data)) == (100, 200, ACK, 77, 5)


@pytest.mark.parametrize(
    ("link", "data", "why"),
    [
        (1, bytes(12) + b"\x08\x06" + bytes(28), packets.ARP),
        (1, bytes(12) + b"\x88\xcc" + bytes(28), packets.NOT_IP),
        (1, bytes(12) + b"\0\x26" + bytes(40), packets.NOT_IP),
        (1, ethernet(ipv4("192.0.2.1", "192.0.2.2", bytes(8), protocol=17)), packets.UDP),
        (1, ethernet(ipv4("192.0.2.1", "192.0.2.2", bytes(8), protocol=1)), packets.ICMP),
        (1, ethernet(ipv6("2001:db8::1", "2001:db8::2", bytes(8), protocol=58)), packets.ICMP),
        (1, ethernet(ipv4("192.0.2.1", "192.0.2.2", bytes(8), protocol=47)), packets.NOT_TCP),
        (9, b"\xff\x03\xc0\x21" + bytes(40), packets.NOT_IP),
    ],
)
def test_what_is_no_tcp_is_passed_over_by_its_name(link: int, data: bytes, why: str) -> None:
    assert segment(link, data) == why
    assert why in packets.OTHER


@pytest.mark.parametrize(
    ("link", "data", "why"),
    [
        (105, bytes(60), packets.UNKNOWN_LINK),
        (1, ethernet(V4)[:13], packets.CUT),
        (1, ethernet(V4)[:30], packets.CUT),
        (1, ethernet(V4)[:48], packets.CUT),
        (1, ethernet(V6)[:50], packets.CUT),
        (1, ethernet(V4, 0x8100)[:15], packets.CUT),
        (113, bytes(15), packets.CUT),
        (101, b"\x75" + bytes(39), packets.MALFORMED_IP),
        (101, b"\x44" + V4[1:], packets.MALFORMED_IP),
        (101, ipv4("192.0.2.1", "192.0.2.2", DATA[:12] + b"\x10" + DATA[13:]), packets.MALFORMED_TCP),
        (101, ipv4("192.0.2.1", "192.0.2.2", DATA[:12] + b"\xf0" + DATA[13:]), packets.MALFORMED_TCP),
        (258, struct.pack("<III", 12, 1, 258) + V4, packets.UNKNOWN_LINK),
    ],
)  # fmt: skip
def test_what_is_not_understood_says_why(link: int, data: bytes, why: str) -> None:
    assert segment(link, data) == why
    assert why not in packets.OTHER


def test_the_ends_are_address_and_port() -> None:
    found = segment(101, V4)
    assert isinstance(found, Segment)
    assert (found.source, found.destination) == ENDS


def test_ip_options_are_passed_over() -> None:
    packet = ipv4("192.0.2.20", "192.0.2.10", DATA, options=b"\x94\4\0\0\1\1\1\0")
    assert taken(segment(101, packet)) == (100, 200, ACK, 77, 5)


@pytest.mark.parametrize(
    ("protocol", "extensions"),
    [
        (0, b"\6\0" + bytes(6)),
        (0, b"\x2b\1" + bytes(14) + b"\x3c\0" + bytes(6) + b"\6\0" + bytes(6)),
        (51, b"\6\4" + bytes(22)),
        (60, b"\x2c\0" + bytes(6) + b"\6\0\0\0\0\0\0\7"),
    ],
    ids=["hop-by-hop", "three of them", "authentication", "atomic fragment"],
)
def test_ipv6_extension_headers_are_passed_over(protocol: int, extensions: bytes) -> None:
    packet = ipv6("2001:db8::20", "2001:db8::10", DATA, extensions=extensions, protocol=protocol)
    assert taken(segment(101, packet)) == (100, 200, ACK, 77, 5)


def test_the_payload_is_as_long_as_ip_says_whatever_was_captured() -> None:
    long = ipv4("192.0.2.20", "192.0.2.10", tcp(1, 2, ACK, 0, 0, payload=bytes(9000)))
    assert taken(segment(101, long[:60], len(long)))[-1] == 9000


def test_offload_leaves_the_length_out_and_the_frame_tells_it() -> None:
    big = ipv4("192.0.2.20", "192.0.2.10", tcp(1, 2, ACK, 0, 0, payload=bytes(1000)))
    without = big[:2] + b"\0\0" + big[4:]
    assert taken(segment(101, without[:60], 40 + 100_000))[-1] == 100_000
    jumbo = bytearray(V6)
    jumbo[4:6] = b"\0\0"
    assert taken(segment(101, bytes(jumbo), 60 + 200_000))[-1] == 200_000


@pytest.mark.parametrize(
    ("options", "scale"),
    [
        (b"\3\3\7\0", 7),
        (b"\2\4\5\xb4\1\3\3\x0e", 14),
        (b"\3\3\xff\0", 14),
        (b"\2\4\5\xb4", None),
        (b"\0\3\3\7", None),
        (b"\1\1\1\3", None),
        (b"\x08\0\0\0\0\0\0\0", None),
        (b"", None),
    ],
)
def test_the_window_scale_is_that_of_the_syn(options: bytes, scale: int | None) -> None:
    found = segment(101, ipv4("192.0.2.20", "192.0.2.10", tcp(1, 2, SYN, 0, 0, options=options)))
    assert isinstance(found, Segment)
    assert found.scale == scale


BODY = tcp(41007, 80, ACK, 100, 200, payload=bytes(100))


def fragments(*parts: tuple[int, int]) -> list[bytes]:
    return [ipv4("192.0.2.20", "192.0.2.10", BODY[a:b], number=9, offset=a, more=b < len(BODY)) for a, b in parts]


@pytest.mark.parametrize(
    "parts",
    [
        [(0, 40), (40, 80), (80, 120)],
        [(80, 120), (40, 80), (0, 40)],
        [(0, 8), (8, 16), (16, 120)],
        [(16, 120), (0, 8), (8, 16)],
        [(0, 40), (0, 40), (40, 120)],
    ],
    ids=["in order", "last first", "the header in three", "the header in three, last first", "one of them twice"],
)
def test_a_datagram_in_fragments_is_one_segment(parts: list[tuple[int, int]]) -> None:
    reader = Packets()
    found = [reader.segment(101, packet, len(packet)) for packet in fragments(*parts)]

    assert set(found[:-1]) <= {packets.FRAGMENT}
    assert taken(found[-1]) == (100, 200, ACK, 512, 100)
    assert reader.fragments.lost == 0


def test_ipv6_fragments_are_one_segment() -> None:
    reader = Packets()
    found: list[Segment | str] = []
    for offset, end in ((0, 48), (48, 120)):
        header = struct.pack(">BBHI", 6, 0, offset | (end < 120), 77)
        packet = ipv6("2001:db8::20", "2001:db8::10", BODY[offset:end], extensions=header, protocol=44)
        found.append(reader.segment(101, packet, len(packet)))

    assert found[0] == packets.FRAGMENT
    assert taken(found[1]) == (100, 200, ACK, 512, 100)


def test_fragments_that_never_come_are_told() -> None:
    capture = of_bytes(pcap([(1.0, packet) for packet in fragments((0, 40), (80, 120))], link=101))

    assert capture.conversations == ()
    assert [gap.what for gap in capture.gaps] == ["fragments are missing"]


def test_fragments_of_endless_datagrams_fill_no_memory() -> None:
    reader = Packets()
    for number in range(3000):
        packet = ipv4("192.0.2.20", "192.0.2.10", BODY[:40], number=number, more=True)
        reader.segment(101, packet, len(packet))

    assert len(reader.fragments._waiting) < 1000
    assert reader.fragments.lost == 3000


def test_what_was_passed_over_is_counted() -> None:
    udp = ethernet(ipv4("192.0.2.1", "192.0.2.2", bytes(8), protocol=17))
    capture = of_bytes(pcap([(1.0, udp), (2.0, udp), (3.0, ethernet(V4)), (4.0, ethernet(V4)[:40])]))

    assert capture.frames == 4
    assert capture.other == {packets.UDP: 2}
    assert capture.skipped == {packets.CUT: 1}
    assert capture.samples == ((4, packets.CUT),)
    assert "frames are cut" in {gap.what for gap in capture.gaps}
    assert capture.of(CLIENT, Endpoint(SERVER.address, 80))


def test_a_link_type_that_is_not_read_is_named() -> None:
    capture = of_bytes(pcap([(1.0, bytes(60))] * 3, link=105))

    assert capture.skipped == {packets.UNKNOWN_LINK: 3}
    assert "link type 105" in capture.gaps[0].why
