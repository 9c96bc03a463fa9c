"""The formats that a capture may have, as one table, and the reading of one: at most one of them claims a file."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from tracecorr.captured import Capture, Conversation
from tracecorr.errors import UnreadableInput
from tracecorr.events import Gap
from tracecorr.sources import pcap_file, pcapng_file, snoop_file
from tracecorr.sources.base import SAMPLES
from tracecorr.sources.blocks import Input
from tracecorr.sources.conversations import Conversations
from tracecorr.sources.frames import CaptureFormat, Condition, Frame, Stream
from tracecorr.sources.packets import CUT, OTHER, UNKNOWN_LINK, Packets

CAPTURES: Final[dict[str, CaptureFormat]] = {
    pcap_file.NAME: pcap_file,
    pcapng_file.NAME: pcapng_file,
    snoop_file.NAME: snoop_file,
}

_RECORD: Final = "tcpdump -s 128 -i any -w capture.pcap tcp"


def capture_format_of(head: bytes) -> CaptureFormat | None:
    """Return the format that claims a file which begins so, None where it is no capture."""
    return next((format_ for format_ in CAPTURES.values() if format_.recognises(head)), None)


def read_capture(source: Input) -> Capture:
    """Read the whole capture, close it, and return what it shows.

    What is wrong with the file is told by gaps and by `skipped`: one that is cut gives what there is.
    """
    format_ = capture_format_of(source.head)
    assert format_ is not None, "the caller has asked capture_format_of"
    # Of several objects for each connection none is garbage, and the collector would look at all of them over and over:
    # half of the time with 200,000 connections.
    collecting = gc.isenabled()
    gc.disable()
    try:
        reading = _Reading(source.name)
        for frame in format_.frames(Stream(_pieces(source, reading.condition)), reading.condition):
            reading.take(frame)
        return reading.capture(format_.NAME)
    finally:
        if collecting:
            gc.enable()
        source.close()


# A compressed file that is cut, or a disk that fails.
def _pieces(source: Input, condition: Condition) -> Iterator[bytes]:
    try:
        yield from source.pieces()
    except UnreadableInput as error:
        condition.stop(str(error))


@dataclass(slots=True)
class _Reading:
    name: str
    condition: Condition = field(default_factory=Condition)
    frames: int = 0
    first: int | None = None
    last: int | None = None
    untimed: int = 0
    packets: Packets = field(default_factory=Packets)
    passed: Counter[str] = field(default_factory=Counter)
    links: Counter[int] = field(default_factory=Counter)
    samples: list[tuple[int, str]] = field(default_factory=list)
    conversations: Conversations = field(init=False)

    def __post_init__(self) -> None:
        self.conversations = Conversations(self.name)

    def take(self, frame: Frame) -> None:
        at, link, data, length = frame
        self.frames += 1
        if at is None:
            # Of a frame without a time it is known that it came after the one before it.
            self.untimed += 1
            at = self.last or 0
        elif self.first is None or self.last is None:
            self.first = self.last = at
        elif at > self.last:
            self.last = at
        elif at < self.first:
            self.first = at
        segment = self.packets.segment(link, data, length)
        if isinstance(segment, str):
            self._pass(segment, link)
        else:
            self.conversations.add(segment, at, self.frames)

    def _pass(self, why: str, link: int) -> None:
        self.passed[why] += 1
        if why == UNKNOWN_LINK:
            self.links[link & 0xFFFF] += 1
        if why not in OTHER and len(self.samples) < SAMPLES:
            self.samples.append((self.frames, f"{why} ({link & 0xFFFF})" if why == UNKNOWN_LINK else why))

    def capture(self, format_: str) -> Capture:
        conversations = tuple(self.conversations.finish())
        ends = [each for each in (self.last, self.condition.end) if each is not None and self.first is not None]
        return Capture(
            source=self.name, format=format_, frames=self.frames, first=self.first, last=max(ends, default=None),
            conversations=conversations,
            other={why: number for why, number in self.passed.items() if why in OTHER},
            skipped={why: number for why, number in self.passed.items() if why not in OTHER},
            samples=tuple(self.samples),
            gaps=(*self.condition.gaps(self.name, self.frames), *self._gaps(), *_partial(conversations, self.name)),
        )  # fmt: skip

    def _gaps(self) -> Iterator[Gap]:
        for link, number in self.links.most_common(3):
            why = f"{number:,} frames are of link type {link}, which is not read"
            yield Gap("a link type is not read", why, _RECORD, self.name)
        if self.passed[CUT]:
            why = f"{self.passed[CUT]:,} frames are cut before the end of their TCP header"
            yield Gap("frames are cut", why, _RECORD, self.name)
        if self.packets.fragments.lost:
            why = f"{self.packets.fragments.lost:,} datagrams lack a fragment"
            yield Gap("fragments are missing", why, None, self.name)
        if self.conversations.forgotten:
            why = f"{self.conversations.forgotten:,} attempts to connect were never answered, and are left out"
            yield Gap("attempts to connect were left out", why, None, self.name)
        if self.untimed:
            why = f"{self.untimed:,} frames have no time (pcapng's simple packet blocks)"
            yield Gap("frames without a time", why, _RECORD, self.name)


def _partial(conversations: tuple[Conversation, ...], name: str) -> Iterator[Gap]:
    late = [each for each in conversations if each.opener is None]
    if late:
        why = f"{_number(late)} began before it: who connected is not known, nor what was sent before"
        yield Gap("the capture starts in the middle", why, "start tcpdump before the connection", name,
                  late[0].first.origin.line)  # fmt: skip
    one_sided = [each for each in conversations if each.one_sided and each.established]
    if one_sided:
        why = f"of {_number(one_sided)} only one side's segments were captured, so nothing is known of the other"
        yield Gap("only one direction was captured", why, _RECORD, name, one_sided[0].first.origin.line)
    holed = [each for each in conversations if any(half.lost or half.end_lost for half in each.halves)]
    if holed:
        why = f"of {_number(holed)} the capture lacks segments: where they were the last ones, a FIN may be among them"
        yield Gap("segments are missing", why, "tcpdump -B 65536 -s 128 -i any -w capture.pcap tcp", name,
                  holed[0].first.origin.line)  # fmt: skip


def _number(conversations: list[Conversation]) -> str:
    return f"{len(conversations):,} connection{'s' if len(conversations) != 1 else ''}"
