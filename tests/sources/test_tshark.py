"""Our reading of captures against Wireshark's, frame by frame, on every capture that there is."""

from __future__ import annotations

import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from tests.captures import CAPTURES, read
from tracecorr.captured import Conversation, Half, Repeated, ZeroWindows
from tracecorr.events import Endpoint

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
# Wireshark takes a packet that was captured twice for a retransmission.
FILES = [*(path for path in sorted(CAPTURES.glob("*.pcap")) if path.stem != "bridged"), *sorted(CORPUS.glob("**/*.pcap")), *sorted(CORPUS.glob("**/*.pcapng")),
         *sorted(CORPUS.glob("**/*.snoop"))]  # fmt: skip

FLAGS = {
    "fin": "tcp.flags.fin", "syn": "tcp.flags.syn", "reset": "tcp.flags.reset",
    "zero": "tcp.analysis.zero_window", "again": "tcp.analysis.retransmission",
    "alive": "tcp.analysis.keep_alive", "probe": "tcp.analysis.zero_window_probe",
}  # fmt: skip
FIELDS = [
    "frame.number", "tcp.stream", "ip.src", "ipv6.src", "tcp.srcport", "ip.dst", "ipv6.dst", "tcp.dstport",
    "tcp.len", "tcp.window_size_value", *FLAGS.values(),
]  # fmt: skip

pytestmark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")

# What a host has sent, by the ends and the number of the stream: the frames of each kind.
Sent = dict[str, list[int]]


def tshark(path: Path) -> dict[tuple[int, Endpoint, Endpoint], Sent]:
    command = ["tshark", "-n", "-r", str(path), "-Y", "tcp", "-T", "fields", "-E", "separator=\t"]
    for field in FIELDS:
        command += ["-e", field]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: dict[tuple[int, Endpoint, Endpoint], Sent] = defaultdict(lambda: defaultdict(list))
    for line in text.splitlines():
        number, stream, src, src6, sport, dst, dst6, dport, size, window, *flags = line.split("\t")
        sent = found[int(stream), Endpoint(src or src6, int(sport)), Endpoint(dst or dst6, int(dport))]
        sent["all"].append(int(number))
        if int(size):
            sent["data"].append(int(number))
        marked = {name for name, value in zip(FLAGS, flags, strict=True) if value not in ("", "0", "False")}
        for name in marked:
            sent[name].append(int(number))
        if window == "0" and not marked & {"syn", "fin", "reset"}:
            sent["window 0"].append(int(number))
    return found


def spread(frames: list[int]) -> tuple[int, int, int] | None:
    return (frames[0], frames[-1], len(frames)) if frames else None


def ours(repeated: Repeated | ZeroWindows | None) -> tuple[int, int, int] | None:
    return None if repeated is None else (repeated.first.origin.line, repeated.last.origin.line, repeated.times)


def of(half: Half) -> dict[str, object]:
    asked = [each for each in (half.keep_alives, half.probes) if each is not None]
    return {
        "segments": half.segments,
        "fin": None if half.fin is None else (half.fin.origin.line, half.fins),
        "syn": None if half.syn is None else half.syn.origin.line,
        "reset": None if half.reset is None else half.reset.origin.line,
        "first data": None if half.first_data is None else half.first_data.origin.line,
        "zero windows": ours(half.zero_windows),
        "retransmissions": ours(half.retransmissions),
        "asked": sum(each.times for each in asked),
    }


def theirs(sent: Sent) -> dict[str, object]:
    assert sent["zero"] == sent["window 0"]
    return {
        "segments": len(sent["all"]),
        "fin": (sent["fin"][0], len(sent["fin"])) if sent["fin"] else None,
        "syn": sent["syn"][0] if sent["syn"] else None,
        "reset": sent["reset"][0] if sent["reset"] else None,
        "first data": sent["data"][0] if sent["data"] else None,
        "zero windows": spread(sent["zero"]),
        "retransmissions": spread(sent["again"]),
        "asked": len(set(sent["alive"]) | set(sent["probe"])),
    }


def directions(conversation: Conversation) -> list[tuple[Endpoint, Endpoint]]:
    one, two = conversation.ends
    return [(one, two), (two, one)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: "/".join(path.parts[-2:]))
def test_wireshark_sees_the_same(path: Path) -> None:
    found = tshark(path)
    capture = read(path)
    assert len(capture.conversations) == len({stream for stream, *_ in found})
    assert not capture.skipped

    for stream, conversation in enumerate(capture.conversations):
        for source, destination in directions(conversation):
            assert of(conversation.half(source)) == theirs(found[stream, source, destination]), (source, destination)
