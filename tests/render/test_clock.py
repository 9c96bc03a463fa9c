from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracecorr.render.clock import clocks, moment, span, spans

from .reports import BEGIN, LOG, report, source


@pytest.mark.parametrize(
    ("at", "clock", "dated", "text"),
    [
        (BEGIN + 0.101, "epoch", False, "07:14:52.101"),
        (BEGIN + 0.101, "epoch", True, "2025-11-23 07:14:52.101"),
        (26092.31, "day", False, "07:14:52.310"),
        (86399.9999, "day", False, "23:59:59.999"),
        (86400 + 3.5, "day", False, "+1d 00:00:03.500"),
        (12.886, "relative", False, "+12.886 s"),
        (None, "epoch", False, ""),
        (12.0, None, False, ""),
        (1e300, "epoch", True, f"{1e300:.3f}"),
    ],
)
def test_moment_is_told_by_its_clock(at: float | None, clock: str | None, dated: bool, text: str) -> None:
    assert moment(at, clock, dated=dated) == text


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["epoch", "day", "relative"]))
def test_any_number_is_a_moment(at: float, clock: str) -> None:
    assert moment(at, clock).isprintable()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0004, "0.4 ms"),
        (0.31, "310 ms"),
        (0.9996, "1.0 s"),
        (18.6, "18.6 s"),
        (59.96, "1 min 00 s"),
        (252, "4 min 12 s"),
        (3 * 3600 + 300, "3 h 05 min"),
        (2 * 86400 + 7 * 3600, "2 d 7 h"),
    ],
)
def test_span_has_the_units_that_fit(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_spans_say_their_unit_once() -> None:
    assert spans([18.6, 3.1, 7]) == "3.1 to 18.6 s"
    assert spans([18.6, 300]) == "18.6 s to 5 min 00 s"
    assert spans([2, 2.01]) == "2.0 s"


def test_each_moment_is_read_on_the_clock_of_its_source() -> None:
    both = clocks(report(sources=(source(), source(name="late.log", clock="relative"))))

    assert both.moment(BEGIN, LOG) == "07:14:52.000"
    assert both.moment(2.0, "late.log") == "+2.000 s"
    assert both.moment(BEGIN, None) == "07:14:52.000"


def test_moments_are_dated_when_the_report_spans_days() -> None:
    assert clocks(report(sources=(source(last=BEGIN + 86400),))).dated
    assert not clocks(report()).dated
