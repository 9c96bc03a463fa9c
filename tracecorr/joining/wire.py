"""What a capture adds to the verdicts of a log: how the peer takes what is sent to it, and where our FIN waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from tracecorr.captured import Conversation
from tracecorr.events import Endpoint
from tracecorr.joining.answer import Joined, pair_of, verdicts_of
from tracecorr.joining.ends import in_time
from tracecorr.joining.join import Watched
from tracecorr.joining.survey import Life
from tracecorr.verdicts.capture_alone import judge
from tracecorr.verdicts.cause import Cause, Confidence
from tracecorr.verdicts.report import Evidence, Party, Verdict
from tracecorr.verdicts.words import seconds

# The handshake and the FIN are in a log's own chain, or were put there.
_KNOWN: Final = frozenset(["SYN", "FIN"])


def add_wire(joined: Joined, stuck_after: int) -> None:
    """Add to the verdicts of each log what its captures show; `stuck_after` is in nanoseconds."""
    for watch in joined.watches:
        if watch.offset is None or watch.capture.last is None or watch.log.diagnosis is None:
            continue
        verdicts = verdicts_of(watch.log)
        by_ends = {pair_of(verdict): index for index, verdict in enumerate(verdicts) if not verdict.released}
        for life, end, conversation in watch.pairs:
            seen = judge(conversation, watch.capture.last, stuck_after)
            if seen is None or seen.socket.local != str(end):
                continue
            index = by_ends.get((life.port, life.peer))
            if index is not None:
                verdicts[index] = _with_segments(verdicts[index], watch, end, conversation)
            elif seen.cause == Cause.LINGERING_FIN.value and life.fin is not None and life.ended is not None:
                verdicts.append(_lingering(seen, life, watch))
            elif seen.cause == Cause.STILL_SENDING.value and not seen.released and life.description.references:
                verdicts.append(_sending(seen, life, watch))


# The log has ended, and the capture shows that its process goes on sending.
def _sending(seen: Verdict, life: Life, watch: Watched) -> Verdict:
    assert watch.offset is not None
    ahead = watch.offset.ahead
    first = min(life.description.references, key=lambda d: (d.process.pid or 0, d.number))
    return replace(
        seen,
        owner=Party(pid=first.process.pid, comm=first.process.comm, fd=first.number),
        eof_at=None if seen.eof_at is None else seen.eof_at - ahead / 1e9,
        evidence=_ordered([_shifted(item, ahead) for item in seen.evidence]),
    )


def _with_segments(verdict: Verdict, watch: Watched, end: Endpoint, conversation: Conversation) -> Verdict:
    sent = conversation.half(end).after_fin
    if sent is None or (sent.acknowledged is None and sent.reset is None):
        return verdict
    taken, reset = sent.acknowledged, sent.reset
    moment = reset or taken
    assert moment is not None and watch.offset is not None
    text = "the peer answers with RST: it had closed both directions"
    if reset is None:
        text = "the peer acknowledges what is sent after its FIN: it has closed its sending side only"
    source, line = moment.origin
    call = "RST" if reset is not None else "ACK"
    item = Evidence(text=text, source=source, line=line, at=seconds(moment.at - watch.offset.ahead), call=call)
    said = f"{verdict.summary.removesuffix('.')}; {text}."
    return replace(verdict, summary=said, evidence=tuple(in_time([*verdict.evidence, item])))


# The log shows that everybody has closed, and the capture that the FIN does not get through.
def _lingering(seen: Verdict, life: Life, watch: Watched) -> Verdict:
    assert life.fin is not None and watch.offset is not None
    ahead, closed = watch.offset.ahead, life.fin
    source, line = closed.origin
    own = Evidence(
        text="closed here: our FIN is queued behind what is unsent", source=source, line=line, at=seconds(closed.at),
        pid=closed.pid, call=closed.call or None,
    )  # fmt: skip
    shifted = [_shifted(item, ahead) for item in seen.evidence if item.call not in _KNOWN]
    comm = f" ({closed.process.comm})" if closed.process.comm else ""
    # What a capture alone has to leave open the log has told.
    ends = seen.summary.partition("; if its process")[0].removesuffix(".").partition(": ")
    return replace(
        seen,
        confidence=Confidence.CERTAIN.word,
        owner=Party(pid=closed.pid, comm=closed.process.comm, fd=closed.fd, closed_at=seconds(closed.at)),
        missing=None,
        summary=f"{ends[0]}: PID {closed.pid}{comm} has closed it, and its FIN does not get through: {ends[2]}.",
        evidence=_ordered([own, *shifted]),
    )


def _shifted(item: Evidence, ahead: int) -> Evidence:
    return item if item.at is None else replace(item, at=item.at - ahead / 1e9)


def _ordered(items: Sequence[Evidence]) -> tuple[Evidence, ...]:
    return tuple(sorted(items, key=lambda item: (item.at is None, item.at or 0.0)))
