"""The three file formats, byte by byte: clocks, interfaces, drops, and files that lie about their lengths."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.captures import ACK, CAPTURES, CLIENT, FIN, SERVER, Talk, as_text, of_bytes, pcap
from tracecorr.sources.captures import capture_format_of
from tracecorr.sources.frames import Stream

SECOND = 10**9
FRAME = Talk().send(CLIENT).frames[0][1]


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack(f"{order}I", len(body) + 12)
    return struct.pack(f"{order}I", kind) + length + body + length


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(f"{order}HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link: int = 1, options: bytes = b"", order: str = "<", snaplen: int = 0) -> bytes:
    return block(1, struct.pack(f"{order}HHI", link, 0, snaplen) + options, order)


def enhanced(ticks: int, frame: bytes = FRAME, number: int = 0, order: str = "<") -> bytes:
    head = struct.pack(f"{order}IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame))
    return block(6, head + frame, order)


def snoop(records: Sequence[bytes], version: int = 2, link: int = 4) -> bytes:
    return b"snoop\0\0\0" + struct.pack(">II", version, link) + b"".join(records)


def record(at: int, frame: bytes = FRAME, *, drops: int = 0, padding: int | None = None) -> bytes:
    pad = -len(frame) % 4 if padding is None else padding
    head = struct.pack(">IIIIII", len(frame), len(frame), 24 + len(frame) + pad, drops, at, 250_000)
    return head + frame + bytes(pad)


def whats(data: bytes) -> set[str]:
    return {gap.what for gap in of_bytes(data).gaps} - {
        "the capture starts in the middle",
        "only one direction was captured",
    }


@pytest.mark.parametrize("order", "<>")
def test_pcap_has_times_to_the_nanosecond(order: str) -> None:
    assert of_bytes(pcap([(1.5, FRAME)], order=order)).first == 1_500_000_000
    assert of_bytes(pcap([(1.000000007, FRAME)], order=order, nanoseconds=True)).first == 1_000_000_007


def test_pcap_of_aix_has_nanoseconds_and_interface_types() -> None:
    capture = of_bytes(pcap([(1.0000005, FRAME)], link=6, minor=2)[:28] + struct.pack("<I", 500) +
                       struct.pack("<II", len(FRAME), len(FRAME)) + FRAME)  # fmt: skip

    assert capture.first == SECOND + 500
    assert len(capture.conversations) == 1


def test_the_length_of_a_frame_check_sequence_is_no_link_type() -> None:
    data = bytearray(pcap([(1.0, FRAME)]))
    data[20:24] = struct.pack("<I", 1 | 0x14000000)

    assert len(of_bytes(bytes(data)).conversations) == 1


@pytest.mark.parametrize("order", "<>")
def test_pcapng_has_a_clock_per_interface(order: str) -> None:
    data = section(order) + interface(order=order)
    data += interface(options=option(9, b"\x09", order) + option(0, b"", order), order=order)
    data += interface(options=option(9, b"\x8a", order), order=order)
    data += interface(options=option(14, struct.pack(f"{order}q", 1000), order), order=order)
    data += enhanced(7_000_000, number=0, order=order) + enhanced(7_000_000_001, number=1, order=order)
    data += enhanced(7 << 10, number=2, order=order) + enhanced(7_000_000, number=3, order=order)
    capture = of_bytes(data)

    assert (capture.format, capture.frames) == ("pcapng", 4)
    assert (capture.first, capture.last) == (7 * SECOND, 1007 * SECOND)


def test_pcapng_has_interfaces_of_several_link_types() -> None:
    capture = of_bytes(section() + interface(1) + interface(101) + enhanced(1) + enhanced(2, FRAME[14:], 1))

    assert len(capture.conversations) == 1
    assert capture.conversations[0].half(CLIENT).segments == 2


def test_a_new_section_forgets_the_interfaces_and_may_change_the_byte_order() -> None:
    data = section() + interface(101) + enhanced(1, FRAME[14:]) + section(">") + interface(order=">")

    assert of_bytes(data + enhanced(2, order=">")).conversations[0].half(CLIENT).segments == 2


def test_a_packet_of_an_interface_that_is_not_described_is_left_out() -> None:
    data = section() + interface() + enhanced(1, number=5) + enhanced(2)

    assert of_bytes(data).frames == 1
    assert whats(data) == {"the capture is damaged"}


def test_a_simple_packet_has_no_time() -> None:
    data = section() + interface(snaplen=60) + block(3, struct.pack("<I", len(FRAME)) + FRAME)
    capture = of_bytes(data)

    assert (capture.first, capture.last, capture.frames) == (None, None, 1)
    assert whats(data) == {"frames without a time"}


def test_the_packet_block_of_old_is_read_with_its_drops() -> None:
    old = struct.pack("<HHIIII", 0, 3, 0, 5_000_000, len(FRAME), len(FRAME)) + FRAME
    data = section() + interface() + block(2, old)

    assert of_bytes(data).first == 5 * SECOND
    assert whats(data) == {"packets are missing"}


def test_statistics_tell_of_drops_and_of_the_end() -> None:
    options = option(3, struct.pack("<II", 0, 9_000_000)) + option(5, struct.pack("<Q", 12)) + option(0, b"")
    data = section() + interface() + enhanced(1_000_000) + block(5, struct.pack("<III", 0, 0, 9_000_000) + options)

    assert of_bytes(data).last == 9 * SECOND
    assert any("12 packets were dropped" in gap.why for gap in of_bytes(data).gaps)


def test_statistics_of_no_drops_tell_of_none() -> None:
    options = option(4, struct.pack("<Q", 12)) + option(5, struct.pack("<Q", 0))
    data = section() + interface() + enhanced(1) + block(5, struct.pack("<III", 0, 0, 9) + options)

    assert whats(data) == set()


def test_blocks_that_are_not_known_are_passed_over() -> None:
    data = section() + block(0x0BAD, b"what") + interface() + block(4, bytes(40)) + enhanced(1)

    assert of_bytes(data).frames == 1
    assert whats(data) == set()


def test_snoop_has_microseconds() -> None:
    assert of_bytes(snoop([record(7)])).first == 7 * SECOND + 250_000_000


@pytest.mark.parametrize("padding", [0, 1, 2, 3, 8])
def test_a_record_of_snoop_is_as_long_as_it_says(padding: int) -> None:
    capture = of_bytes(snoop([record(1, padding=padding), record(2, padding=padding)]))

    assert (capture.format, capture.frames) == ("snoop", 2)
    assert not whats(snoop([record(1, padding=padding)]))


def test_the_padding_of_the_last_record_may_be_missing() -> None:
    data = snoop([record(1), record(2, padding=4)])[:-4]

    assert of_bytes(data).frames == 2
    assert whats(data) == set()


def test_snoop_tells_of_drops() -> None:
    assert any("5 packets" in gap.why for gap in of_bytes(snoop([record(1, drops=2), record(2, drops=5)])).gaps)


def test_snoop_on_ipnet_is_read() -> None:
    assert len(of_bytes(snoop([record(1, bytes(24) + FRAME[14:])], link=26)).conversations) == 1


@pytest.mark.parametrize(
    "data",
    [
        pcap([(1.0, FRAME)])[:-1],
        pcap([(1.0, FRAME)])[:20],
        pcap([(1.0, FRAME)]) + bytes(3),
        pcap([])[:24] + struct.pack("<IIII", 1, 0, 0xFFFFFFFF, 60),
        snoop([record(1)])[:-9],
        snoop([record(1)])[:12],
        snoop([struct.pack(">IIIIII", 60, 0xFFFFFFFF, 24, 0, 1, 0)]),
        snoop([record(1)], version=9),
        section()[:16],
        section() + b"\1\0\0\0\3\0\0\0" + bytes(20),
        section() + b"\1\0\0\0\xff\xff\xff\xff" + bytes(20),
        section() + interface() + enhanced(1)[:-8],
    ],
)
def test_a_file_that_is_cut_or_lies_gives_what_there_is_and_says_so(data: bytes) -> None:
    assert whats(data) == {"the capture is cut"}


def test_a_capture_without_a_frame_is_empty_and_no_error() -> None:
    assert (of_bytes(pcap([])).frames, of_bytes(pcap([])).first, whats(pcap([]))) == (0, None, set())


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_pieces_may_end_anywhere(size: int) -> None:
    data = bytes(range(200))
    stream = Stream(data[start : start + size] for start in range(0, len(data), size))
    taken = b""
    for wanted in (3, 50, 1, 100, 46):
        assert stream.holds(wanted)
        taken += stream.take(wanted)

    assert taken == data
    assert not stream.holds(1)
    assert stream.left == 0


SEEDS = [path.read_bytes() for path in sorted(CAPTURES.glob("*.pcap"))]
MADE = [
    section() + interface() + b"".join(enhanced(at, frame) for at, (_, frame) in enumerate(Talk().connect().frames)),
    snoop(
        [
            record(at, frame)
            for at, (_, frame) in enumerate(Talk().connect().send(CLIENT, FIN | ACK).send(SERVER).frames)
        ]
    ),
]


@settings(max_examples=300, deadline=None)
@given(
    seed=st.sampled_from(SEEDS + MADE),
    changes=st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(min_size=1, max_size=8)), max_size=12),
    end=st.integers(0, 1 << 20),
)
def test_no_bytes_make_it_fail(seed: bytes, changes: list[tuple[int, bytes]], end: int) -> None:
    data = bytearray(seed)
    for place, new in changes:
        place = 4 + place % max(1, len(data) - 4)
        data[place : place + len(new)] = new
    data = data[: max(16, end % (len(data) + 1))] if end % 2 else data
    if capture_format_of(bytes(data)) is None:
        return  # no longer a capture at all
    capture = of_bytes(bytes(data))
    as_text(capture)
    assert capture.frames <= len(data) // 16


@settings(max_examples=100, deadline=None)
@given(link=st.sampled_from([0, 1, 9, 101, 113, 226, 258, 276]), frames=st.lists(st.binary(max_size=120), max_size=20))
def test_no_frames_make_it_fail(link: int, frames: list[bytes]) -> None:
    capture = of_bytes(pcap([(float(at), frame) for at, frame in enumerate(frames)], link=link))

    assert capture.frames == len(frames)
    as_text(capture)
