"""The demo: a server that leaks as a background save does, traced while it runs, and diagnosed.

`python -m tracecorr.demo` traces it with the best engine that works here, else it takes the log in fixtures/demo.
`python -m tracecorr.demo serve` is the server alone, until its standard input ends.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import IO, TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from tracecorr.live import Standing
    from tracecorr.sources.engine import Engine
    from tracecorr.verdicts.report import Report

# By its path and isolated: wherever this is run from, and a log of its start is short.
SERVE: Final = (sys.executable, "-I", "-S", __file__, "serve")
LOG: Final = "trace.log"
TRUTH: Final = "truth.json"
KEPT: Final = Path(__file__).resolve().parents[1] / "fixtures" / "demo"
PAUSE: Final = 0.4  # seconds between two requests
WATCHED: Final = 1.6  # seconds after the leak; one second is stuck
PATIENCE: Final = 10.0

# <linux/prctl.h>.  Under Yama's ptrace_scope 1, the default of many distributions, a process must agree to be traced by
# one that is not its ancestor.  A log shows the name of a process only if it takes one while it is watched.
PR_SET_NAME: Final = 15
PR_SET_PTRACER: Final = 0x59616D61
PTRACER_ANY: Final = -1

RIGHT, WRONG, IMPOSSIBLE = 0, 1, 3


class Truth(NamedTuple):
    """What the client knows to be true of the recording: who holds which connection, and why."""

    cause: str
    detail: str
    culprit: int
    peer: str


# The server.


def serve() -> None:
    """Answer lines on a loopback port; SAVE forks a child which keeps what it inherits, and never uses it.

    Standard input is a leash: when it ends, so do the child and the server.
    """
    _prctl(PR_SET_PTRACER, PTRACER_ANY)
    clients: dict[int, socket.socket] = {}
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        os.write(1, b"%d\n" % listener.getsockname()[1])
        children: list[int] = []
        while 0 not in (ready := select.select([0, listener.fileno(), *clients], [], [])[0]):
            for fd in ready:
                if fd == listener.fileno():
                    client, _ = listener.accept()
                    clients[client.fileno()] = client
                else:
                    _attend(fd, clients, children)
    for child in children:
        os.waitpid(child, 0)


def _attend(fd: int, clients: dict[int, socket.socket], children: list[int]) -> None:
    try:
        request = clients[fd].recv(4096)
        if request.startswith(b"SAVE"):
            children.append(_save())
        if request:
            clients[fd].sendall(b"%d\n" % (children[-1] if children else 0))
            return
    except ConnectionError:
        pass
    # Here is the fault: the child, if there is one, has a copy, so that this close sends no FIN.
    clients.pop(fd).close()


def _save() -> int:
    child = os.fork()
    if child:
        return child
    _prctl(PR_SET_NAME, b"demo-save")
    os.read(0, 1)  # the work of a save that takes as long as the leash lasts
    os._exit(0)


def _prctl(option: int, value: int | bytes) -> None:
    if sys.platform == "linux":
        import ctypes

        word = ctypes.c_ulong(value) if isinstance(value, int) else value
        ctypes.CDLL(None).prctl(option, word, 0, 0, 0)


# The client.


@contextmanager
def server() -> Iterator[tuple[int, int]]:
    """Start the server and give its process and port; nothing of it is left at the end."""
    # In a session of its own, so that Ctrl-C reaches us alone.
    with subprocess.Popen(SERVE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as started:
        try:
            yield started.pid, int(_stream(started.stdout).readline())
        finally:
            _stream(started.stdin).close()
            _end(started)


class Client(Thread):
    """A visitor comes, somebody else asks for the save, the visitor goes; then `leaked` is set, and `truth` is known.

    Somebody else stays until `leave` is set: a server that is at work when the tracing ends.
    """

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._port = port
        self.leaked = Event()
        self.leave = Event()
        self.truth: Truth | None = None

    def run(self) -> None:
        try:
            with self._connected() as other:
                self.truth = self._leak(other)
                self.leaked.set()
                self.leave.wait(PATIENCE)
        finally:
            self.leaked.set()

    def _leak(self, other: socket.socket) -> Truth:
        with self._connected() as visitor:
            _ask(visitor, b"GET")
            child = _ask(other, b"SAVE")
            _ask(visitor, b"GET")
            host, number = visitor.getsockname()
        until = time.monotonic() + WATCHED
        while time.monotonic() < until:
            _ask(other, b"GET")
        return Truth("inherited-copy", "forked-worker", child, f"{host}:{number}")

    def _connected(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), PATIENCE)


def _ask(client: socket.socket, request: bytes) -> int:
    client.sendall(request + b"\n")
    answer = int(client.recv(64))
    time.sleep(PAUSE)
    return answer


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()


# The demo.


def demo() -> int:
    """Trace the server (or take the log that is kept), and return 0 if the report names the one who is to blame."""
    from tracecorr.errors import TracecorrError
    from tracecorr.live import choose

    try:
        engine = choose("auto")
        report, truth = traced(engine)
    except (TracecorrError, OSError) as error:
        if not (KEPT / LOG).exists():
            return _complain(str(error))
        return _shown(*_kept(), _TAKEN.format(reason=error))
    return _shown(report, truth, _LIVE.format(engine=engine.NAME))


def traced(engine: Engine) -> tuple[Report, Truth]:
    """Start the server, trace it while the client provokes the leak, and return the report, and what is true."""
    from tracecorr.live import Bounds, Session

    with server() as (pid, port):
        client = Client(port)

        # The first look comes when the tracing is in place.
        def begin(_: Standing) -> None:
            if client.ident is None:
                client.start()

        session = Session(engine.attach([pid]), engine.NAME, stuck_after=1.0, everything=False, record=None)
        try:
            report = session.run("attach", Bounds(duration=6 * PATIENCE), client.leaked.is_set, begin)
        finally:
            client.leave.set()
    if client.truth is None:
        raise OSError("the server did not answer while it was traced")
    return report, client.truth


def _kept() -> tuple[Report, Truth]:
    from tracecorr.api import parse

    return parse([KEPT / LOG]), Truth(**json.loads((KEPT / TRUTH).read_text(encoding="utf-8")))


_LIVE: Final = """\
A small server was started on loopback, as another process, and traced while a client came and went. All of them have
been stopped again.

$ tracecorr attach --engine {engine} PID
"""
_TAKEN: Final = """\
Not traced live, because {reason}. This is the log that is kept in fixtures/demo, of the same small server.

$ tracecorr parse fixtures/demo/trace.log
"""
_EXPECTED: Final = "The demo is right: the child {culprit}, which the server forked, holds the connection of {peer}.\n"
_UNEXPECTED: Final = "The demo went wrong: the child {culprit} holds the connection of {peer}; the report differs.\n"


def _shown(report: Report, truth: Truth, why: str) -> int:
    from tracecorr import console
    from tracecorr.render.terminal import styled

    right = _accused(report) == [truth]
    console.write([f"{why}\n"], None)
    console.write(styled(report, console.style("auto", None, everything=False)), None)
    console.write(["\n", (_EXPECTED if right else _UNEXPECTED).format(**truth._asdict())], None)
    return RIGHT if right else WRONG


def _accused(report: Report) -> list[tuple[object, ...]]:
    return [(v.cause, v.detail, v.culprit and v.culprit.pid, v.socket.peer) for v in report.verdicts if v.fault]


def _complain(reason: str) -> int:
    from tracecorr import console

    hint = "`tracecorr doctor` says what would make it work, or run `make demo` in a checkout, which has a log."
    console.complain(f"no demo here: {reason}, and no log is kept beside an installed tracecorr", hint)
    return IMPOSSIBLE


def main(arguments: Sequence[str]) -> int:
    """Do one of the two things that the module's description lists."""
    if list(arguments) == ["serve"]:
        serve()
        return 0
    if arguments:
        sys.exit("usage: python -m tracecorr.demo [serve]")
    return demo()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
