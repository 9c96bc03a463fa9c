"""What a listing alone can prove, and what it leaves open, with the command that would tell."""

from __future__ import annotations

from pathlib import Path

import tracecorr
from tracecorr.verdicts.report import Report, Verdict

SS = "State Recv-Q Send-Q Local Address:Port Peer Address:Port Process\n"
LISTENS = 'LISTEN 2 16 192.0.2.10:8080 0.0.0.0:* users:(("fserv",pid=100,fd=3)) ino:70 sk:1 <->\n'
ENDS = "192.0.2.10:8080 192.0.2.20:41007"
INFO = "\t cubic cwnd:10 bytes_sent:40 bytes_acked:41 bytes_received:19 lastsnd:60000 lastrcv:60000 lastack:{ago}\n"


def listed(tmp_path: Path, *lines: str, header: str = SS, name: str = "ss.txt") -> Report:
    (tmp_path / name).write_text(header + "".join(lines))
    return tracecorr.parse([tmp_path / name])


def only(report: Report) -> Verdict:
    (verdict,) = report.verdicts
    return verdict


def test_recv_q_in_close_wait_proves_that_nobody_has_read_the_end_of_file(tmp_path: Path) -> None:
    row = f'CLOSE-WAIT 1 0 {ENDS} users:(("fserv",pid=100,fd=4)) ino:71 sk:2 -->\n'
    verdict = only(listed(tmp_path, LISTENS, row))
    assert (verdict.cause, verdict.confidence) == ("never-reads-eof", "likely")
    assert verdict.culprit is not None and (verdict.culprit.pid, verdict.culprit.fd) == (100, 4)
    assert verdict.socket.inode == 71
    assert ("ss.txt", 3) in {(Path(item.source).name, item.line) for item in verdict.evidence if item.source}


def test_an_empty_queue_is_likely_at_most(tmp_path: Path) -> None:
    row = f'CLOSE-WAIT 0 0 {ENDS} users:(("fserv",pid=100,fd=4)) ino:71 sk:2 -->\n'
    verdict = only(listed(tmp_path, LISTENS, row, INFO.format(ago=59000)))
    assert (verdict.cause, verdict.confidence) == ("eof-ignored", "likely")
    assert verdict.stuck_for == 59.0


def test_what_ss_shows_to_be_younger_than_the_threshold_is_not_told_of(tmp_path: Path) -> None:
    row = f'CLOSE-WAIT 1 0 {ENDS} users:(("fserv",pid=100,fd=4)) ino:71 sk:2 -->\n'
    assert listed(tmp_path, LISTENS, row, INFO.format(ago=200)).verdicts == ()


def test_two_holders_in_different_processes_are_both_named_and_none_is_guilty(tmp_path: Path) -> None:
    row = f'CLOSE-WAIT 0 0 {ENDS} users:(("fserv",pid=100,fd=4),("job",pid=140,fd=4)) ino:71 sk:2 -->\n'
    verdict = only(listed(tmp_path, LISTENS, row))
    assert verdict.cause == "unexplained" and verdict.culprit is None
    assert {holder.pid for holder in verdict.holders} == {100, 140}
    assert verdict.missing is not None and "100 140" in verdict.missing


def test_no_inode_means_that_it_was_never_accepted(tmp_path: Path) -> None:
    verdict = only(listed(tmp_path, LISTENS, f"CLOSE-WAIT 19 0 {ENDS} ino:0 sk:2 -->\n"))
    assert verdict.cause == "never-accepted"
    assert verdict.culprit is not None and (verdict.culprit.pid, verdict.culprit.fd) == (100, 3)


def test_last_ack_with_data_unsent_is_no_fault(tmp_path: Path) -> None:
    verdict = only(listed(tmp_path, LISTENS, f"LAST-ACK 1 4000 {ENDS} timer:(persist,1.2sec,0) ino:0 sk:2 ---\n"))
    assert (verdict.cause, verdict.fault) == ("lingering-fin", False)


def test_established_and_time_wait_are_nothing_to_tell_of(tmp_path: Path) -> None:
    rows = [
        f'ESTAB 900 0 {ENDS} users:(("fserv",pid=100,fd=4)) ino:71 sk:2 <->\n',
        f"TIME-WAIT 0 0 {ENDS} ino:0 sk:3\n",
    ]
    assert listed(tmp_path, LISTENS, *rows).verdicts == ()


def test_without_holders_the_command_that_shows_them_is_given(tmp_path: Path) -> None:
    header = "Proto Recv-Q Send-Q Local Address           Foreign Address         State\n"
    rows = [
        "tcp        0      0 192.0.2.10:8080         0.0.0.0:*               LISTEN\n",
        "tcp        1      0 192.0.2.10:8080         192.0.2.20:41007        CLOSE_WAIT\n",
    ]
    verdict = only(listed(tmp_path, *rows, header=header, name="netstat.txt"))
    assert (verdict.cause, verdict.culprit, verdict.socket.inode) == ("unexplained", None, None)
    assert verdict.missing is not None and "ss -tanpeoi" in verdict.missing


def test_netstat_names_a_process_without_a_descriptor_and_that_is_null(tmp_path: Path) -> None:
    header = "Proto Recv-Q Send-Q Local Address           Foreign Address         State       PID/Program name\n"
    rows = [
        "tcp        0      0 192.0.2.10:8080         0.0.0.0:*               LISTEN      100/fserv\n",
        "tcp        1      0 192.0.2.10:8080         192.0.2.20:41007        CLOSE_WAIT  100/fserv\n",
    ]
    verdict = only(listed(tmp_path, *rows, header=header, name="netstat.txt"))
    assert verdict.culprit is not None and (verdict.culprit.pid, verdict.culprit.fd) == (100, None)
    assert [holder.fd for holder in verdict.holders] == [None]
    assert "fd -" not in verdict.summary and "(-" not in (verdict.missing or "")


def test_where_recv_q_does_not_count_the_fin_an_empty_one_proves_nothing(tmp_path: Path) -> None:
    header = "Proto Recv-Q Send-Q  Local Address          Foreign Address        (state)\n"
    rows = ["tcp4       0      0  192.0.2.10.8080        192.0.2.20.41007       CLOSE_WAIT\n"]
    verdict = only(listed(tmp_path, *rows, header=header, name="netstat.txt"))
    assert verdict.cause == "unexplained"
    assert not any("has been read" in item.text for item in verdict.evidence)


def test_netstat_and_pfiles_of_solaris_are_joined_by_the_ends(tmp_path: Path) -> None:
    (tmp_path / "netstat.txt").write_text(
        "TCP: IPv4\n   Local Address        Remote Address    Swind Send-Q Rwind Recv-Q    State\n"
        "-------------------- -------------------- ----- ------ ----- ------ -----------\n"
        "      *.8080               *.*                0      0 49152      0 LISTEN\n"
        "192.0.2.10.8080      192.0.2.20.41011     64240      0 49640     18 CLOSE_WAIT\n"
    )
    (tmp_path / "pfiles.txt").write_text(
        "610:\t/usr/lib/fserv\n  Current rlimit: 256 file descriptors\n"
        "   7: S_IFSOCK mode:0666 dev:351,0 ino:901 uid:0 gid:0 size:0\n      O_RDWR\n\tSOCK_STREAM\n"
        "\tsockname: AF_INET 192.0.2.10  port: 8080\n\tpeername: AF_INET 192.0.2.20  port: 41011\n"
    )
    verdict = only(tracecorr.parse([tmp_path / "netstat.txt", tmp_path / "pfiles.txt"]))
    assert [(holder.pid, holder.comm, holder.fd) for holder in verdict.holders] == [(610, "fserv", 7)]
    assert verdict.socket.inode == 901


def test_two_listings_of_different_times_tell_for_how_long(tmp_path: Path) -> None:
    row = f'CLOSE-WAIT 1 0 {ENDS} users:(("fserv",pid=100,fd=4)) ino:71 sk:2 -->\n'
    for name in ("early.txt", "late.txt"):
        (tmp_path / name).write_text(SS + LISTENS + row)
    at = ["early.txt=2026-11-25 10:00:00", "late.txt=2026-11-25 10:05:00"]
    verdict = only(tracecorr.parse([tmp_path / "late.txt", tmp_path / "early.txt"], at=at))
    assert verdict.stuck_for == 300.0


def test_pfiles_alone_says_what_is_lacking(tmp_path: Path) -> None:
    report = listed(
        tmp_path, "610:\t/usr/lib/fserv\n  Current rlimit: 256 file descriptors\n", header="", name="pfiles.txt"
    )
    assert report.verdicts == () and report.exit_code == 0
    assert [gap.what for gap in report.gaps] == ["states unknown"]
