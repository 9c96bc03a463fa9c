"""A log of truss says what the log of strace says: every case, translated by fixtures/as_truss.py."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import tracecorr
from tracecorr.verdicts.report import Report

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fixtures import as_truss

CASES = Path(__file__).resolve().parents[1] / "fixtures" / "cases"

# What makes these harmless is nothing that truss shows: the option that told of an error, the address of connect(), the
# length of readv(), strace's own notices and cut lines, threads by numbers of their own, one number for two processes.
HIDDEN = {
    "spares_disconnected_by_connect_to_no_family",
    "spares_first_of_two_with_one_pid_whose_end_was_not_recorded",
    "spares_log_whose_lines_were_cut",
    "spares_readv_of_no_buffers",
    "spares_so_error_told_of_a_reset",
    "spares_thread_whose_clone3_began_before_the_log",
    "spares_thread_whose_clone_began_before_the_log",
    "spares_traced_again_after_it_may_have_been_closed",
}


def translations() -> dict[str, tuple[Path, str]]:
    found = {}
    for log in sorted(CASES.glob("*/*/trace.log")):
        if tracecorr.parse([log]).sources[0].format != "strace" or log.parent.name in HIDDEN:
            continue
        try:
            text = as_truss.translated(log.read_text())
        except as_truss.Unfit:
            continue
        if text.strip():
            found[log.parent.name] = log, text
    return found


TRANSLATIONS = translations()


def accused(report: Report) -> set[tuple[str, int | None, int | None]]:
    return {
        (
            verdict.cause,
            verdict.culprit.pid if verdict.culprit else None,
            verdict.culprit.fd if verdict.culprit else None,
        )
        for verdict in report.verdicts
        if verdict.fault
    }


@pytest.mark.parametrize("case", TRANSLATIONS)
def test_truss_accuses_nobody_whom_strace_does_not(case: str, tmp_path: Path) -> None:
    log, text = TRANSLATIONS[case]
    translated = tmp_path / "trace.log"
    translated.write_text(text)
    report = tracecorr.parse([translated])
    assert report.sources[0].format == "truss-solaris"
    assert report.sources[0].skipped == 0, report.sources[0].unread
    assert accused(report) <= accused(tracecorr.parse([log])), text


def test_truss_accuses_nearly_everybody_whom_strace_does(tmp_path: Path) -> None:
    translated = tmp_path / "trace.log"
    same, fewer = [], []
    for case, (log, text) in TRANSLATIONS.items():
        translated.write_text(text)
        if wanted := accused(tracecorr.parse([log])):
            (same if accused(tracecorr.parse([translated])) == wanted else fewer).append(case)
    assert len(same) > 2 * len(fewer), fewer
