"""timeline(): what touched the life of each connection, in order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import tracecorr
from tracecorr.errors import TracecorrError
from tracecorr.verdicts.timeline import Entry

CASES = Path(__file__).parents[1] / "fixtures" / "cases"


def entries(case: str, **chosen: object) -> list[Entry]:
    return list(tracecorr.timeline([CASES / case / "trace.log"], **chosen))  # type: ignore[arg-type]


def story(case: str, **chosen: object) -> list[tuple[int | None, int | None, str]]:
    return [(entry.pid, entry.fd, entry.what) for entry in entries(case, **chosen)]


def test_the_life_of_a_connection_that_a_worker_inherited() -> None:
    assert story("inherited-copy/fires_forked_worker") == [
        (4100, 4, "accepted"),
        (4100, 4, "fork"),
        (4102, 4, "fork"),
        (4100, 4, "eof"),
        (4100, 4, "closed"),
    ]


def test_the_life_of_a_connection_that_was_passed() -> None:
    assert story("inherited-copy/fires_fd_passed", peer="192.0.2.20:41007") == [
        (4100, 7, "accepted"),
        (4100, 7, "passed"),
        (4102, 6, "received"),
        (4100, 7, "eof"),
        (4100, 7, "closed"),
    ]


def test_an_entry_says_when_where_and_what() -> None:
    first = entries("inherited-copy/fires_forked_worker")[0]
    assert (first.at, first.clock) == (pytest.approx(36000.7013), "day")
    assert (first.call, first.socket) == ("accept4(3) = 4", "192.0.2.10:6379 ← 192.0.2.20:41007")
    assert first.source.endswith("trace.log") and first.line == 9
    assert first.tid == 4100 and first.connection == 1


def test_the_last_reference_is_told_as_such() -> None:
    texts = [entry.text for entry in entries("duplicate-kept/spares_both_closed") if entry.what == "closed"]
    assert ["last" in text for text in texts[:2]] == [False, True]


def test_connections_are_numbered_in_order() -> None:
    found = entries("eof-ignored/fires_readv_and_recvmsg")
    assert [entry.connection for entry in found if entry.what == "accepted"] == [1, 2, 3]
    assert {entry.connection for entry in found if entry.fd == 5} == {2}


def test_entries_come_in_the_order_of_the_log() -> None:
    lines = [entry.line for entry in entries("inherited-copy/fires_fd_passed")]
    assert lines == sorted(lines)


@pytest.mark.parametrize(
    ("chosen", "kept"),
    [
        ({"pid": 4102}, {4102}),
        ({"fd": 6}, {4102}),
        ({"peer": "192.0.2.20"}, {4100, 4102}),
        ({"peer": "192.0.2.20:41007", "pid": 4100}, {4100}),
        ({"peer": "192.0.2.99"}, set()),
        ({"pid": 1}, set()),
    ],
)
def test_entries_are_chosen_by_process_number_and_address(chosen: dict[str, object], kept: set[int]) -> None:
    assert {entry.pid for entry in entries("inherited-copy/fires_fd_passed", **chosen)} == kept


def test_an_address_is_no_prefix_of_a_longer_one() -> None:
    assert entries("inherited-copy/fires_fd_passed", peer="192.0.2.20:4100") == []
    assert entries("inherited-copy/fires_fd_passed", peer="92.0.2.20") == []


def test_the_copy_is_told_of_the_process_that_got_it() -> None:
    assert (4102, 4, "fork") in story("inherited-copy/fires_forked_worker", pid=4102)


def test_a_thread_may_be_asked_for_by_its_own_number() -> None:
    assert {entry.tid for entry in entries("eof-ignored/fires_number_reused_before_close_returned", pid=4101)} == {4101}


def test_entries_of_a_log_without_times_have_none() -> None:
    assert {(entry.at, entry.clock) for entry in entries("eof-ignored/fires_no_times")} == {(None, None)}


def test_entries_come_while_the_log_is_read() -> None:
    found = tracecorr.timeline([CASES / "inherited-copy/fires_fd_passed/trace.log", CASES / "none.log"])
    assert isinstance(found, Iterator)
    with pytest.raises(TracecorrError, match=r"none\.log"):
        list(found)


def test_several_logs_are_told_one_after_the_other() -> None:
    logs = [CASES / "eof-ignored/fires_forgotten/trace.log", CASES / "eof-ignored/fires_spinning/trace.log"]
    names = [entry.source for entry in tracecorr.timeline(logs)]
    assert sorted(names, key=names.index) == names and set(names) == {str(log) for log in logs}
