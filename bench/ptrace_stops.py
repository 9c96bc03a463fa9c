"""What a stop costs: a program that makes a call without a meaning again and again, under each way to trace by ptrace.

    python -m bench.ptrace_stops [--rounds N] [--calls N]

Every round runs each of them once, so that what else the machine does falls on all alike.  Shown are the median, the
least and the most of the microseconds that one call took the traced program.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tracecorr.sources import ptrace_engine
from tracecorr.sources.ptrace_tracing import PtraceTracing

SOURCE = Path(__file__).resolve().parent.parent / "fixtures" / "tracees" / "loop.c"


def output_of(run: Callable[[], object]) -> float:
    """What the program prints while we run it, in microseconds; our own standard output is away meanwhile."""
    with tempfile.TemporaryFile() as file:
        kept = os.dup(1)
        os.dup2(file.fileno(), 1)
        try:
            run()
        finally:
            os.dup2(kept, 1)
            os.close(kept)
        file.seek(0)
        return float(file.read()) / 1000


def drained(tracing: PtraceTracing) -> None:
    for _ in tracing.records(0.2):
        pass
    tracing.close()


def ways(command: list[str]) -> dict[str, Callable[[], object]]:
    """How to run the command under each tracer."""
    found: dict[str, Callable[[], object]] = {
        "untraced": lambda: subprocess.run(command, check=True),
        "ptrace": lambda: drained(ptrace_engine.launch(command)),
        "ptrace, filter": lambda: drained(ptrace_engine.launch_filtered(command)),
    }
    if shutil.which("strace"):
        found["strace -f"] = lambda: subprocess.run(["strace", "-f", "-o", os.devnull, *command], check=True)
        other = ["strace", "-f", "-e", "trace=close", "-o", os.devnull]
        found["strace -f -e"] = lambda: subprocess.run([*other, *command], check=True)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="ptrace_stops", description="Measure what a stop costs.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=20000)
    given = parser.parse_args()
    if ptrace_engine.missing() or not shutil.which("cc"):
        sys.stderr.write("bench: ptrace and cc are needed\n")
        return 3
    with tempfile.TemporaryDirectory(prefix="tracecorr-bench-") as place:
        program = f"{place}/loop"
        subprocess.run(["cc", "-O1", "-o", program, SOURCE], check=True)
        found = ways([program, str(given.calls)])
        costs: dict[str, list[float]] = {name: [] for name in found}
        for _ in range(given.rounds):
            for name, run in found.items():
                costs[name].append(output_of(run))
    for name, cost in costs.items():
        sys.stdout.write(f"{name:<16}{statistics.median(cost):8.2f} µs ({min(cost):.2f} to {max(cost):.2f})\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
