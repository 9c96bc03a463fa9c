"""Verdicts on the connections of a capture when nothing else is known of them, in the values and words of a report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from tracecorr.captured import Capture, Conversation, Moment
from tracecorr.events import Gap
from tracecorr.kernel import TcpState
from tracecorr.verdicts.cause import Cause
from tracecorr.verdicts.explanations import advice
from tracecorr.verdicts.half_closed import RULES, Found, Step, View, silent
from tracecorr.verdicts.report import Evidence, SocketView, Verdict
from tracecorr.verdicts.words import length, seconds

# Released connections are answers of the past: beyond this many they are left out.
_RELEASED: Final = 5000

_LIST: Final = "ss -tnpe state close-wait, on the host"

_ADVICE: Final = (
    "List it on its host for the process (lsof -nP -i TCP where there is no ss), trace that with strace -f -ttt -T -yy "
    "-o trace.log -p PID until one more connection is stuck, and give the log to tracecorr parse.",
)


def verdicts(capture: Capture, stuck_after: int) -> list[Verdict]:
    """Return what is wrong with the connections of a capture, as far as a capture can tell.

    `stuck_after` is in nanoseconds.  Ages run to the last frame, whatever other inputs there are: what was sent after
    it, a FIN perhaps, nobody has seen.
    """
    end = capture.last
    if end is None:
        return []
    found: list[Verdict] = []
    released = 0
    for conversation in capture.conversations:
        verdict = judge(conversation, end, stuck_after)
        if verdict is None or (verdict.released and released >= _RELEASED):
            continue
        released += verdict.released
        found.append(verdict)
    return found


def of_several(
    alone: Sequence[Capture], captures: Sequence[Capture], stuck_after: int, told: Callable[[Verdict], bool]
) -> Iterator[Verdict]:
    """Yield the verdicts on the connections of several captures, each of them once.

    `alone` are the captures without what other inputs tell of, `told` says so of a verdict.
    """
    found: list[Verdict] = []
    for capture in alone:
        for each in verdicts(capture, stuck_after):
            over = not each.released and (told(each) or _ended_in(captures, each))
            if not over and not any(_is_same(each, other) for other in found):
                found.append(each)
    yield from found


# tcpdump -C and -G go on in another file, and what one capture has lost another one may have.
def _ended_in(captures: Sequence[Capture], verdict: Verdict) -> bool:
    if verdict.eof_at is None or len(captures) < 2:
        return False
    ends = {verdict.socket.local, verdict.socket.peer}
    return any(
        each.last.at >= verdict.eof_at * 1e9
        and any(
            each.half(end).reset is not None or (str(end) == verdict.socket.local and each.half(end).fin is not None)
            for end in each.ends
        )
        for capture in captures
        if capture.source != _file(verdict)
        for each in capture.conversations
        if {*map(str, each.ends)} == ends
    )


# Of two captures of one connection, taken at two places: the FIN is the same one.
def _is_same(one: Verdict, other: Verdict) -> bool:
    return (
        one.socket == other.socket and one.cause == other.cause and one.released == other.released
        and abs((one.eof_at or 0) - (other.eof_at or 0)) < 1 and _file(one) != _file(other)
    )  # fmt: skip


def _file(verdict: Verdict) -> str | None:
    return next((item.source for item in verdict.evidence if item.source is not None), None)


def judge(conversation: Conversation, now: int, stuck_after: int) -> Verdict | None:
    """Return the verdict on one connection, None where nothing is wrong or nothing can be told.

    `now` is the end of the capture, in nanoseconds since the epoch.
    """
    if conversation.one_sided or not conversation.established:
        return None
    views = [View(conversation, end, now, stuck_after) for end in conversation.ends]
    for rule in RULES:
        for view in views:
            found = rule(view)
            if found is not None:
                return _verdict(view, found)
    return None


def unsure(capture: Capture, stuck_after: int) -> Iterator[Gap]:
    """Yield a gap for connections that are half-closed as it seems, and of which nothing can be said.

    They were half-closed too shortly before the end, or before the capture began, one way or the other.
    """
    end = capture.last
    if end is None:
        return
    headless = [each for each in capture.conversations if any(map(each.may_have_closed_before, each.ends))]
    if headless:
        number = f"{len(headless):,} connection{'s' if len(headless) != 1 else ''}"
        why = (
            f"of {number} one side has closed, and the other one has only acknowledged that: it may be stuck, or have "
            f"closed before the capture began"
        )
        yield Gap("half-closed, perhaps", why, _LIST, capture.source, headless[0].last.origin.line)
    young = [
        each
        for each in capture.conversations
        if judge(each, end, stuck_after) is None and any(silent(View(each, one, end, 0)) for one in each.ends)
    ]
    if young:
        number = f"{len(young):,} connection{'s were' if len(young) != 1 else ' was'}"
        why = f"{number} half-closed less than {length(stuck_after)} before the capture ends: too young to tell"
        yield Gap(
            "half-closed at the end",
            why,
            f"{_LIST}, or a capture that goes on for longer",
            capture.source,
            young[0].last.origin.line,
        )


def _verdict(view: View, found: Found) -> Verdict:
    fin = view.others.fin
    end = view.now if found.until is None else found.until.at
    # What was released was in CLOSE_WAIT until then, as a log's verdicts have it.
    state = found.state if found.until is None else TcpState.CLOSE_WAIT
    return Verdict(
        cause=found.cause.value,
        detail=None,
        fault=found.cause is Cause.UNEXPLAINED,
        confidence=found.confidence.word,
        socket=SocketView(
            local=str(view.end), peer=str(view.peer), inode=None, role=view.role,
            state=None if state is None else state.value,
        ),
        eof_at=None if fin is None else seconds(fin.at),
        stuck_for=seconds(end - found.since.at),
        released_at=None if found.until is None else seconds(found.until.at),
        released_by=found.by,
        holders=(),
        culprit=None,
        owner=None,
        missing=found.missing,
        summary=f"{view}: {found.because}.",
        advice=_ADVICE if found.cause is Cause.UNEXPLAINED else advice(found.cause.value, None),
        evidence=tuple(_evidence(view, found)),
    )  # fmt: skip


def _evidence(view: View, found: Found) -> Iterator[Evidence]:
    opener = view.conversation.opener
    steps: list[Step] = [
        (view.conversation.halves[0].syn if opener is not None else None, "SYN", f"{opener} connects"),
        (view.others.fin, "FIN", f"{view.peer} has closed, its sending side at least"),
        (view.others.fin_acknowledged, "ACK", f"{view.end} has that FIN: CLOSE_WAIT"),
        *found.steps,
    ]
    told = sorted(((when, what, text) for when, what, text in steps if when is not None), key=_frame)
    for when, what, text in told:
        yield Evidence(text=text, source=when.origin.source, line=when.origin.line, at=seconds(when.at), call=what)
    if found.until is None:
        text = f"no {'acknowledgement of it' if view.own.fin is not None else f'FIN of {view.end}'} to the end"
        yield Evidence(text=text, source=None, line=None, at=None)


def _frame(step: tuple[Moment, str, str]) -> int:
    return step[0].origin.line
