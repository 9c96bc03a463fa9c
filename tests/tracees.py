"""C programs that are hard to trace, clients of theirs, and whether a process is untouched."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from tests.live import PATIENCE, wait_for

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "fixtures" / "tracees"


@cache
def built(name: str, *flags: str) -> str:
    """Compile one of fixtures/tracees; skip where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("cc is not installed")
    build = SOURCES / "build"
    build.mkdir(exist_ok=True)
    program = build / name
    unfinished = build / f"{name}.{os.getpid()}"
    done = subprocess.run(
        [compiler, "-O1", "-Wall", "-Wextra", "-pthread", *flags, "-o", unfinished, SOURCES / f"{name}.c"],
        capture_output=True, text=True,
    )  # fmt: skip
    if flags and done.returncode:
        pytest.skip(f"cc cannot make {name} with {' '.join(flags)}")
    assert done.returncode == 0, done.stderr
    unfinished.rename(program)
    return str(program)


@dataclass
class Server:
    """fixtures/tracees/busy.c at work."""

    process: subprocess.Popen[str]
    port: int
    answered: int = 0
    failures: list[str] = field(default_factory=list)

    def answers(self) -> bool:
        """Whether it answers a request."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as client:
            client.sendall(b"?")
            return client.recv(16) == b"ok"

    def pids(self) -> list[int]:
        """Itself and its children."""
        found = [self.process.pid]
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            with suppress(OSError):
                found += map(int, (task / "children").read_text().split())
        return found

    def load(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                assert self.answers(), "a wrong answer"
                self.answered += 1
            except (OSError, AssertionError) as error:
                self.failures.append(repr(error))

    @contextmanager
    def under_load(self) -> Iterator[None]:
        """Two clients send requests all the time; none may fail."""
        stop = threading.Event()
        clients = [threading.Thread(target=self.load, args=[stop]) for _ in range(2)]
        for client in clients:
            client.start()
        try:
            yield
        finally:
            stop.set()
            for client in clients:
                client.join()
        assert self.failures == []


@contextmanager
def busy(*, threads: int = 4, forks: int = 0, spawns: bool = False) -> Iterator[Server]:
    """Run the busy server, which aborts if a child of it does not end as it should, until the end of the block."""
    command = [built("busy"), str(threads), str(forks), str(int(spawns))]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout is not None
        yield Server(process, int(process.stdout.readline()))
        assert process.poll() in (None, -signal.SIGKILL), f"the server has ended: {process.returncode}"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def status(pid: int, tid: int | str) -> dict[str, str]:
    """/proc/PID/task/TID/status, empty when there is no such thread."""
    try:
        text = Path(f"/proc/{pid}/task/{tid}/status").read_text()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def touched(pid: int) -> list[str]:
    """What is wrong with the threads of a process: those that are stopped or traced."""
    try:
        tids = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    found = []
    for tid in tids:
        words = status(pid, tid)
        if words and (words["TracerPid"] != "0" or words["State"][0] in "tT"):
            found.append(f"{tid} of {pid}: {words['State']}, traced by {words['TracerPid']}")
    return found


def assert_untouched(server: Server) -> None:
    """No thread stays traced or stopped, and every request is answered."""
    wait_for(lambda: not any(touched(pid) for pid in server.pids()), "nobody is traced or stopped")
    assert server.answers()


@contextmanager
def tracer(pid: int, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run `tracecorr attach` on the process; it has attached when the block begins, and has ended after it."""
    command = [sys.executable, "-m", "tracecorr", "attach", str(pid), "--engine", "ptrace", *options]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + PATIENCE
        while status(pid, pid).get("TracerPid") != str(process.pid):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline, "it does not attach"
            time.sleep(0.002)
        yield process
    finally:
        process.kill()
        process.communicate()
