"""Verdicts of a replay and of a look at the host, as one list: each connection once, by who knows more of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tracecorr.verdicts.cause import Cause
from tracecorr.verdicts.report import Verdict


class Replayed(NamedTuple):
    """What a replay concluded; `known` says that it has seen how the connection came about, or who used it."""

    verdict: Verdict
    known: bool


def both(replayed: Iterable[Replayed], looked: Sequence[Verdict]) -> Iterator[Verdict]:
    """Yield the verdicts: a look speaks of what the replay does not know, and of what it cannot explain."""
    left = list(looked)
    for mine in replayed:
        other = next((verdict for verdict in left if _same(verdict, mine.verdict)), None)
        if other is not None:
            left.remove(other)
        yield other if other is not None and _knows_more(other, mine) else mine.verdict
    yield from left


def _same(one: Verdict, other: Verdict) -> bool:
    if one.socket.inode and other.socket.inode:
        return one.socket.inode == other.socket.inode
    ends = one.socket.local, one.socket.peer
    if None not in ends and None not in (other.socket.local, other.socket.peer):
        return ends == (other.socket.local, other.socket.peer)
    # A replay need not know the peer: then what is known of both must agree, and what they say of it.
    same_local = None in (one.socket.local, other.socket.local) or one.socket.local == other.socket.local
    return same_local and one.cause == other.cause and _pid(one) == _pid(other)


def _pid(verdict: Verdict) -> int | None:
    return verdict.culprit.pid if verdict.culprit is not None else None


def _knows_more(looked: Verdict, mine: Replayed) -> bool:
    if looked.cause == Cause.UNEXPLAINED.value:
        return False
    if looked.cause == mine.verdict.cause == Cause.NEVER_READS_EOF.value and (
        mine.verdict.detail == "forgotten"
        or (mine.verdict.detail == "not-armed" and looked.detail in (None, "owner-blocked"))
    ):
        return True  # what its threads do is seen best by a look
    return not mine.known or mine.verdict.cause == Cause.UNEXPLAINED.value
