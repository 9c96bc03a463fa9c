"""A launch under a filter: what is told is the same, what means nothing does not stop, and nothing outlives the tracer."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.live import wait_for
from tests.sources.test_ptrace_engine import TICK, all_of, from_the_exec, in_short, until
from tests.tracees import ROOT, built
from tracecorr.sources import ptrace_engine, ptrace_tracing, seccomp_filter
from tracecorr.syscalls.decode import decode
from tracecorr.syscalls.record import ExitRecord, Gap, TaskFound

pytestmark = pytest.mark.skipif(
    bool(ptrace_engine.missing()), reason="; ".join(f"{each.what}: {each.why}" for each in ptrace_engine.missing())
)


def test_under_a_filter_every_call_is_told_as_without() -> None:
    calls = built("calls")
    plain = in_short(from_the_exec(list(decode(all_of(ptrace_engine.launch([calls]))))))

    filtered = in_short(from_the_exec(list(decode(all_of(ptrace_engine.launch_filtered([calls]))))))

    assert filtered == plain


def stops_of(tracing: ptrace_tracing.PtraceTracing, monkeypatch: pytest.MonkeyPatch) -> int:
    seen: list[int] = []
    collect = ptrace_tracing.stops

    def counted(most: int, *, block: bool) -> list[tuple[int, int]]:
        found = collect(most, block=block)
        seen.extend(tid for tid, _ in found)
        return found

    monkeypatch.setattr(ptrace_tracing, "stops", counted)
    all_of(tracing)
    monkeypatch.undo()
    return len(seen)


def test_calls_without_a_meaning_do_not_stop_it(monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-E", "-S", "-c", "import os; [os.getppid() for _ in range(2000)]"]

    assert stops_of(ptrace_engine.launch(command), monkeypatch) > 4000
    assert stops_of(ptrace_engine.launch_filtered(command), monkeypatch) < 4000


def test_calls_by_the_32_bit_gate_are_a_gap_under_a_filter_too() -> None:
    records = all_of(ptrace_engine.launch_filtered([built("old_calls")]))

    assert [record.what for record in records if isinstance(record, Gap)] == ["calls not understood"]


def pid_of(tracing: ptrace_tracing.PtraceTracing) -> int:
    return next(record.pid for record in until(tracing, lambda: True) if isinstance(record, TaskFound))


def test_a_program_under_a_filter_is_asked_to_end_with_the_tracing() -> None:
    tracing = ptrace_engine.launch_filtered(["sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.05; done"])
    pid = pid_of(tracing)

    tracing.close()

    assert not Path(f"/proc/{pid}").exists()


def test_one_that_does_not_want_to_end_is_made_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ptrace_tracing, "_TIME_TO_END", 0.2)
    tracing = ptrace_engine.launch_filtered(["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"])
    pid = pid_of(tracing)

    tracing.close()

    assert not Path(f"/proc/{pid}").exists()


_TRACER = f"""
import sys
from tracecorr.sources import ptrace_engine
for record in ptrace_engine.launch_filtered(["sleep", "1000"]).records({TICK}):
    if type(record).__name__ == "NameRecord":
        print(record.task.tid, flush=True)
"""


def test_the_kernel_ends_it_when_the_tracer_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", _TRACER], cwd=ROOT, stdout=subprocess.PIPE, text=True) as tracer:
        assert tracer.stdout is not None
        pid = int(tracer.stdout.readline())
        tracer.kill()
    wait_for(lambda: not Path(f"/proc/{pid}").exists() or _is_dead(pid), "the program has ended")


def _is_dead(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_more_calls_than_a_jump_can_pass_over_are_refused() -> None:
    with pytest.raises(ValueError, match="300"):
        seccomp_filter.program(range(300))


def test_a_signal_that_ends_it_is_told_of() -> None:
    with closing(ptrace_engine.launch_filtered(["sh", "-c", "kill -9 $$"])) as tracing:
        records = [record for record in tracing.records(TICK) if record is not None]

    assert [record.how for record in records if isinstance(record, ExitRecord)] == ["killed by SIGKILL"]
