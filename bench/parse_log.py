"""How fast `tracecorr parse` reads a large log, beside the fastest thing that could be done with it, grep.

    python -m bench.parse_log [--size MB] [--runs N] [--server nginx|python]

A busy server is recorded with `strace -f -ttt -T`: nginx under wrk where both are installed, else the demo's server
under a client of ours, with connections that are kept and connections for one request in turn.  The recording is
repeated, with other process ids and later times, until the log is as large as asked for; the demo's leak comes last,
so that there is something to find.  The log is made once and kept in the directory for temporary files.

Measured are, one after the other and again, `LC_ALL=C grep -cE '(read|close|…)\\('` with the names of the calls that
tracecorr knows, and `tracecorr parse LOG --format json`; the medians are shown.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, NamedTuple

from bench.busy import FLAGS, MB, SERVERS, BenchFailed, record
from fixtures import demo_log
from tracecorr.syscalls.table import SYSCALLS

ROOT = Path(__file__).resolve().parent.parent


# The log.

LINE = re.compile(rb"(\d+)( +)(\d{9,})\.(\d{6})( .*\n?)", re.DOTALL)
# What else names a process: the results of these calls, and whose end a signal tells of.
NAMES = re.compile(rb"(?:(?:clone3?|v?fork|wait4|gettid|getpid)\b[^\n]* = |(?:si_pid|child_tid)=|execve in pid )(\d+)")


class Span(NamedTuple):
    """What one recording takes of process ids and of time (microseconds)."""

    lowest: int
    highest: int
    first: int
    last: int


def span(log: Path) -> Span:
    low, high, first, last = 1 << 62, 0, 1 << 62, 0
    with log.open("rb") as stream:
        for match in filter(None, map(LINE.match, stream)):
            pid, at = int(match[1]), int(match[3] + match[4])
            low, high, first, last = min(low, pid), max(high, pid), min(first, at), max(last, at)
    if not high:
        raise BenchFailed(f"{log.name} has no calls")
    return Span(low, high, first, last)


def copy(log: Path, of: Span, pids: int, later: int, out: BinaryIO) -> None:
    """Append the recording with its process ids and times moved on."""

    def renamed(match: re.Match[bytes]) -> bytes:
        pid = int(match[1])
        moved = b"%d" % (pid + pids) if of.lowest <= pid <= of.highest else match[1]
        return match[0][: match.start(1) - match.start()] + moved

    with log.open("rb") as stream:
        for line in stream:
            match = LINE.match(line)
            if match is None:
                out.write(line)
                continue
            seconds, micros = divmod(int(match[3] + match[4]) + later, 1_000_000)
            body = NAMES.sub(renamed, match[5])
            out.write(b"%d%s%d.%06d%s" % (int(match[1]) + pids, match[2], seconds, micros, body))


def compose(busy: Path, leak: Path, size: int, out: BinaryIO) -> None:
    """Write the busy recording as often as it takes, and the leak behind it."""
    first = span(busy)
    pids = first.highest - first.lowest + 1
    length = first.last - first.first + 1_000
    copies = max(1, round(size / busy.stat().st_size))
    for number in range(copies):
        copy(busy, first, number * pids, number * length, out)
    last = span(leak)
    end_of_pids, end_of_time = first.highest + copies * pids, first.first + copies * length
    copy(leak, last, end_of_pids - last.lowest, end_of_time - last.first, out)


def made(name: str, size: int) -> Path:
    """The log of that size, made now unless it is there."""
    log = store() / f"{name}-{size // MB}MB.log"
    if log.exists():
        return log
    sys.stderr.write(f"recording {name}, and writing {log}\n")
    with ExitStack() as stack:
        places = [Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tracecorr-bench-"))) for _ in range(2)]
        try:
            leak = demo_log.record(places[0], FLAGS)
        except demo_log.CannotRecord as error:
            raise BenchFailed(str(error)) from error
        busy = record(name, size, places[1])
        unfinished = stack.enter_context(log.with_suffix(".new").open("wb"))
        compose(busy, leak, size, unfinished)
    return log.with_suffix(".new").rename(log)


def store() -> Path:
    """Ours alone, in the directory for temporary files."""
    place = Path(tempfile.gettempdir()) / f"tracecorr-bench-{os.getuid()}"
    place.mkdir(mode=0o700, exist_ok=True)
    if place.lstat().st_uid != os.getuid() or place.is_symlink():
        raise BenchFailed(f"{place} is not ours")
    return place


# The measurement.


class Run(NamedTuple):
    """One run of one command: `processor` is the time of it and its children, `peak` the bytes of the largest."""

    seconds: float
    processor: float
    peak: int
    output: bytes


def run(command: list[str]) -> Run:
    """Run it with its output in a file, so that nothing waits for us."""
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, cwd=ROOT, env={**os.environ, "LC_ALL": "C"}
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in (0, 1):
            raise BenchFailed(f"{command[0]} ended with {process.returncode}")
        output.seek(0)
        peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return Run(seconds, usage.ru_utime + usage.ru_stime, peak, output.read())


def measure(log: Path, runs: int) -> str:
    pattern = rf"({'|'.join(SYSCALLS)})\("
    commands = {
        "grep": ["grep", "-cE", pattern, str(log)],
        "parse": [sys.executable, "-m", "tracecorr", "parse", str(log), "--format", "json"],
    }
    warm(log)
    done: dict[str, list[Run]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            done[name].append(run(command))
    return table(log, done)


def warm(log: Path) -> None:
    with log.open("rb", buffering=0) as stream:
        while stream.read(MB):
            pass


def table(log: Path, done: dict[str, list[Run]]) -> str:
    size = log.stat().st_size
    report = json.loads(done["parse"][-1].output)
    count = report["sources"][0]["lines"]
    median = {name: statistics.median(one.seconds for one in runs) for name, runs in done.items()}
    text = [f"{log}: {size / MB:.0f} MB, {count:,} lines, {report['sockets']['seen']:,} connections"]
    for name, seconds in median.items():
        each = " ".join(f"{one.seconds:.2f}" for one in done[name])
        processor = statistics.median(one.processor for one in done[name])
        speed = f"{size / MB / seconds:6.0f} MB/s {count / seconds:12,.0f} lines/s"
        text.append(f"{name:6} {seconds:7.2f} s {speed}   {processor:.2f} s of processor   ({each})")
    found = ", ".join(f"{number} {cause}" for cause, number in report["sockets"]["by_cause"].items()) or "nothing"
    peak = max(one.peak for one in done["parse"]) / MB
    ratio = median["parse"] / median["grep"]
    text.append(
        f"parse takes {ratio:.2f} times as long as grep; peak of its largest process {peak:.0f} MB; found {found}"
    )
    return "\n".join(text)


def main() -> int:
    parser = argparse.ArgumentParser(prog="parse_log", description="Measure parse beside grep on a large log.")
    parser.add_argument("--size", type=float, default=500, metavar="MB", help="of the log (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="of each command (default: %(default)s)")
    both = all(map(shutil.which, ("nginx", "wrk")))
    parser.add_argument("--server", choices=SERVERS, default="nginx" if both else "python")
    given = parser.parse_args()
    try:
        sys.stdout.write(measure(made(given.server, round(given.size * MB)), given.runs) + "\n")
    except BenchFailed as error:
        sys.stderr.write(f"bench: {error}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
