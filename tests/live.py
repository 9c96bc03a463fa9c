"""Real processes and connections for tests of what looks at the kernel, and waiting for a condition."""

from __future__ import annotations

import ctypes  # noqa: F401  (an ordinary user may not be able to read the library any more)
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

PATIENCE = 20.0
PAUSE = 0.005


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Wait until the condition holds; fail after 20 s."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE} s in vain: {what}"
        time.sleep(PAUSE)


class Pair(NamedTuple):
    """A connection over loopback; the listener is still open."""

    listener: socket.socket
    ours: socket.socket
    theirs: socket.socket


@contextmanager
def connection(host: str = "127.0.0.1") -> Iterator[Pair]:
    """Give both ends of a connection: `ours` was accepted."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener, socket.socket(family) as theirs:
        listener.bind((host, 0))
        listener.listen()
        theirs.connect(listener.getsockname()[:2])
        ours, _ = listener.accept()
        with ours:
            yield Pair(listener, ours, theirs)


def inode(end: socket.socket) -> int:
    return os.fstat(end.fileno()).st_ino


@contextmanager
def program(text: str, *arguments: str, pass_fds: tuple[int, ...] = ()) -> Iterator[subprocess.Popen[str]]:
    """Run Python code in a process of its own, which with all of its children is gone in the end.

    What it prints is read from `stdout`.
    """
    command = [sys.executable, "-E", "-s", "-S", "-c", text, *arguments]
    started = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True, pass_fds=pass_fds
    )
    try:
        yield started
    finally:
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.communicate()


def line_of(process: subprocess.Popen[str]) -> str:
    """Return the next line that it prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


# Its first thread ends, as that of a main() that calls pthread_exit(3) does, and another one goes on and keeps a
# connection whose peer has closed; it prints its port, and the number of the descriptor.
HEADLESS = """
import ctypes, platform, socket, sys, threading
listener = socket.create_server(("127.0.0.1", 0))
def work():
    print(listener.getsockname()[1], flush=True)
    connection, _ = listener.accept()
    while connection.recv(100):
        pass
    print(connection.fileno(), flush=True)
    sys.stdin.readline()
threading.Thread(target=work).start()
ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[platform.machine()], 0)
"""


@contextmanager
def headless() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run HEADLESS; the number is that of the descriptor of a connection whose end of file has been read."""
    with program(HEADLESS) as process, socket.create_connection(("127.0.0.1", int(line_of(process)))) as client:
        stat = Path(f"/proc/{process.pid}/stat")
        wait_for(lambda: stat.read_text().rpartition(")")[2].split()[0] == "Z", "its first thread has ended")
        client.shutdown(socket.SHUT_WR)
        yield process, int(line_of(process))


NOBODY = 65534


def as_ordinary_user(ask: Callable[[], Any], uid: int = NOBODY) -> Any:
    """Return what `ask` returns in a child that has given up all privileges; skip where we are not root."""
    if os.getuid():
        pytest.skip("needs root, to become an ordinary user")
    readable, writable = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            with os.fdopen(writable, "wb") as pipe:
                pickle.dump(ask(), pipe)
        finally:
            os._exit(0)
    os.close(writable)
    with os.fdopen(readable, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    assert data, "it failed in the child"
    return pickle.loads(data)
