"""A busy server under strace: nginx under wrk, or the demo's server under a client of ours."""

from __future__ import annotations

import math
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tracecorr import demo

MB = 1_000_000
FLAGS = ("-f", "-ttt", "-T")
LARGEST_RECORDING = 24 * MB
LONGEST_RECORDING = 60.0
CLIENTS = 16
PATIENCE = 10.0
# A session of its own, so that strace and the server can be ended together, and by us alone.
QUIET: dict[str, Any] = {"stderr": subprocess.DEVNULL, "start_new_session": True}


class BenchFailed(Exception):
    """Nothing can be measured here, and why."""


# The servers: started under strace, with which they end.


@contextmanager
def nginx(log: Path, place: Path) -> Iterator[int]:
    """nginx with one worker, under strace; gives its port."""
    port = free_port()
    (place / "index.html").write_text("x" * 600)
    (place / "nginx.conf").write_text(NGINX.format(port=port, place=place, user="user root;" * (os.getuid() == 0)))
    command = ["strace", *FLAGS, "-o", str(log), "nginx", "-p", str(place), "-c", str(place / "nginx.conf")]
    with subprocess.Popen(command, **QUIET, stdin=subprocess.DEVNULL) as strace:
        try:
            wait_for(port, strace)
            yield port
        finally:
            if (place / "nginx.pid").exists():
                os.kill(int((place / "nginx.pid").read_text()), signal.SIGTERM)
            end(strace)


NGINX = """\
daemon off; {user} worker_processes 1; pid {place}/nginx.pid; error_log {place}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log off; keepalive_requests 100000; root {place};
    client_body_temp_path {place}; proxy_temp_path {place}; fastcgi_temp_path {place}; uwsgi_temp_path {place};
    scgi_temp_path {place};
    server {{ listen 127.0.0.1:{port}; }}
}}
"""


@contextmanager
def python(log: Path, place: Path) -> Iterator[int]:
    """The demo's server, which does not leak before it is told to, under strace; gives its port."""
    command = ["strace", *FLAGS, "-o", str(log), *demo.SERVE]
    with subprocess.Popen(command, **QUIET, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as strace:
        assert strace.stdin and strace.stdout
        try:
            port = strace.stdout.readline()
            if not port:
                raise BenchFailed("the server does not start under strace")
            yield int(port)
        finally:
            strace.stdin.close()
            end(strace)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except OSError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise BenchFailed("nginx does not start under strace") from error
            time.sleep(0.05)


def end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


# The loads: for a while, until the log has grown as large as it must.

Full = Callable[[], bool]


def wrk(port: int, full: Full, *, kept: bool) -> None:
    """wrk, with connections that are kept or one for each request."""
    header = [] if kept else ["-H", "Connection: close"]
    command = ["wrk", "-t1", f"-c{CLIENTS}", "-d1s", *header, f"http://127.0.0.1:{port}/"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
        while running.poll() is None:
            if full():
                running.terminate()
            time.sleep(0.01)


def lines(port: int, full: Full, *, kept: bool) -> None:
    """The same for a server that answers lines."""
    until = time.monotonic() + 1

    def client() -> None:
        while time.monotonic() < until and not full():
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
                for _ in range(50 if kept else 1):
                    connection.sendall(b"GET\n")
                    connection.recv(64)

    clients = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for each in clients:
        each.start()
    for each in clients:
        each.join()


SERVERS = {"nginx": (nginx, wrk), "python": (python, lines)}


def record(name: str, size: int, place: Path) -> Path:
    """Record a busy server until the log is large enough to be repeated, or to be all."""
    server, load = SERVERS[name]
    log = place / "busy.log"
    enough, deadline = size / math.ceil(size / LARGEST_RECORDING), time.monotonic() + LONGEST_RECORDING

    def full() -> bool:
        return log.stat().st_size >= enough or time.monotonic() > deadline

    with server(log, place) as port:
        kept = False
        while not full():
            load(port, full, kept=kept)
            kept = not kept
    return log
