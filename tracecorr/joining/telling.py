"""What each input has contributed, in words, and what they lack or contradict each other in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from tracecorr.events import Gap
from tracecorr.joining.answer import Joined
from tracecorr.joining.clocks import Offset
from tracecorr.joining.join import Log, Watched
from tracecorr.joining.listings import Taken
from tracecorr.kernel import TcpState
from tracecorr.model.address import key

_SECOND: Final = 10**9  # ns


def tell(joined: Joined) -> None:
    """Say what came of each input; one alone need not say so."""
    if len(joined.logs) + len(joined.listings) + len(joined.captures) < 2:
        return
    for log in joined.logs:
        joined.gaps += log.gaps
        if log.offset is not None:
            joined.offsets.update({tally.name: log.offset.ahead for tally in log.trace.tallies})
            joined.clocks.update({tally.name: log.told_in for tally in log.trace.tallies})
    for ours, theirs, pairs, offset in joined.ends:
        joined.contributed[theirs.name] = (
            f"the other end of {_count(len(pairs), 'connection')} of {ours.short}; {_clock(offset, ours)}"
        )
        joined.contributed.setdefault(ours.name, f"the other end of {_count(len(pairs), 'connection')}")
    for watch in joined.watches:
        _tell_of_capture(joined, watch)
    for taken in joined.taken:
        done = _done(joined, taken)
        for listed in taken.listings:
            joined.contributed[listed.tally.name] = done


def _tell_of_capture(joined: Joined, watch: Watched) -> None:
    name = watch.capture.source
    if not watch.pairs or name in joined.contributed:
        return
    fins = sum(conversation.half(conversation.other(end)).fin is not None for _, end, conversation in watch.pairs)
    text = f"{_count(len(watch.pairs), 'connection')} of {watch.log.short}, the FIN of {fins:,}"
    if watch.offset is None:
        why = f"{watch.log.name} has no times that could be aligned with it: the order of calls and segments is unknown"
        joined.gaps.append(Gap("clocks not aligned", why, "strace -f -ttt -T", name, None))
    else:
        text += f"; {_clock(watch.offset, watch.log, assumed=watch.assumed)}"
        base = watch.log.offset.ahead if watch.log.offset is not None else 0
        joined.offsets[name] = watch.offset.ahead + base
        joined.clocks[name] = watch.log.told_in
    joined.contributed[name] = text


def _clock(offset: Offset, log: Log, *, assumed: bool = False) -> str:
    if log.clock != "epoch":
        return f"its clock put beside that of {log.short}, {_precision(offset)}"
    if assumed or not offset.pairs:
        return "clocks taken to agree" if not offset.ahead else f"clock {offset.ahead / _SECOND:+.6f} s, as given"
    return f"clock {offset.ahead / _SECOND:+.6f} s, {_precision(offset)}"


def _precision(offset: Offset) -> str:
    if offset.width is None:
        return f"from {_count(offset.pairs, 'pair')} of one side only"
    return f"± {max(offset.width, 0) / 2e6:.3f} ms, from {_count(offset.pairs, 'pair')} of calls and segments"


def _done(joined: Joined, taken: Taken) -> str:
    did: Counter[str] = Counter()
    for action in taken.shown:
        did += action.did
    words = {
        "confirmed": "{} confirmed in CLOSE_WAIT", "descriptors": "{} descriptors that the log did not know",
        "holders": "{} further holders", "withdrawn": "{} not in CLOSE_WAIT after all", "gone": "{} gone",
        "revived": "{} still held after the last close in the log", "contradicted": "{} contradicted",
    }  # fmt: skip
    told = [text.format(f"{did[name]:,}") for name, text in words.items() if did[name]]
    if taken.listed:
        told.append(f"{_count(len(taken.listed), 'stuck connection')} that no log explains")
    text = ", ".join(told) if told else "nothing that a log has"
    return text if not taken.host else f"of another host than {joined.taken[0].name}: {text}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def gaps_of(joined: Joined) -> Iterator[Gap]:
    """Yield what is lacking beside the logs, and what the inputs contradict each other in."""
    yield from joined.gaps
    for taken in joined.taken:
        yield from taken.snapshot.gaps
        if not taken.snapshot.sockets and (taken.snapshot.ends or taken.snapshot.users or taken.snapshot.processes):
            why = "it tells who holds sockets, and not in which state they are"
            yield Gap("states unknown", why, "netstat -an (or ss -tan) beside it", taken.name, None)
    yield from _lost(joined)


# A FIN in a capture, and a listing later that does not know of it.
def _lost(joined: Joined) -> Iterator[Gap]:
    times = {listed.tally.name: listed.at for taken in joined.taken for listed in taken.listings if not taken.sure}
    rows = {
        (key(row.local), key(row.peer)): (row, taken)
        for taken in joined.taken
        for row in taken.snapshot.sockets
        if row.state is TcpState.ESTABLISHED and row.local is not None and row.peer is not None
    }
    for capture in joined.captures:
        for conversation in capture.conversations:
            for end in conversation.ends:
                row, taken = rows.get((key(end), key(conversation.other(end))), (None, None))
                fin = conversation.half(conversation.other(end)).fin
                if row is None or taken is None or fin is None or row.origin is None:
                    continue
                at = times.get(row.origin.source, taken.at)
                if at is None or fin.at + _SECOND > at:
                    continue
                why = f"{end} – {conversation.other(end)} is ESTABLISHED in {row.origin}, after the peer's FIN was seen"
                try_ = "capture on the host itself: the FIN was lost on the way, or captured elsewhere"
                yield Gap("a FIN did not arrive", why, try_, *fin.origin)
