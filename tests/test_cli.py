"""The command line: what goes where, and which exit code it ends with."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tracecorr import console
from tracecorr.cli import cli, main
from tracecorr.errors import TracecorrError, UnrecognisedLog
from tracecorr.render.all import RENDERERS
from tracecorr.render.json_document import read
from tracecorr.verdicts.report import Report
from tracecorr.verdicts.timeline import Entry

ROOT = Path(__file__).parents[1]
REPORTS = ROOT / "fixtures" / "reports"
STUCK = REPORTS / "forked_worker_keeps_two_connections" / "report.json"
CLEAN = REPORTS / "nothing_stuck_but_children_unseen" / "report.json"
ENTRY = Entry(1.5, "relative", 7, 7, 3, "closed", "the last copy", "close(3)", "a ← b", 1, "t.log", 9)

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(*args: object) -> tuple[int, str, str]:
        code = main([str(arg) for arg in args])
        out, err = capsys.readouterr()
        return code, out, err

    return run


class Library(types.ModuleType):
    """Stands for tracecorr.api: remembers how it was called and answers with a saved report."""

    def __init__(self) -> None:
        super().__init__("tracecorr.api")
        self.asked: dict[str, Any] = {}
        self.error: BaseException | None = None

    def parse(self, paths: object, **options: Any) -> Report:
        self.asked = {"paths": paths, **options}
        if self.error is not None:
            raise self.error
        return read(STUCK.read_bytes())

    def timeline(self, paths: object, **options: Any) -> Iterator[Entry]:
        self.asked = {"paths": paths, **options}
        yield ENTRY


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    made = Library()
    monkeypatch.setitem(sys.modules, "tracecorr.api", made)
    return made


def on_terminal(monkeypatch: pytest.MonkeyPatch, stream: str) -> None:
    monkeypatch.setattr(getattr(sys, stream), "isatty", lambda: True, raising=False)


def test_parse_asks_the_library_and_ends_with_its_answer(run: Run, library: Library) -> None:
    code, out, err = run("parse", "a.log", "-", "--stuck-after", "2.5", "--all")

    assert (code, err) == (1, "")
    assert out.startswith("2 of 412 connections are stuck in CLOSE_WAIT")
    assert library.asked == {
        "paths": ("a.log", "-"), "stuck_after": 2.5, "everything": True, "progress": None, "at": (),
        "clock_offsets": (),
    }  # fmt: skip


def test_parse_hands_on_when_listings_were_taken_and_how_far_clocks_are_apart(run: Run, library: Library) -> None:
    run("parse", "a.log", "ss.txt", "--at", "ss.txt=14:03:00", "--clock-offset", "b.pcap=-3.25")

    assert library.asked["at"] == ("ss.txt=14:03:00",)
    assert library.asked["clock_offsets"] == ("b.pcap=-3.25",)


def test_timeline_passes_its_filters_on(run: Run, library: Library) -> None:
    code, out, _ = run("timeline", "a.log", "--pid", 7, "--fd", 3, "--peer", "192.0.2.1", "--format", "jsonl")

    assert code == 0
    assert json.loads(out) == ENTRY._asdict()
    assert library.asked == {"paths": ("a.log",), "pid": 7, "fd": 3, "peer": "192.0.2.1"}


def test_timeline_is_text_unless_told_otherwise(run: Run, library: Library) -> None:
    assert "the last copy  (t.log:9)" in run("timeline", "a.log")[1]


@pytest.mark.parametrize("name", RENDERERS)
def test_view_shows_a_saved_report_in_every_format(run: Run, name: str) -> None:
    code, out, err = run("view", STUCK, "--format", name)

    assert (code, err) == (1, "")
    assert out == "".join(RENDERERS[name].render(read(STUCK.read_bytes())))


def test_view_reads_standard_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(CLEAN.read_bytes())))

    assert run("view", "-")[0] == 0


def test_no_fault_is_exit_code_0(run: Run) -> None:
    code, out, _ = run("view", CLEAN)

    assert code == 0
    assert out.startswith("No connection is stuck in CLOSE_WAIT: 412 were looked at")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"version": 1}', '{"version": 9}', '{"version": 1, "sources": 3}', "\x1b[2J"]
)
def test_a_broken_report_is_told_in_a_line(run: Run, tmp_path: Path, text: str) -> None:
    broken = tmp_path / "report.json"
    broken.write_text(text)

    code, out, err = run("view", broken)

    assert (code, out) == (2, "")
    assert err.startswith("tracecorr: not a tracecorr report")
    assert len(err.splitlines()) == 1 and "\x1b" not in err


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("no-such-command",),
        ("parse",),
        ("parse", "x", "--format", "yaml"),
        ("parse", "x", "--stuck-after", "nan"),
        ("parse", "x", "--stuck-after", "-1"),
        ("parse", "x", "--no-such-option"),
        ("parse", "x", "--color", "sometimes"),
        ("timeline", "x", "--fd", "-3"),
        ("timeline", "x", "--format", "dot"),
        ("view", "/nonexistent/report.json"),
        ("view", "/"),
        ("explain", "no-such-cause"),
        ("view", STUCK, "-o", "/nonexistent/directory/out"),
    ],
    ids=str,
)
def test_wrong_use_is_exit_code_2_on_stderr(run: Run, args: tuple[object, ...]) -> None:
    code, out, err = run(*args)

    assert (code, out) == (2, "")
    assert err and "Traceback" not in err


class NotPermitted(TracecorrError):
    exit_code = 3
    help_text = "Try: sudo"


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (UnrecognisedLog("a.log: \x1b[2J?"), 2, "tracecorr: a.log: \\x1b[2J?\ntracecorr reads logs of strace"),
        (NotPermitted("no ptrace"), 3, "tracecorr: no ptrace\nTry: sudo\n"),
        (FileNotFoundError(2, "No such file", "a\n.log"), 2, "tracecorr: a\\x0a.log: No such file\n"),
        (OSError(28, "No space left on device"), 2, "tracecorr: [Errno 28] No space left on device\n"),
        (KeyError("x\x1b"), 4, "tracecorr: this is a bug of tracecorr: KeyError: 'x\\x1b'\nPlease report it at "),
        (KeyboardInterrupt(), 130, ""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_error_has_its_exit_code(run: Run, library: Library, error: BaseException, code: int, told: str) -> None:
    library.error = error

    ended, out, err = run("parse", "a.log")

    assert (ended, out) == (code, "")
    assert err.lstrip("\n").startswith(told) and "Traceback" not in err


def test_a_bug_shows_its_traceback_when_asked(run: Run, library: Library) -> None:
    library.error = ZeroDivisionError("\x1b[31m")

    code, _, err = run("parse", "-v", "a.log")

    assert code == 4
    assert err.startswith("Traceback (most recent call last):") and "test_cli.py" in err
    assert "\x1b" not in err


def test_report_goes_to_a_file_and_nothing_to_stdout(run: Run, tmp_path: Path) -> None:
    code, out, err = run("view", STUCK, "-o", tmp_path / "out.txt")

    assert (code, out, err) == (1, "", "")
    assert (tmp_path / "out.txt").read_text(encoding="utf-8").startswith("2 of 412")
    assert run("view", STUCK, "-o", "-")[1].startswith("2 of 412")


@pytest.mark.parametrize(
    ("color", "terminal", "environment", "coloured"),
    [
        ("auto", False, {}, False),
        ("auto", True, {}, True),
        ("auto", True, {"NO_COLOR": "1"}, False),
        ("auto", True, {"NO_COLOR": ""}, True),
        ("auto", True, {"TERM": "dumb"}, False),
        ("never", True, {}, False),
        ("always", False, {"NO_COLOR": "1"}, True),
    ],
)
def test_colour_is_for_terminals_and_those_who_insist(
    run: Run, monkeypatch: pytest.MonkeyPatch, color: str, terminal: bool, environment: dict[str, str], coloured: bool
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if terminal:
        on_terminal(monkeypatch, "stdout")

    assert ("\x1b[" in run("view", STUCK, "--color", color)[1]) is coloured


def test_a_file_gets_no_colour_though_stdout_is_a_terminal(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    on_terminal(monkeypatch, "stdout")
    run("view", STUCK, "-o", tmp_path / "out.txt")

    assert "\x1b" not in (tmp_path / "out.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(("columns", "width"), [("40", 80), ("93", 93), ("400", 120)])
def test_width_follows_the_terminal_within_reason(monkeypatch: pytest.MonkeyPatch, columns: str, width: int) -> None:
    monkeypatch.setenv("COLUMNS", columns)

    assert console.style("auto", None, everything=False).width == width


def test_all_unfolds_the_text(run: Run) -> None:
    chain = REPORTS / "long_chain_on_a_relative_clock" / "report.json"

    assert "more steps" in run("view", chain)[1]
    assert "more steps" not in run("view", chain, "--all")[1]


def test_progress_is_for_terminals_that_wait(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with console.progress(quiet=False) as tell:
        assert tell is None
    on_terminal(monkeypatch, "stderr")
    with console.progress(quiet=True) as tell:
        assert tell is None
    monkeypatch.setattr(console, "PROGRESS_AFTER", -1.0)
    with console.progress(quiet=False) as tell:
        assert tell is not None
        tell(5, None)
        tell(10, 10)
    out, err = capsys.readouterr()

    assert out == "" and "reading" in err


def test_a_short_reading_shows_no_progress(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    on_terminal(monkeypatch, "stderr")
    with console.progress(quiet=False) as tell:
        assert tell is not None
        tell(10, 10)

    assert capsys.readouterr().err == ""


def test_explain_lists_tells_and_corrects(run: Run) -> None:
    assert "never-accepted" in run("explain")[1]
    assert run("explain", "fork-race")[1].startswith("fork-race: inherited copy")
    assert run("explain", "Inherited copy")[1].startswith("inherited-copy: ")
    assert "Did you mean inherited-copy?" in run("explain", "inherited-cop")[2]


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_command_has_help(run: Run, name: str) -> None:
    code, out, _ = run(name, "--help")

    assert code == 0
    assert "Usage: tracecorr" in out


def test_help_lists_every_format(run: Run) -> None:
    assert "|".join(RENDERERS) in run("parse", "--help")[1]


def process(*args: object, **options: Any) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    command = [sys.executable, *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, **options)


def test_version_loads_nothing_heavy() -> None:
    script = (
        "import sys; from tracecorr.cli import main; main(['--version']);"
        "print(sorted({'rich', 'networkx', 'tracecorr.api'} & set(sys.modules)))"
    )
    out, err = process("-c", script).communicate()

    assert out.decode().splitlines()[0].startswith("tracecorr ")
    assert out.decode().splitlines()[1:] == ["[]"]
    assert err == b""


@pytest.mark.parametrize("args", [("view", STUCK, "--format", "json"), ("view", STUCK)], ids=str)
def test_a_reader_that_has_seen_enough_is_no_error(args: tuple[object, ...]) -> None:
    running = process("-m", "tracecorr", *args)
    assert running.stdout and running.stderr
    running.stdout.close()
    err = running.stderr.read()
    running.stderr.close()

    assert running.wait() == 1
    assert err == b""


def test_output_that_cannot_show_a_character_shows_its_number() -> None:
    running = process("-m", "tracecorr", "view", STUCK, env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    out, err = running.communicate()

    assert running.returncode == 1
    assert b"\\u25cf inherited copy" in out and err == b""
