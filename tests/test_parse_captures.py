"""`tracecorr parse` of captures: alone, from standard input, in directories, beside logs, and against the kernel."""

from __future__ import annotations

import csv
import gzip
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import tracecorr
from tests.captures import CAPTURES, as_text, read
from tracecorr.cli import main
from tracecorr.errors import UnrecognisedLog
from tracecorr.events import Endpoint
from tracecorr.kernel import TCP_STATES
from tracecorr.render.all import RENDERERS
from tracecorr.render.json_document import read as read_report
from tracecorr.sources.all import LOG_FORMATS
from tracecorr.sources.captures import capture_format_of

ROOT = Path(__file__).parents[1]
CORPUS = ROOT.parent / "shared" / "corpus"
STUCK = CAPTURES / "close_wait.pcap"
CLEAN = CAPTURES / "clean_close.pcap"
LOG = ROOT / "fixtures" / "demo" / "trace.log"

needs_tcpdump = pytest.mark.skipif(
    shutil.which("tcpdump") is None or os.geteuid() != 0, reason="tcpdump is not installed, or not allowed to capture"
)


def test_a_capture_alone_gives_a_report() -> None:
    report = tracecorr.parse([STUCK])

    (source,) = report.sources
    assert (source.format, source.lines, source.calls, source.skipped) == ("pcap", 19, 0, 0)
    assert source.last is not None and source.first is not None and source.last - source.first > 1
    assert (report.sockets.seen, report.sockets.stuck, report.sockets.by_cause) == (2, 1, {"unexplained": 1})
    assert report.exit_code == 1


def test_a_capture_in_good_order_is_no_fault() -> None:
    report = tracecorr.parse([CLEAN])

    assert (report.verdicts, report.gaps, report.exit_code, report.sockets.seen) == ((), (), 0, 1)


def test_half_closed_without_a_fault_is_shown_and_is_no_fault() -> None:
    report = tracecorr.parse([CAPTURES / "half_close_answered.pcap"])

    assert [verdict.cause for verdict in report.verdicts] == ["still-sending"]
    assert report.exit_code == 0


def test_the_threshold_counts_to_the_last_frame() -> None:
    assert tracecorr.parse([STUCK], stuck_after=1.3).sockets.stuck == 0
    assert [gap.what for gap in tracecorr.parse([STUCK], stuck_after=1.3).gaps] == ["half-closed at the end"]


def test_a_refused_connection_was_none() -> None:
    assert tracecorr.parse([CAPTURES / "refused.pcap"]).sockets.seen == 0


@pytest.mark.parametrize("name", RENDERERS)
def test_every_output_shows_it_and_json_brings_it_back(name: str) -> None:
    report = tracecorr.parse(sorted(CAPTURES.glob("*.pcap")))
    text = "".join(RENDERERS[name].render(report))

    assert text
    if name == "json":
        assert read_report(text.encode()) == report
    if name == "text":
        assert "8 of 37 connections are stuck in CLOSE_WAIT" in text and "frames" in text


def test_a_capture_tells_nothing_of_the_time_after_it() -> None:
    alone = tracecorr.parse([CAPTURES / "half_close_answered.pcap"])
    later = tracecorr.parse([CAPTURES / "half_close_answered.pcap", CAPTURES / "offload.pcap"])

    assert later.verdicts == alone.verdicts


@pytest.mark.parametrize("packed", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_standard_input_may_be_a_capture(packed: Callable[[bytes], bytes]) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tracecorr", "parse", "-", "--format", "json"],
        input=packed(STUCK.read_bytes()), capture_output=True, cwd=ROOT, check=False,
    )  # fmt: skip

    assert run.returncode == 1, run.stderr
    assert json.loads(run.stdout)["sources"][0]["name"] == "standard input"


def test_a_directory_of_captures_is_a_set(tmp_path: Path) -> None:
    shutil.copy(STUCK, tmp_path)
    shutil.copy(CLEAN, tmp_path)

    assert tracecorr.parse([tmp_path]).sockets.seen == 3


def test_a_log_beside_a_capture_is_still_a_log(tmp_path: Path) -> None:
    shutil.copy(STUCK, tmp_path)
    shutil.copy(LOG, tmp_path)
    alone = tracecorr.parse([LOG])

    for paths in ([LOG, STUCK], [STUCK, LOG], [tmp_path]):
        report = tracecorr.parse(paths)
        assert sorted(source.format for source in report.sources) == ["pcap", "strace"]
        assert {verdict.cause for verdict in report.verdicts} >= {verdict.cause for verdict in alone.verdicts}


def test_a_binary_file_that_is_no_capture_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "what"
    file.write_bytes(b"\0\1\2\3" * 100)

    with pytest.raises(UnrecognisedLog):
        tracecorr.parse([file])
    assert main(["parse", str(file)]) == 2
    assert "binary" in capsys.readouterr().err


@pytest.mark.skipif(not CORPUS.exists(), reason="no corpus beside the project (../shared/corpus)")
def test_every_file_of_the_corpus_is_claimed_once_at_most_and_captures_by_captures() -> None:
    with (CORPUS / "INDEX.tsv").open(newline="") as file:
        names = [row["file"] for row in csv.DictReader(file, delimiter="\t")]
    names += [str(path.relative_to(CORPUS)) for path in CORPUS.glob("cases/*/capture.pcap")]
    captures = 0
    for name in names:
        head = (CORPUS / name).read_bytes()[: 1 << 16]
        format_ = capture_format_of(head)
        logs = [each.NAME for each in LOG_FORMATS.values() if each.recognises(head.split(b"\n")[:400])]
        assert (format_ is not None) == name.endswith(("pcap", "pcapng", "snoop")), name
        assert format_ is None or not logs, name
        captures += format_ is not None
    assert captures > 20


@pytest.mark.skipif(not CORPUS.exists(), reason="no corpus beside the project (../shared/corpus)")
def test_the_corpus_has_one_capture_in_four_formats_and_all_read_the_same() -> None:
    files = [CORPUS / "captures" / f"forkhold-close{end}" for end in (".pcap", "-nsec.pcap", ".pcapng", ".snoop")]

    assert len({"\n".join(as_text(read(path))) for path in files}) == 1


# Against the kernel.


@contextmanager
def captured(file: Path, port: int) -> Iterator[None]:
    """Capture what goes over loopback with this port."""
    tcpdump = subprocess.Popen(
        ["tcpdump", "-Z", "root", "-i", "lo", "-s", "128", "-U", "--immediate-mode", "-w", str(file), f"tcp port {port}"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert tcpdump.stderr is not None
        for line in tcpdump.stderr:
            if "listening on" in line:
                break
        yield
    finally:
        tcpdump.terminate()
        tcpdump.wait()


def kernel_states(port: int) -> dict[tuple[Endpoint, Endpoint], str]:
    found = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, remote, state = line.split()[1:4]
        ends = [_endpoint(text) for text in (local, remote)]
        name = TCP_STATES[int(state, 16)]
        if port in (ends[0].port, ends[1].port) and name is not None:
            found[ends[0], ends[1]] = name.value
    return found


def _endpoint(text: str) -> Endpoint:
    address, _, port = text.partition(":")
    return Endpoint(socket.inet_ntoa(bytes.fromhex(address)[::-1]), int(port, 16))


def wait_for(file: Path, ends: tuple[Endpoint, Endpoint], state: str) -> str:
    """Return the state that the capture shows of the first end, as soon as it is this one or the patience is over."""
    until = time.monotonic() + 20
    while True:
        conversations = read(file).of(*ends) if file.exists() and file.stat().st_size >= 24 else ()
        found = conversations[-1].state(ends[0]) if conversations else None
        if (found is not None and found.value == state) or time.monotonic() > until:
            return found.value if found is not None else "unknown"
        time.sleep(0.01)


@needs_tcpdump
def test_the_states_are_those_of_the_kernel(tmp_path: Path) -> None:
    file = tmp_path / "live.pcap"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with captured(file, port), socket.create_connection(("127.0.0.1", port)) as client:
            server, _ = listener.accept()
            with server:
                ends = Endpoint(*client.getsockname()), Endpoint(*server.getsockname())
                other = ends[1], ends[0]
                steps = [
                    (lambda: client.sendall(b"hello"), "ESTABLISHED", "ESTABLISHED"),
                    (lambda: client.shutdown(socket.SHUT_WR), "FIN_WAIT2", "CLOSE_WAIT"),
                    (lambda: server.sendall(b"more"), "FIN_WAIT2", "CLOSE_WAIT"),
                ]
                for act, ours, theirs in steps:
                    act()
                    assert wait_for(file, ends, ours) == ours == kernel_states(port)[ends]
                    assert wait_for(file, other, theirs) == theirs == kernel_states(port)[other]
                server.shutdown(socket.SHUT_WR)
                assert wait_for(file, ends, "TIME_WAIT") == "TIME_WAIT"
                assert wait_for(file, other, "CLOSE") == "CLOSE"


def frames(path: Path) -> list[bytes]:
    """Return the records of a pcap file with microseconds, in the order of a little-endian machine."""
    data, place, found = path.read_bytes(), 24, []
    while place < len(data):
        size = struct.unpack_from("<I", data, place + 8)[0]
        found.append(data[place : place + 16 + size])
        place += 16 + size
    return found


def test_a_connection_that_ends_in_the_next_file_of_a_rotated_capture_is_not_stuck(tmp_path: Path) -> None:
    whole = CAPTURES / "closed_late.pcap"
    head, records = whole.read_bytes()[:24], frames(whole)
    (verdict,) = tracecorr.parse([whole]).verdicts
    assert verdict.released and verdict.eof_at is not None and verdict.released_at is not None
    late = next(
        n
        for n, each in enumerate(records)
        if struct.unpack_from("<I", each)[0] + 1e-6 * struct.unpack_from("<I", each, 4)[0] > verdict.released_at - 0.001
    )
    # Something else in the meantime: another connection begins, just before the file was full.
    seconds, micro = divmod(round((verdict.released_at - 0.01) * 1e6), 10**6)
    other = bytearray(struct.pack("<II", seconds, micro) + records[0][8:])
    other[16 + 34 : 16 + 36] = b"\x10\x01"  # its port, behind Ethernet and IPv4
    first, second = tmp_path / "capture.pcap", tmp_path / "capture.pcap1"
    first.write_bytes(head + b"".join([*records[:late], bytes(other)]))
    second.write_bytes(head + b"".join(records[late:]))
    assert [verdict.cause for verdict in tracecorr.parse([first]).verdicts] == ["unexplained"]
    assert [
        verdict.cause
        for verdict in tracecorr.parse([first, second]).verdicts
        if verdict.blamed and not verdict.released
    ] == []


def test_two_captures_of_one_connection_tell_of_it_once(tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere.pcap"
    copy.write_bytes((CAPTURES / "close_wait.pcap").read_bytes())
    alone = tracecorr.parse([CAPTURES / "close_wait.pcap"])
    both = tracecorr.parse([CAPTURES / "close_wait.pcap", copy])
    assert [verdict.socket for verdict in both.verdicts] == [verdict.socket for verdict in alone.verdicts]
    assert both.sockets.stuck == alone.sockets.stuck == 1
