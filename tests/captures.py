"""Captures in tests: those of fixtures/captures, made ones, and what was read of them as text."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

from tracecorr.captured import AfterFin, Capture, Conversation, Half, Moment, Repeated, ZeroWindows
from tracecorr.events import Endpoint
from tracecorr.sources.blocks import Input
from tracecorr.sources.captures import read_capture

CAPTURES = Path(__file__).parents[1] / "fixtures" / "captures"


def read(path: Path) -> Capture:
    return read_capture(Input(str(path)))


def as_text(capture: Capture) -> list[str]:
    """What was read, in lines: frames by their number, times in microseconds since the first frame."""
    first = capture.first or 0
    span = (capture.last or 0) - first
    lines = [f"{capture.frames} frames, {span // 1000} µs"]
    lines += [f"{number} {why}" for why, number in {**capture.other, **capture.skipped}.items()]
    lines += [f"gap: {gap.what}: {gap.why}" for gap in capture.gaps]
    for conversation in capture.conversations:
        lines += _conversation(conversation, first)
    return lines


def _conversation(conversation: Conversation, first: int) -> Iterator[str]:
    one, two = conversation.ends
    opened = "opened" if conversation.opener == one else "in the middle"
    established = "" if conversation.established else ", never established"
    yield ""
    yield f"{one} – {two}: {opened}{established}, frames {_frame(conversation.first)} to {_frame(conversation.last)}"
    if conversation.duplicates:
        yield f"  {conversation.duplicates} captured twice"
    for end in conversation.ends:
        yield from _half(conversation, end, first)


def _half(conversation: Conversation, end: Endpoint, first: int) -> Iterator[str]:
    half = conversation.half(end)
    state = conversation.state(end)
    yield f"  {end}: {state.value if state is not None else 'unknown'}"
    yield f"    {half.segments} segments, {half.bytes} bytes, {half.outstanding} outstanding, {half.lost} lost, scale {half.window_scale}"
    for name in Half.__slots__:
        value = getattr(half, name)
        if isinstance(value, Moment):
            yield f"    {name} {_moment(value, first)}"
        elif isinstance(value, Repeated | ZeroWindows):
            yield f"    {name} {value.times} times, {_frame(value.first)} to {_frame(value.last)}{_since(value)}"
        elif isinstance(value, AfterFin):
            yield from _after_fin(value, first)
    if half.fins > 1:
        yield f"    fins {half.fins}"


def _after_fin(value: AfterFin, first: int) -> Iterator[str]:
    yield f"    after_fin {value.bytes} bytes in {value.segments} segments, {_frame(value.first)} to {_frame(value.last)}"
    answers = (("acknowledged", value.acknowledged), ("reset", value.reset))
    yield from (f"    after_fin {word} {_moment(when, first)}" for word, when in answers if when is not None)


def _since(value: Repeated | ZeroWindows) -> str:
    return f", closed since {_frame(value.since)}" if isinstance(value, ZeroWindows) and value.since is not None else ""


def _moment(moment: Moment, first: int) -> str:
    return f"{_frame(moment)} at {(moment.at - first) // 1000} µs"


def _frame(moment: Moment) -> int:
    return moment.origin.line


# What no tool writes is made here: frames of any link type, fragments, odd TCP.

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
CLIENT, SERVER = Endpoint("192.0.2.20", 41007), Endpoint("192.0.2.10", 80)


def tcp(
    sport: int,
    dport: int,
    flags: int,
    seq: int,
    ack: int,
    *,
    payload: bytes = b"",
    window: int = 512,
    options: bytes = b"",
) -> bytes:
    header = struct.pack(">HHIIHHHH", sport, dport, seq % (1 << 32), ack % (1 << 32),
                         (20 + len(options)) // 4 << 12 | flags, window, 0, 0)  # fmt: skip
    return header + options + payload


def ipv4(source: str, destination: str, body: bytes, *, number: int = 0, offset: int = 0, more: bool = False,
         options: bytes = b"", protocol: int = 6) -> bytes:  # fmt: skip
    size = 20 + len(options) + len(body)
    header = struct.pack(">BBHHHBBH4s4s", 0x40 | (20 + len(options)) // 4, 0, size, number,
                         (0x2000 if more else 0) | offset // 8, 64, protocol, 0,
                         ip_address(source).packed, ip_address(destination).packed)  # fmt: skip
    return header + options + body


def ipv6(source: str, destination: str, body: bytes, *, extensions: bytes = b"", protocol: int = 6) -> bytes:
    header = struct.pack(">IHBB16s16s", 6 << 28, len(extensions) + len(body), protocol, 64,
                         ip_address(source).packed, ip_address(destination).packed)  # fmt: skip
    return header + extensions + body


def ethernet(packet: bytes, *tags: int) -> bytes:
    kind = {4: b"\x08\0", 6: b"\x86\xdd"}[packet[0] >> 4]
    return bytes(12) + b"".join(struct.pack(">HH", tag, 5) for tag in tags) + kind + packet


def pcap(frames: Sequence[tuple[float, bytes]], *, link: int = 1, order: str = "<", nanoseconds: bool = False,
         minor: int = 4) -> bytes:  # fmt: skip
    """A pcap file of (seconds, bytes)."""
    magic, unit = (0xA1B23C4D, 10**9) if nanoseconds else (0xA1B2C3D4, 10**6)
    data = struct.pack(f"{order}IHHiIII", magic, 2, minor, 0, 0, 65535, link)
    for at, frame in frames:
        whole, fraction = divmod(round(at * unit), unit)
        data += struct.pack(f"{order}IIII", whole, fraction, len(frame), len(frame)) + frame
    return data


class Talk:
    """A conversation of two ends, segment by segment: each call sends one, `wait` lets time pass."""

    def __init__(self, start: int = 1000) -> None:
        self.at = 1_700_000_000.0
        self.frames: list[tuple[float, bytes]] = []
        self.next = {CLIENT: start, SERVER: start * 2}
        self.number = 0

    def wait(self, seconds: float) -> Talk:
        self.at += seconds
        return self

    def send(self, end: Endpoint, flags: int = ACK, payload: bytes = b"", *, back: int = 0, skip: int = 0,
             ack: int | None = None, window: int = 512, options: bytes = b"") -> Talk:  # fmt: skip
        """Send one segment; `back` repeats so many bytes, `skip` leaves some out, `ack` is less than what came."""
        other = SERVER if end == CLIENT else CLIENT
        sequence = self.next[end] - back + skip
        taken = self.next[other] - (ack or 0) if flags & ACK else 0
        segment = tcp(end.port, other.port, flags, sequence, taken, payload=payload, window=window, options=options)
        self.number += 1
        self.frames.append((self.at, ethernet(ipv4(end.address, other.address, segment, number=self.number))))
        size = len(payload) + bool(flags & SYN) + bool(flags & FIN)
        self.next[end] = max(self.next[end], sequence + size)
        self.at += 0.001
        return self

    def again(self, count: int = 1) -> Talk:
        """Capture the last frame once more."""
        for _ in range(count):
            self.at += 0.0001
            self.frames.append((self.at, self.frames[-1][1]))
        return self

    def connect(self) -> Talk:
        return self.send(CLIENT, SYN, options=b"\x03\x03\x07\0").send(SERVER, SYN | ACK).send(CLIENT)

    def capture(self) -> Capture:
        return of_bytes(pcap(self.frames))

    def conversation(self) -> Conversation:
        (conversation,) = self.capture().conversations
        return conversation


def of_bytes(data: bytes) -> Capture:
    """What is read of a file with these bytes."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        return replace(read(Path(file.name)), source="made")
