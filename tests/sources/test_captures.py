"""Captures of real connections: read as the text beside them, in whatever format they come."""

from __future__ import annotations

import gzip
import random
import shutil
import subprocess
import tracemalloc
from pathlib import Path

import pytest

from tests.captures import CAPTURES, as_text, of_bytes, pcap, read
from tracecorr.sources.all import LOG_FORMATS
from tracecorr.sources.captures import CAPTURES as FORMATS
from tracecorr.sources.captures import capture_format_of

FILES = sorted(CAPTURES.glob("*.pcap"))

needs_editcap = pytest.mark.skipif(shutil.which("editcap") is None, reason="editcap (tshark) is not installed")

# editcap's name, and what we call it.
WRITTEN = {"snoop": "snoop", "nsecpcap": "pcap", "pcapng": "pcapng", "modpcap": "pcap", "pcap": "pcap"}


def golden(path: Path) -> list[str]:
    return path.with_suffix(".txt").read_text().splitlines()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_capture_reads_as_the_text_beside_it(path: Path) -> None:
    expected = path.with_suffix(".txt")
    beside = path.with_suffix(".txt.actual")
    actual = "\n".join(as_text(read(path))) + "\n"
    if expected.exists() and actual == expected.read_text():
        beside.unlink(missing_ok=True)
        return
    beside.write_text(actual)
    pytest.fail(f"{beside} differs from {expected.name}")


def test_there_are_captures() -> None:
    assert len(FILES) > 20


@needs_editcap
@pytest.mark.parametrize("form", WRITTEN)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_format_of_a_capture_reads_the_same(path: Path, form: str, tmp_path: Path) -> None:
    if form == "snoop" and "cooked" in "".join(_link(path)):
        pytest.skip("snoop has no cooked captures")
    file = tmp_path / f"capture.{form}"
    subprocess.run(["editcap", "-F", form, str(path), str(file)], check=True, capture_output=True)

    capture = read(file)

    assert capture.format == WRITTEN[form]
    assert as_text(capture) == golden(path)


def _link(path: Path) -> list[str]:
    return ["cooked"] if path.read_bytes()[20:21] != b"\x01" else []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_other_byte_order_reads_the_same(path: Path) -> None:
    data = path.read_bytes()
    swapped = bytearray()
    for start, size in [(0, 4), (4, 2), (6, 2), (8, 4), (12, 4), (16, 4), (20, 4)]:
        swapped += data[start : start + size][::-1]
    at = 24
    while at < len(data):
        included = int.from_bytes(data[at + 8 : at + 12], "little")
        for field in range(4):
            swapped += data[at + 4 * field : at + 4 * field + 4][::-1]
        swapped += data[at + 16 : at + 16 + included]
        at += 16 + included

    assert as_text(of_bytes(bytes(swapped))) == golden(path)


def test_a_compressed_capture_is_read(tmp_path: Path) -> None:
    file = tmp_path / "capture.pcap.gz"
    file.write_bytes(gzip.compress((CAPTURES / "close_wait.pcap").read_bytes()))

    assert as_text(read(file)) == golden(CAPTURES / "close_wait.pcap")


def test_a_compressed_capture_that_is_cut_gives_what_there_is(tmp_path: Path) -> None:
    file = tmp_path / "capture.pcap.gz"
    noise = [(2.0, random.Random(1).randbytes(1000)) for _ in range(500)]
    data = (CAPTURES / "offload.pcap").read_bytes() + pcap(noise)[24:]
    data = gzip.compress(data, 0)
    file.write_bytes(data[: len(data) // 2])

    capture = read(file)

    assert [gap.what for gap in capture.gaps][:1] == ["the capture is cut"]
    assert len(capture.conversations) == 1 and 50 < capture.frames < 500


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_one_format_claims_a_capture_and_no_log_format_does(path: Path) -> None:
    head = path.read_bytes()
    assert [name for name, each in FORMATS.items() if each.recognises(head)] == ["pcap"]
    assert not any(each.recognises(head.split(b"\n")) for each in LOG_FORMATS.values())


@pytest.mark.parametrize("head", [b"", b"\n", b"snoop", b"\xa1\xb2", b"execve(", b"\x0a\x0d\x0d\x0a1234", bytes(40)])
def test_what_is_no_capture_is_claimed_by_none(head: bytes) -> None:
    assert capture_format_of(head) is None


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_capture_may_end_anywhere(path: Path) -> None:
    data = path.read_bytes()
    whole = read(path)
    for end in range(4, len(data), 7):
        capture = of_bytes(data[:end])
        assert capture.frames <= whole.frames
        assert bool(capture.gaps) or capture.frames < whole.frames


def test_memory_does_not_grow_with_the_frames(tmp_path: Path) -> None:
    one = (CAPTURES / "half_close_answered.pcap").read_bytes()
    peaks = []
    for count in (20_000, 60_000):
        file = tmp_path / f"{count}.pcap"
        file.write_bytes(one[:24] + one[24:] * (count // 20))
        tracemalloc.start()
        capture = read(file)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert capture.frames == count
    assert peaks[1] - peaks[0] < 200_000
