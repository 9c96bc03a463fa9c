"""How fast captures are read, and in how much memory, beside tshark's reading of the same file.

    python -m bench.read_capture [--size MB] [--runs N] [--connections N]

Times are those of the processor, so that a busy machine does not count.  The capture is made once and kept in the
directory for temporary files: requests and answers of ordinary sizes, so many connections at once, each of 40 segments.
It is read as pcap, and as pcapng and snoop where editcap is installed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import BinaryIO

import click

MB = 1 << 20
FIN, SYN, PSH, ACK = 0x01, 0x02, 0x08, 0x10

# Who sends, with which flags, how much: a request and 18 pieces of an answer, each acknowledged.
SEGMENTS = [(0, SYN, 0), (1, SYN | ACK, 0), (0, ACK, 0), (0, PSH | ACK, 400)]
SEGMENTS += [(1, ACK, 1448), (0, ACK, 0)] * 16
SEGMENTS += [(0, FIN | ACK, 0), (1, ACK, 0), (1, FIN | ACK, 0), (0, ACK, 0)]

READ = (
    "import resource, sys, time\n"
    "from tracecorr.sources.blocks import Input\n"
    "from tracecorr.sources.captures import read_capture\n"
    "start = time.process_time()\n"
    "capture = read_capture(Input(sys.argv[1]))\n"
    "print(time.process_time() - start, capture.frames, len(capture.conversations),\n"
    "      resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
)


def make(file: Path, size: int, connections: int) -> None:
    """Write a capture of at least so many bytes."""
    with file.open("wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        batch = 0
        while out.tell() < size:
            write_batch(out, batch, connections)
            batch += 1


def write_batch(out: BinaryIO, batch: int, connections: int) -> None:
    ends = [
        (f"{10_000 + number % 50_000}", bytes([198, 51, 100, number // 50_000 % 250]), batch * 1_000_003)
        for number in range(connections)
    ]
    sequences = [[start, start + 7] for _, _, start in ends]
    for step, (sender, flags, size) in enumerate(SEGMENTS):
        for number, (port, address, _) in enumerate(ends):
            seq = sequences[number]
            addresses = [(address, int(port)), (bytes([192, 0, 2, 10]), 80)]
            (source, sport), (target, dport) = addresses[sender], addresses[1 - sender]
            body = struct.pack(
                ">HHIIHHHH", sport, dport, seq[sender] % 2**32, seq[1 - sender] % 2**32, 0x5000 | flags, 512, 0, 0
            ) + bytes(size)
            packet = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(body), step, 0x4000, 64, 6, 0, source, target)
            frame = bytes(12) + b"\x08\0" + packet + body
            out.write(struct.pack("<IIII", 1_700_000_000 + batch, step * 1000, len(frame), len(frame)) + frame)
            seq[sender] += size + bool(flags & SYN) + bool(flags & FIN)


def measure(file: Path, runs: int) -> None:
    """Print the median of so many readings."""
    seconds, frames, conversations, peak = [], 0, 0, 0
    for _ in range(runs):
        run = subprocess.run([sys.executable, "-c", READ, str(file)], check=True, capture_output=True, text=True)
        took, *counts = run.stdout.split()
        seconds.append(float(took))
        frames, conversations, peak = map(int, counts)
    took, size = statistics.median(seconds), file.stat().st_size / MB
    click.echo(
        f"{file.suffix[1:]:7} {size:6.0f} MB  {frames:,} frames, {conversations:,} connections  {took:6.1f} s  "
        f"{frames / took:9,.0f} frames/s  {size / took:6.1f} MB/s  {peak // 1024} MB of memory"
    )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", type=int, default=120, help="in MB")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--connections", type=int, default=200, help="at once")
    args = parser.parse_args()
    file = Path(tempfile.gettempdir()) / f"tracecorr-bench-{os.getuid()}-{args.size}-{args.connections}.pcap"
    if not file.exists():
        make(file, args.size * MB, args.connections)
    files = [file]
    if shutil.which("editcap") is not None:
        for form in ("pcapng", "snoop"):
            files.append(file.with_suffix(f".{form}"))
            subprocess.run(["editcap", "-F", form, str(file), str(files[-1])], check=True)
    for each in files:
        measure(each, args.runs)
    if shutil.which("tshark") is not None:
        start = time.perf_counter()
        subprocess.run(["tshark", "-n", "-r", str(file), "-Y", "tcp.flags.fin"], check=True, capture_output=True)
        click.echo(f"tshark  {time.perf_counter() - start:.1f} s for the FINs alone")


if __name__ == "__main__":
    main()
