"""A server that forks a child for each connection, as an engine records it that sees reads only after the FIN."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tracecorr
from tracecorr.verdicts.report import Verdict

_S = 10**9
_ENDS = [["192.0.2.10", 8141], ["192.0.2.20", 41004]]


def verdict(tmp_path: Path, engine: str, *, closed_after: float) -> Verdict:
    """What is said of the connection that the child alone holds; its parent closed it so long after the fork."""
    closed = round(_S * (2.1 + closed_after))
    held = ["socket:[4711]", True, "CLOSE_WAIT", *_ENDS, 1, "accepted"]
    records = [
        {"tracecorr": 1, "engine": engine, "began": 0},
        ["task", 4100, _S, 4100, 1, "server", 4100],
        ["fd", 4100, _S, 3, "socket:[42]", True, "LISTEN", _ENDS[0], ["0.0.0.0", 0], 0],
        ["call", 4100, "accept4", [3, None, None, 524288], 4, None, 2 * _S, 2 * _S],
        ["call", 4100, "clone", [{"flags": 17}], 4101, None, round(2.05 * _S), round(2.1 * _S)],
        ["call", 4100, "close", [4], 0, None, closed, closed],
        ["fd", 4101, 4 * _S, 4, *held],
        ["state", 4 * _S, "ESTABLISHED", "CLOSE_WAIT", *_ENDS],
        ["task", 4101, 9 * _S, 4101, 4100, "server", 4101],
        ["fd", 4101, 9 * _S, 4, *held],
        ["in", 4101, "clock_nanosleep", [], 9 * _S],
    ]
    path = tmp_path / "seen.jsonl"
    path.write_text("".join(json.dumps(each, separators=(",", ":")) + "\n" for each in records))
    (found,) = tracecorr.parse([path]).verdicts
    return found


def test_a_child_that_may_have_served_is_not_said_to_have_kept_a_copy(tmp_path: Path) -> None:
    found = verdict(tmp_path, "tracefs", closed_after=0.0001)

    assert (found.cause, found.confidence) == ("unexplained", "possible")
    assert found.holders[0].used is None and "never used it" not in found.summary
    assert found.missing is not None and found.missing.startswith("tracecorr attach --engine ptrace 4100")


def test_an_engine_that_sees_every_call_knows_what_the_child_did(tmp_path: Path) -> None:
    found = verdict(tmp_path, "ptrace", closed_after=0.0001)

    assert (found.cause, found.detail) == ("inherited-copy", "forked-worker")


@pytest.mark.parametrize(("engine", "word"), [("tracefs", "has not used it since"), ("ptrace", "never used it")])
def test_what_is_said_of_use_is_what_the_engine_can_see(tmp_path: Path, engine: str, word: str) -> None:
    found = verdict(tmp_path, engine, closed_after=1.5)

    assert (found.cause, found.detail) == ("inherited-copy", "forked-worker")
    assert word in found.summary
