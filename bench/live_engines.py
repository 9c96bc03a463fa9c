"""What tracing costs a busy server: nginx (one worker) under wrk, untraced and under each tracer.

    python -m bench.live_engines [--rounds N] [--seconds S] [--only NAME,…]

Every round measures every tracer once with connections that are kept and once with a connection for each request,
untraced first and last, so that what else the machine does falls on all alike.  Shown is the median, over the rounds,
of the throughput under a tracer divided by that of the untraced runs of the same round.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.busy import CLIENTS, NGINX, PATIENCE, QUIET, BenchFailed, free_port, wait_for
from tracecorr.sources.engines import ENGINES

ROOT = Path(__file__).resolve().parent.parent
SETTLE = 0.7  # seconds from the start of a tracer to the measurement


@contextmanager
def nginx(place: Path) -> Iterator[tuple[int, int]]:
    """nginx with one worker; gives the worker's process and the port."""
    port = free_port()
    (place / "index.html").write_text("x" * 600)
    (place / "nginx.conf").write_text(NGINX.format(port=port, place=place, user="user root;" * (os.getuid() == 0)))
    command = ["nginx", "-p", str(place), "-c", str(place / "nginx.conf")]
    with subprocess.Popen(command, **QUIET, stdin=subprocess.DEVNULL) as master:
        try:
            wait_for(port, master)
            worker = Path(f"/proc/{master.pid}/task/{master.pid}/children").read_text().split()[0]
            yield int(worker), port
        finally:
            master.terminate()
            master.wait(PATIENCE)


def tracers(pid: int, place: Path) -> dict[str, list[str]]:
    """The command of each tracer that is there."""
    engines = [name for name, engine in ENGINES.items() if not engine.missing()]
    found = {
        name: [sys.executable, "-m", "tracecorr", "attach", str(pid), "--engine", name, "-q", "-o", os.devnull]
        for name in engines
    }
    if shutil.which("strace"):
        found["strace -f"] = ["strace", "-f", "-ttt", "-T", "-o", str(place / "log"), "-p", str(pid)]
    if shutil.which("perf"):
        found["perf trace"] = ["perf", "trace", "-o", str(place / "perf"), "-p", str(pid)]
    return found


@contextmanager
def traced(command: list[str] | None) -> Iterator[None]:
    """Run the tracer, if any, for as long as the block takes."""
    if command is None:
        yield
        return
    with subprocess.Popen(command, cwd=ROOT, **QUIET, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as running:
        time.sleep(SETTLE)
        if running.poll() is not None:
            raise BenchFailed(f"{command[0]} ended with {running.returncode}")
        try:
            yield
        finally:
            running.send_signal(signal.SIGINT)
            running.wait(PATIENCE)


def throughput(port: int, seconds: int, *, kept: bool) -> float:
    """Requests a second that wrk got answered."""
    header = [] if kept else ["-H", "Connection: close"]
    command = ["wrk", "-t1", f"-c{CLIENTS}", f"-d{seconds}s", *header, f"http://127.0.0.1:{port}/"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if found is None:
        raise BenchFailed(f"wrk says: {said}")
    return float(found[1])


def measure(rounds: int, seconds: int, only: list[str]) -> dict[tuple[str, bool], list[float]]:
    """Ratios to untraced throughput, by tracer and kind of connections."""
    shares: dict[tuple[str, bool], list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="tracecorr-bench-") as name, nginx(Path(name)) as (pid, port):
        commands = {who: how for who, how in tracers(pid, Path(name)).items() if not only or who in only}
        throughput(port, seconds, kept=True)  # warm
        for number in range(rounds):
            for kept in (True, False):
                before = throughput(port, seconds, kept=kept)
                found = {who: _one(how, port, seconds, kept=kept) for who, how in commands.items()}
                base = (before + throughput(port, seconds, kept=kept)) / 2
                for who, requests in found.items():
                    shares.setdefault((who, kept), []).append(requests / base)
                told = "kept" if kept else "one request each"
                sys.stderr.write(f"round {number + 1}, {told}: untraced {base:,.0f}/s\n")
    return shares


def _one(command: list[str], port: int, seconds: int, *, kept: bool) -> float:
    with traced(command):
        return throughput(port, seconds, kept=kept)


def table(shares: dict[tuple[str, bool], list[float]]) -> str:
    """A row a tracer: the median share of throughput that is left, with the least and the most."""
    lines = [f"{'':<12}{'kept connections':>26}{'a connection each':>26}"]
    for who in dict.fromkeys(who for who, _ in shares):
        cells = [
            f"{statistics.median(s):.3f} ({min(s):.3f} to {max(s):.3f})"
            for s in (shares[who, True], shares[who, False])
        ]
        lines.append(f"{who:<12}{cells[0]:>26}{cells[1]:>26}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="live_engines", description="Measure what tracing costs nginx.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--only", default="", help="tracers, with commas between them")
    given = parser.parse_args()
    if not all(map(shutil.which, ("nginx", "wrk"))):
        sys.stderr.write("bench: nginx and wrk are needed (Debian: apt install nginx-light wrk)\n")
        return 3
    try:
        only = [name for name in given.only.split(",") if name]
        sys.stdout.write(table(measure(given.rounds, given.seconds, only)) + "\n")
    except BenchFailed as error:
        sys.stderr.write(f"bench: {error}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
