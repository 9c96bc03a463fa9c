"""Inputs that can be read once, listings of two hosts, logs with two kinds of clock."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tracecorr
from tests.test_joined import AFTER, CLOSED, HEADER, LISTENS, LOG, row
from tracecorr.verdicts.report import Report

# The other host's: one process of it has the id of one here.
PEERS = """\
State Recv-Q Send-Q Local Address:Port Peer Address:Port Process
FIN-WAIT-2 0 0 192.0.2.20:41007 192.0.2.10:8080 users:(("other",pid=100,fd=4)) ino:71 sk:2 <--
CLOSE-WAIT 1 0 192.0.2.20:8080 192.0.2.30:50001 users:(("other",pid=100,fd=9)) ino:75 sk:3 -->
"""


def write(folder: Path, **files: str) -> list[Path]:
    paths = [folder / f"{name}.txt" for name in files]
    for path, text in zip(paths, files.values(), strict=True):
        path.write_text(text)
    return paths


def told(report: Report) -> list[tuple[str, str, str | None, int | None]]:
    return [(v.cause, v.confidence, v.socket.local, v.culprit.pid if v.culprit else None) for v in report.verdicts]


def test_a_log_on_standard_input_is_joined_as_a_file_is(tmp_path: Path) -> None:
    log, listing = write(tmp_path, log=LOG, ss=HEADER + LISTENS + row("CLOSE-WAIT"))
    expected = tracecorr.parse([log, listing], at=[AFTER])
    assert [verdict.confidence for verdict in expected.verdicts] == ["certain"]
    code = "import sys, tracecorr; from tests.test_joined_hosts import told; "
    code += "print(told(tracecorr.parse(['-', sys.argv[1]], at=[sys.argv[2]])))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(listing), AFTER], input=LOG, capture_output=True, text=True, timeout=60,
        check=True, cwd=ROOT,
    )  # fmt: skip
    assert done.stdout.strip() == str(told(expected))


@pytest.mark.parametrize("joined", [False, True])
def test_a_log_in_a_pipe_is_read_as_a_file_is(tmp_path: Path, joined: bool) -> None:
    log, listing = write(tmp_path, log=LOG, ss=HEADER + LISTENS + row("CLOSE-WAIT"))
    more = [listing] if joined else []
    expected = tracecorr.parse([log, *more], at=[AFTER])
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = subprocess.Popen(["sh", "-c", 'cat "$0" > "$1"', str(log), str(pipe)])
    try:
        report = tracecorr.parse([pipe, *more], at=[AFTER])
    finally:
        writer.kill()
        writer.wait(30)
    assert told(report) == told(expected)
    assert report.sources[0].lines == expected.sources[0].lines


def test_listings_of_two_hosts_are_not_taken_for_one(tmp_path: Path) -> None:
    report = tracecorr.parse(write(tmp_path, here=HEADER + LISTENS + row("CLOSE-WAIT", unread=1), there=PEERS))
    assert told(report) == [
        ("never-reads-eof", "likely", "192.0.2.10:8080", 100),
        ("never-reads-eof", "likely", "192.0.2.20:8080", 100),
    ]
    assert [v.culprit.comm for v in report.verdicts if v.culprit] == ["fserv", "other"]
    assert any("of another host" in (source.contributed or "") for source in report.sources)


def test_a_later_listing_of_the_same_host_is_no_other_host(tmp_path: Path) -> None:
    here, later = write(
        tmp_path,
        here=HEADER + LISTENS + row("CLOSE-WAIT", unread=1),
        later=HEADER + LISTENS + row("CLOSE-WAIT", unread=1),
    )
    os.utime(here, (1700000000, 1700000000))
    os.utime(later, (1700000100, 1700000100))
    report = tracecorr.parse([here, later])
    (verdict,) = report.verdicts
    assert verdict.stuck_for is not None and verdict.stuck_for >= 100


def test_the_peers_listing_tells_nothing_of_who_holds_a_connection_here(tmp_path: Path) -> None:
    alone = tracecorr.parse(write(tmp_path, log=CLOSED))
    report = tracecorr.parse(write(tmp_path, log=CLOSED, there=PEERS), at=[AFTER])
    assert told(alone) == []
    assert told(report) == [("never-reads-eof", "likely", "192.0.2.20:8080", 100)]
    (verdict,) = report.verdicts
    assert verdict.culprit is not None and verdict.culprit.comm == "other"


ROOT = Path(__file__).parents[1]
CLIENT = """\
200 22:13:58.500000 socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = 3 <0.000010>
200 22:13:58.500050 connect(3, {sa_family=AF_INET, sin_port=htons(8080), sin_addr=inet_addr("192.0.2.10")}, 16) = 0 <0.000100>
200 22:13:58.500300 getsockname(3, {sa_family=AF_INET, sin_port=htons(41007), sin_addr=inet_addr("192.0.2.20")}, [16]) = 0 <0.000010>
200 22:13:59.499900 write(3, "GET / HTTP/1.0\\r\\n\\r\\n", 18) = 18 <0.000010>
200 22:13:59.500400 read(3, "page", 512) = 4 <0.000100>
200 22:14:00.499900 close(3) = 0 <0.000010>
200 22:14:03.000000 pause( <detached ...>
"""


def test_what_a_second_log_tells_is_told_on_the_clock_of_the_first(tmp_path: Path) -> None:
    server, client = write(tmp_path, server=LOG, client=CLIENT)
    report = tracecorr.parse([client, server])
    (verdict,) = report.verdicts
    # The client's log has the time of the day alone: 22:14:00 is 80,040 s.
    assert verdict.eof_at is not None and 80039 < verdict.eof_at < 80042
    assert all(80030 < item.at < 80050 for item in verdict.evidence if item.at is not None)
    assert {Path(item.source).name for item in verdict.evidence if item.source} == {"server.txt", "client.txt"}
    (source,) = [source for source in report.sources if source.name == str(server)]
    assert source.clock == "day" and source.first is not None and 80000 < source.first < 80050
    assert source.offset is not None and source.offset > 1e9


STRANGER = """\
300 1700000000.000000 bind(3, {sa_family=AF_INET, sin_port=htons(8080), sin_addr=inet_addr("192.0.2.10")}, 16) = 0 <0.000010>
300 1700000000.000100 listen(3, 16) = 0 <0.000010>
300 1700000001.000000 accept4(3, {sa_family=AF_INET, sin_port=htons(41007), sin_addr=inet_addr("192.0.2.20")}, [16], SOCK_CLOEXEC) = 4 <0.000100>
300 1700000002.000000 read(4, "GET / HTTP/1.0\\r\\n\\r\\n", 512) = 18 <0.000100>
300 1700000002.000200 write(4, "page", 4) = 4 <0.000100>
300 1700000002.000400 close(9) = -1 EBADF (Bad file descriptor) <0.000010>
"""
LATER = """\
400 1700000008.000000 getppid() = 1 <0.000010>
400 1700000008.100000 pause( <detached ...>
"""
WAITS = "poll([{fd=3, events=POLLIN}, {fd=4, events=POLLIN}], 2, -1 <detached ...>"


@pytest.mark.parametrize(
    ("call", "accused"),
    [
        (WAITS, False),
        (WAITS.replace("fd=4, events=POLLIN", "fd=4, events=POLLOUT"), True),
        ("read(4,  <unfinished ...>", False),
        ("read(0,  <unfinished ...>", True),
    ],
)
def test_a_fin_that_somebody_waits_for_in_vain_has_not_come(tmp_path: Path, call: str, accused: bool) -> None:
    client = CLIENT.replace("22:13:58", "1699999998").replace("22:13:59", "1699999999")
    client = client.replace("22:14:00", "1700000000").replace("22:14:03", "1700000009")
    server = f"{STRANGER}300 1700000002.000600 {call}\n{LATER}"
    report = tracecorr.parse(write(tmp_path, server=server, client=client))
    assert [verdict.cause for verdict in report.verdicts] == ["never-reads-eof"] * accused
    assert ("a FIN did not arrive" in {gap.what for gap in report.gaps}) is not accused


def test_what_was_done_after_the_end_of_a_log_nobody_is_accused_of(tmp_path: Path) -> None:
    client = CLIENT.replace("22:13:58", "1699999998").replace("22:13:59", "1699999999")
    client = client.replace("22:14:00", "1700000000").replace("22:14:03", "1700000009")
    server = f"{STRANGER}300 1700000002.000600 read(0,  <unfinished ...>\n"
    report = tracecorr.parse(write(tmp_path, server=server, client=client))
    assert report.verdicts == ()
    assert "the log ends before the FIN" in {gap.what for gap in report.gaps}
    listing = HEADER + LISTENS.replace("pid=100", "pid=300") + row("CLOSE-WAIT", '("fserv",pid=300,fd=4)', unread=1)
    later = "2023-11-14 22:13:40+00:00"
    report = tracecorr.parse(write(tmp_path, server=server, client=client, listing=listing), at=[later])
    assert [(verdict.cause, verdict.culprit and verdict.culprit.pid) for verdict in report.verdicts] == [
        ("never-reads-eof", 300)
    ]


def test_what_a_later_listing_does_not_have_any_more_is_not_held_to_be_there(tmp_path: Path) -> None:
    rows = LISTENS + row("CLOSE-WAIT", unread=1)
    netstat = """\
Proto Recv-Q Send-Q Local Address           Foreign Address         State       PID/Program name
tcp        0      0 192.0.2.10:8080         0.0.0.0:*               LISTEN      100/fserv
tcp        0      0 192.0.2.10:22           192.0.2.99:50000        ESTABLISHED 90/sshd
"""
    before, after = write(tmp_path, before=HEADER + rows, after=netstat)
    for seconds, causes in ((0.5, []), (60, [])):
        os.utime(before, (1700000000, 1700000000))
        os.utime(after, (1700000000 + seconds, 1700000000 + seconds))
        assert [verdict.cause for verdict in tracecorr.parse([before, after]).verdicts] == causes
    os.utime(after, (1699999000, 1699999000))
    assert [verdict.cause for verdict in tracecorr.parse([before, after]).verdicts] == ["never-reads-eof"]


def test_what_was_true_of_the_state_before_is_not_told_of_the_state_after(tmp_path: Path) -> None:
    young = row("ESTAB").rstrip("\n") + "\n\t cubic cwnd:10 lastsnd:20 lastrcv:20 lastack:20\n"
    netstat = """\
Proto Recv-Q Send-Q Local Address           Foreign Address         State       PID/Program name
tcp        0      0 192.0.2.10:8080         0.0.0.0:*               LISTEN      100/fserv
tcp        1      0 192.0.2.10:8080         192.0.2.20:41007        CLOSE_WAIT  100/fserv
"""
    before, after = write(tmp_path, before=HEADER + LISTENS + young, after=netstat)
    os.utime(before, (1700000000, 1700000000))
    os.utime(after, (1700000060, 1700000060))
    (verdict,) = tracecorr.parse([before, after]).verdicts
    assert (verdict.cause, verdict.culprit and verdict.culprit.fd) == ("never-reads-eof", 4)
