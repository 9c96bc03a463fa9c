"""Connections whose peer a log does not tell, accept(3, NULL, NULL): found where only one is left that it can be.

Where several are left nothing is guessed.  They are counted, so that none of them is told of twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from tracecorr.captured import Capture, Conversation
from tracecorr.events import Endpoint, Origin
from tracecorr.joining.match import bounds_of
from tracecorr.joining.survey import Life, Survey
from tracecorr.kernel import TcpState
from tracecorr.model.address import key
from tracecorr.snapshot import Snapshot, SocketRow
from tracecorr.sources.listings.words import is_whole

_OCCASION = 3600 * 10**9  # ns
# What no process holds any more, or not yet.
_HELD_BY_NOBODY = frozenset([TcpState.LISTEN, TcpState.TIME_WAIT, TcpState.SYN_SENT, TcpState.SYN_RECV])


class Found(NamedTuple):
    """The ends of a connection that a log opens in the line `opened_as`."""

    opened_as: Origin
    local: Endpoint
    peer: Endpoint


def nameless(survey: Survey) -> Mapping[int, list[Life]]:
    """Return the connections of a log that have no peer, by our port."""
    found: defaultdict[int, list[Life]] = defaultdict(list)
    for life in survey.lives.values():
        if life.peer is None and life.port is not None and life.opened_as is not None:
            found[life.port].append(life)
    return found


def in_listing(survey: Survey, snapshot: Snapshot, matched: Iterable[SocketRow], told: int | None) -> list[Found]:
    """Return which rows of a listing are connections without a peer; `told` is its time on the log's clock."""
    lives = nameless(survey)
    rows: defaultdict[int, list[SocketRow]] = defaultdict(list)
    known = set(matched)
    for row in snapshot.sockets if lives else ():
        if row.local is not None and row.local.port in lives and row.state not in _HELD_BY_NOBODY and row not in known:
            rows[row.local.port].append(row)
    found = []
    for port, (row, *more) in rows.items():
        candidates = _then(lives[port], told)
        if more or len(candidates) != 1 or row.peer is None or not is_whole(row.peer) or not is_whole(row.local):
            continue
        (life,) = candidates
        if _may_hold(life, snapshot, row) and life.opened_as is not None and row.local is not None:
            found.append(Found(life.opened_as, row.local, row.peer))
    return found


def by_descriptor(survey: Survey, snapshot: Snapshot) -> list[Found]:
    """Return the connections of which a log tells the peer alone, and that a listing has with the same process and fd.

    A client that does not bind gets its port in connect(), which does not say so.  Only the one that such a number
    refers to until the end is meant: when the listing was taken need not be known.
    """
    lives = _by_holder(survey)
    found: dict[Origin, Found] = {}
    for row in snapshot.sockets if lives else ():
        if row.local is None or row.peer is None or not row.inode or row.state in _HELD_BY_NOBODY:
            continue
        names = [(process.pid, held.fd, key(row.peer)) for process, held in snapshot.holders(row.inode)]
        openings = {opening for name in names for opening in lives.get(name, ())}
        if len(openings) == 1 and is_whole(row.local):
            (opening,) = openings
            found[opening] = Found(opening, row.local, row.peer)
    return list(found.values())


Name = tuple["int | None", int, Endpoint]


def _by_holder(survey: Survey) -> Mapping[Name, list[Origin]]:
    found: defaultdict[Name, list[Origin]] = defaultdict(list)
    for life in survey.lives.values():
        description = life.description
        closed = description.released is not None and description.released.what != "exit"
        if life.port is None and life.peer is not None and life.opened_as is not None and not closed:
            held = (*description.references, *description.past)
            for name in {(each.process.pid, each.number, life.peer) for each in held}:
                found[name].append(life.opened_as)
    return found


# Those that were open at that time: all, if the time is not known.
def _then(lives: list[Life], told: int | None) -> list[Life]:
    if told is None:
        return lives
    return [
        life for life in lives
        if (life.ended_at is None or life.ended is None or life.ended_at >= told)
        and (life.opened_at is None or life.opened_at <= told)
    ]  # fmt: skip


def _may_hold(life: Life, snapshot: Snapshot, row: SocketRow) -> bool:
    holders = {process.pid for process, _ in snapshot.holders(row.inode)} if row.inode else set()
    return bool(holders & {each.process.pid for each in (*life.description.references, *life.description.past)})


def in_capture(
    survey: Survey, capture: Capture, matched: Iterable[tuple[Endpoint, Conversation]]
) -> Iterator[tuple[Life, Endpoint, Conversation]]:  # fmt: skip
    """Yield the connections without a peer that are the only ones of their port, in the log and in the capture."""
    lives = nameless(survey)
    known = {(end, id(conversation)) for end, conversation in matched}
    on_port: defaultdict[int, list[tuple[Endpoint, Conversation]]] = defaultdict(list)
    for each in capture.conversations if lives else ():
        for end in each.ends:
            if end.port in lives and each.established and each.opener != end and (end, id(each)) not in known:
                on_port[end.port].append((end, each))
    for port, found in on_port.items():
        if len(found) == len(lives[port]) == 1 and _fits(lives[port][0], *found[0]):
            yield (lives[port][0], *found[0])


# Calls and segments are in the order that they must have, on clocks that are not of another day.
def _fits(life: Life, end: Endpoint, conversation: Conversation) -> bool:
    offset = bounds_of(life, end, conversation).estimate()
    return offset is not None and offset.width is not None and not offset.against and abs(offset.ahead) < _OCCASION


def adopt(survey: Survey, found: Iterable[Found]) -> None:
    """Tell the System the ends that were found."""
    for each in found:
        life = survey.openings.get(each.opened_as)
        if life is None or (life.peer is not None and life.port is not None):
            continue
        description = life.description
        description.local, description.peer = each.local, each.peer
        survey.system.by_address[key(each.local), key(each.peer)] = description
