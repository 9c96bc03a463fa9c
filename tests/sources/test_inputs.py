"""Paths into traces: files, directories, prefixes of -ff sets and standard input."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest

import tracecorr
from tracecorr.errors import TracecorrError, UnreadableInput, UnrecognisedLog
from tracecorr.sources.inputs import Trace, traces_of
from tracecorr.syscalls.record import SyscallRecord

CASES = Path(__file__).parents[2] / "fixtures" / "cases"
WORKER = (CASES / "inherited-copy" / "fires_forked_worker" / "trace.log").read_text()


def split(folder: Path, name: str = "trace", text: str = WORKER) -> Path:
    """Write the lines of each task to a file of its own, as strace -ff does."""
    tasks: dict[str, list[str]] = {}
    for line in text.splitlines():
        task, _, rest = line.partition(" ")
        tasks.setdefault(task, []).append(rest.lstrip())
    for task, lines in tasks.items():
        (folder / f"{name}.{task}").write_text("\n".join(lines) + "\n")
    return folder / name


def shapes(traces: list[Trace], folder: Path) -> list[tuple[list[str], list[int] | None]]:
    return [([str(Path(path).relative_to(folder)) for path in trace.paths], trace.pids) for trace in traces]


def culprits(*paths: Path | str) -> list[tuple[str, int | None]]:
    return [(v.cause, v.culprit.pid if v.culprit else None) for v in tracecorr.parse(list(paths)).verdicts]


def test_a_file_is_one_trace(tmp_path: Path) -> None:
    path = tmp_path / "trace.log"
    path.write_text(WORKER)
    assert shapes(traces_of([str(path)]), tmp_path) == [(["trace.log"], None)]
    assert culprits(path) == [("inherited-copy", 4102)]


def test_a_prefix_is_the_set_of_its_tasks(tmp_path: Path) -> None:
    prefix = split(tmp_path)
    assert shapes(traces_of([str(prefix)]), tmp_path) == [(["trace.4100", "trace.4102"], [4100, 4102])]
    assert culprits(prefix) == [("inherited-copy", 4102)]


def test_files_of_a_set_named_one_by_one_are_one_trace(tmp_path: Path) -> None:
    split(tmp_path)
    paths = [str(tmp_path / "trace.4102"), str(tmp_path / "trace.4100")]
    (trace,) = traces_of(paths)
    assert sorted(trace.pids or ()) == [4100, 4102]
    assert culprits(*paths) == [("inherited-copy", 4102)]


def test_a_directory_is_all_logs_in_it(tmp_path: Path) -> None:
    split(tmp_path)
    (tmp_path / "notes.txt").write_text("nothing to see here\n")
    (tmp_path / "core").write_bytes(b"\x7fELF\0\0\0")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "trace.log").write_text(WORKER)
    assert shapes(traces_of([str(tmp_path)]), tmp_path) == [(["trace.4100", "trace.4102"], [4100, 4102])]
    assert culprits(tmp_path) == [("inherited-copy", 4102)]


def test_a_directory_and_its_prefix_are_the_same_set(tmp_path: Path) -> None:
    prefix = split(tmp_path)
    (tmp_path / "trace.4102").write_bytes(b"")
    assert culprits(prefix) == [("inherited-copy", 4102)]
    assert culprits(tmp_path) == culprits(prefix)


def test_packed_files_of_a_set_are_one_trace(tmp_path: Path) -> None:
    prefix = split(tmp_path)
    for path in list(tmp_path.iterdir()):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert culprits(prefix) == [("inherited-copy", 4102)]


def test_two_prefixes_in_one_place_are_two_traces(tmp_path: Path) -> None:
    split(tmp_path, "a")
    split(tmp_path, "b")
    assert [trace.pids for trace in traces_of([str(tmp_path)])] == [[4100, 4102], [4100, 4102]]
    assert culprits(tmp_path / "a") == [("inherited-copy", 4102)]
    assert culprits(tmp_path) == [("inherited-copy", 4102)] * 2


def test_a_prefix_is_no_prefix_of_a_longer_name(tmp_path: Path) -> None:
    split(tmp_path, "trace")
    split(tmp_path, "trace.log")
    split(tmp_path, "tracer")
    assert shapes(traces_of([str(tmp_path / "trace")]), tmp_path) == [(["trace.4100", "trace.4102"], [4100, 4102])]


def test_siblings_that_are_no_logs_are_an_error_that_names_them(tmp_path: Path) -> None:
    prefix = split(tmp_path)
    (tmp_path / "trace.1").write_text("1st note: do not forget the milk\n")
    with pytest.raises(UnrecognisedLog, match=r"trace\.1:1: .*1st note"):
        culprits(prefix)


def test_a_rotated_log_has_its_tasks_in_its_lines(tmp_path: Path) -> None:
    for name in ("trace.log", "trace.log.1", "trace.log.2"):
        (tmp_path / name).write_text(WORKER)
    assert [trace.pids for trace in traces_of([str(tmp_path)])] == [None, None, None]
    assert culprits(tmp_path / "trace.log.1") == [("inherited-copy", 4102)]


def test_a_rotated_log_with_brackets_has_its_tasks_in_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "trace.log.1"
    path.write_text("".join(f"[pid {line.replace('  ', '] ', 1)}\n" for line in WORKER.splitlines()))
    assert [trace.pids for trace in traces_of([str(path)])] == [None]
    assert culprits(path) == [("inherited-copy", 4102)]


def test_a_single_file_of_a_set_knows_its_task(tmp_path: Path) -> None:
    split(tmp_path)
    (trace,) = traces_of([str(tmp_path / "trace.4100")])
    tasks = {record.task.tid for record in trace.records() if isinstance(record, SyscallRecord)}
    assert (trace.pids, tasks) == ([4100], {4100})
    assert "children unseen" in {gap.what for gap in tracecorr.parse([tmp_path / "trace.4100"]).gaps}


def test_a_path_that_is_named_twice_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "trace.log"
    path.write_text(WORKER)
    assert culprits(path, path) == [("inherited-copy", 4102)]


def test_standard_input_is_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.BufferedReader(io.BytesIO(WORKER.encode()))  # type: ignore[arg-type]
    monkeypatch.setattr("sys.stdin", type("Stdin", (), {"buffer": stdin}))
    report = tracecorr.parse(["-"])
    assert [verdict.cause for verdict in report.verdicts] == ["inherited-copy"]
    assert report.sources[0].name == "standard input"


def test_standard_input_may_be_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.BufferedReader(io.BytesIO(gzip.compress(WORKER.encode())))  # type: ignore[arg-type]
    monkeypatch.setattr("sys.stdin", type("Stdin", (), {"buffer": stdin}))
    assert culprits("-") == [("inherited-copy", 4102)]


ERRORS: dict[str, tuple[bytes | None, str]] = {
    "missing": (None, "No such file or directory"),
    "empty": (b"", "the file is empty"),
    "blank": (b"\n \n\n", "the file is empty"),
    "binary": (b"\x7fELF\x02\x01\x01\0\0\0\0\0" * 50, "binary"),
    "prose": (b"Dear all,\nplease find attached\n", "it begins with 'Dear all,'"),
    "summary": (
        b"% time     seconds  usecs/call     calls    errors syscall\n------ ----------- -----------\n 40.00    0.1\n",
        "summary of strace -c",
    ),
    "control": (b"\x1b]0;owned\x07\x1b[2J\n", r"\\x1b\]0;owned\\x07"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_is_no_log_is_an_error_that_says_what_it_is(name: str, tmp_path: Path) -> None:
    data, message = ERRORS[name]
    path = tmp_path / f"{name}.log"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(TracecorrError, match=rf"(?s){name}\.log.*{message}") as error:
        tracecorr.parse([path])
    assert error.value.exit_code == 2
    assert not any(ord(character) < 32 for character in str(error.value))


def test_a_directory_without_logs_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing\n")
    with pytest.raises(UnrecognisedLog, match="no log of a known format in this directory"):
        tracecorr.parse([tmp_path])


def test_a_set_of_nothing_but_empty_files_is_an_error(tmp_path: Path) -> None:
    for pid in (4100, 4102):
        (tmp_path / f"trace.{pid}").write_bytes(b"")
    with pytest.raises(UnrecognisedLog, match="empty"):
        tracecorr.parse([tmp_path / "trace"])


def test_a_prefix_in_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInput, match="No such file or directory"):
        tracecorr.parse([tmp_path / "nowhere" / "trace"])


def test_a_loop_of_links_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(TracecorrError):
        tracecorr.parse([tmp_path / "a"])


@pytest.mark.parametrize("name", ["nul\0byte", pytest.param("x" * 300, id="long")])
def test_a_name_that_no_file_can_have_is_an_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(TracecorrError):
        tracecorr.parse([str(tmp_path / name)])


TRUSS = """\
execve("/usr/sbin/nslookup", 0x08047564, 0x08047570)  argc = 2
sysinfo(SI_MACHINE, "i86pc", 257)\t\t= 6
mmap(0x00000000, 32, PROT_READ|PROT_WRITE|PROT_EXEC, MAP_PRIVATE|MAP_ANON, -1, 0) = 0xD1FF0000
mmap(0x00000000, 4096, PROT_READ|PROT_WRITE|PROT_EXEC, MAP_PRIVATE|MAP_ANON, -1, 0) = 0xD1FB0000
memcntl(0xD1FC1000, 13188, MC_ADVISE, MADV_WILLNEED, 0, 0) = 0
sysconfig(_CONFIG_PAGESIZE)\t\t\t= 4096
open("/var/ld/ld.config", O_RDONLY)\t\tErr#2 ENOENT
stat64("/usr/lib/dns/liblwres.so.50", 0x08046A00) = 0
close(3)\t\t\t\t\t= 0
"""


def test_a_log_of_truss_without_pids_is_claimed_by_one_format(tmp_path: Path) -> None:
    path = tmp_path / "trace.truss"
    path.write_text(TRUSS)
    assert tracecorr.parse([path]).sources[0].format == "truss-solaris"
