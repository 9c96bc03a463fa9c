"""The corpus beside the project, where there is one: its listings, and all inputs of one case together."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import tracecorr
from tracecorr.sources.all import LOG_FORMATS
from tracecorr.sources.blocks import Input
from tracecorr.sources.captures import CAPTURES
from tracecorr.sources.listings.all import LISTINGS

CORPUS = Path(__file__).parents[2] / "shared" / "corpus"
INDEX = CORPUS / "INDEX.tsv"

pytestmark = pytest.mark.skipif(not INDEX.exists(), reason="no corpus beside the project (../shared/corpus)")

# What is no listing of sockets, and which format none of ours may take it for.
REJECTED = {"rmsock", "ps", "proc-fd-ls"}
# The word of the index, or of a file's name, for each format.
WORDS = {
    "netstat": "netstat", "ss": "ss", "lsof": "lsof", "lsfd": "lsfd", "pfiles": "pfiles", "fuser": "fuser",
    "proc-net-tcp": "proc-net-tcp",
}  # fmt: skip


def rows() -> list[dict[str, str]]:
    if not INDEX.exists():
        return []
    with INDEX.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def expected(name: str) -> str | None:
    words = Path(name).stem.replace("linux-", "").replace("_", "-").replace("tcp6", "tcp")
    if any(word in words for word in REJECTED):
        return None
    known = [word for word in WORDS if words.startswith(f"{word}-") or words == word or f"-{word}-" in words]
    return WORDS[max(known, key=len)] if known else None


def listings() -> list[str]:
    folders = ("listings/", "composed/", "captures/", "")
    named = [row["file"] for row in rows() if row["tool"].split()[0] in {*WORDS, *REJECTED, "net-tools", "iproute2",
                                                                         "procfs", "util-linux", "psmisc"}]  # fmt: skip
    beside = [str(path.relative_to(CORPUS)) for path in CORPUS.glob("cases/*/*.txt") if path.stem in WORDS]
    return sorted({name for name in named if name.startswith(folders)} | set(beside))


def claims(path: Path) -> list[str]:
    source = Input(str(path))
    try:
        lines = source.head.split(b"\n")[:400]
        return [name for name, format_ in {**LISTINGS, **LOG_FORMATS}.items() if format_.recognises(lines)] + [
            name for name, format_ in CAPTURES.items() if format_.recognises(source.head)
        ]
    finally:
        source.close()


@pytest.mark.parametrize("name", listings())
def test_one_format_alone_claims_a_listing_and_none_what_is_no_listing(name: str) -> None:
    wanted = expected(name)
    assert claims(CORPUS / name) == ([wanted] if wanted is not None else [])


@pytest.mark.parametrize("name", [row["file"] for row in rows()])
def test_no_file_is_claimed_twice(name: str) -> None:
    assert len(claims(CORPUS / name)) <= 1


@pytest.mark.parametrize("name", [name for name in listings() if expected(name) is not None])
def test_a_listing_alone_gives_a_report_and_counts_what_it_does_not_understand(name: str) -> None:
    report = tracecorr.parse([CORPUS / name])
    (source,) = report.sources
    assert source.format == expected(name)
    assert source.skipped <= max(4, source.lines // 20)
    assert all(verdict.confidence != "certain" or verdict.socket.state == "CLOSE_WAIT" for verdict in report.verdicts)


CASES = sorted(path.parent.name for path in CORPUS.glob("cases/*/truth.json") if (path.parent / "ss.txt").exists())


@pytest.mark.parametrize("case", CASES)
def test_all_inputs_of_a_case_accuse_nobody_who_held_nothing(case: str) -> None:
    folder = CORPUS / "cases" / case
    truth = json.loads((folder / "truth.json").read_text())
    paths = [folder / name for name in ("strace.txt", "capture.pcap", "ss.txt", "netstat.txt", "lsof.txt")]
    report = tracecorr.parse([path for path in paths if path.exists()])
    held = {(one["pid"], one["fd"]) for one in truth.get("holders_at_snapshot", [])}
    accused = {
        (verdict.culprit.pid, verdict.culprit.fd)
        for verdict in report.verdicts
        if verdict.culprit is not None and verdict.fault
    }
    if case == "container-inner":  # the trace was made in another pid namespace than the listing
        assert {fd for _, fd in accused} <= {fd for _, fd in held}
    else:
        assert accused <= held
