"""Real programs under a real strace: tracecorr must be right where the log decides, and never wrong.

Each scenario is recorded with one flag set that shows everything and two others in turn, and looked at once without
strace, so that the file stays under five minutes.  All of them: `make accuracy`, or TRACECORR_ALL_FLAGS=1 here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fixtures import accuracy
from fixtures.scenario import FLAG_SETS, Scenario, all_scenarios

HINDRANCE = accuracy.hindrance()
COMPLETE = "f-tt-T-yy"
LOOK = "scan"  # not strace, but what `tracecorr scan` says while everything is stuck
SLOW = "f-k-s0"  # strace unwinds the stack of every call: seconds for a Python program, but not for one in C
TOGETHER = 4  # recordings at a time: most of one is waiting


def flag_sets_for(place: int, told: Scenario) -> list[str]:
    usable = [] if HINDRANCE else accuracy.usable_flag_sets()
    if os.environ.get("TRACECORR_ALL_FLAGS"):
        return usable
    others = [name for name in usable if name not in (COMPLETE, LOOK) and (name != SLOW or told.source.suffix == ".c")]
    chosen = {others[(2 * place + step) % len(others)] for step in range(2)} if others else set()
    return [COMPLETE, *sorted(chosen), LOOK]


CELLS = [
    pytest.param(told, flags, id=f"{told.name}-{flags}")
    for place, told in enumerate(all_scenarios())
    for _, flags in accuracy.pairs([told], flag_sets_for(place, told))
]


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recordings")


@pytest.fixture(scope="session")
def recordings(request: pytest.FixtureRequest, store: Path) -> Iterator[dict[tuple[str, str], Future[Path]]]:
    """All that this session will ask for, begun at once; a worker of pytest-xdist cannot know what it will be asked."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        yield {}
        return
    asked = [
        item.callspec.params for item in request.session.items if "recordings" in getattr(item, "fixturenames", ())
    ]
    with ThreadPoolExecutor(TOGETHER) as pool:
        yield {
            (one["told"].name, one["flags"]): pool.submit(accuracy.recording, one["told"], one["flags"], store)
            for one in asked
        }
        pool.shutdown(cancel_futures=True)


@pytest.mark.skipif(HINDRANCE is not None, reason=str(HINDRANCE))
@pytest.mark.parametrize(("told", "flags"), CELLS)
def test_report_agrees_with_the_kernel(
    told: Scenario, flags: str, store: Path, recordings: dict[tuple[str, str], Future[Path]]
) -> None:
    begun = recordings.get((told.name, flags))
    out = begun.result() if begun else accuracy.recording(told, flags, store)
    truth = accuracy.told_truth(out, flags)
    stuck = [row for row in truth["tcp_rows_at_snapshot"] if row["state"] == "CLOSE_WAIT"]
    assert bool(stuck) == any(told.sockets[name].startswith("CLOSE_WAIT") for name in told.sockets if name != "all 0")

    grade, reasons = accuracy.judge(truth, accuracy.report(out, flags))
    if grade in ("silent", "unsure") and FLAG_SETS[flags].tool != "strace":
        # What looks at the moment may have come in a bad one, on a busy machine; nobody wrong is accused even then.
        out = accuracy.recording(told, flags, store / "again")
        grade, reasons = accuracy.judge(accuracy.told_truth(out, flags), accuracy.report(out, flags))

    allowed = ("right",) if told.decided_by(FLAG_SETS[flags]) else ("right", "silent", "unsure")
    assert grade in allowed, f"{grade}: {'; '.join(reasons)}\n{told.shows}\n{out / 'log'}"


def test_every_cause_has_a_scenario_and_healthy_programs_are_as_many() -> None:
    told = all_scenarios()
    causes = {one.cause for one in told if one.cause}
    assert causes == {
        "never-reads-eof",
        "eof-ignored",
        "still-sending",
        "inherited-copy",
        "duplicate-kept",
        "never-accepted",
        "held-without-fd",
    }
    assert sum(one.cause is None for one in told) >= 25


# The judge itself.

TRUTH: dict[str, Any] = {
    "cause": "eof-ignored",
    "detail": ["forgotten"],
    "fault": True,
    "expected": [
        {
            "connection": "a",
            "local": "127.0.0.1:80",
            "peer": "127.0.0.1:4000",
            "inode": 7,
            "state": "CLOSE_WAIT",
            "culprits": [{"pid": 10, "comm": "server", "fd": 4}],
            "pid_may_be_missing": False,
        }
    ],
}
VERDICT: dict[str, Any] = {
    "cause": "eof-ignored",
    "detail": "forgotten",
    "fault": True,
    "confidence": "certain",
    "socket": {"local": "127.0.0.1:80", "peer": None, "inode": None, "state": "CLOSE_WAIT"},
    "stuck_for": 1.0,
    "released_at": None,
    "holders": [],
    "culprit": {"pid": 10, "comm": None, "fd": 4},
}


@pytest.mark.parametrize(
    ("changes", "grade"),
    [
        ({}, "right"),
        ({"detail": "spinning"}, "unsure"),
        ({"culprit": {"pid": 11, "comm": None, "fd": 4}}, "wrong"),
        ({"culprit": {"pid": 10, "comm": None, "fd": 5}}, "wrong"),
        ({"culprit": {"pid": None, "comm": None, "fd": 4}}, "wrong"),
        ({"cause": "duplicate-kept"}, "wrong"),
        ({"cause": "unexplained", "culprit": None}, "unsure"),
        ({"cause": "duplicate-kept", "confidence": "possible"}, "unsure"),
        ({"cause": "unexplained", "culprit": {"pid": 11, "comm": None, "fd": 4}}, "wrong"),
        ({"socket": {**VERDICT["socket"], "peer": "127.0.0.1:4001"}}, "wrong"),
        ({"released_at": 3.0}, "silent"),
        ({"fault": False}, "unsure"),
    ],
    ids=str,
)
def test_judge_grades_a_report_with_one_verdict(changes: dict[str, Any], grade: str) -> None:
    assert accuracy.judge(TRUTH, {"verdicts": [VERDICT | changes]})[0] == grade


def test_judge_calls_an_empty_report_silent_and_a_repeated_accusation_wrong() -> None:
    assert accuracy.judge(TRUTH, {"verdicts": []})[0] == "silent"
    assert accuracy.judge(TRUTH, {"verdicts": [VERDICT, VERDICT]})[0] == "wrong"


def test_judge_demands_silence_about_healthy_programs() -> None:
    healthy: dict[str, Any] = {"cause": None, "expected": []}
    assert accuracy.judge(healthy, {"verdicts": []})[0] == "right"
    assert accuracy.judge(healthy, {"verdicts": [VERDICT | {"fault": False}]})[0] == "right"
    assert accuracy.judge(healthy, {"verdicts": [VERDICT]})[0] == "wrong"
    assert accuracy.judge(healthy, {"verdicts": [VERDICT | {"released_at": 3.0}]})[0] == "right"
    assert accuracy.judge(healthy, {"verdicts": [VERDICT | {"released_at": 3.0, "stuck_for": 0.01}]})[0] == "wrong"
