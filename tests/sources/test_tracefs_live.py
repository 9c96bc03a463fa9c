"""The engine `tracefs` on real programs: what it tells is what the kernel and strace say, and nothing of ours stays."""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live import PATIENCE, wait_for
from tracecorr.errors import EngineUnavailable, NoSuchProcess, UnreadableInput
from tracecorr.events import (
    ConnectionAccepted,
    DescriptorClosed,
    DescriptorDuplicated,
    DescriptorFlagsSet,
    Event,
    Gap,
    ProgramExecuted,
    SocketListening,
    SocketOpened,
    SocketShutDown,
    TaskCreated,
    TaskId,
)
from tracecorr.kernel import TcpState
from tracecorr.model.replay import replay
from tracecorr.model.system import System
from tracecorr.sources import procfs, strace_log, tracefs, tracefs_mount
from tracecorr.sources.base import Tally
from tracecorr.sources.trace_instance import Instance, remove_stale
from tracecorr.syscalls.decode import decode
from tracecorr.syscalls.record import (
    DescriptorFound,
    ExitRecord,
    Record,
    StateRecord,
    SyscallRecord,
    TaskFound,
    TransferRecord,
)

LACKING = tracefs.missing()
pytestmark = pytest.mark.skipif(bool(LACKING), reason="; ".join(f"{each.what}: {each.why}" for each in LACKING))

PYTHON = [os.path.realpath(sys.executable), "-E", "-S", "-c"]
ROUNDS = int(os.environ.get("TRACECORR_KILLS", "3"))


class Program:
    """A Python program that does a step each time that it is let go on, and prints what it knows."""

    def __init__(self, text: str) -> None:
        self.text = "import json, os, signal, socket, sys, threading, time\n" + STEPS + text
        self.process: subprocess.Popen[str] | None = None

    def command(self) -> list[str]:
        return [*PYTHON, self.text]

    def __enter__(self) -> Program:
        self.process = subprocess.Popen(
            self.command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def says(self) -> Any:
        """What it prints next."""
        assert self.process is not None and self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], PATIENCE)[0], "the program says nothing"
        line = self.process.stdout.readline()
        assert line, "the program ended without a word"
        return json.loads(line)

    def has_spoken(self) -> bool:
        assert self.process is not None and self.process.stdout is not None
        return bool(select.select([self.process.stdout], [], [], 0)[0])

    def go(self) -> None:
        assert self.process is not None and self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()


STEPS = """
def tell(value):
    print(json.dumps(value), flush=True)
def step(value=None):
    tell(value)
    os.read(0, 1)
"""


@pytest.fixture(autouse=True)
def nothing_of_ours_stays() -> Iterator[None]:
    yield
    assert instances_of(os.getpid()) == []


def instances_of(pid: int) -> list[str]:
    root = tracefs_mount.locate()
    try:
        return [name for name in os.listdir(f"{root.path}/instances") if name.startswith(f"tracecorr-{pid}-")]
    finally:
        root.close()


def followed_to_the_end(
    tracing: tracefs.TracefsTracing, each: Callable[[Record], None] = lambda _: None
) -> list[Record]:
    """All records of a program that ends by itself."""
    seen: list[Record] = []
    deadline = time.monotonic() + PATIENCE
    try:
        for record in tracing.records(0.1):
            assert time.monotonic() < deadline, "the program does not end"
            if record is not None:
                seen.append(record)
                each(record)
    finally:
        tracing.close()
    return seen


def followed_until(
    tracing: tracefs.TracefsTracing, stream: Iterator[Record | None], condition: Callable[[list[Record]], bool]
) -> list[Record]:
    """The records so far, when the condition holds of them."""
    seen: list[Record] = []
    deadline = time.monotonic() + PATIENCE
    for record in stream:
        assert time.monotonic() < deadline, f"it has not come: {seen}"
        if record is not None:
            seen.append(record)
        if condition(seen):
            break
    return seen


def launched(text: str) -> list[Record]:
    """All records of a program that is run from its first call."""
    tracing = tracefs.launch(Program(text).command())
    try:
        return followed_to_the_end(tracing)
    finally:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, 0)


def calls(records: list[Record], *names: str) -> list[SyscallRecord]:
    return [record for record in records if isinstance(record, SyscallRecord) and record.name in names]


# What calls it tells.

DESCRIPTORS = """
import fcntl, struct
listener = socket.create_server(("127.0.0.1", 0))
other = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()
copy = os.dup(server.fileno())
high = fcntl.fcntl(server, fcntl.F_DUPFD, 77)
marked = fcntl.fcntl(server, fcntl.F_DUPFD_CLOEXEC, 88)
os.dup2(copy, 99)
os.dup2(copy, 66, inheritable=False)
fcntl.fcntl(high, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
os.set_inheritable(marked, True)
os.set_inheritable(copy, False)
thread = threading.Thread(target=os.close, args=(copy,))
thread.start()
thread.join()
if os.fork() == 0:
    os.close(99)
    server.shutdown(socket.SHUT_RD)
    os.execv("/bin/true", ["true"])
os.wait()
client.shutdown(socket.SHUT_WR)
client.close()
other.close()
os.close(high)
os._exit(0)
"""

COMPARED = (
    ConnectionAccepted, DescriptorClosed, DescriptorDuplicated, DescriptorFlagsSet, ProgramExecuted, SocketListening,
    SocketOpened, SocketShutDown, TaskCreated,
)  # fmt: skip


def effects(events: Iterator[Event]) -> dict[int, list[tuple[Any, ...]]]:
    """Each task's events without times, origins and thread ids; of numbers only those that ever were a socket's."""
    found: dict[int, list[tuple[Any, ...]]] = {}
    order: dict[int, int] = {}
    sockets: set[int] = set()
    closed: set[tuple[int, int]] = set()
    for event in events:
        if not isinstance(event, COMPARED):
            continue
        if isinstance(event, (SocketOpened, ConnectionAccepted)):
            sockets.add(event.fd)
        if isinstance(event, DescriptorDuplicated):
            sockets.add(event.new)
        number = order.setdefault(event.task.tid, len(order))
        if isinstance(event, DescriptorClosed):
            # What is closed for the second time was opened by a call that the engine does not record: a file.
            if event.fd not in sockets or (number, event.fd) in closed:
                continue
            closed.add((number, event.fd))
        opened = event.new if isinstance(event, DescriptorDuplicated) else getattr(event, "fd", None)
        if isinstance(event, (SocketOpened, ConnectionAccepted, DescriptorDuplicated)):
            closed.discard((number, opened or 0))
        left_out = {"at", "task", "origin", "entered", "peer", "domain", "child", "call", "program"}
        values = [value for name, value in zip(event._fields, event, strict=True) if name not in left_out]
        found.setdefault(number, []).append((type(event).__name__, *values))
    return found


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_program_has_the_effects_that_strace_sees(tmp_path: Path) -> None:
    log = tmp_path / "log"
    strace = ["strace", "-f", "-ttt", "-o", str(log), *Program(DESCRIPTORS).command()]
    subprocess.run(strace, check=True, timeout=PATIENCE)
    theirs = effects(decode(strace_log.read([log.read_bytes()], Tally("log", "strace"))))

    ours_ = effects(decode(launched(DESCRIPTORS)))

    assert len(theirs) == 3
    assert sum(map(len, theirs.values())) > 20
    assert ours_ == theirs


def test_listening_and_connecting_tell_the_addresses() -> None:
    records = launched("""
listener = socket.create_server(("127.0.0.1", 0))
six = socket.create_server(("::1", 0), family=socket.AF_INET6)
first = socket.create_connection(listener.getsockname())
second = socket.create_connection(six.getsockname()[:2])
""")
    addresses = [record.args[1] for record in calls(records, "bind", "connect")]

    ports = [address.get("sin_port") or address.get("sin6_port") for address in addresses]
    assert [address.get("sin_addr") or address.get("sin6_addr") for address in addresses] == [
        "127.0.0.1", "::1", "127.0.0.1", "::1",
    ]  # fmt: skip
    assert ports[:2] == ports[2:]


def test_flags_of_new_tasks_are_told() -> None:
    records = launched("""
thread = threading.Thread(target=int)
thread.start()
thread.join()
if os.fork() == 0:
    os._exit(0)
os.wait()
""")
    made = [event for event in decode(records) if isinstance(event, TaskCreated)]

    assert [(event.shares_files, event.same_process) for event in made] == [(True, True), (False, False)]
    assert all(event.entered is not None and event.at is not None and event.entered < event.at for event in made)


# Ends of file.

ENDS = """
listener = socket.create_server((HOST, 0), family=socket.AF_INET6 if ":" in HOST else socket.AF_INET)
client = socket.socket(FAMILY)
client.connect((TARGET, listener.getsockname()[1]))
server, _ = listener.accept()
client.shutdown(socket.SHUT_WR)
def reader():
    server.recv(10, socket.MSG_PEEK)
    server.recv(10)
    tell([threading.get_native_id(), server.getsockname()[:2], server.getpeername()[:2]])
thread = threading.Thread(target=reader)
thread.start()
thread.join()
step()
"""


@pytest.mark.parametrize(
    ("host", "family", "target"),
    [("127.0.0.1", "AF_INET", "127.0.0.1"), ("::1", "AF_INET6", "::1"), ("::", "AF_INET", "127.0.0.1")],
    ids=["ipv4", "ipv6", "mapped"],
)
def test_an_end_of_file_is_told_with_the_thread_and_both_ends(host: str, family: str, target: str) -> None:
    text = f"HOST, FAMILY, TARGET = {host!r}, socket.{family}, {target!r}\n"
    if host == "::":
        text += "socket.has_dualstack_ipv6 = lambda: True\n"
        text += ENDS.replace(
            "socket.create_server((HOST, 0), ", "socket.create_server((HOST, 0), dualstack_ipv6=True, "
        )
    else:
        text += ENDS
    with Program("step()\n" + text) as program:
        program.says()
        tracing = tracefs.attach([program.pid])
        try:
            program.go()
            tid, local, peer = program.says()
            stream = tracing.records(0.1)
            seen = followed_until(tracing, stream, lambda seen: sum(isinstance(r, TransferRecord) for r in seen) == 2)
        finally:
            tracing.close()

    fin = next(record for record in seen if isinstance(record, StateRecord) and list(record.local) == local)
    peeked, read = [record for record in seen if isinstance(record, TransferRecord)]
    assert fin.new is TcpState.CLOSE_WAIT
    assert [list(end) for end in (read.local, read.peer)] == [local, peer] == [list(fin.local), list(fin.peer)]
    assert (peeked.peeked, read.peeked, read.size, read.sent) == (True, False, 0, False)
    assert peeked.task.tid == read.task.tid == tid
    assert fin.at is not None and peeked.at is not None and read.at is not None
    assert fin.at < peeked.at < read.at


def test_reads_that_would_block_and_ends_of_other_kinds_are_not_told() -> None:
    records = launched("""
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()
server.setblocking(False)
for _ in range(1000):
    try:
        server.recv(10)
    except BlockingIOError:
        pass
a, b = socket.socketpair()
a.close()
b.recv(10)
r, w = os.pipe()
os.close(w)
os.read(r, 10)
os.read(0, 0)
time.sleep(0.3)
""")

    assert [record for record in records if isinstance(record, TransferRecord)] == []
    assert len(records) < 60


def test_what_is_written_after_the_peers_fin_is_told() -> None:
    records = launched("""
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()
client.shutdown(socket.SHUT_WR)
server.recv(10)
for _ in range(40):
    server.send(b"12345")
    time.sleep(0.02)
""")
    sent = [record for record in records if isinstance(record, TransferRecord) and record.sent]

    assert sent
    assert {record.size for record in sent} == {5}


def is_of(record: DescriptorFound, port: int) -> bool:
    return port in [end.port for end in (record.local, record.peer) if end is not None]


def test_a_connection_that_is_closed_at_once_is_not_told_and_one_that_stays_is() -> None:
    records = launched("""
listener = socket.create_server(("127.0.0.1", 0))
kept = []
for keep in (False, True):
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()
    client.close()
    server.recv(10)
    if keep:
        kept.append(server)
    else:
        server.close()
time.sleep(1)
""")
    listening = calls(records, "bind")[0].args[1]["sin_port"]
    states = [(r.old, r.new) for r in records if isinstance(r, StateRecord) and r.local.port == listening]

    assert states[0] == (TcpState.ESTABLISHED, TcpState.CLOSE_WAIT)
    assert len(states) == 2  # the program's end closes it
    # Before its exec the program has what we have open, connections of the test runner, too.
    found = [r for r in records if isinstance(r, DescriptorFound) and r.state is not None and is_of(r, listening)]
    # Whose connection it is comes before its FIN, what became of it when it was looked at.
    assert [(record.state, record.unread) for record in found] == [
        (TcpState.ESTABLISHED, None),
        (TcpState.CLOSE_WAIT, 0),
    ]
    order = [
        record
        for record in records
        if record in found or (isinstance(record, StateRecord) and record.local.port == listening)
    ]
    assert order[:2] == [found[0], next(record for record in order if isinstance(record, StateRecord))]


# Joining what was there.

HELD = """
listener = socket.create_server(("127.0.0.1", 0))
clients = [socket.create_connection(listener.getsockname()) for _ in range(3)]
servers = [listener.accept()[0] for _ in clients]
kept = os.dup(servers[0].fileno())
child = os.fork()
if child == 0:
    signal.pause()
step(child)
servers[1].close()
servers[2].shutdown(socket.SHUT_WR)
more = socket.create_connection(listener.getsockname())
another, _ = listener.accept()
second = os.fork()
if second == 0:
    another.close()
    signal.pause()
step(second)
"""


def sockets_in_proc(pid: int) -> dict[int, str]:
    return {fd: target for fd, target in procfs.targets(pid).items() if target.startswith("socket:[")}


def sockets_in(system: System, pid: int) -> set[int]:
    tables = {task.table for task in system.tasks.values() if task.process.pid == pid and task.ended is None}
    kinds = ("tcp", "stream", "listener", "socket", "unix")
    return {number for table in tables for number, slot in table.slots.items() if slot.description.kind in kinds}


def replayed(records: list[Record]) -> System:
    system = System()
    for event in decode(records):
        replay(system, event)
    return system


def test_a_system_replayed_from_an_attach_is_what_proc_says() -> None:
    with Program(HELD) as program:
        first = program.says()
        tracing = tracefs.attach([program.pid, first])
        try:
            program.go()
            second = program.says()
            stream = tracing.records(0.1)
            # The second child's close of its copy is the last thing that happens.
            seen = followed_until(
                tracing, stream, lambda seen: any(record.task.tid == second for record in calls(seen, "close"))
            )
            truth = {pid: sockets_in_proc(pid) for pid in (program.pid, first, second)}
        finally:
            tracing.close()
    system = replayed(seen)

    assert {pid: sockets_in(system, pid) for pid in truth} == {pid: set(found) for pid, found in truth.items()}
    assert len(truth[program.pid]) - len(truth[second]) == 1
    holders = Counter(target for found in truth.values() for target in found.values())
    references = Counter(
        len(slot.description.references)
        for pid in truth
        for slot in system.tasks[TaskId(pid)].table.slots.values()
        if slot.description.kind in ("tcp", "listener")
    )
    assert references == Counter(holders[target] for found in truth.values() for target in found.values())


def test_every_thread_of_a_process_with_500_is_there() -> None:
    with Program("""
gate = threading.Event()
threads = [threading.Thread(target=gate.wait, daemon=True) for _ in range(500)]
for thread in threads:
    thread.start()
step(sorted(int(name) for name in os.listdir("/proc/self/task")))
gate.set()
for thread in threads:
    thread.join()
os._exit(0)
""") as program:
        threads = program.says()
        tracing = tracefs.attach([program.pid])
        program.go()
        records = followed_to_the_end(tracing)

    assert len(threads) == 501
    assert sorted(record.task.tid for record in records if isinstance(record, TaskFound)) == threads
    assert sorted(record.task.tid for record in records if isinstance(record, ExitRecord)) == threads


def test_numbers_that_change_while_the_picture_is_taken_are_right_in_the_end() -> None:
    with Program("""
listener = socket.create_server(("127.0.0.1", 0))
tell(None)
until = time.monotonic() + 1.5
while time.monotonic() < until:
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()
    server.close()
    client.close()
kept = [socket.create_connection(listener.getsockname()) for _ in range(2)]
servers = [listener.accept()[0] for _ in kept]
step()
os.dup2(0, 123)
signal.pause()
""") as program:
        program.says()
        tracing = tracefs.attach([program.pid])
        try:
            stream = tracing.records(0.1)
            seen = followed_until(tracing, stream, lambda _: program.has_spoken())
            program.go()
            seen += followed_until(
                tracing, stream, lambda seen: any(record.result == 123 for record in calls(seen[-1:], "dup2"))
            )
            asked = set(sockets_in_proc(program.pid))
        finally:
            tracing.close()

    assert sockets_in(replayed(seen), program.pid) == asked
    assert len(asked) == 5


# Tasks.


def test_a_program_that_forks_500_times_a_second_is_followed() -> None:
    records = launched("""
for _ in range(500):
    if os.fork() == 0:
        os._exit(0)
    os.wait()
""")
    children = [record.result for record in calls(records, "fork", "vfork", "clone", "clone3")]
    ended = {record.task.tid for record in records if isinstance(record, ExitRecord)}

    assert len(set(children)) == 500
    assert set(children) <= ended
    assert not [record for record in records if isinstance(record, Gap)]


def test_a_thread_that_executes_a_program_goes_on_as_the_leader() -> None:
    records = launched("""
def run():
    os.execv("/bin/true", ["true"])
threading.Thread(target=run).start()
time.sleep(10)
""")
    system = replayed(records)
    program = calls(records, "execve")[-1]

    assert program.args == ["/bin/true"]
    assert all(task.ended is not None for task in system.tasks.values())
    assert system.processes[program.task.tid].comm == "true"


def test_a_child_in_another_pid_namespace_has_the_number_of_the_host() -> None:
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    tracing = tracefs.launch(["unshare", "--pid", "--fork", "/bin/sh", "-c", "/bin/true; /bin/true; exit 0"])
    try:
        records = followed_to_the_end(tracing)
    finally:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, 0)
    made = [record.result for record in calls(records, "fork", "vfork", "clone", "clone3")]

    assert len(made) == 3
    assert min(number for number in made if number is not None) > 10
    assert set(made) <= {record.task.tid for record in records if isinstance(record, ExitRecord)}


def test_what_other_processes_do_is_not_told() -> None:
    busy = """
tell(None)
while True:
    a = socket.socket(); b = os.dup(a.fileno()); os.close(b); a.close()
    if os.fork() == 0: os._exit(0)
    os.wait()
"""
    with Program(busy) as other, Program("step()\nos.close(os.dup(0))\nos._exit(0)") as program:
        other.says()
        program.says()
        tracing = tracefs.attach([program.pid])
        program.go()
        records = followed_to_the_end(tracing)

    assert {record.task.tid for record in records if not isinstance(record, (Gap, StateRecord))} == {program.pid}


def test_none_comes_at_every_tick_while_nothing_happens() -> None:
    with Program("step()") as program:
        program.says()
        tracing = tracefs.attach([program.pid])
        try:
            stream = tracing.records(0.05)
            while next(stream) is not None:
                pass
            began = time.monotonic()
            for _ in range(3):
                assert next(stream) is None
            assert time.monotonic() - began < PATIENCE / 4
        finally:
            tracing.close()


# What goes wrong.


def test_lost_events_are_a_gap_and_the_end_is_seen_all_the_same() -> None:
    with Program("""
step()
for _ in range(400000):
    os.dup2(0, 9)
tell(None)
os._exit(0)
""") as program:
        program.says()
        tracing = tracefs.attach([program.pid])
        program.go()
        program.says()  # nobody has read the buffer meanwhile
        records = followed_to_the_end(tracing)

    gaps = [record for record in records if isinstance(record, Gap)]
    assert len(gaps) == 1
    assert "lost" in gaps[0].what
    assert [record.task.tid for record in records if isinstance(record, ExitRecord)] == [program.pid]


def test_a_process_that_is_not_there_is_no_process() -> None:
    with subprocess.Popen(["/bin/true"]) as gone:
        gone.wait()
    with pytest.raises(NoSuchProcess, match=str(gone.pid)):
        tracefs.attach([gone.pid])


def test_a_command_that_is_not_there_is_told_and_leaves_nothing() -> None:
    with pytest.raises(UnreadableInput):
        tracefs.launch(["/nonexistent/program"])


def test_closing_twice_and_before_the_first_record_is_allowed() -> None:
    with Program("step()") as program:
        program.says()
        tracing = tracefs.attach([program.pid])
        tracing.close()
        tracing.close()


def test_nothing_else_in_tracefs_changes() -> None:
    def state() -> dict[str, str]:
        names = ("tracing_on", "set_event", "set_event_pid", "trace_options", "trace_clock", "events/enable")
        return {name: Path(root.path, name).read_text() for name in names}

    root = tracefs_mount.locate()
    try:
        before = state()
        with Program("step()") as program:
            program.says()
            tracing = tracefs.attach([program.pid])
            try:
                assert len(instances_of(os.getpid())) == 2
                assert state() == before
            finally:
                tracing.close()
        assert state() == before
    finally:
        root.close()


def as_nobody(question: Callable[[], str]) -> str:
    """The answer of a child of ours that is an ordinary user."""
    answer, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(answer)
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        os.write(tell, question().encode())
        os._exit(0)
    os.close(tell)
    with os.fdopen(answer) as stream:
        said = stream.read()
    os.waitpid(child, 0)
    return said


def test_an_ordinary_user_is_told_that_root_is_needed() -> None:
    def refused() -> str:
        try:
            tracefs.attach([os.getpid()])
        except EngineUnavailable as error:
            return f"{error}\n{error.help_text}"
        return "attached"

    said = as_nobody(lambda: json.dumps(tracefs.missing()))

    ((what, why, remedy),) = json.loads(said)
    assert what == "root"
    assert "root" in why
    assert "root" in remedy
    assert as_nobody(refused) == f"tracefs: {what}: {why}\n{remedy}"


# Killed.

TRACER = """
import sys
from tracecorr.sources import tracefs
tracing = tracefs.attach([int(sys.argv[1])])
print("attached", flush=True)
for record in tracing.records(0.1):
    pass
"""

SERVER = """
listener = socket.create_server(("127.0.0.1", 0), backlog=128)
tell(listener.getsockname()[1])
while True:
    connection, _ = listener.accept()
    if os.fork() == 0:
        connection.sendall(connection.recv(100))
        os._exit(0)
    connection.close()
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
"""


@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_tracer_killed_under_load_leaves_the_server_unharmed_and_its_instance_to_the_next(number: int) -> None:
    asked: list[bool] = []
    stop = threading.Event()

    def load(port: int) -> None:
        while not stop.is_set():
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
                client.sendall(b"hello")
                asked.append(client.recv(100) == b"hello")

    with Program(SERVER) as program:
        client = threading.Thread(target=load, args=(program.says(),))
        client.start()
        try:
            with subprocess.Popen(
                [sys.executable, "-c", TRACER, str(program.pid)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
            ) as tracer:
                try:
                    assert tracer.stdout is not None
                    if number % 3:  # else while it is attaching
                        assert tracer.stdout.readline() == b"attached\n"
                    time.sleep(random.uniform(0, 0.4))
                finally:
                    tracer.kill()
            before = len(asked)
            wait_for(lambda: len(asked) > before + 20, "the server answers")
        finally:
            stop.set()
            client.join()
        assert all(asked)
        assert program.process is not None and program.process.poll() is None
        tracefs.attach([program.pid]).close()
        # Another test's start may be removing it just now.
        wait_for(lambda: not instances_of(tracer.pid), "the next start has removed it")


def test_only_instances_of_runs_that_are_gone_are_removed() -> None:
    root = tracefs_mount.locate()
    kept = Instance(root.path, 64)
    try:
        with subprocess.Popen(["/bin/true"]) as gone:
            gone.wait()
        names = [f"tracecorr-{gone.pid}-1-1", f"tracecorr-{os.getpid()}-1-1", "tracecorr-else"]
        for name in names:
            os.mkdir(f"{root.path}/instances/{name}")

        remove_stale(root.path)

        there = set(os.listdir(f"{root.path}/instances"))
        assert there & set(names) == {"tracecorr-else"}
        assert os.path.basename(kept.path) in there
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(f"{root.path}/instances/tracecorr-else")
        kept.close()
        root.close()
