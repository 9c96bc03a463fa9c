from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracecorr.render.escape import visible

from .hostile import ANYTHING


@given(ANYTHING)
def test_nothing_that_a_terminal_obeys_or_hides_passes(text: str) -> None:
    shown = visible(text)

    assert shown.isprintable()
    assert shown.encode().decode() == shown


@given(st.text(st.characters(categories=("L", "N", "P", "S"))))
def test_printable_text_stays_as_it_is(text: str) -> None:
    assert visible(text, limit=len(text)) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb", "a\\x0ab"),
        ("\x7f\x9b", "\\x7f\\x9b"),
        ("\u202e", "\\u202e"),
        ("\udc80", "\\udc80"),
        ("\U000e0001", "\\U000e0001"),
        ("naïve 服务器", "naïve 服务器"),
    ],
)
def test_each_is_shown_by_its_number(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_what_is_too_long_says_how_much_is_missing() -> None:
    assert visible("abcdef", limit=4) == "abcd… (2 more characters)"
    assert visible("x" * 1_000_000).endswith("x… (999,400 more characters)")
