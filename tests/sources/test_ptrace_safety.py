"""Whatever becomes of the tracer, the server runs on untouched: real servers under load, traced by a real tracecorr.

TRACECORR_ROUNDS is how many times each tracer is killed; the issue asks for 50.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.live import PATIENCE, wait_for
from tests.tracees import ROOT, Server, assert_untouched, built, busy, status, tracer
from tracecorr.sources import ptrace_engine

ROUNDS = int(os.environ.get("TRACECORR_ROUNDS", "2"))
SEED = 4711

pytestmark = pytest.mark.skipif(
    bool(ptrace_engine.missing()), reason="; ".join(f"{each.what}: {each.why}" for each in ptrace_engine.missing())
)


def until_traced_requests(server: Server, count: int) -> None:
    """Wait until that many more requests were answered."""
    goal = server.answered + count
    wait_for(lambda: server.answered >= goal, f"{count} more answers")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_tracer_that_is_ended_at_any_moment_leaves_a_busy_server_as_it_was(number: signal.Signals) -> None:
    moments = random.Random(SEED)
    with busy(forks=100, spawns=True) as server, server.under_load():
        for _ in range(ROUNDS):
            with tracer(server.process.pid) as process:
                time.sleep(moments.random() * 0.6)  # the moment is what is tried, not a condition to wait for
                process.send_signal(number)
                process.wait()
            assert_untouched(server)
            until_traced_requests(server, 5)


def test_the_server_is_served_while_it_is_traced() -> None:
    with busy() as server, server.under_load(), tracer(server.process.pid):
        until_traced_requests(server, 100)


def test_five_hundred_threads_are_all_seized_and_all_let_go() -> None:
    with busy(threads=500) as server:
        pid = server.process.pid
        with server.under_load(), tracer(pid) as process:
            tids = os.listdir(f"/proc/{pid}/task")
            assert len(tids) == 501
            wait_for(lambda: all(status(pid, tid)["TracerPid"] == str(process.pid) for tid in tids), "all are traced")
            until_traced_requests(server, 20)
            process.send_signal(signal.SIGTERM)
            assert process.wait() in (0, 1), process.communicate()[1]
        assert_untouched(server)


@pytest.mark.parametrize("kind", ["forks", "spawns"])
def test_a_server_that_forks_all_the_time_goes_on_doing_so(kind: str) -> None:
    with busy(forks=500 if kind == "forks" else 0, spawns=kind == "spawns") as server:
        with server.under_load(), tracer(server.process.pid, "--duration", "1") as process:
            assert process.wait() in (0, 1), process.communicate()[1]
        assert_untouched(server)


def test_a_stop_and_a_continuation_from_outside_work_as_without_a_tracer() -> None:
    with busy() as server:
        pid = server.process.pid
        with tracer(pid):
            os.kill(pid, signal.SIGSTOP)
            wait_for(lambda: status(pid, pid)["State"][0] in "tT", "the process is stopped")
            tids = os.listdir(f"/proc/{pid}/task")
            wait_for(lambda: all(status(pid, tid)["State"][0] in "tT" for tid in tids), "all its threads are")
            os.kill(pid, signal.SIGCONT)
            assert server.answers()
        assert_untouched(server)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_is_stopped_when_the_tracer_ends_stays_stopped(number: signal.Signals) -> None:
    with busy() as server:
        pid = server.process.pid
        with tracer(pid) as process:
            os.kill(pid, signal.SIGSTOP)
            wait_for(lambda: status(pid, pid)["State"][0] in "tT", "the process is stopped")
            process.send_signal(number)
            process.wait()
        wait_for(lambda: status(pid, pid)["TracerPid"] == "0", "nobody traces it")
        wait_for(lambda: status(pid, pid)["State"][0] == "T", "it is stopped as before")
        os.kill(pid, signal.SIGCONT)
        assert_untouched(server)


# Dies between the report of a stop and its answer, and while it looks at what the stopped threads have open.
DIES_WITH_A_STOP_IN_HAND = """
import os, signal, sys
from tracecorr.sources.ptrace_calls import stops
from tracecorr.sources.ptrace_seize import seize

seize([int(sys.argv[1])])
print("ready", flush=True)
while all(status >= 0x80 for _, status in stops(1, block=True)):
    pass
os.kill(os.getpid(), signal.SIGKILL)
"""
DIES_AS_IT_LOOKS = """
import os, signal, sys
from tracecorr.sources.ptrace_calls import PTRACE_SYSCALL
from tracecorr.sources.ptrace_seize import seize
from tracecorr.sources.ptrace_tracing import PtraceTracing
from tracecorr.sources.syscall_info import reader

seized = seize([int(sys.argv[1])])
print("ready", flush=True)
sys.stdin.readline()
tracing = PtraceTracing("", seized, PTRACE_SYSCALL, reader(), release=lambda: os.kill(os.getpid(), signal.SIGKILL))
list(tracing.records(1))
"""


@pytest.mark.parametrize("program", [DIES_WITH_A_STOP_IN_HAND, DIES_AS_IT_LOOKS])
@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGTERM])
def test_a_signal_reaches_the_process_also_when_its_tracer_is_killed(program: str, number: signal.Signals) -> None:
    with subprocess.Popen(["sleep", "1000"]) as process:
        try:
            command = [sys.executable, "-c", program, str(process.pid)]
            with subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
            ) as killed:
                assert killed.stdout is not None
                assert killed.stdout.readline() == "ready\n"
                os.kill(process.pid, number)
                killed.communicate("now\n")
            assert killed.returncode == -signal.SIGKILL
            if number == signal.SIGSTOP:
                wait_for(lambda: status(process.pid, process.pid)["State"][0] == "T", "it is stopped")
            else:
                assert process.wait(PATIENCE) == -number
        finally:
            process.kill()


def test_a_process_that_was_stopped_before_can_be_traced_and_is_stopped_after() -> None:
    with busy() as server:
        pid = server.process.pid
        os.kill(pid, signal.SIGSTOP)
        wait_for(lambda: status(pid, pid)["State"][0] == "T", "it is stopped")
        with tracer(pid, "--duration", "0.5") as process:
            assert process.wait() in (0, 1), process.communicate()[1]
        assert status(pid, pid)["State"][0] == "T"
        os.kill(pid, signal.SIGCONT)
        assert_untouched(server)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_vfork_under_way_when_the_tracer_comes_and_goes_ends_as_it_would(number: signal.Signals) -> None:
    command = [built("vfork")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "the child\n"
        child = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
        with tracer(child) as first, tracer(process.pid) as second:
            for each in (first, second):
                each.send_signal(number)
            process.stdin.close()
            first.wait()
            second.wait()
        assert process.stdout.read() == "the parent: 9\n"
    assert process.returncode == 0


def test_a_vfork_under_way_is_no_reason_to_wait_for_its_end_before_the_rest_runs() -> None:
    with subprocess.Popen([built("vfork")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "the child\n"
        with tracer(process.pid, "--duration", "1"):
            process.stdin.close()
            assert process.stdout.read() == "the parent: 9\n"
    assert process.returncode == 0


def test_a_server_that_is_killed_while_it_is_traced_is_gone() -> None:
    with busy(threads=50) as server:
        pid = server.process.pid
        with tracer(pid) as process:
            os.kill(pid, signal.SIGKILL)
            assert process.wait() in (0, 1), process.communicate()[1]
        assert server.process.wait() == -signal.SIGKILL
