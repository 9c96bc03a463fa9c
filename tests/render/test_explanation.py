from __future__ import annotations

import pytest

from tracecorr.render.explanation import explain, listing, words
from tracecorr.verdicts.explanations import EXPLANATIONS


@pytest.mark.parametrize("word", words())
def test_every_word_of_the_contract_is_explained_within_the_width(word: str) -> None:
    text = "".join(explain(word))

    assert text.startswith(f"{word}: ")
    assert "What it means" in text and "How to fix it" in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_sub_case_of_two_causes_is_told_for_both() -> None:
    text = "".join(explain("forgotten"))

    assert "explain never-reads-eof" in text and "explain eof-ignored" in text


def test_an_unknown_word_is_not_explained() -> None:
    assert list(explain("no-such-cause")) == []


def test_the_list_names_every_cause() -> None:
    assert all(f"\n{cause} " in "".join(listing()) for cause in EXPLANATIONS)
