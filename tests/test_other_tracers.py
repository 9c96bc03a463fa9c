"""Logs of perf and ftrace, recorded here together with strace of real servers, against what the kernel says of these."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tracecorr
from fixtures.other_tracers import missing
from tracecorr.verdicts.report import Report

ROOT = Path(__file__).parents[1]
LACKS = missing()
PATIENCE = 240

pytestmark = pytest.mark.skipif(LACKS is not None, reason=LACKS or "")

LOGS = {
    "strace.log": "strace", "perf-trace.txt": "perf-trace", "perf-script.txt": "perf-script",
    "perf-raw.txt": "perf-script", "ftrace.txt": "ftrace", "trace-cmd.txt": "ftrace",
}  # fmt: skip
# What these logs hold enough for: not who polls what, nor what poll told.
TOLD = ["inherited_copy__forked_worker", "inherited_copy__no_cloexec_posix_spawn", "eof_ignored__selectors_loop"]
UNTOLD = ["never_reads_eof__forgotten_in_poll"]
HEALTHY = ["healthy__fork_per_connection", "healthy__close_range"]


class Recording:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.truth: dict[str, Any] = json.loads((folder / "truth.json").read_text())

    def stuck(self) -> set[tuple[int, int]]:
        """Return who the kernel says is to blame for a connection in CLOSE_WAIT."""
        return {(one["pid"], one["fd"]) for each in self.truth["expected"] for one in each["culprits"]}

    def report(self, log: str, stuck_after: float = 1.0) -> Report:
        if not (self.folder / log).exists():
            pytest.skip("trace-cmd not installed")
        return tracecorr.parse([self.folder / log], stuck_after=stuck_after)


@pytest.fixture(scope="module", params=[*TOLD, *UNTOLD, *HEALTHY])
def recording(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    folder = tmp_path_factory.mktemp("tracers") / "run"
    command = [sys.executable, str(ROOT / "fixtures" / "other_tracers.py"), request.param, "--out", str(folder)]
    recorder = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        _, words = recorder.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        recorder.terminate()  # it ends all that it has started
        recorder.wait()
        raise
    if "no tracefs" in words:
        pytest.skip(words.strip())
    assert recorder.returncode == 0, words
    return Recording(folder)


def accused(report: Report) -> set[tuple[int | None, int | None]]:
    return {
        (verdict.culprit.pid, verdict.culprit.fd)
        for verdict in report.verdicts
        if verdict.culprit is not None and verdict.fault and not verdict.released
    }


@pytest.mark.parametrize("log", LOGS)
def test_a_recording_accuses_whom_the_kernel_shows_and_nobody_else(recording: Recording, log: str) -> None:
    report = recording.report(log)
    (source,) = report.sources
    assert (source.format, source.skipped) == (LOGS[log], 0), source.unread
    assert accused(report) <= recording.stuck()
    assert {verdict.cause for verdict in report.verdicts} <= {recording.truth["cause"]}


@pytest.mark.parametrize("log", LOGS)
def test_a_recording_tells_the_cause_where_it_holds_enough(recording: Recording, log: str) -> None:
    if recording.truth["scenario"] not in TOLD:
        pytest.skip("nothing to tell, or nothing that these logs could tell")
    # perf trace does not print the call that a thread is blocked in: the log ends with what went before.
    report = recording.report(log, stuck_after=0.0 if log == "perf-trace.txt" else 1.0)
    assert accused(report) == recording.stuck()
    found = [verdict for verdict in report.verdicts if not verdict.released]
    assert {verdict.cause for verdict in found} == {recording.truth["cause"]}
    assert {verdict.detail for verdict in found} <= set(recording.truth["detail"] or [found[0].detail])


@pytest.mark.parametrize("log", [log for log in LOGS if log != "strace.log"])
def test_what_such_a_log_cannot_tell_is_a_gap(recording: Recording, log: str) -> None:
    report = recording.report(log)
    assert "arguments are not shown" in {gap.what for gap in report.gaps}
    assert all(verdict.confidence != "certain" for verdict in report.verdicts)
