"""Every log format: its fixtures read as the events beside them, one format claims each, and nothing breaks a reader.

fixtures/logs/FORMAT/CASE/trace.log has events.txt beside it, a line for each event: the line of the log, the kind, the
task, and the fields that say something.  Those of perf-trace, perf-script and ftrace are from recordings made here; the
others are written by hand after the grammar of each tool, of which no genuine log was at hand.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

import tracecorr
from tracecorr.events import Event
from tracecorr.sources.all import LOG_FORMATS
from tracecorr.sources.base import Tally
from tracecorr.syscalls.decode import decode

ROOT = Path(__file__).parents[1] / "fixtures" / "logs"
LOGS = sorted(ROOT.glob("*/*/trace.log"))
GOLDEN = [log for log in LOGS if log.with_name("events.txt").exists()]
# These have tests of their own for each form of a line.
ELSEWHERE = {"strace", "truss-solaris", "tracecorr"}
NEW = [name for name in LOG_FORMATS if name not in ELSEWHERE]
SILENT = {"CallBegan", "CallReturned"}


def name_of(log: Path) -> str:
    return "/".join(log.parts[-3:-1])


def as_text(event: Event) -> str:
    fields = event._asdict()
    origin, task = fields.pop("origin", None), fields.pop("task", None)
    words = [str(origin.line) if origin else "-", type(event).__name__]
    if task is not None:
        words.append(f"{task.pid}/{task.tid}" if task.pid is not None else str(task.tid))
    skipped = ("source", "try_", "entered")
    words += [f"{key}={value}" for key, value in fields.items() if value not in (None, False) and key not in skipped]
    return " ".join(words)


def events_of(data: bytes, name: str, source: str = "log") -> list[Event]:
    return list(decode(LOG_FORMATS[name].read([data], Tally(source, name))))


def lines_of(log: Path) -> list[str]:
    events = events_of(log.read_bytes(), log.parts[-3])
    return [as_text(event) for event in events if type(event).__name__ not in SILENT]


@pytest.mark.parametrize("log", GOLDEN, ids=name_of)
def test_a_log_reads_as_the_events_beside_it(log: Path) -> None:
    golden, actual = log.with_name("events.txt"), log.with_name("events.txt.actual")
    found = lines_of(log)
    if found != golden.read_text().splitlines():
        actual.write_text("\n".join(found) + "\n")
    assert found == golden.read_text().splitlines(), f"see {actual}"
    actual.unlink(missing_ok=True)


@pytest.mark.parametrize("name", NEW)
def test_every_format_has_three_logs_with_their_events(name: str) -> None:
    assert len([log for log in GOLDEN if log.parts[-3] == name]) >= 3


@pytest.mark.parametrize("log", LOGS, ids=name_of)
def test_exactly_one_format_claims_a_log(log: Path) -> None:
    head = log.read_bytes().split(b"\n")
    assert [name for name, format_ in LOG_FORMATS.items() if format_.recognises(head)] == [log.parts[-3]]


@pytest.mark.parametrize("log", GOLDEN, ids=name_of)
def test_a_log_that_begins_or_ends_anywhere_is_read(log: Path) -> None:
    data = log.read_bytes()
    for cut in range(0, len(data), max(1, len(data) // 60)):
        for piece in (data[cut:], data[:cut]):
            if piece:
                events_of(piece, log.parts[-3])


@pytest.mark.parametrize("log", GOLDEN, ids=name_of)
def test_lines_of_other_kinds_are_counted_and_change_nothing(log: Path) -> None:
    lines = log.read_bytes().splitlines(keepends=True)
    plain, mixed = Tally("log", log.parts[-3]), Tally("log", log.parts[-3])
    reader = LOG_FORMATS[log.parts[-3]]
    before = [type(record).__name__ for record in reader.read([b"".join(lines)], plain)]
    prose = b"Segmentation fault? No: 12 apples.\n"
    at = len(lines) // 2
    after = [
        type(record).__name__ for record in reader.read([b"".join(lines[:at]) + prose + b"".join(lines[at:])], mixed)
    ]
    assert after == before
    in_a_dump = log.parts[-3] == "kdump" and b"GIO" in b"".join(lines[:at])
    assert mixed.skipped == plain.skipped + 1 or in_a_dump


@pytest.mark.parametrize("log", GOLDEN, ids=name_of)
def test_damaged_logs_raise_nothing(log: Path) -> None:
    rng = random.Random(7)
    data = log.read_bytes()
    for _ in range(60):
        damaged = bytearray(data)
        for _ in range(rng.randrange(1, 60)):
            at = rng.randrange(len(damaged))
            damaged[at : at + rng.randrange(3)] = rng.choice(
                [b"(", b")", b'"', b"{", b"9" * 30, b"\xff", b"=", b":", b"<", b"-", b"\n", b"\0", b"0x", b"["]
            )
        events_of(bytes(damaged), log.parts[-3])


@pytest.mark.parametrize("log", GOLDEN, ids=name_of)
@pytest.mark.parametrize(
    "unit", ['"', "(", "{", "[", "a: ", "9", " ", "=", "0x1, ", "x=", "<4t>", "\\", ",{ ", "|A", ". "]
)
def test_work_is_linear_in_the_length_of_a_line(log: Path, unit: str) -> None:
    line = max(log.read_bytes().splitlines(), key=len)
    half = len(line) // 2
    started = time.monotonic()
    for cut in (0, half, len(line)):
        long = line[:cut] + unit.encode() * ((1 << 19) // len(unit)) + line[cut:]
        events_of(long, log.parts[-3])
        LOG_FORMATS[log.parts[-3]].recognises([long])
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("name", NEW)
def test_the_head_of_any_other_format_is_not_claimed(name: str) -> None:
    for log in LOGS:
        if log.parts[-3] != name:
            assert not LOG_FORMATS[name].recognises(log.read_bytes().split(b"\n"))


@pytest.mark.parametrize("log", GOLDEN, ids=name_of)
def test_a_report_of_it_can_be_made(log: Path) -> None:
    report = tracecorr.parse([log])
    (source,) = report.sources
    assert source.format == log.parts[-3] and source.calls
    assert source.lines == len(log.read_bytes().splitlines())
    list(tracecorr.timeline([log]))
