from __future__ import annotations

import re

import pytest

from tracecorr.verdicts.explanations import ADVICE, EXPLANATIONS, LABEL, advice, label

CONTRACT = {
    "never-reads-eof": {"idle-pool", "owner-blocked", "not-armed", "forgotten"},
    "eof-ignored": {"spinning", "forgotten"},
    "still-sending": {"relay"},
    "inherited-copy": {"fork-race", "no-cloexec", "forked-worker", "parent-kept", "fd-passed"},
    "duplicate-kept": set(),
    "never-accepted": set(),
    "held-without-fd": {"blocked-call", "in-flight", "io-uring"},
    "lingering-fin": set(),
    "unexplained": set(),
}


def test_every_cause_and_sub_case_of_the_contract_is_explained() -> None:
    assert {cause: set(each.details) for cause, each in EXPLANATIONS.items()} == CONTRACT
    assert all(each.cause == cause for cause, each in EXPLANATIONS.items())


def test_every_cause_and_sub_case_has_advice_of_its_own() -> None:
    wanted = {(cause, detail) for cause, details in CONTRACT.items() for detail in (None, *details)}

    assert set(ADVICE) == wanted


def test_every_identifier_has_a_human_name() -> None:
    assert set(LABEL) == set(CONTRACT) | set().union(*CONTRACT.values())


@pytest.mark.parametrize("key", ADVICE, ids=str)
def test_advice_is_a_few_short_sentences(key: tuple[str, str | None]) -> None:
    assert 1 <= len(ADVICE[key]) <= 3
    assert all(sentence.endswith(".") and len(sentence) < 220 for sentence in ADVICE[key])


@pytest.mark.parametrize("cause", CONTRACT)
def test_texts_are_whole_sentences(cause: str) -> None:
    each = EXPLANATIONS[cause]

    assert all(text.endswith(".") for text in (each.meaning, each.recognise, each.fix, *each.details.values()))
    assert all(re.match(r"RFC \d+|\w+\(\d\)", reference) for reference in each.references)


def test_close_on_exec_is_no_advice_for_a_child_that_never_executes() -> None:
    text = " ".join(advice("inherited-copy", "forked-worker"))

    assert "shutdown(fd, SHUT_RDWR)" in text
    assert "CLOEXEC" not in text


def test_an_unknown_sub_case_gets_the_advice_of_its_cause() -> None:
    assert advice("inherited-copy", "later") == ADVICE[("inherited-copy", None)]
    assert advice("later", None) == ()
    assert label("some-later-cause") == "some later cause"
