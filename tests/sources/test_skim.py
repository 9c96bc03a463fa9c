"""A large log is skimmed: what is passed over may change no verdict.

tests/test_simulated_programs.py asks the same of random programs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

import pytest

import tracecorr
from tracecorr.sources import parallel, skim
from tracecorr.sources.skim import Skim, suits
from tracecorr.sources.strace_grammar import KNOWN, WANTED
from tracecorr.verdicts.report import Report

THREAD = "CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD|CLONE_SYSVSEM|CLONE_SETTLS"
FILLING = 'write(1, "request served, nothing to see here, move along\\n", 48)'
START = f"""\
4100  10:00:00.000100 execve("/srv/app/httpd", ["httpd"], 0x7ffd0c1e5a10 /* 12 vars */) = 0 <0.000400>
4100  10:00:00.001000 brk(NULL)         = 0x55c1f0a2b000 <0.000007>
4100  10:00:00.001100 getpid()          = 4100 <0.000007>
4100  10:00:00.001200 uname({{sysname="Linux", ...}}) = 0 <0.000007>
4100  10:00:00.002000 socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_TCP) = 3 <0.000007>
4100  10:00:00.002100 bind(3, {{sa_family=AF_INET, sin_port=htons(8080), sin_addr=inet_addr("192.0.2.10")}}, 16) = 0
4100  10:00:00.002200 listen(3, 128)    = 0 <0.000007>
4100  10:00:00.003000 clone(child_stack=0x7f1c2b7fefb0, flags={THREAD}, parent_tid=[4101]) = 4101 <0.000050>
4101  10:00:00.003100 futex(0x55c1f0a2b0c8, FUTEX_WAIT_PRIVATE, 0, NULL <unfinished ...>
"""


def accept(at: float, fd: int, port: int, tid: int = 4100) -> str:
    address = f'{{sa_family=AF_INET, sin_port=htons({port}), sin_addr=inet_addr("192.0.2.20")}}'
    return f"{tid}  10:00:{at:09.6f} accept4(3, {address}, [128 => 16], SOCK_CLOEXEC) = {fd} <0.000009>\n"


def line(at: float, call: str, result: str = "0", tid: int = 4100) -> str:
    return f"{tid}  10:00:{at:09.6f} {call} = {result} <0.000007>\n"


def served(at: float, fd: int, port: int, tid: int = 4100) -> str:
    return (
        accept(at, fd, port, tid) + line(at + 0.001, f'read({fd}, "GET /", 512)', "5", tid)
        + line(at + 0.002, f'write({fd}, "hi", 2)', "2", tid) + line(at + 0.003, f'read({fd}, "", 512)', "0", tid)
        + line(at + 0.004, f"close({fd})", "0", tid)
    )  # fmt: skip


def skimmed(folder: Path, *tail: str, start: str = START) -> Report:
    filling = "".join(line(1 + n / 1e6, FILLING, "48") for n in range(skim.AFTER // 50))
    log = folder / "large.log"
    log.write_text(start + filling + "".join(tail))
    assert log.stat().st_size > skim.AFTER + (1 << 20)
    return tracecorr.parse([log])


def verdicts(report: Report) -> list[tuple[str, str | None, str, int | None, int | None]]:
    return [
        (v.cause, v.detail, v.confidence, v.culprit.pid if v.culprit else None, v.culprit.fd if v.culprit else None)
        for v in report.verdicts
    ]


LONG_AFTER = line(30, "poll([{fd=3, events=POLLIN}], 1, 20000)", "0 (Timeout)")


def test_connections_in_good_order_are_counted_though_passed_over(tmp_path: Path) -> None:
    report = skimmed(tmp_path, *(served(2 + n / 100, 4, 20000 + n) for n in range(300)), LONG_AFTER)
    assert (report.sockets.seen, report.verdicts) == (300, ())


def test_what_is_stuck_is_found_among_them(tmp_path: Path) -> None:
    stuck = accept(6, 9, 41007) + line(6.1, 'read(9, "", 512)')
    report = skimmed(tmp_path, *(served(2 + n / 100, 4, 20000 + n) for n in range(300)), stuck, LONG_AFTER)
    assert verdicts(report) == [("eof-ignored", "forgotten", "certain", 4100, 9)]
    assert report.sockets.seen == 301
    assert [evidence.line for evidence in report.verdicts[0].evidence if evidence.line][-1] == report.sources[
        0
    ].lines - 1


def test_what_was_stuck_for_a_while_is_told(tmp_path: Path) -> None:
    late = accept(2, 4, 41007) + line(2.1, 'read(4, "", 512)') + line(9.1, "close(4)")
    (verdict,) = skimmed(tmp_path, late, LONG_AFTER).verdicts
    assert (verdict.cause, verdict.released_by, verdict.stuck_for) == (
        "eof-ignored",
        "close",
        pytest.approx(7, abs=0.01),
    )


def test_a_copy_that_a_child_got_is_found(tmp_path: Path) -> None:
    tail = [
        accept(2, 4, 41007), line(2.1, "fork()", "4110"), line(2.15, "close(3)", tid=4110),
        line(2.2, 'read(4, "x", 512)', "1"), line(2.3, 'read(4, "", 512)'), line(2.31, "close(4)"), LONG_AFTER,
    ]  # fmt: skip
    assert verdicts(skimmed(tmp_path, *tail)) == [("inherited-copy", "forked-worker", "certain", 4110, 4)]


def test_a_copy_that_another_thread_gave_to_a_child_is_found(tmp_path: Path) -> None:
    tail = [
        accept(2, 4, 41007), line(2.05, 'read(4, "x", 512)', "1"),
        "4101  10:00:02.070000 <... futex resumed>) = 0 <2.066900>\n",
        line(2.1, "fork()", "4110", tid=4101), line(2.15, "close(3)", tid=4110), line(2.2, 'write(4, "x", 1)', "1"),
        line(2.3, 'read(4, "", 512)'), line(2.31, "close(4)"), LONG_AFTER,
    ]  # fmt: skip
    assert verdicts(skimmed(tmp_path, *tail)) == [("inherited-copy", "fork-race", "certain", 4110, 4)]


def test_a_thread_may_close_what_another_accepted(tmp_path: Path) -> None:
    tail = [accept(2, 4, 41007), line(2.3, 'read(4, "", 512)'), line(2.31, "close(4)", tid=4101), LONG_AFTER]
    start = START.replace(" <unfinished ...>", ") = 0 <0.000100>")
    assert verdicts(skimmed(tmp_path, *tail, start=start)) == []


def test_times_are_those_of_the_last_line(tmp_path: Path) -> None:
    report = skimmed(tmp_path, LONG_AFTER)
    assert (report.sources[0].first, report.sources[0].last) == (36000.0001, 36030.0)


def test_lines_and_calls_are_counted_as_in_a_small_log(tmp_path: Path) -> None:
    source = skimmed(tmp_path, *(served(2 + n / 100, 4, 20000 + n) for n in range(100)), LONG_AFTER).sources[0]
    small = tmp_path / "small.log"
    small.write_text(START)
    uncounted = tracecorr.parse([small]).sources[0]
    assert source.lines == (tmp_path / "large.log").read_bytes().count(b"\n")
    assert source.lines - source.calls == uncounted.lines - uncounted.calls
    assert source.skipped == 0


@pytest.mark.parametrize(
    ("text", "suited"),
    [
        (b'4100  10:00:00.000100 read(4, "", 512) = 0 <0.000004>\n', True),
        (b'read(4, "", 512) = 0\n', True),
        (b'4100  1760000000.000100 read(4, "", 512) = 0\n', True),
        (b'[pid  4100] read(4, "", 512) = 0\n', False),
        (b'4100<httpd> read(4, "", 512) = 0\n', False),
        (b'     0.000022 read(4, "", 512) = 0\n', False),
        (b'4100  10:00:00 (+ 0.000022) read(4, "", 512) = 0\n', False),
        (b"4100  10:00:00 [  43] accept4(3, NULL, NULL, 0) = 4\n", False),
        (b"read(0x4, 0x7f, 0x200) = 0\n", False),
        (b"close(4) = 0\n > /lib/libc.so.6(__close+0x10) [0x10a6f0]\n", False),
        (b'read(4, "G", 8) = 1\n | 00000  47     G |\n', False),
    ],
)
def test_only_plain_logs_are_skimmed(text: bytes, suited: bool) -> None:
    assert suits(text) is suited


def skim_of(text: str, stuck_after: int = 10**9) -> list[int]:
    reader = Skim(KNOWN, WANTED, stuck_after)
    kept = [number for _, number in reader.lines(b"\n" + text.encode(), 0)]
    return sorted([*kept, *(number for _, number in reader.finish())])


def test_an_episode_in_good_order_is_passed_over() -> None:
    assert skim_of(served(2, 4, 41007)) == []


def test_an_episode_that_is_not_over_is_handed_on() -> None:
    assert skim_of(accept(2, 4, 41007) + line(2.1, 'read(4, "", 512)')) == [1, 2]


def test_an_episode_that_took_too_long_is_handed_on() -> None:
    late = accept(2, 4, 41007) + line(2.1, 'read(4, "", 512)') + line(9.1, "close(4)")
    assert skim_of(late) == [1, 2, 3]
    assert skim_of(late, 10 * 10**9) == []


@pytest.mark.parametrize(
    "call",
    [
        "fork()",
        "dup(4)",
        'execve("/bin/sh", [], 0x7f)',
        "unshare(CLONE_FILES)",
        "close_range(9, 9, 0)",
        "dup2(4, 9)",
        "fcntl(4, F_DUPFD, 0)",
    ],
)
def test_whatever_may_give_away_a_reference_hands_on_what_is_open(call: str) -> None:
    text = accept(2, 4, 41007) + line(2.01, call, "7") + line(2.1, 'read(4, "", 512)') + line(2.2, "close(4)")
    assert skim_of(text) == [1, 2, 3, 4]


def test_a_message_with_descriptors_hands_on_what_is_open() -> None:
    message = "sendmsg(8, {msg_control=[{cmsg_type=SCM_RIGHTS, cmsg_data=[4]}], msg_controllen=24, msg_flags=0}, 0)"
    assert skim_of(accept(2, 4, 41007) + line(2.01, message, "1") + line(2.2, "close(4)")) == [1, 2, 3]


def test_large_files_are_read_by_several_processes_with_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "WORTHWHILE", 0)
    monkeypatch.setattr(parallel, "PIECE", 1 << 18)
    stuck = accept(6, 9, 41007) + line(6.1, 'read(9, "", 512)')
    report = skimmed(tmp_path, *(served(2 + n / 100, 4, 20000 + n) for n in range(300)), stuck, LONG_AFTER)
    assert verdicts(report) == [("eof-ignored", "forgotten", "certain", 4100, 9)]
    text = (tmp_path / "large.log").read_bytes()
    assert (report.sockets.seen, report.sources[0].lines, report.sources[0].last) == (301, text.count(b"\n"), 36030.0)


def test_what_was_sent_after_the_end_of_file_counts_also_behind_a_fork(tmp_path: Path) -> None:
    fork = "clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7f1c)"
    sending = [line(5 + n / 2, 'write(7, "tick", 4)', "4") for n in range(60)]
    report = skimmed(
        tmp_path, accept(3, 7, 41007), line(3.1, 'read(7, "GET /", 512)', "5"), line(3.2, 'read(7, "", 512)', "0"),
        line(3.3, fork, "4102"), line(3.4, "exit_group(0)", "?", 4102).replace(" <0.000007>", ""),
        "4102  10:00:03.410000 +++ exited with 0 +++\n", *sending,
    )  # fmt: skip
    assert [v[0] for v in verdicts(report)] == ["still-sending"]
    assert report.exit_code == 0


def test_a_log_full_of_forks_is_read_in_linear_time() -> None:
    def work(count: int) -> int:
        lines = [
            f"{4200 + n}  10:00:03.000000 openat(AT_FDCWD, \"/etc/hosts\", O_RDONLY) = 3\n"
            f"{4200 + n}  10:00:03.000000 read(3,  <unfinished ...>\n"
            f"{4200 + n}  10:00:03.000000 +++ exited with 0 +++\n"
            for n in range(count)
        ]  # fmt: skip
        calls = 0

        def count_lines(frame: FrameType, event: str, _: object) -> object:
            nonlocal calls
            calls += event == "line"
            return count_lines

        one = Skim(KNOWN, WANTED, 10**9)
        before = sys.gettrace()
        sys.settrace(count_lines)
        try:
            list(one.lines(("\n" + "".join(lines)).encode(), 0))
        finally:
            sys.settrace(before)
        return calls

    assert work(600) < 2.5 * work(300)
