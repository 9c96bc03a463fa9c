"""Verdicts of a replay and of a look, as one list: each connection once, by who knows more of it."""

from __future__ import annotations

from typing import Any

import pytest

from tracecorr.verdicts.both import Replayed, both
from tracecorr.verdicts.report import Party, SocketView, Verdict

HERE, THERE = "192.0.2.10:80", "192.0.2.20:41007"


def verdict(cause: str = "eof-ignored", detail: str | None = None, pid: int = 7, **socket: Any) -> Verdict:
    view: dict[str, Any] = {"local": HERE, "peer": THERE, "inode": 500, "role": "accepted", "state": "CLOSE_WAIT"}
    return Verdict(
        cause=cause, detail=detail, fault=True, confidence="likely", socket=SocketView(**view | socket), eof_at=None,
        stuck_for=None, released_at=None, holders=(), culprit=Party(pid=pid, comm=None, fd=4), owner=None, missing=None,
        summary="", advice=(), evidence=(),
    )  # fmt: skip


def causes(replayed: list[Replayed], looked: list[Verdict]) -> list[tuple[str, str | None]]:
    return [(each.cause, each.detail) for each in both(replayed, looked)]


def test_a_replay_that_knows_the_connection_speaks_for_it() -> None:
    mine = Replayed(verdict("inherited-copy"), known=True)

    assert causes([mine], [verdict("never-reads-eof")]) == [("inherited-copy", None)]


def test_a_look_speaks_where_the_replay_knows_nothing_of_the_beginning() -> None:
    mine = Replayed(verdict("unexplained"), known=False)

    assert causes([mine], [verdict("never-reads-eof")]) == [("never-reads-eof", None)]


def test_a_look_that_cannot_tell_takes_nothing_away() -> None:
    mine = Replayed(verdict("eof-ignored"), known=False)

    assert causes([mine], [verdict("unexplained")]) == [("eof-ignored", None)]


def test_what_a_thread_is_doing_is_seen_best_by_a_look() -> None:
    mine = Replayed(verdict("never-reads-eof", "forgotten"), known=True)

    assert causes([mine], [verdict("never-reads-eof", "owner-blocked")]) == [("never-reads-eof", "owner-blocked")]


def test_a_connection_that_only_the_look_has_is_added() -> None:
    assert causes([], [verdict("never-accepted", inode=0)]) == [("never-accepted", None)]


@pytest.mark.parametrize(
    ("socket", "number"),
    [
        ({"inode": 501}, 2),
        ({"inode": None}, 1),
        ({"inode": None, "peer": "192.0.2.20:41008"}, 2),
        ({"inode": None, "peer": None}, 1),
        ({"inode": None, "peer": None, "local": "192.0.2.10:81"}, 2),
    ],
    ids=str,
)
def test_two_verdicts_are_of_one_connection_where_all_that_is_known_agrees(socket: Any, number: int) -> None:
    mine = Replayed(verdict(**socket), known=True)

    assert len(causes([mine], [verdict()])) == number


def test_one_whose_peer_is_not_known_is_another_ones_where_the_culprit_differs() -> None:
    mine = Replayed(verdict(pid=8, inode=None, peer=None), known=True)

    assert len(causes([mine], [verdict()])) == 2


def test_a_call_that_only_a_look_sees_is_the_reason_why_a_connection_is_not_watched() -> None:
    mine = Replayed(verdict("never-reads-eof", "not-armed"), known=True)

    assert causes([mine], [verdict("never-reads-eof", "owner-blocked")]) == [("never-reads-eof", "owner-blocked")]
    assert causes([mine], [verdict("never-reads-eof", "forgotten")]) == [("never-reads-eof", "not-armed")]
