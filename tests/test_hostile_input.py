"""Logs are hostile input: whatever they hold, the answer is a report or an error that names the file, and soon."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tracecorr
from tracecorr.errors import TracecorrError
from tracecorr.sources.all import LOG_FORMATS
from tracecorr.verdicts.report import Report

ROOT = Path(__file__).parents[1]
CASES = sorted((ROOT / "fixtures" / "cases").glob("*/*/trace.log"))
TRUSS = sorted((ROOT / "fixtures" / "logs" / "truss-solaris").glob("*/trace.log"))
HEAD = (
    '4100  10:00:00.000100 execve("/srv/app/httpd", ["httpd"], 0x7ffd0c1e5a10 /* 12 vars */) = 0 <0.000400>\n'
    "4100  10:00:00.000200 socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = 3 <0.000004>\n"
)
TAIL = "4100  10:00:09.000000 close(3)          = 0 <0.000004>\n"


def outcome(path: Path) -> Report | TracecorrError:
    """Return what came of it; any other exception is a failure."""
    try:
        report = tracecorr.parse([path])
    except TracecorrError as error:
        assert error.exit_code == 2
        return error
    if report.sources[0].format in LOG_FORMATS:
        list(tracecorr.timeline([path]))
    return report


def command(
    *arguments: str, stdin: bytes | None = None, folder: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [sys.executable, "-m", "tracecorr", *arguments],
        input=stdin if stdin is not None else b"",
        capture_output=True,
        timeout=60,
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert b"Traceback" not in done.stderr and b"Traceback" not in done.stdout
    return done


# -- files that are no logs, or are broken

REAL = CASES[0].read_bytes()
FILES: dict[str, bytes] = {
    "empty": b"",
    "one line end": b"\n",
    "nothing but line ends": b"\n" * 5000,
    "zeros": b"\0" * 100_000,
    "every byte": bytes(range(256)) * 300,
    "an ELF file": b"\x7fELF\x02\x01\x01" + b"\0" * 5000,
    "a pcap file": b"\xd4\xc3\xb2\xa1\x02\x00\x04\x00" + b"\0" * 2000,
    "UTF-16": REAL.decode().encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + REAL,
    "carriage returns alone": REAL.replace(b"\n", b"\r"),
    "CRLF": REAL.replace(b"\n", b"\r\n"),
    "no line end at the end": REAL.rstrip(b"\n"),
    "cut in the middle of a line": REAL[: len(REAL) // 2],
    "without its first half": REAL[len(REAL) // 2 :],
    "invalid UTF-8 in strings": REAL.replace(b'"', b'"\xff\xfe\x80'),
    "zeros in strings": REAL.replace(b'"', b'"\0'),
    "twice": REAL + REAL,
    "backwards": b"\n".join(reversed(REAL.splitlines())),
    "prose between the lines": REAL.replace(b"\n", b"\nThe quick brown fox = 7\n"),
    "a last line that is no log": REAL + b"Killed\n",
    "truss under another name": TRUSS[0].read_bytes(),
    "a broken gzip file": b"\x1f\x8b\x08\0" + b"\xa5" * 500,
    "a broken xz file": b"\xfd7zXZ\0" + b"\xa5" * 500,
    "a broken bzip2 file": b"BZh9" + b"\xa5" * 500,
    "a broken zstd file": b"\x28\xb5\x2f\xfd" + b"\xa5" * 500,
}


@pytest.mark.parametrize("name", FILES)
def test_any_file_gives_a_report_or_an_error_that_names_it(name: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.strace"
    path.write_bytes(FILES[name])
    found = outcome(path)
    if isinstance(found, TracecorrError):
        assert "trace.strace" in str(found)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("empty", 2),
        ("zeros", 2),
        ("an ELF file", 2),
        ("a broken gzip file", 2),
        ("UTF-16", 1),
    ],
)
def test_the_command_ends_with_its_exit_code_and_no_traceback(name: str, code: int, tmp_path: Path) -> None:
    (tmp_path / "trace.strace").write_bytes(FILES[name])
    done = command("parse", "trace.strace", folder=tmp_path)
    assert done.returncode == code
    assert (b"trace.strace" in done.stderr) is (code == 2)


def test_a_log_of_truss_is_recognised_by_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "trace.strace").write_bytes(FILES["truss under another name"])
    assert tracecorr.parse([tmp_path / "trace.strace"]).sources[0].format == "truss-solaris"
    assert command("parse", "trace.strace", folder=tmp_path).returncode in (0, 1)


def test_the_command_tells_faults_by_its_exit_code() -> None:
    folder = ROOT / "fixtures" / "cases" / "eof-ignored"
    assert command("parse", str(folder / "fires_forgotten" / "trace.log")).returncode == 1
    assert command("parse", str(folder / "spares_closed_at_once" / "trace.log")).returncode == 0
    assert command("parse", "-", stdin=(folder / "fires_forgotten" / "trace.log").read_bytes()).returncode == 1
    assert command("parse", "-", stdin=b"").returncode == 2


def test_the_command_names_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing\n")
    for name in ("missing.log", ".", "notes.txt"):
        done = command("parse", name, folder=tmp_path)
        assert done.returncode == 2 and done.stderr.strip() and not done.stdout


# -- what a terminal or a browser must not get

EVIL = "\x1b]0;owned\x07\x1b[2J\u202e"


def evil_log() -> str:
    hexed = "".join(rf"\x{byte:02x}" for byte in EVIL.encode())
    lines = (
        f'execve("/srv/{EVIL}<script>alert(1)", ["x"], 0x7f) = 0', "brk(NULL) = 0x1", "getpid() = 4100",
        'uname({sysname="L"}) = 0', f'prctl(PR_SET_NAME, "{hexed}") = 0', "close(9) = 0",
        'accept4(3, {sa_family=AF_INET, sin_port=htons(1), sin_addr=inet_addr("192.0.2.20' + EVIL + '")}, [16], 0) = 4',
        'read(4, "", 8) = 0',
    )  # fmt: skip
    return "".join(f"4100<{EVIL}> 10:00:00.{n:06d} {line}\n" for n, line in enumerate(lines)) + (
        f"4100<{EVIL}> 10:00:30.000000 close(9) = -1 EBADF (Bad file descriptor)\n"
    )


@pytest.mark.parametrize("format", ["text", "json", "dot", "graphml", "mermaid"])
def test_control_sequences_reach_no_output(format: str, tmp_path: Path) -> None:
    (tmp_path / "trace.log").write_text(evil_log())
    done = command("parse", "trace.log", "--format", format, folder=tmp_path)
    assert done.returncode in (0, 1)
    for stream in (done.stdout, done.stderr):
        text = stream.decode()
        assert not any(ord(character) < 32 and character not in "\n\t" for character in text)
        assert "\u202e" not in text


def test_control_sequences_in_names_reach_no_output(tmp_path: Path) -> None:
    name = "trace\x1b[2J.log"
    (tmp_path / name).write_bytes(b"no log\n")
    for arguments in (["parse", name], ["parse", "missing\x1b[2J"], ["timeline", name]):
        done = command(*arguments, folder=tmp_path)
        assert done.returncode == 2 and b"\x1b" not in done.stderr + done.stdout


# -- numbers beyond all bounds


@pytest.mark.parametrize(
    "line",
    [
        "read(4, \"\", 512) = " + "9" * 5000,
        "close(" + "9" * 5000 + ") = 0",
        "close(" + "0" * 5000 + ") = 0",
        "read(4, \"\", 512) = 010:00:00.0",
        "read(4, \"\", 512) = 01.1.1",
        "dup(4) = 99999999999999999999",
        "dup2(4, 99999999999999999999) = 99999999999999999999",
        "close_range(0, 99999999999999999999, 0) = 0",
        "close_range(-5, 18446744073709551615, 0) = 0",
        "fork() = 99999999999999999999",
        "fork() = -5",
        "accept(-1, NULL, NULL) = 4",
        "accept4(3, {sa_family=AF_INET, sin_port=htons(99999999), sin_addr=inet_addr(\"999.999\")}, [16], 0) = 4",
        "accept4(3, {sa_family=AF_INET6, sin6_port=\"\\xff\", sin6_addr=\"\\x00\"}, [16], 0) = 4",
        "read(4, \"\", 512) = 0 <99999999999999999999.5>",
        "poll([{fd=99999999999999999999, events=POLLIN}], 1, -1) = 1 ([{fd=-3, revents=POLLRDHUP}])",
        "epoll_ctl(5, EPOLL_CTL_ADD, 4, {events=-1, data={u64=-1}}) = 0",
        "wait4(-1, [{WIFEXITED(s)}], 0, NULL) = -99",
        "io_uring_setup(-1, NULL) = 99999999999999999999",
        "sendmsg(4, {msg_control=[{cmsg_type=SCM_RIGHTS, cmsg_data=[-1, 99999999999999999999, \"x\", {}]}]}, 0) = 1",
        "recvmsg(4, {msg_control=[{cmsg_type=SCM_RIGHTS, cmsg_data=[-1, 99999999999999999999, [], NULL]}]}, 0) = 1",
        "socketpair(AF_UNIX, SOCK_STREAM, 0, [-1, -1]) = 0",
        "pipe2([4, 4], 0) = 0",
        "shutdown(4, SHUT_RDWR|SHUT_WR) = 0",
        "shutdown(4, 99) = 0",
        "getsockopt(4, SOL_SOCKET, SO_ERROR, [{}], [4]) = 0",
        "clone3({flags={}}, 88) = 7",
        "clone(flags=[CLONE_FILES]) = 7",
        "prctl(PR_SET_NAME, {}) = 0",
        "pidfd_open({}, 0) = 7",
    ],
    ids=lambda line: line[:40],
)  # fmt: skip
def test_numbers_that_no_kernel_returns_are_no_error(line: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.log"
    path.write_text(f"{HEAD}4100  10:00:01.000000 {line}\n4100  10:00:02.000000 {line}\n{TAIL}")
    assert isinstance(outcome(path), Report)


@pytest.mark.parametrize("time", ["99:99:99", "24:60:60.999999", "99999999999", "99999999999.999999999999", "00000000"])
def test_times_that_no_clock_shows_are_no_error(time: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.log"
    path.write_text(
        f'4100  {time} accept(3, NULL, NULL) = 4\n4100  {time} read(4, "", 8) = 0\n4100  {time} close(9) = 0\n'
    )
    outcome(path)
    assert command("parse", str(path)).returncode in (0, 1)
    assert command("timeline", str(path)).returncode == 0


# -- time stays linear

PIECES = [
    "(", '"', '"\\\\\\', "<", "= ", ">", "{", "[", "[{", " ", "1", "0", "=> ", "/* ", "/", ",", ") = ", "\\x41", '\\"',
    " <unfinished ...>", "<... close resumed>", "[pid 1] ", "--- ", "+++ ", "...", "|", "a", "a(", "<>", "<-", "->",
    "->>", "<a<b>", "10:00:00.0 ", "[a:b] ", " E", "-", "1.", "(+ 1.0) ", "strace: ", "Process ", "Process 1 attached",
    ":", "1<", ".", "\t", "/* 1 in strace's PID NS */ ", "htons(", "0x", "\u00e9", " > ", " | 00000 ", "\x1b[0m", "\x1b[",
    "\r", "HUP|", "u64=", "}}", "<->",
]  # fmt: skip
CALL = "4100  10:00:01.000000 "
FORMS: dict[str, str] = {
    "a line": "%s",
    "a prefix": CALL + "%s",
    "arguments": CALL + "recvmsg(3, %s) = 5",
    "arguments of a call without effect": CALL + "madvise(3, %s) = 5",
    "arguments without an end": CALL + "mmap(3, %s",
    "a result": CALL + 'read(3, "", 5) = 0%s',
    "a decoration": CALL + 'read(3, "", 5) = 3<%s',
    "a note": CALL + "poll([{fd=3, events=POLLIN}], 1, -1) = 1 ([{%s])",
    "a message": CALL + "epoll_wait(3, [%s], 64, -1) = 1",
    "a signal": CALL + "--- SIGCHLD {%s} ---",
    "an end": CALL + "+++ %s +++",
    "a first half": CALL + "recvmsg(3, %s <unfinished ...>\n" + CALL + "<... recvmsg resumed>, 0) = 5",
    "a second half": CALL + "<... recvmsg resumed>%s",
    "a cut line": CALL + "read(3, %s\nxx\n) = 5",
    "a stack": CALL + "read(3, 5) = 0\n > %s",
}
QUICK = 2.0


def seconds(path: Path) -> float:
    start = time.perf_counter()
    with suppress(TracecorrError):
        tracecorr.parse([path])
    return time.perf_counter() - start


@pytest.mark.parametrize("form", FORMS)
def test_a_line_of_one_piece_repeated_takes_no_more_than_its_length(form: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.log"
    slow: list[str] = []
    for piece in PIECES:
        line = FORMS[form] % (piece * (8192 // len(piece)))
        path.write_text(f"{HEAD}{line}\n{TAIL}")
        # What grows with the square takes a good part of a second here, what is linear some milliseconds.
        if all(seconds(path) > QUICK for _ in range(3)):
            slow.append(piece)
    assert slow == []


@pytest.mark.parametrize("piece", ["(", '"\\\\\\', "<", "= ", " ", "1", "a", "->"])
@pytest.mark.parametrize("form", ["a line", "arguments", "a first half", "a result"])
def test_a_line_of_a_megabyte_takes_well_under_two_seconds(form: str, piece: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.log"
    path.write_text(f"{HEAD}{FORMS[form] % (piece * ((1 << 20) // len(piece)))}\n{TAIL}")
    # A deadline, not a measure: quadratic work on such a line takes minutes.
    assert seconds(path) < 30


def test_a_line_of_10_megabytes_is_read_to_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "trace.log"
    path.write_text(f'{HEAD}{CALL}read(3, "{"x" * (10 << 20)}", 5) = 5\n{TAIL}')
    report = tracecorr.parse([path])
    assert report.sources[0].lines == 4
    assert [(gap.what, gap.line) for gap in report.gaps if "cut" in gap.what] == [("a line was cut", 3)]


def test_many_lines_that_are_no_calls_are_counted_and_few_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "trace.log"
    path.write_text(HEAD * 200 + "segmentation fault\n" * 300 + TAIL)
    report = tracecorr.parse([path])
    assert report.sources[0].skipped == 300 and len(report.sources[0].unread) <= 10


# -- real logs, mutated

SEEDS = [path.read_bytes() for path in [*CASES[::3], *TRUSS]]


def mutated(data: bytes, choose: random.Random) -> bytes:
    text = bytearray(data)
    for _ in range(choose.choice([1, 2, 5, 20])):
        at, size = choose.randrange(len(text) + 1), choose.choice([1, 2, 8, 60])
        kind = choose.randrange(6)
        if kind == 0:
            del text[at : at + size]
        elif kind == 1:
            text[at:at] = choose.randbytes(size)
        elif kind == 2:
            text[at:at] = choose.choice(
                [b"(", b")", b'"', b"{", b"<", b" = ", b"\n", b"\0", b"-1", b"99999999999", b"=> "]
            )
        elif kind == 3:
            other = choose.randrange(len(text) + 1)
            text[at:at] = text[other : other + size * 10]
        elif kind == 4:
            lines = text.split(b"\n")
            choose.shuffle(lines)
            text = bytearray(b"\n".join(lines))
        else:
            text[at : at + size] = text[at : at + size][::-1]
        if not text:
            break
    return bytes(text)


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(number=st.integers(0, len(SEEDS) - 1), seed=st.integers(0, 2**32))
def test_mutated_logs_give_a_report_or_an_error(number: int, seed: int, tmp_path: Path) -> None:
    path = tmp_path / "trace.log"
    path.write_bytes(mutated(SEEDS[number], random.Random(seed)))
    outcome(path)


@pytest.mark.parametrize("number", range(len(SEEDS)))
def test_numbers_with_zeros_before_them_are_no_traceback(number: int, tmp_path: Path) -> None:
    path = tmp_path / "trace.log"
    path.write_bytes(re.sub(rb"(?<![\w.])(\d+)", rb"00\1", SEEDS[number]))
    outcome(path)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=400))
def test_any_bytes_give_a_report_or_an_error(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "trace.log"
    path.write_bytes(HEAD.encode() + data)
    outcome(path)


def test_mutated_files_of_a_set_give_a_report_or_an_error(tmp_path: Path) -> None:
    choose = random.Random(7)
    for round_ in range(40):
        folder = tmp_path / str(round_)
        folder.mkdir()
        lines = choose.choice(CASES).read_text().splitlines()
        for task in {line.split()[0] for line in lines if line[:1].isdigit()}:
            own = "".join(f"{line.partition(' ')[2].lstrip()}\n" for line in lines if line.split()[0] == task)
            (folder / f"t.{task}").write_bytes(mutated(own.encode(), choose))
        outcome(folder / "t")
        outcome(folder)
