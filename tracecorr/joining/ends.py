"""The two ends of a connection that two logs have: who sent the FIN, and where it waits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tracecorr.joining.answer import endpoint_of
from tracecorr.joining.join import Log
from tracecorr.joining.survey import Life
from tracecorr.kernel import TcpState
from tracecorr.verdicts.report import Evidence, Verdict
from tracecorr.verdicts.words import seconds


def name_ends(ours: Log, theirs: Log, pairs: Iterable[tuple[Life, Life]], ahead: int) -> None:
    if ours.diagnosis is None:
        return
    by_ends = {here.peer or there.local: there for here, there in pairs}
    verdicts = ours.diagnosis.verdicts
    for index, verdict in enumerate(verdicts):
        there = by_ends.get(endpoint_of(verdict.socket.peer))
        if there is not None:
            verdicts[index] = _with_peer(verdict, there, theirs, ahead)


def _with_peer(verdict: Verdict, there: Life, theirs: Log, ahead: int) -> Verdict:
    sent = there.fin
    if sent is None or verdict.released:
        return verdict
    comm = f" ({sent.process.comm})" if sent.process.comm else ""
    word = {"shutdown": "shut down its sending side", "exit": "ended"}.get(sent.what, "closed it")
    waits = "and its end sits in FIN_WAIT_2" if verdict.socket.state == TcpState.CLOSE_WAIT.value else ""
    said = f"the peer, PID {sent.pid}{comm} in {theirs.short}, {word} {waits}".rstrip()
    at = seconds(sent.at - ahead) if sent.at is not None else None
    if at is not None and verdict.eof_at is not None:
        at = min(at, verdict.eof_at)
    source, number = sent.origin
    text = f"the peer {word}: its FIN goes out"
    line = Evidence(text=text, source=source, line=number, at=at, pid=sent.pid, call=sent.call or None)
    kept = [item for item in verdict.evidence if (item.source, item.line) != (line.source, line.line)]
    return replace(
        verdict, summary=f"{verdict.summary.removesuffix('.')}; {said}.", evidence=tuple(in_time([*kept, line]))
    )  # fmt: skip


# Lines without a time stay where they are.
def in_time(lines: list[Evidence]) -> list[Evidence]:
    added = lines.pop()
    place = next(
        (index for index, line in enumerate(lines) if added.at is not None and line.at is not None
         and line.at >= added.at), None,
    )  # fmt: skip
    if place is None:
        place = next((index for index, line in enumerate(lines) if line.source is None), len(lines))
    return [*lines[:place], added, *lines[place:]]
