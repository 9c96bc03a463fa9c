"""The offset of two clocks: the middle of what the order of events allows, and outliers are outvoted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tracecorr.joining.clocks import Bounds, combined


def test_the_estimate_is_the_middle_of_what_both_sides_allow() -> None:
    bounds = Bounds(lower=[90, 60], upper=[110, 300])
    offset = bounds.estimate()
    assert offset is not None
    assert (offset.ahead, offset.width, offset.pairs, offset.against) == (100, 20, 4, 0)


def test_one_bound_that_contradicts_all_others_is_outvoted() -> None:
    offset = Bounds(lower=[90, 95, 5000], upper=[105, 110, 120]).estimate()
    assert offset is not None
    assert (offset.ahead, offset.width, offset.against) == (100, 10, 1)


def test_bounds_of_one_side_alone_give_the_nearest_and_no_width() -> None:
    offset = Bounds(lower=[10, 40]).estimate()
    assert offset is not None and (offset.ahead, offset.width) == (40, None)
    offset = Bounds(upper=[10, 40]).estimate()
    assert offset is not None and (offset.ahead, offset.width) == (10, None)


def test_nothing_gives_no_estimate() -> None:
    assert Bounds().estimate() is None


def test_times_that_are_not_known_bound_nothing() -> None:
    bounds = Bounds()
    bounds.after(None, 5)
    bounds.before(5, None)
    assert bounds.estimate() is None


@given(
    st.integers(-(10**15), 10**15),
    st.lists(st.integers(0, 10**9), min_size=1, max_size=20),
    st.lists(st.integers(0, 10**9), min_size=1, max_size=20),
)
def test_the_truth_lies_within_the_width_whatever_the_delays_are(truth: int, late: list[int], early: list[int]) -> None:
    parts = [Bounds(lower=[truth - delay for delay in late]), Bounds(upper=[truth + delay for delay in early])]
    offset = combined(parts).estimate()
    assert offset is not None and offset.width is not None and offset.against == 0
    assert abs(offset.ahead - truth) <= offset.width // 2 + 1
