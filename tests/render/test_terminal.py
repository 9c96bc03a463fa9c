from __future__ import annotations

import re
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings

from tracecorr.render.base import Style
from tracecorr.render.chain import brief
from tracecorr.render.terminal import render, styled
from tracecorr.verdicts.report import GapView, Holder, Party, Report, Sockets

from .hostile import ANYTHING, SAMPLES
from .reports import evidence, hostile_report, report, socket, source, verdict

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def shown(given: Report, style: Style | None = None) -> str:
    return "".join(styled(given, style or Style()))


def test_5000_alike_verdicts_are_one_screen_in_no_time() -> None:
    many = report(
        verdicts=tuple(verdict(fd, fd) for fd in range(3, 5003)), sockets=Sockets(seen=9, stuck=5000, released=0)
    )
    shown(report())  # imports

    began = time.perf_counter()
    text = shown(many)

    assert time.perf_counter() - began < 0.5
    assert len(text.splitlines()) < 30
    assert "5,000 connections" in text
    assert "and 4,996 more" in text


def test_everything_unfolds_the_others_and_the_chain() -> None:
    steps = tuple(evidence(f"step {n}", n, n, call="read(7) = 0") for n in range(40))
    long = report(verdicts=tuple(verdict(fd, fd, evidence=steps) for fd in range(3, 20)))

    folded, unfolded = shown(long), shown(long, Style(everything=True))

    assert "… 29 more steps …" in folded and "step 20" not in folded
    assert "more" not in unfolded and "step 20" in unfolded and "fd 19 " in unfolded


def test_a_chain_of_twelve_is_not_folded() -> None:
    steps = tuple(evidence(f"step {n}", n, n) for n in range(12))

    assert "more steps" not in shown(report(verdicts=(verdict(evidence=steps),)))


@pytest.mark.parametrize("text", SAMPLES, ids=lambda text: ascii(text[:12]))
@pytest.mark.parametrize("colour", [False, True])
def test_hostile_text_is_shown_and_not_obeyed(text: str, colour: bool) -> None:
    page = shown(hostile_report(text), Style(colour=colour))

    assert all(line.isprintable() for line in COLOUR.sub("", page).split("\n"))
    assert colour or "\x1b" not in page
    assert len(page) < 60_000


@settings(max_examples=60, deadline=None)
@given(ANYTHING)
def test_no_text_of_a_log_reaches_the_terminal_raw(text: str) -> None:
    page = shown(hostile_report(text))

    assert all(line.isprintable() for line in page.split("\n"))


def test_markup_is_text() -> None:
    page = shown(report(verdicts=(verdict(summary="[bold]comm[/bold] :bug: [/]"),)), Style(colour=True))

    assert "[bold]comm[/bold] :bug: [/]" in page


@pytest.mark.parametrize("width", [80, 100, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    for line in shown(hostile_report("word " * 60), Style(width=width)).splitlines():
        assert len(line) <= width


def test_no_word_of_the_story_is_lost_in_80_columns() -> None:
    def words(width: int) -> list[str]:
        return sorted(shown(report(), Style(width=width)).split())

    assert words(80) == words(120)


def test_plain_text_has_no_colour_and_no_trailing_blanks() -> None:
    page = "".join(render(report()))

    assert "\x1b" not in page
    assert not [line for line in page.splitlines() if line != line.rstrip()]


def test_colour_adds_nothing_but_colour() -> None:
    assert COLOUR.sub("", shown(report(), Style(colour=True))) == shown(report())


def test_colour_is_red_for_a_fault_and_another_for_none() -> None:
    fault = shown(report(), Style(colour=True))
    lawful = shown(report(verdicts=(verdict(fault=False),)), Style(colour=True))

    assert "\x1b[31m●" in fault
    assert "\x1b[36m○" in lawful


@pytest.mark.parametrize(
    ("changes", "headline"),
    [
        ({}, "2 of 412 connections are stuck in CLOSE_WAIT"),
        ({"verdicts": (verdict(),)}, "1 of 412 connections is stuck in CLOSE_WAIT"),
        ({"verdicts": ()}, "No connection is stuck in CLOSE_WAIT: 412 were looked at, with the gaps below"),
        (
            {"verdicts": (), "sockets": Sockets(seen=0, stuck=0, released=0)},
            "No TCP connection was seen, so none can be stuck in CLOSE_WAIT",
        ),
        ({"verdicts": (), "gaps": ()}, "No connection is stuck in CLOSE_WAIT: 412 were looked at"),
        (
            {"verdicts": (verdict(cause="healthy", fault=False),), "gaps": ()},
            "No connection is stuck in CLOSE_WAIT: 412 were looked at",
        ),
        ({"verdicts": (verdict(socket=socket(state=None)),)}, "1 of 412 connections is held open by a copy"),
        (
            {"verdicts": (verdict(cause="lingering-fin", fault=False),)},
            "No connection is stuck in CLOSE_WAIT: 412 were looked at, with the gaps below, 1 waits without a fault",
        ),
        (
            {"verdicts": (verdict(released_by="exit"),)},
            "1 of 412 connections was stuck in CLOSE_WAIT until its holder ended",
        ),
        (
            {"verdicts": (verdict(), verdict(released_by="exit"), verdict(released_by="exit"))},
            "1 of 412 connections is stuck in CLOSE_WAIT, 2 more were until their holders ended",
        ),
        (
            {"verdicts": (verdict(), verdict(released_by="close"))},
            "1 of 412 connections is stuck in CLOSE_WAIT, 1 was stuck and then released",
        ),
    ],
)
def test_headline_is_the_answer(changes: dict[str, object], headline: str) -> None:
    assert shown(report(**changes), Style(width=120)).splitlines()[0].split("   ")[0] == headline


def test_one_source_stands_beside_the_headline_where_there_is_room() -> None:
    first = shown(report(), Style(width=120)).splitlines()[0]

    assert first.endswith("trace.log: strace, 31.5 s on 2025-11-23, 5,120 lines, 2 not understood")
    assert len(first) == 120


def test_released_without_times_is_still_released() -> None:
    page = shown(report(verdicts=(verdict(released_by="exit", stuck_for=None),), sources=(source(clock=None),)))

    assert "1 connection, released" in page
    assert "ended  when its last holder ended, and nobody had closed it" in page
    assert "ends " not in page


def test_what_the_summary_tells_is_not_told_again() -> None:
    other = Holder(pid=99, comm="sleep", fd=7, how="exec", since=None, used=False)
    summary = "It was released by a close(); sleep[99] held fd 7, too: 99 never used it."
    page = shown(report(verdicts=(verdict(released_by="close", summary=summary, holders=(other,)),)))

    assert "ended" not in page
    assert "held " in page and "held   also" not in page


def test_other_holders_are_named_beside_the_culprit() -> None:
    other = Holder(pid=99, comm="sleep", fd=7, how="exec", since=None, used=False)
    page = shown(report(verdicts=(verdict(holders=(*verdict().holders, other)),)))

    assert "held   also by sleep[99] as fd 7 (by fork and exec, never used it)" in page


def test_other_connections_name_what_differs() -> None:
    first = verdict(stuck_for=99.0)
    second = verdict(9, culprit=Party(pid=30517, comm="redis-server", fd=9), socket=socket(5, local="192.0.2.1:80"))
    page = shown(report(verdicts=(first, second)))

    assert "2 connections in 2 processes" in page
    assert "also   fd 9 of 30517 192.0.2.1:80 ← 127.0.0.1:5" in page


def test_no_times_no_column() -> None:
    bare = tuple(replace(item, at=None, pid=None) for item in verdict().evidence)
    page = shown(report(verdicts=(verdict(evidence=bare),), sources=(source(clock=None),)))

    assert "\n    accept4(6) = 7  trace.log:311  accepted\n" in page


def test_gaps_are_told_once_and_counted() -> None:
    gaps = tuple(
        GapView(what="lines lost", why="the disk was full", try_=None, source="trace.log", line=n) for n in (4, 9)
    )
    page = shown(report(gaps=gaps))

    assert page.count("lines lost") == 1
    assert "can't tell  lines lost: the disk was full (2 times, first trace.log:4)" in page


def test_names_that_are_ambiguous_without_their_directory_keep_it() -> None:
    sources = tuple(source(name=name, skipped=1) for name in ("a/trace.1", "b/trace.1", "b/trace.2"))
    page = shown(report(sources=sources))

    assert "1 line of a/trace.1" in page
    assert "1 line of trace.2" in page


@pytest.mark.parametrize(
    ("call", "shown"),
    [
        ("close(7) = 0", "close(7) = 0"),
        ("accept4(6, {sa_family=AF_INET}, [16], SOCK_CLOEXEC) = 7", "accept4(6, …) = 7"),
        (
            "poll([{fd=7, events=POLLIN}], 1, -1) = 1 ([{fd=7, revents=POLLIN}])",
            "poll([{fd=7, …) = 1 ([{fd=7, revents=POLLIN}])",
        ),
        ("exit_group_without_any_parentheses", "exit_group_without_any_parentheses"),
        ("write(7<socket:[123456]>, unfinished", "write(7<socket:[123456]>, unfinished"),
    ],
)
def test_long_calls_keep_their_first_argument_and_result(call: str, shown: str) -> None:
    assert brief(call, 20) == shown
