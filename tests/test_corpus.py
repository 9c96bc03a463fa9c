"""The corpus beside the project, where there is one: real logs are read, and nobody is accused who held nothing."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

import tracecorr
from tracecorr.errors import TracecorrError
from tracecorr.events import ConnectionAccepted, TaskCreated
from tracecorr.sources.all import LOG_FORMATS
from tracecorr.sources.base import Tally
from tracecorr.syscalls.decode import decode
from tracecorr.verdicts.report import Report, Verdict

CORPUS = Path(__file__).parents[2] / "shared" / "corpus"
INDEX = CORPUS / "INDEX.tsv"

pytestmark = pytest.mark.skipif(not INDEX.exists(), reason="no corpus beside the project (../shared/corpus)")

# Of what the index calls truss, FreeBSD's and AIX's are formats of their own.
OTHER_TRUSS = ("freebsd", "aix", "FreeBSD", "AIX")

# What the index calls a tool, as the formats are called; the rest are listings, captures, and ltrace.
FORMATS = {
    "truss FreeBSD": "truss-freebsd", "truss AIX": "truss-aix", "ktrace/kdump": "kdump", "dtruss": "dtruss",
    "tusc": "tusc", "perf trace": "perf-trace",
}  # fmt: skip

# Lines of processes whose calls have wrong names, which are left unread.
MISNAMED = 22

# Not logs of calls, or of another tool that happens to be called so.
UNREADABLE = {"strace/strace-6.1_misc-c-w.txt"}


def rows() -> list[dict[str, str]]:
    if not INDEX.exists():
        return []
    with INDEX.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def of_tool(row: dict[str, str]) -> bool:
    tool, name = row["tool"], row["file"]
    solaris = tool.startswith("truss") and not any(other in name + row["os"] for other in OTHER_TRUSS)
    return tool.startswith("strace") or solaris


def format_of(row: dict[str, str]) -> str | None:
    if row["tool"].startswith("strace"):
        return "strace"
    if row["tool"].startswith("truss") and of_tool(row):
        return "truss-solaris"
    tool = f"{row['tool']} {row['os']}"
    return next((name for start, name in FORMATS.items() if tool.startswith(start)), None)


LOGS = [row["file"] for row in rows() if of_tool(row)]
OTHERS = {row["file"]: format_ for row in rows() if (format_ := format_of(row)) is not None and not of_tool(row)}
NO_LOGS = [row["file"] for row in rows() if format_of(row) is None and row["tool"] != "tracecorr"]
TRUTHS = sorted(path.parent.name for path in CORPUS.glob("cases/*/truth.json"))

# Their logs hold all that a verdict needs: the end of file, the fork or the duplicate, and who holds it at the end.
SUFFICIENT = [
    "leak", "forkhold", "forkclose", "dup", "closerange", "clone3", "pidfd", "epoll", "poll", "sendfile", "shutrd",
    "v4mapped", "halfclose", "container-inner", "container-outer",
]  # fmt: skip

# The trace was made inside a pid namespace, the listing outside of it: only numbers of descriptors can be compared.
OTHER_NAMESPACE = {"container-inner"}

CAUSES = {
    "leak": "eof-ignored", "forkhold": "inherited-copy", "forkclose": "inherited-copy", "dup": "duplicate-kept",
    "closerange": "duplicate-kept", "clone3": "inherited-copy", "pidfd": "inherited-copy", "epoll": "eof-ignored",
    "poll": "eof-ignored", "sendfile": "eof-ignored", "shutrd": "eof-ignored", "v4mapped": "eof-ignored",
    "halfclose": "eof-ignored", "container-inner": "inherited-copy", "container-outer": "inherited-copy",
}  # fmt: skip


def truth(case: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((CORPUS / "cases" / case / "truth.json").read_text())
    return document


def stuck(case: str) -> set[tuple[int | None, int]]:
    """Return who held a connection in CLOSE_WAIT when the listing was taken."""
    held = truth(case).get("holders_at_snapshot", [])
    return {
        (None if case in OTHER_NAMESPACE else holder["pid"], holder["fd"])
        for holder in held
        if holder["state"] == "CLOSE_WAIT"
    }


def report_on(case: str) -> Report:
    return tracecorr.parse([CORPUS / "cases" / case / "strace.txt"])


def accused(case: str, report: Report) -> set[tuple[int | None, int | None]]:
    return {
        (None if case in OTHER_NAMESPACE else verdict.culprit.pid, verdict.culprit.fd)
        for verdict in report.verdicts
        if verdict.culprit is not None and verdict.fault
    }


def test_a_connection_that_was_passed_on_and_reset_at_the_end_was_stuck_since_the_captured_fin() -> None:
    report = tracecorr.parse([CORPUS / "cases" / "scm"])

    assert {(verdict.cause, verdict.detail) for verdict in report.verdicts} == {("inherited-copy", "fd-passed")}
    assert accused("scm", report) == stuck("scm")
    assert all(verdict.stuck_for is not None and verdict.stuck_for > 0.5 for verdict in report.verdicts)


def test_a_clients_connection_is_found_in_listings_by_its_holder_and_then_in_the_capture() -> None:
    report = tracecorr.parse([CORPUS / "cases" / "clientpool"])

    told = {(v.cause, v.detail, v.fault, v.culprit and v.culprit.fd, v.released_by) for v in report.verdicts}
    assert told == {("never-reads-eof", "idle-pool", False, fd, "exit") for fd in (3, 4)}
    assert all({"strace.txt", "lsof.txt", "capture.pcap"} <= names(verdict) for verdict in report.verdicts)


def names(verdict: Verdict) -> set[str]:
    """The files that its evidence is from."""
    return {Path(each.source).name for each in verdict.evidence}


def test_the_index_names_logs_and_they_are_there() -> None:
    assert len(LOGS) > 100
    assert [name for name in LOGS if not (CORPUS / name).exists()] == []


@pytest.mark.parametrize("name", LOGS)
def test_a_real_log_is_read(name: str) -> None:
    path = CORPUS / name
    try:
        report = tracecorr.parse([path])
    except TracecorrError as error:
        assert name in UNREADABLE or "composed" in name, error
        return
    (source,) = report.sources
    lines = path.read_bytes().splitlines()
    assert source.lines == len(lines)
    assert source.skipped <= max(3, len(lines) // 8), source.unread
    list(tracecorr.timeline([path]))


@pytest.mark.parametrize("name", OTHERS)
def test_a_log_of_another_tracer_is_what_the_index_says(name: str) -> None:
    path = CORPUS / name
    lines = path.read_bytes().splitlines()
    head = path.read_bytes().split(b"\n")
    assert [format_ for format_, reader in LOG_FORMATS.items() if reader.recognises(head)] == [OTHERS[name]]
    report = tracecorr.parse([path])
    (source,) = report.sources
    assert (source.format, source.lines) == (OTHERS[name], len(lines))
    assert source.skipped <= (MISNAMED if "misnamed" in name else 2), source.unread
    list(tracecorr.timeline([path]))


def test_the_lies_of_an_old_truss_make_no_forks() -> None:
    path = CORPUS / "truss-freebsd9-fork-misnamed-child.txt"
    made = list(decode(LOG_FORMATS["truss-freebsd"].read([path.read_bytes()], Tally("log", ""))))
    children = [event.child.pid for event in made if isinstance(event, TaskCreated)]
    assert children == [8965, 8974, 8983]
    assert not any(isinstance(event, ConnectionAccepted) for event in made)
    assert "calls under wrong names" in {gap.what for gap in tracecorr.parse([path]).gaps}


@pytest.mark.parametrize("name", [name for name in NO_LOGS if name.endswith(".txt")])
def test_what_is_no_log_of_calls_is_claimed_by_no_format_for_logs(name: str) -> None:
    head = (CORPUS / name).read_bytes()[: 1 << 16].split(b"\n")
    assert [format_ for format_, reader in LOG_FORMATS.items() if reader.recognises(head)] == []


@pytest.mark.parametrize("case", TRUTHS)
def test_nobody_is_accused_who_held_nothing(case: str) -> None:
    report = report_on(case)
    assert accused(case, report) <= stuck(case)


@pytest.mark.parametrize("case", SUFFICIENT)
def test_a_holder_is_named_where_the_log_suffices(case: str) -> None:
    report = report_on(case)
    assert accused(case, report) & stuck(case)
    assert {verdict.cause for verdict in report.verdicts} == {CAUSES[case]}


@pytest.mark.parametrize("case", SUFFICIENT)
def test_every_holder_is_named_where_the_log_suffices(case: str) -> None:
    assert accused(case, report_on(case)) == stuck(case)


def test_what_no_tracer_of_calls_sees_is_told_as_a_gap() -> None:
    assert "io_uring" in {gap.what for gap in report_on("uring").gaps}
    assert report_on("attachlate").gaps


def test_logs_of_one_program_by_every_version_accuse_alike() -> None:
    versions = ("4.20", "5.3", "6.8")
    found = {}
    for version in versions:
        report = tracecorr.parse([CORPUS / "strace" / f"strace-{version}_f-o.txt"])
        found[version] = sorted((verdict.cause, verdict.detail or "") for verdict in report.verdicts)
    assert len({tuple(verdicts) for verdicts in found.values()}) == 1, found
    assert found["6.8"]
