"""Live tracing of real servers, with every engine that works here: what it says, how it ends, and what it leaves."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

import tracecorr
from tests.live import PATIENCE, headless, wait_for
from tracecorr import demo
from tracecorr.live import Bounds, attach
from tracecorr.scanning import scan
from tracecorr.sources import procfs, tracefs_mount
from tracecorr.sources.engines import ENGINES

ROOT = Path(__file__).parents[1]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """The name of an engine; skipped with the words of `tracecorr doctor` where it does not work."""
    name: str = request.param
    if lacking := ENGINES[name].missing():
        pytest.skip("; ".join(f"{each.what}: {each.why}" for each in lacking))
    return name


@contextmanager
def tracecorr_running(*args: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tracecorr", *map(str, args)]
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **streams) as running:
        try:
            yield running
        finally:
            if running.poll() is None:
                running.kill()


@contextmanager
def server() -> Iterator[tuple[int, demo.Client]]:
    """The demo's server and a client that has not begun; the client ends with the server."""
    with demo.server() as (pid, port):
        client = demo.Client(port)
        try:
            yield pid, client
        finally:
            client.leave.set()
            if client.ident is not None:
                client.join(PATIENCE)


def is_untouched(pid: int) -> bool:
    threads = [procfs.stat(pid, tid).state for tid in procfs.tids(pid)]
    tracers = [procfs.status(pid, tid).tracer for tid in procfs.tids(pid)]
    return not any(tracers) and not set(threads) & set("tT")


def lines_of(running: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert running.stdout is not None
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if select.select([running.stdout], [], [], 0.1)[0]:
            line = running.stdout.readline()
            if not line:
                return
            yield json.loads(line)


def test_changes_come_as_json_lines_and_a_signal_ends_it_with_the_report(engine: str) -> None:
    with server() as (pid, client):
        args = ("attach", pid, "--engine", engine, "--format", "jsonl")
        with tracecorr_running(*args) as running:
            wait_for(lambda: _is_followed(engine, pid, running), "the engine is in place")
            client.start()
            events = lines_of(running)
            first = next(events)
            assert client.leaked.wait(PATIENCE)
            running.send_signal(signal.SIGTERM)
            rest = list(events)
            code = running.wait(PATIENCE)

        assert client.truth is not None
        assert first["event"] == "new"
        assert first["verdict"]["culprit"]["pid"] == client.truth.culprit
        assert [event["event"] for event in rest][-1] == "report"
        report = rest[-1]["report"]
        assert report["command"] == "attach"
        assert [v["socket"]["peer"] for v in report["verdicts"]] == [client.truth.peer]
        assert code == 1
        wait_for(lambda: is_untouched(pid), "the server is as it was")
        assert is_untouched(client.truth.culprit)


# strace and ptrace show as tracers; tracefs shows nothing at the process, so that its first record must do.
def _is_followed(engine: str, pid: int, running: subprocess.Popen[str]) -> bool:
    assert running.poll() is None
    if engine == "tracefs":
        root = tracefs_mount.locate()
        try:
            mine = list(Path(root.path, "instances").glob(f"tracecorr-{running.pid}-*/buffer_percent"))
            return len(mine) == 2 and all(file.read_text() == "25\n" for file in mine)
        finally:
            root.close()
    return bool(procfs.status(pid).tracer)


def test_a_recording_is_parsed_to_the_same_report_and_has_no_payload(engine: str, tmp_path: Path) -> None:
    file = tmp_path / "seen.jsonl.gz"
    with server() as (pid, client):
        args = ("attach", pid, "--engine", engine, "--record", file, "--format", "json", "-q")
        with tracecorr_running(*args) as running:
            wait_for(lambda: _is_followed(engine, pid, running), "the engine is in place")
            client.start()
            client.leaked.wait(PATIENCE)
            running.send_signal(signal.SIGINT)
            out, err = running.communicate(timeout=PATIENCE)
    live = json.loads(out)
    parsed = tracecorr.parse([file]).to_json()

    assert err == ""
    assert live["verdicts"] and _essence(parsed) == _essence(live)
    assert b"SAVE" not in subprocess.run(["zcat", file], capture_output=True, check=True).stdout


def _essence(report: dict[str, Any]) -> list[Any]:
    return [
        {**verdict, "stuck_for": None, "evidence": verdict["evidence"][:-1]} for verdict in report["verdicts"]
    ]  # fmt: skip


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_recording_that_cannot_be_written_ends_the_tracing_and_not_the_server(engine: str) -> None:
    with server() as (pid, client):
        args = ("attach", pid, "--engine", engine, "--record", "/dev/full", "-q")
        with tracecorr_running(*args) as running:
            _, err = running.communicate(timeout=PATIENCE)
        client.start()

        assert running.returncode == 2
        assert "No space left" in err and "Traceback" not in err
        wait_for(lambda: is_untouched(pid), "the server is as it was")
        assert client.leaked.wait(PATIENCE) and client.truth is not None


@pytest.mark.parametrize("bound", [("--duration", "1"), ("--max-events", "1")], ids=lambda bound: bound[0])
def test_bounds_end_the_tracing(engine: str, bound: tuple[str, str]) -> None:
    with server() as (pid, client), tracecorr_running("attach", pid, "--engine", engine, "-q", *bound) as running:
        client.start()

        assert running.wait(PATIENCE) in (0, 1)
        wait_for(lambda: is_untouched(pid), "the server is as it was")


def test_a_command_is_traced_from_its_first_call_to_its_end(engine: str) -> None:
    script = (
        "import os, socket; s = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(s.getsockname());"
        "a, _ = s.accept(); c.close(); a.recv(1); print(os.getpid(), flush=True); import time; time.sleep(1.5)"
    )
    args = ("run", "--engine", engine, "--format", "json", "-q", "--", sys.executable, "-c", script)
    with tracecorr_running(*args) as running:
        out, err = running.communicate(timeout=PATIENCE)
    pid, _, document = out.partition("\n")
    report = json.loads(document)

    assert err == "" and running.returncode == 0
    verdict = report["verdicts"][0]
    assert (verdict["cause"], verdict["culprit"]["pid"], verdict["released_by"]) == ("eof-ignored", int(pid), "close")


def test_a_process_that_is_not_there_is_named(engine: str) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    with tracecorr_running("attach", gone.pid, "--engine", engine) as running:
        out, err = running.communicate(timeout=PATIENCE)

    assert (running.returncode, out) == (2, "")
    assert str(gone.pid) in err and "Traceback" not in err


def test_the_end_of_the_traced_process_ends_the_tracing(engine: str) -> None:
    with demo.server() as (pid, _), tracecorr_running("attach", pid, "--engine", engine, "-q") as running:
        wait_for(lambda: _is_followed(engine, pid, running), "the engine is in place")
        os.kill(pid, signal.SIGKILL)

        assert running.wait(PATIENCE) == 0


def test_doctor_says_of_each_engine_whether_it_works(capsys: pytest.CaptureFixture[str]) -> None:
    from tracecorr.cli import main

    code = main(["doctor"])
    out = capsys.readouterr().out

    working = [name for name, engine in ENGINES.items() if not engine.missing()]
    assert code == (0 if working else 3)
    for name, engine in ENGINES.items():
        assert f"{name:<9} {'works' if name in working else 'does not work here'}: {engine.COST}\n" in out
    assert "scan      works: One look" in out


def test_an_engine_that_lacks_something_is_refused_with_the_doctors_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tracecorr.cli import main

    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["attach", "1", "--engine", "strace"]) == 3
    refused = capsys.readouterr().err
    main(["doctor"])

    assert "strace: it is not installed" in refused and "apt install strace" in refused
    assert "strace: it is not installed" in capsys.readouterr().out


SERVER_IN_C = """
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static int take_client(int listener) { return accept(listener, NULL, NULL); }
static void start_helper(void) { if (fork() == 0) { read(0, &(char){0}, 1); exit(0); } }
static void finish(int fd) { close(fd); }

int main(void) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof name;
    char text[100];
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    bind(listener, (struct sockaddr *)&name, size);
    listen(listener, 5);
    getsockname(listener, (struct sockaddr *)&name, &size);
    printf("%d\\n", ntohs(name.sin_port));
    fflush(stdout);
    int fd = take_client(listener);
    start_helper();
    while (read(fd, text, sizeof text) > 0)
        ;
    finish(fd);
    return read(0, text, 1) < 0;
}
"""


def test_children_that_ran_before_are_told_to_be_untraced(engine: str) -> None:
    if ENGINES[engine].missing():
        pytest.skip(f"{engine} does not work here")
    text = "import os\nchild = os.fork()\nif child: print(child, flush=True)\nos.read(0, 1)"
    with ExitStack() as left:
        streams: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        parent = left.enter_context(subprocess.Popen([sys.executable, "-c", text], **streams))
        assert parent.stdin and parent.stdout
        left.callback(parent.stdin.close)
        child = int(parent.stdout.readline())
        report = attach([parent.pid], engine=engine, bounds=Bounds(duration=0.2))
        both = attach([parent.pid, child], engine=engine, bounds=Bounds(duration=0.2))

    told = [gap.try_ for gap in report.gaps if gap.what == "children not traced"]
    assert told == [f"tracecorr attach {parent.pid} {child}"]
    assert "children not traced" not in [gap.what for gap in both.gaps]


KEEPS = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
connection, _ = listener.accept()
connection.send(b"hello")
while connection.recv(100):
    pass
sys.stdin.readline()
"""


def test_a_connection_that_its_peer_has_reset_is_held_against_nobody(engine: str) -> None:
    streams: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", KEEPS], **streams) as program, ExitStack() as left:
        left.callback(program.kill)
        assert program.stdout
        port = int(program.stdout.readline())
        with tracecorr_running("attach", program.pid, "--engine", engine, "--format", "jsonl") as running:
            wait_for(lambda: _is_followed(engine, program.pid, running), "the engine is in place")
            client = left.enter_context(socket.create_connection(("127.0.0.1", port)))
            assert client.recv(100) == b"hello"
            client.shutdown(socket.SHUT_WR)
            events = lines_of(running)
            first = next(event["verdict"] for event in events if event["event"] == "new")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            ended = next(event for event in events if event["event"] == "ended")
            running.send_signal(signal.SIGINT)
            report = list(events)[-1]["report"]

    assert first["cause"] == "eof-ignored" and first["culprit"]["pid"] == program.pid
    assert ended["verdict"]["culprit"] == first["culprit"]
    assert [verdict["released_by"] for verdict in report["verdicts"]] in ([], ["reset"])


def test_a_process_that_goes_on_without_its_first_thread_is_followed(engine: str) -> None:
    with headless() as (process, fd):
        report = attach([process.pid], engine=engine, bounds=Bounds(duration=1.5))
        looked = scan([process.pid])

    for verdicts in (report.verdicts, looked.verdicts):
        (verdict,) = verdicts
        assert [(holder.pid, holder.fd) for holder in verdict.holders] == [(process.pid, fd)]
        assert verdict.culprit is not None and (verdict.culprit.pid, verdict.culprit.fd) == (process.pid, fd)


def _causes(events: Iterator[dict[str, Any]]) -> Iterator[str]:
    return (event["verdict"]["cause"] for event in events)


@pytest.mark.skipif(shutil.which("cc") is None, reason="cc is not installed")
def test_stacks_name_the_functions_that_accepted_forked_and_closed(tmp_path: Path, engine: str) -> None:
    chosen = ENGINES[engine]
    if not chosen.STACKS or chosen.missing(stacks=True):
        pytest.skip(f"{engine} cannot tell stacks here")
    source = tmp_path / "server.c"
    source.write_text(SERVER_IN_C)
    subprocess.run(["cc", "-g", "-o", tmp_path / "server", source], check=True)
    streams: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([tmp_path / "server"], **streams) as program, ExitStack() as left:
        left.callback(program.kill)
        assert program.stdin and program.stdout
        port = int(program.stdout.readline())
        seen = tmp_path / "seen.jsonl"
        args = ("attach", program.pid, "--engine", engine, "--stacks", "--format", "jsonl", "--record", seen)
        with tracecorr_running(*args) as running:
            # A tracer that has come does not stop a call that returns at that moment.
            wait_for(lambda: seen.exists() and b'["fd",' in seen.read_bytes(), "the engine has the picture")
            socket.create_connection(("127.0.0.1", port)).close()
            events = lines_of(running)
            # Telling the stacks is slow: the server may not have got to its close when it is stuck first.
            causes = list(takewhile(lambda cause: cause != "inherited-copy", _causes(events)))
            assert set(causes) <= {"eof-ignored", "never-reads-eof", "unexplained"}
            running.send_signal(signal.SIGINT)
            verdict = list(events)[-1]["report"]["verdicts"][0]

    calls = " ".join(each["call"] or "" for each in verdict["evidence"])
    assert verdict["cause"] == "inherited-copy"
    assert [name for name in ("take_client()", "start_helper()", "finish()") if f"in {name}" not in calls] == [], calls
