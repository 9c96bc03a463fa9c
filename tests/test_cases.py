"""Each rule proved both ways: logs in fixtures/cases, and beside each the verdicts that they deserve.

verdicts.txt has a line for each verdict, `cause detail confidence pid fd released_by` of the culprit ("-" for what
there is none of), or `none`; gaps.txt, where there is one, has gaps that the report must tell of.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import tracecorr
from tracecorr.sources import skim
from tracecorr.verdicts.all import QUEUE_RULE, RULES
from tracecorr.verdicts.report import Report, Verdict

ROOT = Path(__file__).parents[1] / "fixtures" / "cases"
CASES = sorted(log.parent for log in ROOT.glob("*/*/trace.log"))
CAUSES = [rule.CAUSE.value for rule in (*RULES, QUEUE_RULE)]

# The longest log that a reader takes in at a glance.
LONGEST = 40


def name_of(case: Path) -> str:
    return f"{case.parent.name}/{case.name}"


def line(verdict: Verdict) -> str:
    culprit = verdict.culprit
    words = [
        verdict.cause, verdict.detail, verdict.confidence, culprit.pid if culprit else None,
        culprit.fd if culprit else None, verdict.released_by,
    ]  # fmt: skip
    return " ".join("-" if word is None else str(word) for word in words)


def said(report: Report) -> list[str]:
    return sorted(line(verdict) for verdict in report.verdicts) or ["none"]


def expected(case: Path) -> list[str]:
    return (case / "verdicts.txt").read_text().splitlines()


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_log_gets_the_verdicts_beside_it(case: Path) -> None:
    report = tracecorr.parse([case / "trace.log"])
    assert said(report) == expected(case)
    assert report.sources[0].skipped == 0
    gaps = case / "gaps.txt"
    assert set(gaps.read_text().splitlines() if gaps.exists() else ()) <= {gap.what for gap in report.gaps}


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_what_a_skim_passes_over_changes_no_verdict(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skim, "suits", lambda block: False)
    assert said(tracecorr.parse([case / "trace.log"])) == expected(case)


def test_there_are_cases() -> None:
    assert len(CASES) > 100


@pytest.mark.parametrize("cause", CAUSES)
def test_every_cause_has_a_log_that_fires_and_one_that_spares(cause: str) -> None:
    kinds = {case.name.split("_")[0] for case in CASES if case.parent.name == cause}
    assert kinds == {"fires", "spares"}


def test_every_folder_is_a_cause() -> None:
    assert {folder.name for folder in ROOT.iterdir()} == set(CAUSES)


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_case_says_what_its_name_says(case: Path) -> None:
    causes = [words.split()[0] for words in expected(case)]
    assert (case.parent.name in causes) == case.name.startswith("fires_")
    assert expected(case) == sorted(expected(case))
    assert len((case / "trace.log").read_text().splitlines()) <= LONGEST


def case(name: str) -> Report:
    return tracecorr.parse([ROOT / name / "trace.log"])


def test_state_is_unknown_where_no_sign_of_the_fin_was_seen() -> None:
    (verdict,) = case("inherited-copy/fires_without_a_fin").verdicts
    assert (verdict.socket.state, verdict.eof_at) == (None, None)
    (verdict,) = case("inherited-copy/fires_forked_worker").verdicts
    assert verdict.socket.state == "CLOSE_WAIT"


def test_a_half_close_and_a_bounded_pool_are_told_of_without_blame() -> None:
    for name in ("still-sending/fires_half_close", "still-sending/fires_relay", "never-reads-eof/fires_idle_pool"):
        report = case(name)
        assert [verdict.fault for verdict in report.verdicts] == [False]
        assert report.exit_code == 0


def test_further_copies_are_named_beside_the_owner() -> None:
    (verdict,) = case("eof-ignored/fires_owner_and_a_copy").verdicts
    assert [(holder.pid, holder.fd, holder.used) for holder in verdict.holders] == [(4100, 4, True), (4102, 4, False)]
    assert "closing it there will not be enough: PID 4102 holds a copy too" in verdict.summary


def test_an_inherited_copy_names_owner_holder_and_the_fork_between_them() -> None:
    (verdict,) = case("inherited-copy/fires_forked_worker").verdicts
    assert verdict.owner is not None and (verdict.owner.pid, verdict.owner.fd) == (4100, 4)
    assert verdict.owner.closed_at == pytest.approx(36000.801)
    assert [(holder.pid, holder.how, holder.used) for holder in verdict.holders] == [(4102, "fork", False)]
    assert verdict.holders[0].since == pytest.approx(36000.72, abs=0.001)
    lines = (ROOT / "inherited-copy/fires_forked_worker/trace.log").read_text().splitlines()
    calls = [lines[evidence.line - 1].split()[2].split("(")[0] for evidence in verdict.evidence if evidence.line]
    assert calls == ["accept4", "clone", "read", "close"]


def test_a_blocked_owner_is_told_with_what_it_waits_for() -> None:
    (verdict,) = case("never-reads-eof/fires_owner_blocked").verdicts
    assert "4101, waits in read()" in verdict.summary and "pipe 5" in verdict.summary


def test_the_time_that_a_released_connection_was_stuck_is_told() -> None:
    (verdict,) = case("eof-ignored/fires_released_late_by_close").verdicts
    assert verdict.stuck_for == pytest.approx(60.0, abs=0.1)
    assert verdict.released_at == pytest.approx(36060.77)


def test_a_threshold_above_the_age_silences_what_only_its_age_proves() -> None:
    log = ROOT / "eof-ignored/fires_released_late_by_close/trace.log"
    assert tracecorr.parse([log], stuck_after=90).verdicts == ()
