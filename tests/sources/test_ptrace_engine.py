"""The ptrace engine on real programs, beside what strace tells of them and what /proc shows."""

from __future__ import annotations

import codecs
import ctypes
import os
import re
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.live import NOBODY, PATIENCE, as_ordinary_user, line_of, program, wait_for
from tests.tracees import built, busy, touched, tracer
from tracecorr import events
from tracecorr.errors import AlreadyTraced, NoSuchProcess, PermissionDenied
from tracecorr.events import Event, Gap, TaskCreated, TaskId
from tracecorr.model.replay import replay
from tracecorr.model.system import System
from tracecorr.sources import ptrace_engine, strace_log, syscall_info
from tracecorr.sources.base import Tally
from tracecorr.sources.ptrace_tracing import PtraceTracing
from tracecorr.syscalls.decode import decode
from tracecorr.syscalls.record import (
    DescriptorFound,
    ExitRecord,
    Record,
    SignalRecord,
    SyscallRecord,
    TaskFound,
    UnfinishedRecord,
)

pytestmark = pytest.mark.skipif(
    bool(ptrace_engine.missing()), reason="; ".join(f"{each.what}: {each.why}" for each in ptrace_engine.missing())
)

TICK = 0.05

codecs.lookup("ascii")  # an ordinary user may not be able to read the library any more


def until(tracing: PtraceTracing, done: Callable[[], object]) -> Iterator[Record]:
    """Yield the records up to the second tick after the condition holds."""
    deadline = time.monotonic() + PATIENCE
    more = 2
    for record in tracing.records(TICK):
        if record is not None:
            yield record
        elif done():
            more -= 1
        if not more:
            return
        assert time.monotonic() < deadline, "waited in vain"


def all_of(tracing: PtraceTracing, tick: float = TICK) -> list[Record]:
    with closing(tracing):
        return [record for record in tracing.records(tick) if record is not None]


def has_printed(process: subprocess.Popen[str]) -> Callable[[], object]:
    return lambda: select.select([process.stdout], [], [], 0)[0]


@contextmanager
def traced(text: str) -> Iterator[tuple[subprocess.Popen[str], PtraceTracing]]:
    """Run Python code, and trace it once it has printed a line."""
    with program(text) as process:
        line_of(process)
        with closing(ptrace_engine.attach([process.pid])) as tracing:
            yield process, tracing


# Beside strace.

# When something was told, and what depends on the moment or on how a tracer is started, is not compared.  A call that a
# tick finds unfinished is told in two parts, so there is none.
_LEFT_OUT = (
    events.CallBegan, events.CallReturned, events.ForkBegan, events.TaskSeen, events.DescriptorSeen,
    events.SocketSeen, events.TaskNamed, events.Gap,
)  # fmt: skip
_TASKS = {"task", "child", "by", "about"}
_TIMES = {"at", "origin", "entered"}


def in_short(happened: Iterable[Event]) -> dict[int, list[tuple[str, dict[str, Any]]]]:
    """Return the events of each task, the tasks numbered as they appear, without times and ports."""
    names: dict[int, int] = {}
    found: dict[int, list[tuple[str, dict[str, Any]]]] = {}
    for event in happened:
        if isinstance(event, _LEFT_OUT):
            continue
        fields = {name: value for name, value in event._asdict().items() if name not in _TIMES}
        for name, value in fields.items():
            if name in _TASKS and value is not None:
                fields[name] = names.setdefault(value.tid if isinstance(value, TaskId) else value, len(names))
            elif isinstance(value, events.Endpoint):
                fields[name] = value.address
            elif isinstance(value, (list, tuple)):
                fields[name] = list(value)
        found.setdefault(fields.pop("task"), []).append((type(event).__name__, fields))
    return {task: _ends_last(told) for task, told in found.items()}


# SIGCHLD comes when it comes, and two that wait become one (signal(7)): each end is compared once, whenever it was told.
def _ends_last(told: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
    ends = sorted({fields["child"] for name, fields in told if name == "ChildEnded"})
    rest = [one for one in told if one[0] != "ChildEnded"]
    return [*rest, *(("ChildEnded", {"child": child}) for child in ends)]


# The first process reads a byte and closes a pipe before it becomes the program: it was held back.
def from_the_exec(happened: list[Event]) -> list[Event]:
    first = next(place for place, event in enumerate(happened) if isinstance(event, events.ProgramExecuted))
    return happened[first:]


def test_every_call_is_told_as_strace_tells_it(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    calls, log = built("calls"), tmp_path / "log"
    subprocess.run(["strace", "-f", "-ttt", "-T", "-o", log, calls], check=True, close_fds=True)

    traced = list(decode(all_of(ptrace_engine.launch([calls]), PATIENCE)))

    logged = list(decode(strace_log.read([log.read_bytes()], Tally("log", "strace"))))
    ours, theirs = in_short(from_the_exec(traced)), in_short(from_the_exec(logged))
    assert ours.keys() == theirs.keys()
    for task in theirs:
        assert ours[task] == theirs[task]
    assert len(theirs[0]) > 140


def test_without_the_kernel_s_word_on_calls_the_registers_tell_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = built("calls")
    by_syscall_info = in_short(from_the_exec(list(decode(all_of(ptrace_engine.launch([calls]), PATIENCE)))))
    monkeypatch.setattr(ptrace_engine, "reader", lambda: syscall_info.by_registers)

    by_registers = in_short(from_the_exec(list(decode(all_of(ptrace_engine.launch([calls]), PATIENCE)))))

    assert by_registers == by_syscall_info


# Beside /proc.

_ACTS = """
import os, socket, subprocess, threading, time
listener = socket.create_server(("127.0.0.1", 0))
kept = [socket.create_connection(listener.getsockname()) for _ in range(3)]
print(flush=True)
input()
theirs = [listener.accept()[0] for _ in kept]
copy = os.dup(theirs[0].fileno())
theirs.pop().close()
ours, others = socket.socketpair()
socket.send_fds(ours, [b"x"], [kept[0].fileno(), 1])
passed = socket.recv_fds(others, 1, 2)
os.set_inheritable(kept[1].fileno(), True)
sleeper = subprocess.Popen(["sleep", "1000"], close_fds=False)
if not os.fork():
    kept.pop().close()
    os.dup2(0, 60)
    time.sleep(1000)
def more():
    kept.append(open("/dev/null"))
    done.set()
    time.sleep(1000)
done = threading.Event()
threading.Thread(target=more, daemon=True).start()
done.wait()
print("done", flush=True)
input()
"""


def tables(system: System) -> dict[int, set[int]]:
    """The descriptors of each living process as the replay has them."""
    return {
        process.pid: {number for task in process.tasks for number in task.table.slots}
        for process in system.processes.values()
        if process.ended is None and process.pid
    }


def in_proc(pids: Iterable[int]) -> dict[int, set[int]]:
    return {pid: set(map(int, os.listdir(f"/proc/{pid}/fd"))) for pid in pids}


def test_the_replay_has_the_descriptors_that_proc_shows() -> None:
    system = System()
    with traced(_ACTS) as (process, tracing):
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        for event in decode(until(tracing, has_printed(process))):
            replay(system, event)

        found = tables(system)

        assert len(found) == 3
        assert found == in_proc(found)


def test_what_is_there_at_attach_comes_first_and_the_call_that_it_sleeps_in_is_told() -> None:
    with traced(_ACTS) as (process, tracing):
        records = list(until(tracing, lambda: True))

        assert isinstance(records[0], TaskFound) and records[0].pid == process.pid
        descriptors = {record.fd for record in records if isinstance(record, DescriptorFound)}
        assert descriptors == in_proc([process.pid])[process.pid]
        sleeping = [record for record in records if isinstance(record, UnfinishedRecord)]
        assert [(record.name, record.args[0]) for record in sleeping] == [("read", 0)]
        assert [record.origin.line for record in records] == list(range(1, len(records) + 1))


def test_a_call_that_was_told_when_it_began_is_told_to_return() -> None:
    with traced(_ACTS) as (process, tracing):
        assert process.stdin is not None
        wishes = iter([lambda: process.stdin.write("\n"), process.stdin.flush])  # type: ignore[union-attr]
        records: list[Record] = []
        for record in until(tracing, has_printed(process)):
            records.append(record)
            if isinstance(record, UnfinishedRecord) and record.name == "read":
                for wish in wishes:
                    wish()

        began = next(record for record in records if isinstance(record, UnfinishedRecord))
        returned = next(record for record in records if isinstance(record, SyscallRecord))
        assert (returned.name, returned.began, returned.entered) == ("read", began.origin, began.entered)


# What may happen to a tracee.


def test_a_launched_command_outlives_the_tracing() -> None:
    tracing = ptrace_engine.launch(["sleep", "1000"])
    records = list(until(tracing, lambda: True))
    pid = next(record.pid for record in records if isinstance(record, TaskFound))
    try:
        tracing.close()
        tracing.close()

        assert Path(f"/proc/{pid}/comm").read_text() == "sleep\n"
        assert touched(pid) == []
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_a_command_that_ends_ends_the_records() -> None:
    records = all_of(ptrace_engine.launch(["sh", "-c", "exit 7"]))

    assert isinstance(records[-1], ExitRecord)
    assert records[-1].how == "exited with 7"


def test_one_that_is_killed_is_told_of_and_its_parent_too() -> None:
    with traced(_ACTS) as (process, tracing):
        records = []
        for record in tracing.records(TICK):
            if isinstance(record, UnfinishedRecord):
                os.kill(process.pid, signal.SIGKILL)
            records.append(record)

        assert [record.how for record in records if isinstance(record, ExitRecord)] == ["killed by SIGKILL"]
        assert process.wait() == -signal.SIGKILL


def test_a_signal_reaches_its_handler_as_it_was_sent() -> None:
    text = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
signal.signal(signal.SIGUSR1, lambda *_: print("handled", flush=True))
print(flush=True)
info = signal.sigwaitinfo([signal.SIGUSR2])
print(info.si_pid, flush=True)
input()
"""
    with traced(text) as (process, tracing):
        sent = iter([signal.SIGUSR1, signal.SIGUSR2])
        names = []
        for record in until(tracing, has_printed(process)):
            if isinstance(record, UnfinishedRecord) and record.name == "rt_sigtimedwait":
                os.kill(process.pid, signal.SIGUSR1)
            if isinstance(record, SignalRecord):
                names.append(record.signal)
                os.kill(process.pid, signal.SIGUSR2)
        del sent

        assert names == ["SIGUSR1"]
        assert (line_of(process), line_of(process)) == ("handled", str(os.getpid()))


def test_whoever_waits_for_its_own_child_may_take_a_stop_and_it_goes_on_all_the_same() -> None:
    with program("while True: open('/dev/null').close()") as process:
        with closing(ptrace_engine.attach([process.pid])) as tracing:
            closes = 0
            for record in tracing.records(TICK):
                closes += isinstance(record, SyscallRecord) and record.name == "close"
                if closes and closes % 10 == 0:
                    os.waitpid(process.pid, os.WNOHANG)  # as Popen.poll() does
                if closes > 100:
                    break
            os.waitpid(process.pid, os.WNOHANG)
        wait_for(lambda: touched(process.pid) == [], "it runs")


def test_a_child_of_the_program_around_us_is_left_for_it_to_wait_for() -> None:
    with traced(_ACTS) as (_, tracing):
        other = os.fork()
        if not other:
            os._exit(5)
        list(until(tracing, lambda: True))

        assert os.waitpid(other, 0) == (other, 5 << 8)


def test_processes_of_another_pid_namespace_go_by_our_numbers() -> None:
    unshare = shutil.which("unshare")
    if unshare is None or os.getuid():
        pytest.skip("needs unshare, and root")
    script = "for i in 1 2 3; do /bin/true; done"

    records = all_of(ptrace_engine.launch([unshare, "--pid", "--fork", "sh", "-c", script]))

    happened = list(decode(records))
    created = [event.child.tid for event in happened if isinstance(event, TaskCreated)]
    ended = [event.child for event in happened if isinstance(event, events.ChildEnded)]
    exited = [event.task.tid for event in happened if isinstance(event, events.TaskExited)]
    assert len(created) == 4
    assert set(created) < set(exited)
    assert set(ended) == set(created)


def test_calls_of_another_architecture_are_a_gap_and_not_misread() -> None:
    records = all_of(ptrace_engine.launch([built("old_calls")]))

    gaps = [record for record in records if isinstance(record, Gap)]
    assert len(gaps) == 1 and "32-bit" in gaps[0].why
    executed = next(place for place, record in enumerate(records) if getattr(record, "name", "") == "execve")
    names = [record.name for record in records[executed + 1 :] if isinstance(record, SyscallRecord)]
    # Before it the loader has opened and closed the C library.
    assert names[-2:] == ["dup", "exit_group"]


# Refusals.


def test_one_that_is_traced_already_is_refused_with_the_name_of_its_tracer() -> None:
    with busy() as server, tracer(server.process.pid) as other, pytest.raises(AlreadyTraced) as error:
        ptrace_engine.attach([server.process.pid])

    assert re.search(rf"already traced by \S+ \(process {other.pid}\)", str(error.value))


def test_a_refusal_lets_go_of_what_was_seized_by_then() -> None:
    with busy() as first, busy() as second, tracer(second.process.pid):
        with pytest.raises(AlreadyTraced):
            ptrace_engine.attach([first.process.pid, second.process.pid])

        wait_for(lambda: touched(first.process.pid) == [], "it is let go")
        assert first.answers()


def test_there_is_no_such_process() -> None:
    with program("") as process:
        process.wait()
    with pytest.raises(NoSuchProcess, match=str(process.pid)):
        ptrace_engine.attach([process.pid])


def test_it_does_not_trace_itself() -> None:
    with pytest.raises(PermissionDenied, match="tracecorr itself"):
        ptrace_engine.attach([os.getpid()])


def refused(pid: int) -> str:
    try:
        ptrace_engine.attach([pid]).close()
    except PermissionDenied as error:
        return f"{error} {error.help_text}"
    return "it was allowed"


def test_an_ordinary_user_may_not_trace_another_user_s_process_and_is_told_why() -> None:
    with program("input()") as process:
        said = as_ordinary_user(lambda: refused(process.pid))

        assert f"it belongs to user 0, and this is user {NOBODY} without CAP_SYS_PTRACE" in said
        assert "root" in said
        assert touched(process.pid) == []


PR_SET_DUMPABLE = 4  # <linux/prctl.h>


# Whoever has changed its user may not be traced by others of that user until it executes a program, nor its children.
def launched_by_an_ordinary_user() -> list[str]:
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    return [record.how for record in all_of(ptrace_engine.launch(["true"])) if isinstance(record, ExitRecord)]


def test_an_ordinary_user_may_launch() -> None:
    assert as_ordinary_user(launched_by_an_ordinary_user) == ["exited with 0"]
