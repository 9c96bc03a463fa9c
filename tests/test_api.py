"""parse(): what a report holds beside its verdicts, and what several inputs make of each other."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import networkx as nx
import pytest

import tracecorr
from tracecorr.errors import TracecorrError
from tracecorr.sources.all import LOG_FORMATS
from tracecorr.verdicts.report import Report, from_json

CASES = Path(__file__).parents[1] / "fixtures" / "cases"
LOGS = sorted(CASES.glob("*/*/trace.log"))
READY = (
    "4100  {at}.000100 brk(NULL) = 0x55c1f0a2b000\n4100  {at}.000200 getpid() = 4100\n"
    '4100  {at}.000300 uname({{sysname="Linux", ...}}) = 0\n4100  {at}.000400 close(9) = 0\n'
)
FRESH = READY + (
    '4100  {at}.1 accept4(3, {{sa_family=AF_INET, sin_port=htons(41007), sin_addr=inet_addr("192.0.2.20")}}, '
    "[16], 0) = 4\n"
    '4100  {at}.2 read(4, "", 512) = 0\n'
)


def case(name: str) -> Report:
    return tracecorr.parse([CASES / name / "trace.log"])


def edges(graph: nx.MultiDiGraph) -> set[tuple[str, str, str]]:
    def label(node: str) -> str:
        about = graph.nodes[node]
        return "socket" if about["kind"] == "description" else about["label"]

    return {(label(tail), label(head), about["kind"]) for tail, head, about in graph.edges(data=True)}


def test_the_graph_shows_how_the_copy_came_to_its_holder() -> None:
    assert edges(case("inherited-copy/fires_forked_worker").graph) == {
        ("socket", "fd 4", "accepted"),
        ("redis[4100]", "fd 4", "holds"),
        ("redis[4100]", "redis[4102]", "fork"),
        ("fd 4", "fd 4", "fork"),
        ("redis[4102]", "fd 4", "holds"),
        ("fd 4", "socket", "closed"),
        ("fd 4", "socket", "refers"),
    }


def test_the_graph_shows_duplicates_passed_descriptors_and_exec() -> None:
    assert ("fd 4", "fd 80", "dup") in edges(case("duplicate-kept/fires_fcntl_dupfd").graph)
    assert ("fd 7", "fd 6", "passed") in edges(case("inherited-copy/fires_fd_passed").graph)
    assert ("fd 4", "fd 4", "exec") in edges(case("inherited-copy/fires_no_cloexec").graph)


def test_every_edge_of_a_graph_says_where_it_was_read() -> None:
    log = CASES / "inherited-copy/fires_no_cloexec/trace.log"
    for _, _, about in tracecorr.parse([log]).graph.edges(data=True):
        assert about["source"] == str(log) and about["line"] > 0 and about["at"] is not None


def test_what_is_healthy_is_not_drawn() -> None:
    assert len(case("eof-ignored/spares_closed_at_once").graph) == 0


@pytest.mark.parametrize("log", LOGS, ids=lambda log: "/".join(log.parts[-3:-1]))
def test_json_is_the_report(log: Path) -> None:
    report = tracecorr.parse([log])
    text = json.dumps(report.to_json(), allow_nan=False)
    assert from_json(text) == report
    assert json.dumps(from_json(text).to_json()) == text


@pytest.mark.parametrize("log", LOGS, ids=lambda log: "/".join(log.parts[-3:-1]))
def test_a_report_keeps_its_promises(log: Path) -> None:
    report = tracecorr.parse([log])
    (source,) = report.sources
    assert source.name == str(log) and source.format in LOG_FORMATS
    assert source.lines == len(log.read_text().splitlines()) and 0 < source.calls <= source.lines
    assert report.sockets.stuck == sum(not verdict.released for verdict in report.verdicts)
    assert report.sockets.released == sum(verdict.released for verdict in report.verdicts)
    assert report.sockets.stuck == sum(report.sockets.by_cause.values())
    for verdict in report.verdicts:
        assert verdict.summary.endswith(".") and "None" not in verdict.summary and verdict.advice
        assert verdict.missing is None or "None" not in verdict.missing
        assert verdict.socket.state in (None, "CLOSE_WAIT")
        assert any(evidence.line for evidence in verdict.evidence)
        assert all(evidence.line is None or 0 < evidence.line <= source.lines for evidence in verdict.evidence)
        if verdict.culprit is not None and verdict.cause not in ("never-accepted", "held-without-fd"):
            assert (verdict.culprit.pid, verdict.culprit.fd) in {(h.pid, h.fd) for h in verdict.holders}


def test_the_same_log_gives_the_same_report() -> None:
    for log in LOGS[::10]:
        assert json.dumps(tracecorr.parse([log]).to_json()) == json.dumps(tracecorr.parse([log]).to_json())


def test_exit_codes_tell_faults_from_their_absence() -> None:
    assert case("eof-ignored/fires_forgotten").exit_code == 1
    assert case("eof-ignored/spares_closed_at_once").exit_code == 0
    assert case("eof-ignored/fires_released_late_by_close").exit_code == 0
    assert case("eof-ignored/fires_released_by_exit").exit_code == 1
    assert case("still-sending/fires_half_close").exit_code == 0


def test_a_released_socket_says_when_by_what_and_after_how_long() -> None:
    (verdict,) = case("inherited-copy/fires_released_by_the_worker_s_end").verdicts
    assert (verdict.released, verdict.released_by) == (True, "exit")
    assert verdict.released_at == pytest.approx(36018.9, abs=0.01)
    assert verdict.stuck_for == pytest.approx(18.1, abs=0.1)
    assert [(holder.pid, holder.fd) for holder in verdict.holders] == [(4102, 4)]


def test_several_inputs_make_one_report() -> None:
    names = ["eof-ignored/fires_forgotten", "eof-ignored/spares_closed_at_once", "duplicate-kept/fires_fcntl_dupfd"]
    report = tracecorr.parse([CASES / name / "trace.log" for name in names])
    assert [source.name for source in report.sources] == [str(CASES / name / "trace.log") for name in names]
    assert sorted(verdict.cause for verdict in report.verdicts) == ["duplicate-kept", "eof-ignored"]
    assert report.sockets.by_cause == {"duplicate-kept": 1, "eof-ignored": 1}
    single = [case(name) for name in names]
    assert report.sockets.seen == sum(one.sockets.seen for one in single)
    assert len(report.graph) == sum(len(one.graph) for one in single)


def test_one_bad_input_among_several_is_an_error() -> None:
    with pytest.raises(TracecorrError, match=r"verdicts\.txt"):
        tracecorr.parse([LOGS[0], LOGS[0].with_name("verdicts.txt")])


def test_age_runs_to_the_last_time_of_any_input(tmp_path: Path) -> None:
    young, later = tmp_path / "young.log", tmp_path / "later.log"
    young.write_text(FRESH.format(at=1760000000))
    later.write_text(READY.format(at=1760000060).replace("4100", "5200"))
    assert tracecorr.parse([young]).verdicts == ()
    (verdict,) = tracecorr.parse([young, later]).verdicts
    assert verdict.stuck_for == pytest.approx(60, abs=1)


def test_age_does_not_run_between_clocks_that_have_nothing_in_common(tmp_path: Path) -> None:
    young, later = tmp_path / "young.log", tmp_path / "later.log"
    young.write_text(FRESH.format(at="10:00:00"))
    later.write_text(READY.format(at=1760000060).replace("4100", "5200"))
    assert tracecorr.parse([young, later]).verdicts == ()


def test_a_threshold_of_nothing_makes_every_end_of_file_old(tmp_path: Path) -> None:
    path = tmp_path / "young.log"
    path.write_text(FRESH.format(at=1760000000))
    assert tracecorr.parse([path]).verdicts == ()
    assert [verdict.cause for verdict in tracecorr.parse([path], stuck_after=0).verdicts] == ["eof-ignored"]


def test_everything_tells_of_what_is_unsure(tmp_path: Path) -> None:
    path = tmp_path / "young.log"
    path.write_text(FRESH.format(at=1760000000))
    assert tracecorr.parse([path], everything=True).verdicts != ()


def test_progress_is_told_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "trace.log"
    path.write_text(FRESH.format(at=1760000000) * 2000)
    told: list[tuple[int, int | None]] = []
    tracecorr.parse([path, LOGS[0]], progress=lambda done, size: told.append((done, size)))
    total = path.stat().st_size + LOGS[0].stat().st_size
    assert told[-1] == (total, total) and told == sorted(told)


def test_paths_may_be_strings_or_paths() -> None:
    assert tracecorr.parse([str(LOGS[0])]) == tracecorr.parse([LOGS[0]])


def test_the_package_loads_its_library_only_when_it_is_used() -> None:
    code = (
        "import sys, tracecorr; assert 'networkx' not in sys.modules; tracecorr.parse; assert 'networkx' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        tracecorr.nothing  # noqa: B018


def log_at(second: int, *lines: str) -> str:
    return "".join(f"4100  {second + number}.000000 {line}\n" for number, line in enumerate(lines))


def test_a_log_that_began_after_another_had_ended_makes_nothing_old_in_that(tmp_path: Path) -> None:
    peer = '{sa_family=AF_INET, sin_port=htons(41007), sin_addr=inet_addr("192.0.2.20")}'
    calls = (f"accept4(3, {peer}, [16], 0) = 7", "close(9) = 0", 'read(7, "", 512) = 0')
    (tmp_path / "a").write_text(log_at(1760000000, *calls))
    (tmp_path / "later").write_text(log_at(1760086400, "getpid() = 4100"))
    (tmp_path / "beside").write_text(log_at(1760000000, *["getpid() = 4100"] * 10))
    assert tracecorr.parse([tmp_path / "a", tmp_path / "later"]).sockets.stuck == 0
    assert tracecorr.parse([tmp_path / "a", tmp_path / "beside"]).sockets.stuck == 1
