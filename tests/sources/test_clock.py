"""Times of a log as nanoseconds."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tracecorr.sources.clock import Clock

SECOND = 10**9
HOUR = 3600 * SECOND


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        (b"0", 0),
        (b"1", SECOND),
        (b"0.5", 500_000_000),
        (b"0.000001", 1000),
        (b"1795417117.356481", 1795417117_356481000),
        (b"1795417117.606431333", 1795417117_606431333),
        (b"1.0000000001", SECOND),
        (b"12.", 12 * SECOND),
    ],
)
def test_lengths_are_exact_to_the_nanosecond(text: bytes, nanoseconds: int) -> None:
    assert Clock.length(text) == nanoseconds


def test_time_of_day_counts_from_midnight() -> None:
    clock = Clock()
    assert clock.read(b"00:00:00") == 0
    assert clock.read(b"11:05:07.356481") == (11 * 3600 + 5 * 60 + 7) * SECOND + 356481000
    assert clock.kind == "day"


def test_seconds_count_since_the_epoch() -> None:
    clock = Clock()
    assert clock.read(b"1795417117.356") == 1795417117_356000000
    assert clock.kind == "epoch"


def test_deltas_are_summed_from_zero() -> None:
    clock = Clock()
    assert [clock.advance(delta) for delta in (b"0.000000", b"0.000022", b"1.5")] == [0, 22_000, 1_500_022_000]
    assert clock.kind == "relative"


def steps(*times: bytes) -> list[int]:
    clock = Clock()
    return [after - before for before, after in pairwise([clock.read(time) for time in times])]


def test_every_midnight_adds_a_day() -> None:
    times = (b"23:59:59.5", b"00:00:00.5", b"12:00:00", b"23:59:59.5", b"00:00:00.5", b"00:00:01")
    assert steps(*times)[0] == steps(*times)[3] == SECOND
    assert steps(*times)[4] == 500_000_000
    assert sum(steps(*times)) == 24 * HOUR + 1_500_000_000


def test_a_quiet_night_is_still_one_day() -> None:
    assert steps(b"18:00:00", b"06:00:00") == [12 * HOUR] or steps(b"18:00:00", b"05:59:59") == [12 * HOUR - SECOND]


def test_the_end_of_summer_time_is_no_step_back() -> None:
    assert steps(b"02:59:59.9", b"02:00:00.1", b"02:59:59.9", b"03:00:00") == [
        200_000_000,
        HOUR - 200_000_000,
        100_000_000,
    ]


def test_the_beginning_of_summer_time_is_an_hour_that_passed() -> None:
    assert steps(b"01:59:59.9", b"03:00:00.1") == [HOUR + 200_000_000]


def test_lines_a_little_out_of_order_stay_so() -> None:
    assert steps(b"11:00:00.000100", b"11:00:00.000099", b"11:00:00.000101") == [-1000, 2000]


def test_a_step_of_the_clock_by_seconds_is_kept() -> None:
    assert steps(b"11:00:05", b"11:00:02", b"11:00:03") == [-3 * SECOND, SECOND]
