"""A log is read whatever it has put on on its way here: quoted, indented, in colour, behind a collector's columns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import tracecorr
from tracecorr.errors import UnrecognisedLog
from tracecorr.sources import parallel, strace_log
from tracecorr.verdicts.report import Verdict

FIXTURES = Path(__file__).parents[1] / "fixtures"
LOGS = {
    "strace": FIXTURES / "cases/inherited-copy/fires_forked_worker/trace.log",
    "strace with halves": FIXTURES / "cases/eof-ignored/fires_number_reused_before_close_returned/trace.log",
    "truss": FIXTURES / "logs/truss-solaris/illumos_forkx_with_times/trace.log",
    "truss of FreeBSD": FIXTURES / "logs/truss-freebsd/half_close_and_killed/trace.log",
    "truss of AIX": FIXTURES / "logs/truss-aix/kfork_parent_closes/trace.log",
    "kdump": FIXTURES / "logs/kdump/inetd_child_keeps_the_number/trace.log",
}

Dress = Callable[[bytes], bytes]


def before(text: str) -> Dress:
    lines = text.encode()
    return lambda log: b"".join(lines % {b"n": n} + line for n, line in enumerate(log.splitlines(keepends=True), 1))


def at_ends(start: bytes, end: bytes) -> Dress:
    return lambda log: b"".join(start + line.rstrip(b"\n") + end + b"\n" for line in log.splitlines())


def escaped(log: bytes) -> bytes:
    return log.replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b">", b"&gt;")


def escaped_wholly(log: bytes) -> bytes:
    return escaped(log).replace(b'"', b"&quot;")


DRESSES: dict[str, Dress] = {
    "as it is": lambda log: log,
    "lines that end in CR LF": lambda log: log.replace(b"\n", b"\r\n"),
    "a byte order mark": lambda log: b"\xef\xbb\xbf" + log,
    "UTF-16": lambda log: log.decode("latin-1").encode("utf-16"),
    "colours": at_ends(b"\x1b[32m", b"\x1b[0m"),
    "a terminal's title and erasures": at_ends(b"\x1b]0;root@host\x07", b"\x1b[K"),
    "four blanks": before("    "),
    "a tab": before("\t"),
    "a mail": before("> "),
    "an answer to an answer": before("> > "),
    "a comment": before("# "),
    "cat -n": before("%(n)6d\t"),
    "grep -n": before("%(n)d:"),
    "grep -Hn": before("/tmp/strace.log:%(n)d:"),
    "journald": before("Nov 14 22:13:20 web-1 strace[812]: "),
    "journald, short-iso": before("2023-11-14T22:13:20+0100 web-1 strace[812]: "),
    "ts": before("Nov 14 22:13:20 "),
    "docker compose": before("web_1  | "),
    "kubectl --prefix": before("[pod/web-5d7/app] "),
    "kubectl --timestamps": before("2023-11-14T22:13:20.123456789Z "),
    "CRI": before("2023-11-14T22:13:20.123456789Z stderr F "),
    "kubectl --timestamps in a mail": before("> 2023-11-14T22:13:20.123456789Z "),
    "a web page": escaped,
    "a web page that escapes quotes": escaped_wholly,
    "blanks that do not break": lambda log: log.replace(b"  ", b"\xc2\xa0 "),
    "dots that are one character": lambda log: log.replace(b" ...>", b" \xe2\x80\xa6>").replace(b"<... ", b"<\xe2\x80\xa6 "),
    "blanks at the ends": at_ends(b"", b"  "),
    "a heading and a fence": lambda log: b"Here it is:\n\n```\n" + log + b"```\n",
}  # fmt: skip


def cut_at(width: int) -> Dress:
    def dress(log: bytes) -> bytes:
        lines = log.splitlines()
        pieces = (line[at : at + width] for line in lines for at in range(0, max(1, len(line)), width))
        return b"".join(piece + b"\n" for piece in pieces)

    return dress


def broken_at(width: int) -> Dress:
    def dress(log: bytes) -> bytes:
        pieces = []
        for line in log.splitlines():
            while len(line) > width and (blank := line.rfind(b" ", 1, width)) > 0:
                pieces.append(line[:blank].rstrip())
                line = line[blank:].lstrip()
            pieces.append(line)
        return b"".join(piece + b"\n" for piece in pieces)

    return dress


def said(path: Path) -> list[tuple[object, ...]]:
    entries = [
        (entry.pid, entry.tid, entry.fd, entry.what, entry.at, entry.text) for entry in tracecorr.timeline([path])
    ]
    verdicts = [(verdict.cause, verdict.detail, verdict.confidence) for verdict in tracecorr.parse([path]).verdicts]
    assert entries
    return [*entries, *verdicts]


@pytest.mark.parametrize("dress", DRESSES)
@pytest.mark.parametrize("log", LOGS)
def test_a_log_says_the_same_however_it_is_dressed(log: str, dress: str, tmp_path: Path) -> None:
    dressed = tmp_path / "trace.log"
    dressed.write_bytes(DRESSES[dress](LOGS[log].read_bytes()))
    assert said(dressed) == said(LOGS[log])


@pytest.mark.parametrize("width", [44, 60, 80])
@pytest.mark.parametrize("dress", ["as it is", "four blanks", "a mail"])
@pytest.mark.parametrize("log", ["strace", "strace with halves", "truss"])
def test_lines_that_a_terminal_broke_are_put_together(log: str, dress: str, width: int, tmp_path: Path) -> None:
    dressed = tmp_path / "trace.log"
    dressed.write_bytes(DRESSES[dress](cut_at(width)(LOGS[log].read_bytes())))
    assert said(dressed) == said(LOGS[log])


@pytest.mark.parametrize("width", [60, 72])
@pytest.mark.parametrize("log", ["strace", "strace with halves"])
def test_lines_that_a_mail_program_broke_are_put_together(log: str, width: int, tmp_path: Path) -> None:
    dressed = tmp_path / "trace.log"
    dressed.write_bytes(broken_at(width)(LOGS[log].read_bytes()))
    assert said(dressed) == said(LOGS[log])


def test_lines_keep_their_numbers_when_they_are_put_together(tmp_path: Path) -> None:
    plain = LOGS["strace"].read_bytes()
    lines = cut_at(60)(plain).splitlines()
    dressed = tmp_path / "trace.log"
    dressed.write_bytes(b"".join(line + b"\n" for line in lines))
    for entry, told in zip(tracecorr.timeline([dressed]), tracecorr.timeline([LOGS["strace"]]), strict=True):
        assert entry.line is not None and told.line is not None
        assert plain.splitlines()[told.line - 1].startswith(lines[entry.line - 1])


def test_lines_keep_their_numbers(tmp_path: Path) -> None:
    dressed = tmp_path / "trace.log"
    dressed.write_bytes(before("> ")(b"Hello,\n\n" + LOGS["strace"].read_bytes()))
    plain = [entry.line for entry in tracecorr.timeline([LOGS["strace"]])]
    assert [entry.line - 2 for entry in tracecorr.timeline([dressed]) if entry.line] == plain


def test_a_large_log_that_is_dressed_is_not_read_in_pieces_as_it_lies_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "WORTHWHILE", 0)
    monkeypatch.setattr(strace_log, "_SAMPLED", 1)
    dressed = tmp_path / "trace.log"
    rest = b"4100  10:00:09.000000 getpid() = 4100\n" * 40_000
    dressed.write_bytes(before("> ")(LOGS["strace"].read_bytes() + rest))
    verdicts = tracecorr.parse([dressed]).verdicts
    assert [verdict.cause for verdict in verdicts] == ["inherited-copy"]


@pytest.mark.parametrize(
    "text",
    [
        "> Hello,\n> the server hangs.\n> Regards\n",
        "Nov 14 22:13:20 web-1 sshd[812]: Accepted publickey for root\n" * 5,
        "    int main(void) {\n        close(3);\n        return 0;\n    }\n",
        "2023-11-14T22:13:20.123456789Z stderr F ready\n" * 5,
    ],
)
def test_what_is_no_log_is_none_without_its_dress(text: str, tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text(text)
    with pytest.raises(UnrecognisedLog):
        tracecorr.parse([path])


def test_an_old_strace_that_has_only_numbers_for_new_calls_is_no_ltrace(tmp_path: Path) -> None:
    log = tmp_path / "trace.log"
    log.write_text(
        "SYS_328(0, 0x80800, 0x269ff4, 0x877a7b4, 0x877b0c4) = 3\n"
        "accept(3, 0, NULL)                      = 4\n"
        'read(4, "", 512)                        = 0\n'
        "close(4)                                = 0\n"
    )
    assert [entry.what for entry in tracecorr.timeline([log])] == ["accepted", "eof", "closed"]


def test_a_first_line_that_is_cut_in_the_number_of_its_task_is_of_nobody(tmp_path: Path) -> None:
    log = tmp_path / "trace.log"
    accepted = 'accept4(3, {sa_family=AF_INET, sin_port=htons(41007), sin_addr=inet_addr("192.0.2.20")}, [16], 0) = 6\n'
    log.write_text(
        f"96 10:00:00.000100 {accepted}"
        '22296 10:00:00.100000 read(6, "a", 512) = 1\n'
        '22296 10:00:00.300000 read(6, "", 512) = 0\n'
        "22296 10:00:00.300100 close(6) = 0\n"
        "22291 10:00:09.000000 pause( <unfinished ...>\n"
    )
    assert 96 not in {entry.pid for entry in tracecorr.timeline([log])}
    assert tracecorr.parse([log]).sources[0].skipped == 1
    log.write_text(log.read_text() + "96 10:00:09.100000 close(6) = 0\n")
    assert 96 in {entry.pid for entry in tracecorr.timeline([log])}


TRUSS_IN_BLANKS = """\
[root@host ~]# truss -d -t bind,listen,accept,read,close nc -l -p 8080
Base time stamp:  1464310423.7650  [ Fri May 27 00:53:43 UTC 2016 ]
 0.0027 bind(3, 0x08065790, 32, SOV_SOCKBSD)            = 0
 0.0028 listen(3, 1, SOV_DEFAULT)                       = 0
accept(3, 0x08047B3C, 0x08047C3C, SOV_DEFAULT, 0) (sleeping...)
10.2000 accept(3, 0x08047B3C, 0x08047C3C, SOV_DEFAULT, 0) = 4
"""
DTRUSS_WITHOUT_COLUMNS = """\
close_nocancel(0x1D)\t\t = 0 0
fcntl(0x1D, 0x4, 0x6)\t\t = 0 0
connect(0x1D, 0x700003B0AB20, 0x10)\t\t = -1 36
select(0x1D, 0x7000042DABB0, 0x7000042DAC30, 0x0, 0x7000042DACB0)\t\t = 2 0
"""


@pytest.mark.parametrize(("text", "format_"), [(TRUSS_IN_BLANKS, "truss-solaris"), (DTRUSS_WITHOUT_COLUMNS, "dtruss")])
def test_a_log_of_another_tracer_is_none_of_strace_though_its_tabs_are_gone(
    text: str, format_: str, tmp_path: Path
) -> None:
    log = tmp_path / "trace.log"
    log.write_text(text)
    assert tracecorr.parse([log]).sources[0].format == format_


def test_a_second_half_that_was_broken_in_three_is_put_together(tmp_path: Path) -> None:
    log = tmp_path / "trace.log"
    log.write_text(
        "4100  10:00:00.000100 accept(3,  <unfinished ...>\n"
        "4100  10:00:00.100000 <... accept resumed> {sa_family=AF_INET, \n"
        "sin_port=htons\n"
        '(41007), sin_addr=inet_addr("192.0.2.20")}, [16]) = 4\n'
        '4100  10:00:00.200000 read(4, "", 512) = 0\n'
        "4100  10:00:00.300000 close(4)         = 0\n"
    )
    assert [entry.what for entry in tracecorr.timeline([log])] == ["accepted", "eof", "closed"]


@pytest.mark.parametrize("tags", [b"<pre>\n", b"<pre>", b'<pre class="log"><code>'])
@pytest.mark.parametrize("case", ["cases/eof-ignored/fires_spinning", "logs/perf-trace/threads_that_never_close"])
def test_a_web_page_is_known_by_any_character_that_it_escapes(case: str, tags: bytes, tmp_path: Path) -> None:
    whole = (FIXTURES / case / "trace.log").read_bytes()
    log = b"".join(line for line in whole.splitlines(keepends=True) if b"<unfinished" not in line)
    plain, dressed = tmp_path / "plain.log", tmp_path / "trace.log"
    plain.write_bytes(log)
    dressed.write_bytes(tags + escaped_wholly(log) + b"</pre>\n")
    expected = [in_short(verdict) for verdict in tracecorr.parse([plain]).verdicts]
    assert expected and [in_short(verdict) for verdict in tracecorr.parse([dressed]).verdicts] == expected


def in_short(verdict: Verdict) -> tuple[object, ...]:
    return verdict.cause, verdict.detail, verdict.confidence, verdict.culprit, verdict.socket


def test_a_coloured_log_whose_name_ends_in_a_number_is_none_of_a_set(tmp_path: Path) -> None:
    dressed = tmp_path / "trace.log.1"
    dressed.write_bytes(DRESSES["colours"](LOGS["strace"].read_bytes()))
    assert said(dressed) == said(LOGS["strace"])


def test_entities_that_a_program_has_read_stay(tmp_path: Path) -> None:
    log = tmp_path / "trace.log"
    log.write_bytes(LOGS["strace"].read_bytes().replace(b'"GET', b'"&quot;&lt;b&gt;'))
    assert said(log) == said(LOGS["strace"])
