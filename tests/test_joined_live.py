"""Real runs, recorded by strace, tcpdump and ss at once, or by strace on two hosts: one report from all of it."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tracecorr
from tracecorr.verdicts.report import Report, Verdict

ROOT = Path(__file__).parents[1]
TOOLS = [tool for tool in ("strace", "tcpdump", "ss", "ip", "unshare") if shutil.which(tool) is None]
SKEW = 37.5

pytestmark = [
    pytest.mark.skipif(bool(TOOLS), reason=f"not installed: {', '.join(TOOLS)}"),
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces and captures need root"),
]


def run(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150, check=False)
    if "Operation not permitted" in done.stderr:
        pytest.skip(f"not permitted here: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr


def witnessed(scenario: str, out: Path) -> tuple[dict[str, Any], list[Path]]:
    """Record a scenario in a network namespace of its own; return the truth, and the log, the capture, the listing."""
    recorder = f"exec {sys.executable} fixtures/witness.py {scenario} --out {out}"
    run("unshare", "--net", "sh", "-c", f"ip link set lo up && {recorder}")
    return json.loads((out / "truth.json").read_text()), [out / name for name in ("log", "capture.pcap", "ss.txt")]


def skewed(path: Path) -> Path:
    """Return a copy of a capture whose clock was SKEW seconds ahead."""
    data, place = bytearray(path.read_bytes()), 24
    while place < len(data):
        whole, micro, size, _ = struct.unpack_from("<IIII", data, place)
        at = whole * 10**6 + micro + round(SKEW * 1e6)
        struct.pack_into("<II", data, place, at // 10**6, at % 10**6)
        place += 16 + size
    copy = path.with_name("skewed.pcap")
    copy.write_bytes(data)
    return copy


def parse(*paths: Path) -> Report:
    return tracecorr.parse(paths, stuck_after=0.3)


def clock(report: Report) -> tuple[float, float]:
    """Return how far the capture's clock is ahead, and how precise that is, as the report says: seconds."""
    (source,) = [source for source in report.sources if source.format == "pcap"]
    assert source.offset is not None and source.contributed is not None
    said = re.search(r"± ([\d.]+) ms", source.contributed)
    assert said is not None, source.contributed
    return source.offset, float(said[1]) / 1000 + 1e-6


def at(report: Report, local: str, peer: str) -> list[Verdict]:
    return [verdict for verdict in report.verdicts if (verdict.socket.local, verdict.socket.peer) == (local, peer)]


def sources(verdict: Verdict) -> set[str]:
    return {Path(item.source).name for item in verdict.evidence if item.source is not None}


@pytest.mark.parametrize(
    "scenario", ["eof_ignored__selectors_loop", "inherited_copy__forked_worker", "never_reads_eof__forgotten_in_poll"]
)
def test_log_capture_and_listing_give_one_verdict_and_the_offset_of_their_clocks(scenario: str, tmp_path: Path) -> None:
    truth, paths = witnessed(scenario, tmp_path / "run")
    report = parse(*paths)
    assert truth["expected"]
    for row in truth["expected"]:
        (verdict,) = at(report, row["local"], row["peer"])
        assert (verdict.cause, verdict.confidence) == (truth["cause"], "certain"), verdict
        assert verdict.culprit is not None and verdict.culprit.pid in {one["pid"] for one in row["culprits"]}
        assert sources(verdict) == {"log", "capture.pcap", "ss.txt"}
    assert len(report.verdicts) == len(truth["expected"])
    offset, precision = clock(report)
    assert abs(offset) <= precision
    again = parse(paths[0], skewed(paths[1]), paths[2])
    later, _ = clock(again)
    assert abs(later - offset - SKEW) < 1e-6
    assert abs(later - SKEW) <= max(precision, 0.001)
    assert [(v.cause, v.culprit) for v in again.verdicts] == [(v.cause, v.culprit) for v in report.verdicts]


@pytest.mark.parametrize(("how", "word"), [("close", "closed it"), ("shutdown", "shut down its sending side")])
def test_logs_of_two_hosts_give_one_report_that_names_both_ends(how: str, word: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(sys.executable, "fixtures/two_hosts.py", "--out", str(out), "--how", how)
    report = tracecorr.parse([out / "server.log", out / "client.log"])
    (verdict,) = report.verdicts
    assert verdict.cause == "eof-ignored" and verdict.socket.local == "192.0.2.10:8080"
    assert sources(verdict) == {"server.log", "client.log"}
    assert f"in client.log, {word} and its end sits in FIN_WAIT_2" in verdict.summary
    (client,) = [source for source in report.sources if source.name.endswith("client.log")]
    assert client.offset is not None and abs(client.offset) < 0.005
    assert client.contributed is not None and "the other end of 1 connection" in client.contributed


def test_a_capture_tells_that_the_peer_of_a_half_close_still_reads(tmp_path: Path) -> None:
    _, paths = witnessed("still_sending__half_close", tmp_path / "run")
    report = parse(*paths)
    (verdict,) = report.verdicts
    assert (verdict.cause, verdict.fault) == ("still-sending", False)
    assert "acknowledges" in verdict.summary
    assert "capture.pcap" in sources(verdict) and report.exit_code == 0


def test_a_fin_that_waits_behind_a_closed_window_is_not_this_sides_fault(tmp_path: Path) -> None:
    out = tmp_path / "run"
    recorder = f"exec {sys.executable} fixtures/closed_window.py --out {out}"
    run("unshare", "--net", "sh", "-c", f"ip link set lo up && {recorder}")
    assert parse(out / "log").verdicts == ()
    report = parse(out / "log", out / "capture.pcap")
    (verdict,) = report.verdicts
    assert (verdict.cause, verdict.fault, verdict.confidence) == ("lingering-fin", False, "certain")
    assert verdict.owner is not None and verdict.owner.closed_at is not None
    assert sources(verdict) == {"log", "capture.pcap"} and report.exit_code == 0


ROUTED = ("server.log", "client.log", "near_client.pcap", "near_server.pcap", "server.txt", "client.txt")


def routed(how: str, out: Path) -> dict[tuple[str, ...], Report]:
    """Record with a router between the hosts, and return a report for every choice of what was recorded."""
    if shutil.which("nft") is None:
        pytest.skip("not installed: nft")
    run(sys.executable, "fixtures/router.py", "--out", str(out), "--how", how)
    choices = [names for size in range(1, len(ROUTED) + 1) for names in itertools.combinations(ROUTED, size)]
    return {names: tracecorr.parse([out / name for name in names]) for names in choices}


def test_through_a_nat_nothing_is_joined_that_is_not_one_and_nobody_else_is_accused(tmp_path: Path) -> None:
    reports = routed("nat", tmp_path / "run")
    for names, report in reports.items():
        found = [(verdict.cause, verdict.socket.local) for verdict in report.verdicts]
        assert found == [("eof-ignored", "198.51.100.10:8080")] * (4 if {"server.log", "server.txt"} & {*names} else 0)
        gaps = {gap.what for gap in report.gaps}
        apart = {"server.log", "near_client.pcap"} <= {*names} and not {"near_server.pcap", "client.log"} & {*names}
        assert not apart or "not joined" in gaps, names
    (source,) = [s for s in reports["server.log", "near_client.pcap"].sources if s.name.endswith("pcap")]
    assert source.contributed is None and source.offset is None


def test_a_fin_that_was_lost_on_the_way_accuses_nobody(tmp_path: Path) -> None:
    reports = routed("lost", tmp_path / "run")
    # That the client's own FIN does not get through is true, and nobody's fault.
    assert {names: report.verdicts for names, report in reports.items() if any(v.blamed for v in report.verdicts)} == {}
    assert {v.cause for report in reports.values() for v in report.verdicts} <= {"lingering-fin"}
    for names in (("server.log", "client.log"), ("near_client.pcap", "server.txt"), ROUTED):
        assert "a FIN did not arrive" in {gap.what for gap in reports[names].gaps}, names
