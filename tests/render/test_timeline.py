from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count, islice

import pytest
from hypothesis import given

from tracecorr.render.timeline import json_lines, text
from tracecorr.verdicts.timeline import Entry

from .hostile import ANYTHING, SAMPLES
from .reports import BEGIN

ACCEPTED = Entry(
    at=BEGIN + 0.101,
    clock="epoch",
    pid=30505,
    tid=30505,
    fd=7,
    what="accepted",
    text="fd 7 is the connection",
    call="accept4(6) = 7",
    socket="127.0.0.1:6379 ← 127.0.0.1:47374",
    connection=1,
    source="trace.log",
    line=311,
)
CLOSED = ACCEPTED._replace(
    at=BEGIN + 0.9, tid=30507, what="closed", text="not the last copy", call="close(7)", line=518
)


def test_connections_and_days_are_introduced_once() -> None:
    tomorrow = CLOSED._replace(at=BEGIN + 86400, connection=2, socket=None, fd=None, pid=None, tid=None, call=None)

    assert "".join(text([ACCEPTED, CLOSED, tomorrow])) == (
        "2025-11-23\n"
        "connection 1  127.0.0.1:6379 ← 127.0.0.1:47374\n"
        "07:14:52.101    30505  #1    fd 7   accept4(6) = 7                "
        "fd 7 is the connection  (trace.log:311)\n"
        "07:14:52.900  30505/30507  #1    fd 7   close(7)                      "
        "not the last copy  (trace.log:518)\n"
        "2025-11-24\n"
        "connection 2  (addresses unknown)\n"
        "07:14:52.000           #2                                         "
        "not the last copy  (trace.log:518)\n"
    )


def test_an_address_that_is_known_later_is_told_then() -> None:
    lines = list(text([ACCEPTED._replace(socket=None), ACCEPTED, ACCEPTED]))

    assert [line for line in lines if line.startswith("connection")] == [
        "connection 1  (addresses unknown)\n",
        "connection 1  127.0.0.1:6379 ← 127.0.0.1:47374\n",
    ]


def test_nothing_is_said_in_words() -> None:
    assert list(text([])) == ["No call of the record touches such a TCP connection.\n"]
    assert list(json_lines([])) == []


def test_entries_pass_one_by_one() -> None:
    def endless() -> Iterator[Entry]:
        return (ACCEPTED._replace(line=line) for line in count())

    assert len(list(islice(text(endless()), 5))) == 5
    assert len(list(islice(json_lines(endless()), 5))) == 5


@given(ANYTHING)
def test_no_text_of_a_log_passes_raw(hostile: str) -> None:
    entry = ACCEPTED._replace(what=hostile, text=hostile, call=hostile, socket=hostile, source=hostile)

    assert all(line.endswith("\n") and line[:-1].isprintable() for line in text([entry]))
    (line,) = json_lines([entry])
    assert line[:-1].isprintable() and json.loads(line) == entry._asdict()


@pytest.mark.parametrize("hostile", SAMPLES, ids=lambda hostile: ascii(hostile[:12]))
def test_long_text_is_bounded(hostile: str) -> None:
    entry = ACCEPTED._replace(what=hostile, text=hostile, call=hostile, socket=hostile, source=hostile)

    assert len("".join(text([entry]))) < 16_000
