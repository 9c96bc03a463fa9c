"""Logs and listings of one host in one report: confirmed, added, withdrawn, contradicted, and never guessed."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

import pytest

import tracecorr
from tracecorr.errors import BadTime
from tracecorr.verdicts.report import Report, Verdict

# Times are seconds since the epoch; the process is attached when nothing is open but its listener.
LOG = """\
100 1700000000.000000 bind(3, {sa_family=AF_INET, sin_port=htons(8080), sin_addr=inet_addr("192.0.2.10")}, 16) = 0 <0.000010>
100 1700000000.000100 listen(3, 16) = 0 <0.000010>
100 1700000000.000200 openat(AT_FDCWD, "/etc/hosts", O_RDONLY) = 5 <0.000010>
100 1700000000.000300 fcntl(5, F_GETFL) = 0 <0.000010>
100 1700000000.000400 close(5) = 0 <0.000010>
100 1700000001.000000 accept4(3, {sa_family=AF_INET, sin_port=htons(41007), sin_addr=inet_addr("192.0.2.20")}, [16], SOCK_CLOEXEC) = 4 <0.000100>
100 1700000002.000000 read(4, "GET / HTTP/1.0\\r\\n\\r\\n", 512) = 18 <0.000100>
100 1700000002.000200 write(4, "page", 4) = 4 <0.000100>
100 1700000003.000000 read(4, "", 512) = 0 <0.000100>
100 1700000003.100000 accept4(3, <detached ...>
"""
CLOSED = LOG.replace("100 1700000003.100000", "100 1700000003.050000 close(4) = 0 <0.000010>\n100 1700000003.100000")

HEADER = "State Recv-Q Send-Q Local Address:Port Peer Address:Port Process\n"
LISTENS = 'LISTEN 0 16 192.0.2.10:8080 0.0.0.0:* users:(("fserv",pid=100,fd=3)) ino:70 sk:1 <->\n'
OTHER = "ESTAB 0 0 192.0.2.10:22 192.0.2.99:50000 ino:60 sk:9 <->\n"
AFTER = "2023-11-14 22:13:30+00:00"  # 1700000010: seven seconds after the end of file
BEFORE = "2023-11-14 22:13:19+00:00"


def row(state: str, users: str = '("fserv",pid=100,fd=4)', *, inode: int = 71, unread: int = 0) -> str:
    held = f"users:({users}) " if users else ""
    return f"{state} {unread} 0 192.0.2.10:8080 192.0.2.20:41007 {held}ino:{inode} sk:2 -->\n"


def joined(tmp_path: Path, log: str, *rows: str, at: str = AFTER, stuck_after: float = 1.0) -> Report:
    (tmp_path / "trace.log").write_text(log)
    (tmp_path / "ss.txt").write_text(HEADER + "".join(rows))
    return tracecorr.parse([tmp_path / "trace.log", tmp_path / "ss.txt"], at=[at], stuck_after=stuck_after)


def only(report: Report) -> Verdict:
    (verdict,) = report.verdicts
    return verdict


def sources(verdict: Verdict) -> set[str]:
    return {Path(item.source).name for item in verdict.evidence if item.source is not None}


def gaps(report: Report) -> set[str]:
    return {gap.what for gap in report.gaps}


def test_a_listing_that_shows_close_wait_makes_the_verdict_certain_and_is_evidence(tmp_path: Path) -> None:
    alone = tracecorr.parse([_written(tmp_path, LOG)])
    assert [verdict.confidence for verdict in alone.verdicts] != ["certain"]
    verdict = only(joined(tmp_path, LOG, LISTENS, row("CLOSE-WAIT")))
    assert (verdict.cause, verdict.confidence) == ("eof-ignored", "certain")
    assert sources(verdict) == {"trace.log", "ss.txt"}
    assert verdict.stuck_for is not None and 6.9 < verdict.stuck_for < 7.1


def _written(tmp_path: Path, log: str) -> Path:
    path = tmp_path / "alone.log"
    path.write_text(log)
    return path


def test_what_is_established_with_its_user_there_is_not_accused(tmp_path: Path) -> None:
    report = joined(tmp_path, LOG, LISTENS, row("ESTAB"))
    assert report.verdicts == ()
    assert "the kernel contradicts the calls" in gaps(report)


def test_what_a_whole_listing_does_not_have_any_more_is_not_accused(tmp_path: Path) -> None:
    report = joined(
        tmp_path, LOG.replace("100 1700000003.100000", BESIDE + "100 1700000003.300000"), LISTENS, BESIDE_ROW
    )
    assert report.verdicts == ()
    assert "the kernel contradicts the calls" in gaps(report)


# A second connection, which the listing has: so it lists the connections of this host.
BESIDE = """\
100 1700000003.050000 accept4(3, {sa_family=AF_INET, sin_port=htons(41008), sin_addr=inet_addr("192.0.2.20")}, [16], 0) = 7 <0.000100>
"""
BESIDE_ROW = 'ESTAB 0 0 192.0.2.10:8080 192.0.2.20:41008 users:(("fserv",pid=100,fd=7)) ino:72 sk:3 <->\n'


def test_a_listing_that_was_filtered_says_nothing_of_what_it_lacks(tmp_path: Path) -> None:
    other = row("CLOSE-WAIT").replace("41007", "41009").replace("ino:71", "ino:75")
    report = joined(tmp_path, LOG, other.replace("pid=100,fd=4", "pid=100,fd=9"))
    assert [verdict.socket.peer for verdict in report.verdicts if verdict.culprit and verdict.culprit.fd == 4] == [
        "192.0.2.20:41007"
    ]


def test_a_process_that_the_log_does_not_know_is_a_further_holder(tmp_path: Path) -> None:
    both = '("fserv",pid=100,fd=4),("helper",pid=140,fd=9)'
    verdict = only(joined(tmp_path, LOG, LISTENS, row("CLOSE-WAIT", both)))
    assert {(holder.pid, holder.fd) for holder in verdict.holders} == {(100, 4), (140, 9)}
    assert verdict.culprit is not None and verdict.culprit.pid == 100
    assert "140" in verdict.summary


def test_a_holder_after_the_last_close_in_the_log_is_named_and_told_as_a_contradiction(tmp_path: Path) -> None:
    report = joined(tmp_path, CLOSED, LISTENS, row("CLOSE-WAIT", '("helper",pid=140,fd=9)'))
    verdict = only(report)
    assert (verdict.cause, verdict.culprit and verdict.culprit.pid) == ("inherited-copy", 140)
    assert verdict.owner is not None and verdict.owner.pid == 100
    assert verdict.confidence == "likely" and "never used" not in verdict.summary
    assert "ss.txt" in sources(verdict)
    assert "a listing contradicts the log" in gaps(report)


def test_close_wait_after_the_last_close_and_no_holder_accuses_nobody_and_is_told(tmp_path: Path) -> None:
    report = joined(tmp_path, CLOSED, LISTENS, row("CLOSE-WAIT", ""))
    assert all(verdict.culprit is None for verdict in report.verdicts)
    assert "a listing contradicts the log" in gaps(report)


def test_a_connection_that_was_closed_and_is_gone_is_fine(tmp_path: Path) -> None:
    report = joined(tmp_path, CLOSED, LISTENS, OTHER)
    assert report.verdicts == ()
    assert "a listing contradicts the log" not in gaps(report)


ATTACHED = """\
100 1700000003.000000 read(4, "", 512) = 0 <0.000100>
100 1700000003.000300 write(2, "gone\\n", 5) = 5 <0.000010>
100 1700000003.000400 fcntl(9, F_GETFL) = 0x2 <0.000010>
100 1700000003.000500 close(9) = 0 <0.000010>
100 1700000009.000000 pause( <detached ...>
"""


def test_a_listing_from_before_tells_what_was_open_when_the_log_began(tmp_path: Path) -> None:
    alone = tracecorr.parse([_written(tmp_path, ATTACHED)])
    assert not alone.verdicts
    verdict = only(joined(tmp_path, ATTACHED, LISTENS, row("ESTAB"), at=BEFORE))
    assert (verdict.cause, verdict.socket.local) == ("eof-ignored", "192.0.2.10:8080")
    assert verdict.culprit is not None and (verdict.culprit.pid, verdict.culprit.fd) == (100, 4)


def test_process_ids_of_another_namespace_are_not_joined(tmp_path: Path) -> None:
    report = joined(tmp_path, LOG, LISTENS.replace("pid=100", "pid=5100"), row("CLOSE-WAIT", '("fserv",pid=5100,fd=4)'))
    verdict = only(report)
    assert verdict.culprit is not None and verdict.culprit.pid == 100
    assert [holder.pid for holder in verdict.holders] == [100]
    assert "holders not joined" in gaps(report)


def test_the_time_of_a_copied_file_is_doubted_where_the_log_had_no_such_connection_then(tmp_path: Path) -> None:
    ended = CLOSED.replace("100 1700000003.050000", "100 1700000005.050000").replace("3.100000", "5.100000")
    (tmp_path / "trace.log").write_text(ended)
    (tmp_path / "ss.txt").write_text(HEADER + LISTENS + row("CLOSE-WAIT"))
    report = tracecorr.parse([tmp_path / "trace.log", tmp_path / "ss.txt"])
    assert "the listing's time is not certain" in gaps(report)
    verdict = only(report)
    assert verdict.released and verdict.confidence == "certain"


def test_each_input_says_what_it_contributed(tmp_path: Path) -> None:
    report = joined(tmp_path, LOG, LISTENS, row("CLOSE-WAIT"))
    told = {Path(source.name).name: source.contributed for source in report.sources}
    assert told["ss.txt"] == "1 confirmed in CLOSE_WAIT"


@pytest.mark.parametrize("order", [1, -1])
def test_the_order_of_the_inputs_means_nothing(tmp_path: Path, order: int) -> None:
    joined(tmp_path, LOG, LISTENS, row("CLOSE-WAIT"))
    paths = [tmp_path / "trace.log", tmp_path / "ss.txt"][::order]
    assert only(tracecorr.parse(paths, at=[AFTER])).confidence == "certain"


@pytest.mark.parametrize("at", ["noon", "25:00", "14:61:00", "ss.txt=later", "2023-13-01 00:00:00"])
def test_a_time_that_is_none_is_an_error(tmp_path: Path, at: str) -> None:
    with pytest.raises(BadTime, match="no time"):
        joined(tmp_path, LOG, LISTENS, at=at)


def test_an_offset_that_is_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadTime, match="NAME=SECONDS"):
        tracecorr.parse([_written(tmp_path, LOG)], clock_offsets=["capture.pcap"])


NAMELESS = LOG.replace(
    '{sa_family=AF_INET, sin_port=htons(41007), sin_addr=inet_addr("192.0.2.20")}, [16]', "NULL, NULL"
)
NETSTAT = """\
Proto Recv-Q Send-Q Local Address           Foreign Address         State       PID/Program name
tcp        0      0 192.0.2.10:8080         0.0.0.0:*               LISTEN      100/fserv
"""


def nameless(tmp_path: Path, log: str, *ports: int, pid: int = 100) -> Report:
    (tmp_path / "trace.log").write_text(log)
    rows = [
        f"tcp        0      0 192.0.2.10:8080         192.0.2.20:{port}        CLOSE_WAIT  {pid}/fserv\n"
        for port in ports
    ]
    (tmp_path / "netstat.txt").write_text(NETSTAT + "".join(rows))
    return tracecorr.parse([tmp_path / "trace.log", tmp_path / "netstat.txt"], at=[AFTER])


def test_the_only_connection_that_is_left_is_the_one_whose_peer_the_log_does_not_tell(tmp_path: Path) -> None:
    verdict = only(nameless(tmp_path, NAMELESS, 41007))
    assert (verdict.cause, verdict.confidence, verdict.socket.peer) == ("eof-ignored", "certain", "192.0.2.20:41007")
    assert sources(verdict) == {"trace.log", "netstat.txt"}


def test_of_two_that_are_left_none_is_guessed_and_none_is_told_of_twice(tmp_path: Path) -> None:
    report = nameless(tmp_path, NAMELESS, 41007, 41008)
    assert sorted((v.socket.peer or "", v.cause) for v in report.verdicts) == [
        ("", "eof-ignored"), ("192.0.2.20:41008", "eof-ignored"),
    ]  # fmt: skip


def test_what_another_process_holds_is_not_the_one_whose_peer_the_log_does_not_tell(tmp_path: Path) -> None:
    report = nameless(tmp_path, NAMELESS, 41007, pid=999)
    assert {verdict.socket.peer for verdict in report.verdicts} == {None}


DAY = LOG.replace("1700000000.", "07:13:20.").replace("1700000001.", "07:13:21.")
DAY = DAY.replace("1700000002.", "07:13:22.").replace("1700000003.", "07:13:23.")


def test_the_time_of_a_listing_is_not_held_against_a_log_of_another_time_zone(tmp_path: Path) -> None:
    log, listing = tmp_path / "trace.log", tmp_path / "ss.txt"
    log.write_text(DAY)
    listing.write_text(HEADER + LISTENS + row("CLOSE-WAIT"))
    local = datetime.fromtimestamp(1700000000).replace(hour=7, minute=13, second=30)
    for hours, longest in ((0, 7.1), (5, 0.2), (-5, 0.2)):
        at = (local + timedelta(hours=hours)).timestamp()
        os.utime(listing, (at, at))
        verdict = only(tracecorr.parse([log, listing]))
        assert verdict.cause == "eof-ignored" and verdict.stuck_for is not None
        assert longest - 0.2 < verdict.stuck_for < longest
