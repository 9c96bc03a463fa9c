"""The demo: live where an engine works, else from the log that is kept, and honest about which."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tracecorr import demo
from tracecorr.sources.engine import Requirement
from tracecorr.sources.engines import ENGINES

ROOT = Path(__file__).parents[1]

Captured = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch


@pytest.fixture
def without_engine(monkeypatch: Patch) -> None:
    def refused(*, stacks: bool = False) -> list[Requirement]:
        return [Requirement("ptrace", "it is forbidden here", "another machine")]

    # The kernel's refusal is all that is faked.
    for engine in ENGINES.values():
        monkeypatch.setattr(engine, "missing", refused)


def test_without_an_engine_the_kept_log_is_read(without_engine: None, capsys: Captured) -> None:
    assert demo.demo() == 0
    out = capsys.readouterr().out
    assert out.startswith("Not traced live, because no engine works here: ")
    assert "ptrace: it is forbidden here" in out
    assert "inherited copy (forked worker)" in out and "The demo is right" in out


def test_without_engine_and_log_it_says_so(
    without_engine: None, tmp_path: Path, monkeypatch: Patch, capsys: Captured
) -> None:
    monkeypatch.setattr(demo, "KEPT", tmp_path)

    assert demo.demo() == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("tracecorr: no demo here: no engine works here") and "no log is kept" in err


def test_a_report_that_differs_from_the_truth_is_a_failure(
    without_engine: None, tmp_path: Path, monkeypatch: Patch, capsys: Captured
) -> None:
    truth = json.loads((demo.KEPT / demo.TRUTH).read_text())
    (tmp_path / demo.TRUTH).write_text(json.dumps(truth | {"culprit": truth["culprit"] + 1}))
    (tmp_path / demo.LOG).write_bytes((demo.KEPT / demo.LOG).read_bytes())
    monkeypatch.setattr(demo, "KEPT", tmp_path)

    assert demo.demo() == 1
    assert "The demo went wrong" in capsys.readouterr().out


def test_traced_live_it_is_right_and_leaves_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "tracecorr.demo"], cwd=ROOT, env=environment, capture_output=True, text=True
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []
    if done.stdout.startswith("Not traced live"):
        pytest.skip(done.stdout.splitlines()[0])
    pids = {int(pid) for pid in re.findall(r"\bPID (\d+)", done.stdout)}
    assert len(pids) == 2
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_that_works_here_names_the_culprit(name: str) -> None:
    engine = ENGINES[name]
    if lacking := engine.missing():
        pytest.skip("; ".join(f"{each.what}: {each.why}" for each in lacking))

    report, truth = demo.traced(engine)

    assert [(v.cause, v.detail, v.culprit and v.culprit.pid, v.socket.peer) for v in report.verdicts] == [truth]
