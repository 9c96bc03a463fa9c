"""How long `tracecorr scan` takes, and how much memory, beside ss, lsof and psutil, on hosts with much in CLOSE_WAIT.

    python -m bench.scan_host [--runs N] [--only SUBSTRING]

Hosts are made on loopback, in namespaces of our own where that is allowed, so that nothing else is seen: one process
with 10,000 or 15,000 connections in CLOSE_WAIT, 2,000 connections that 21 processes hold, and 1,000 idle processes with
ten connections.  Measured are, in turn and again, `tracecorr scan`, `ss -tanp state close-wait`, `lsof -nP -iTCP
-sTCP:CLOSE_WAIT` and a Python program that calls psutil.net_connections; the medians are shown, with the number of
(connection, holder) pairs that each of them tells.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import resource
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
INSIDE = "TRACECORR_BENCH_ALONE"
SIOCSIFFLAGS = 0x8914
IFF_UP_RUNNING_LOOPBACK = 0x49  # linux/if.h
PIECE = 1 << 20
PSUTIL = (
    "import psutil\n"
    "for c in psutil.net_connections('tcp'):\n"
    "    if c.status == 'CLOSE_WAIT': print(c.laddr.port, c.raddr.port, c.pid, c.fd)"
)


class BenchFailed(Exception):
    """Nothing can be measured here, and why."""


class Host(NamedTuple):
    """What is made: connections in CLOSE_WAIT, how many more processes hold copies, how many are idle."""

    connections: int
    copies: int = 0
    idle: int = 0


HOSTS = {
    "10,000 connections, 1 process": Host(10_000),
    "15,000 connections, 1 process": Host(15_000),
    "2,000 connections x 21 processes": Host(2_000, copies=20),
    "10 connections, 1,000 idle processes": Host(10, idle=1_000),
}


class Measured(NamedTuple):
    """One run: wall-clock and processor seconds, the largest resident set in MB, the pairs that it told."""

    wall: float
    cpu: float
    memory: float
    pairs: int


# The host: made by a child that is the server, with a child that is the client.


@contextmanager
def host(of: Host) -> Iterator[None]:
    """Make the host, and end all of its processes."""
    readable, writable = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setpgid(0, 0)
            serve(of, writable)
        finally:
            os._exit(1)
    os.close(writable)
    try:
        with os.fdopen(readable, "rb") as pipe:
            if pipe.read(5) != b"ready":
                raise BenchFailed("the host could not be made: see the limit of descriptors (ulimit -n)")
            yield
    finally:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)


def serve(of: Host, ready: int) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    ends, pipe = [], os.pipe()
    if not os.fork():
        connect(of.connections, listener.getsockname()[1], pipe)
    for _ in range(of.connections):
        ends.append(listener.accept()[0])
    os.write(pipe[1], b"x")
    for _ in range(of.copies + of.idle):
        if not os.fork():
            if _ >= of.copies:
                os.closerange(3, of.connections + 100)
            signal.pause()
    time.sleep(1.5)  # the ends of file must be older than the second that counts as stuck
    os.write(ready, b"ready")
    signal.pause()


def connect(number: int, port: int, pipe: tuple[int, int]) -> None:
    ends = [socket.create_connection(("127.0.0.1", port)) for _ in range(number)]
    os.read(pipe[0], 1)
    for end in ends:
        end.shutdown(socket.SHUT_WR)
    signal.pause()


# The tools.


def pairs_of_scan(text: str) -> int:
    return text.count('"how":')


def pairs_of_ss(text: str) -> int:
    return text.count("pid=")


def pairs_of_lines(text: str) -> int:
    return int("CLOSE_WAIT" in text or text[:1].isdigit())


TOOLS: dict[str, tuple[list[str], Callable[[str], int] | None]] = {
    "tracecorr scan": ([sys.executable, "-m", "tracecorr", "scan"], None),
    "tracecorr scan, JSON": ([sys.executable, "-m", "tracecorr", "scan", "--format", "json"], pairs_of_scan),
    "ss -tanp": (["ss", "-tanp", "state", "close-wait"], pairs_of_ss),
    "lsof": (["lsof", "-nP", "-iTCP", "-sTCP:CLOSE_WAIT"], pairs_of_lines),
    "psutil": ([sys.executable, "-c", PSUTIL], pairs_of_lines),
}


def measure(command: list[str], count: Callable[[str], int] | None) -> Measured:
    with tempfile.TemporaryFile("w+") as output:
        began = time.perf_counter()
        run = subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL, cwd=ROOT)
        _, _, usage = os.wait4(run.pid, 0)
        run.returncode = 0
        wall = time.perf_counter() - began
        output.seek(0)
        # Piece by piece: the largest resident set of a child is never below that of its parent before exec.
        pairs = sum(map(count, iter(lambda: output.readline(PIECE), ""))) if count is not None else 0
    return Measured(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000, pairs)


def rounds(runs: int) -> dict[str, list[Measured]]:
    found: dict[str, list[Measured]] = {}
    for _ in range(runs):
        for name, (command, count) in TOOLS.items():
            if shutil.which(command[0]):
                found.setdefault(name, []).append(measure(command, count))
    return found


def shown(name: str, runs: list[Measured]) -> str:
    wall, cpu, memory = (statistics.median(each[column] for each in runs) for column in range(3))
    pairs = f"{runs[0].pairs:>8,}" if runs[0].pairs else f"{'':>8}"
    return f"  {name:<22}{wall:>8.3f} s {cpu:>8.3f} s {memory:>8.1f} MB {pairs}"


def alone() -> None:
    """Begin again where nobody else is, if that is allowed: what others have would be looked at, too."""
    unshare = shutil.which("unshare")
    if os.getuid() or unshare is None or INSIDE in os.environ:
        say("not alone: whatever else is on this host is looked at, too" if INSIDE not in os.environ else "")
        return
    os.environ[INSIDE] = "1"
    again = ["--net", "--pid", "--mount-proc", "--fork", sys.executable, "-m", "bench.scan_host", *sys.argv[1:]]
    os.execv(unshare, [unshare, *again])


def loopback() -> None:
    with socket.socket() as end:
        fcntl.ioctl(end, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP_RUNNING_LOOPBACK))


def say(text: str) -> None:
    if text:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="scan_host", description="Time scan beside ss, lsof and psutil.")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", default="", metavar="SUBSTRING", help="hosts whose name contains this")
    given = parser.parse_args()
    alone()
    if INSIDE in os.environ:
        loopback()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        for name, of in HOSTS.items():
            if given.only in name:
                with host(of):
                    found = rounds(given.runs)
                say(f"{name}\n  {'':<22}{'wall':>8}   {'cpu':>8}   {'memory':>8}    {'pairs told':>8}")
                say("\n".join(shown(tool, runs) for tool, runs in found.items()))
    except BenchFailed as error:
        sys.stderr.write(f"scan_host: {error}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
