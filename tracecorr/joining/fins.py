"""What captures, and the log of the other host, tell of FINs and resets that came."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from tracecorr.events import Endpoint, Gap
from tracecorr.joining.actions import Action, FinArrived, ResetArrived
from tracecorr.joining.join import Log, Watched
from tracecorr.joining.listings import Taken
from tracecorr.joining.survey import Life
from tracecorr.kernel import TcpState
from tracecorr.model.address import key

_SECOND = 10**9  # ns

# Our port and the peer's end: our address may not be known.
Ports = tuple[int, Endpoint]


def confirmed(listings: Iterable[Taken], log: Log) -> set[Ports]:
    """Return the connections that listings of a log's host show in CLOSE_WAIT."""
    return {
        (row.local.port, key(row.peer))
        for taken in listings
        if any(action in log.actions for action in taken.shown)
        for row in taken.snapshot.sockets
        if row.state is TcpState.CLOSE_WAIT and row.local is not None and row.peer is not None
    }


def after_its_end(log: Log, untold: set[Ports], stuck: set[Ports]) -> Iterator[Gap]:
    """Leave out FINs that came after the last line of a log, and say so; add their connections to `untold`.

    What its processes did then nobody has recorded: the tracing may have ended before.  Connections that are `stuck`
    all the same, as a listing shows, are kept.
    """
    last = _end(log)
    late = [
        action for action in log.actions
        if isinstance(action, FinArrived) and last is not None and action.at > last
        and (action.local.port, key(action.peer)) not in stuck
    ]  # fmt: skip
    if not late:
        return
    left_out = set(map(id, late))
    log.actions = [action for action in log.actions if id(action) not in left_out]
    untold |= {(action.local.port, key(action.peer)) for action in late}
    why = (
        f"the FIN of {len(late):,} connection{'s' if len(late) != 1 else ''} came after its last line: what was done "
        f"then it does not tell"
    )
    try_ = "trace on until the connection is stuck, and list it then (ss -tanpeoi)"
    yield Gap("the log ends before the FIN", why, try_, log.name)


# With `strace -t` a second may have gone by in the line's second.
def _end(log: Log) -> int | None:
    if log.last is None or log.first is None:
        return log.last
    return log.last if log.last % _SECOND or log.first % _SECOND else log.last + _SECOND


def capture_actions(watch: Watched) -> Iterator[Action]:
    """Yield what the capture does to the log's connections."""
    if watch.offset is None:
        return
    for life, end, conversation in watch.pairs:
        peer = conversation.other(end)
        others = conversation.half(peer)
        names = life.opened_as, life.local or end, life.peer or peer
        reset = conversation.half(end).reset
        acknowledged = others.fin is not None and others.fin_acknowledged is not None
        # A reset of ours that came later ended what the FIN had begun: close() with data that was not read sends one.
        if others.fin is not None and acknowledged and (reset is None or reset.at > others.fin.at):
            at = others.fin.at - watch.offset.ahead
            yield FinArrived(_before_its_read(life, at), *names, others.fin.origin, "FIN of the peer")
        if others.reset is not None:
            yield ResetArrived(others.reset.at - watch.offset.ahead, *names, others.reset.origin)


# The middle of an interval may be a little late for one connection: what was read had come.
def _before_its_read(life: Life, at: int) -> int:
    return at if life.read_at is None else min(at, life.read_at)


def peer_actions(
    pairs: Sequence[tuple[Life, Life]], ahead: int, lost: Callable[[Life, int], bool]
) -> Iterator[Action]:  # fmt: skip
    """Yield what the other host's log tells of the FINs that came: its `ahead` nanoseconds are taken off.

    `lost` says of a connection and the time of the FIN whether a capture shows that it did not come.
    """
    for ours, theirs in pairs:
        sent = theirs.fin
        local, peer = ours.local or theirs.peer, theirs.local
        if sent is None or sent.at is None or local is None or peer is None or _resets(ours, theirs):
            continue
        at = _before_its_read(ours, sent.at - ahead)
        if ours.read_at is None and lost(ours, at):
            continue
        name = f"{sent.call} in {sent.pid}" if sent.call else f"end of {sent.pid}"
        yield FinArrived(at, ours.opened_as, local, peer, sent.origin, name, "peer")


# close() with data that was not read sends a RST instead (RFC 2525, 2.17).
def _resets(ours: Life, theirs: Life) -> bool:
    sent = theirs.fin
    unread = ours.description.sent > theirs.description.received
    return theirs.description.resets_peer or (unread and sent is not None and sent.what != "shutdown")
