"""Which connection of one input is which of another: by its ends, and never by guess."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from tracecorr.captured import Capture, Conversation
from tracecorr.events import Endpoint
from tracecorr.joining.clocks import Bounds
from tracecorr.joining.survey import Life
from tracecorr.model.address import key

T = TypeVar("T")


class Ends(Generic[T]):
    """Things that have two ends, found by both of them, or by the peer's end and our port alone."""

    def __init__(self) -> None:
        self._whole: dict[tuple[Endpoint, Endpoint], list[T]] = {}
        self._partial: dict[tuple[int, Endpoint], list[T]] = {}

    def add(self, local: Endpoint, peer: Endpoint, thing: T) -> None:
        """Add one, as seen from `local`."""
        local, peer = key(local), key(peer)
        self._whole.setdefault((local, peer), []).append(thing)
        self._partial.setdefault((local.port, peer), []).append(thing)

    def of(self, life: Life) -> list[T]:
        """Return those that have the ends of a connection; where our address is unknown, its port and the peer's end.

        Two that differ in our address alone are none.
        """
        if life.peer is None:
            return []
        if life.local is not None:
            return self._whole.get((life.local, life.peer), [])
        return self._partial.get((life.port, life.peer), []) if life.port is not None else []

    def __len__(self) -> int:
        return len(self._whole)


def conversations(capture: Capture) -> Ends[tuple[Endpoint, Conversation]]:
    """Return the conversations of a capture, each from both of its ends."""
    found: Ends[tuple[Endpoint, Conversation]] = Ends()
    for each in capture.conversations:
        one, two = each.ends
        found.add(one, two, (one, each))
        found.add(two, one, (two, each))
    return found


def bounds_of(life: Life, end: Endpoint, conversation: Conversation) -> Bounds:
    """Return how a connection's calls and its segments bound the offset of the capture's clock."""
    bounds = Bounds()
    own, others = conversation.half(end), conversation.half(conversation.other(end))
    client = conversation.opener == end
    if client and own.syn is not None:
        bounds.before(life.connecting, own.syn.at)
        bounds.after(life.made, others.syn.at if others.syn is not None else None)
    elif others.syn is not None and not client and conversation.opener is not None:
        bounds.after(life.made, own.syn.at if own.syn is not None else others.syn.at)
    if conversation.opener is not None:
        # Only where the conversation's beginning was captured is its first data the first data.
        bounds.before(life.sending, own.first_data.at if own.first_data is not None else None)
        bounds.after(life.received, others.first_data.at if others.first_data is not None else None)
    bounds.after(life.eof_at, others.fin.at if others.fin is not None else None)
    bounds.before(life.ending, own.fin.at if own.fin is not None else None)
    return bounds


def mirrored(ours: Iterable[Life], theirs: Iterable[Life]) -> Iterator[tuple[Life, Life]]:
    """Yield the connections of two logs that are each other's peers."""
    ends: Ends[Life] = Ends()
    for life in theirs:
        if life.local is not None and life.peer is not None:
            ends.add(life.peer, life.local, life)
    for life in ours:
        found = ends.of(life)
        if len(found) == 1:
            yield life, found[0]


def bounds_between(ours: Life, theirs: Life) -> Bounds:
    """Return how the calls of the two ends bound the offset of the other host's clock."""
    bounds = Bounds()
    bounds.after(ours.received, theirs.sending)
    bounds.before(ours.sending, theirs.received)
    bounds.after(ours.eof_at, theirs.ending)
    bounds.before(ours.ending, theirs.eof_at)
    if ours.connecting is not None:
        bounds.before(ours.connecting, theirs.made)
    if theirs.connecting is not None:
        bounds.after(ours.made, theirs.connecting)
    return bounds
