"""One group of verdicts as a story: what happened, the lines that prove it, what to do, and whom else it concerns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from rich.text import Text

from tracecorr.render.chain import chain
from tracecorr.render.clock import spans
from tracecorr.render.escape import visible
from tracecorr.render.groups import where
from tracecorr.render.headline import count
from tracecorr.render.layout import Cell
from tracecorr.verdicts.explanations import label

if TYPE_CHECKING:
    from tracecorr.render.groups import Group
    from tracecorr.render.layout import Page
    from tracecorr.verdicts.report import Holder, SocketView, Verdict

SHOWN_OTHERS: Final = 3
SUMMARY_LIMIT: Final = 1500

ARROW: Final[dict[str | None, str]] = {"accepted": "←", "connected": "→"}

RELEASE: Final[dict[str, str]] = {
    "close": "its last descriptor was closed",
    "shutdown": "shutdown() was called on it",
    "exit": "its last holder ended, and nobody had closed it",
    "exec": "execve() closed it (close-on-exec)",
    "dup": "dup2() put another file in its place",
    "reset": "the peer reset it",
    "unknown": "it went, the record does not say how",
}

WAY: Final[dict[str, str]] = {
    "accept": "accepted it",
    "connect": "connected it",
    "open-at-start": "open when the record begins",
    "fork": "by fork",
    "exec": "by fork and exec",
    "dup": "a duplicate",
    "passed": "passed to it",
}


def story(page: Page, group: Group) -> Iterator[Text]:
    """Yield the lines of one group; the connection that is stuck longest speaks for all."""
    oldest = group.oldest
    yield from _title(page, group)
    yield from page.paragraph(Text(visible(oldest.summary, SUMMARY_LIMIT)), indent=2)
    yield Text()
    if oldest.evidence:
        yield from chain(page, oldest.evidence)
        yield Text()
    for word, body in _paragraphs(page, group):
        yield from page.labelled(word, body)


def _title(page: Page, group: Group) -> Iterator[Text]:
    oldest = group.oldest
    colour = "cyan" if not oldest.blamed else "yellow" if oldest.released else "red"
    bullet = Text("●" if oldest.blamed else "○", colour)
    title = Text.assemble((label(visible(oldest.cause)), f"bold {colour}"))
    if oldest.detail is not None:
        title.append(f" ({label(visible(oldest.detail))})", colour)
    parts = [visible(group.confidence), ", ".join(_extent(group))]
    if not oldest.blamed:
        parts.insert(0, "no fault")
    title.append("".join(f" · {part}" for part in parts))
    yield from page.columns(Cell(bullet, 1), Cell(title, page.style.width - 2), gap=1)


def _extent(group: Group) -> Iterator[str]:
    number = count(len(group.verdicts), "connection")
    yield f"{number} in {group.processes:,} processes" if group.processes > 1 else number
    lasted = f"for {spans(group.stuck_for)}" if group.stuck_for else ""
    if group.oldest.released:
        yield f"{lasted}, then released" if lasted else "released"
    else:
        yield f"{lasted} and still" if lasted else "still there"


def _paragraphs(page: Page, group: Group) -> Iterator[tuple[str, str]]:
    oldest = group.oldest
    if oldest.advice:
        yield "fix", visible(" ".join(oldest.advice), SUMMARY_LIMIT)
    if oldest.released:
        # A summary stands alone, in a ticket: most tell of the release by themselves.
        if "released by" not in oldest.summary:
            yield "ended", _release(page, oldest)
    elif oldest.missing and oldest.cause == "unexplained":
        yield "needs", visible(oldest.missing)
    elif oldest.missing:
        yield "ends", f"with {visible(oldest.missing)}"
    if len(group.verdicts) > 1:
        others = page.few(range(1, len(group.verdicts)), SHOWN_OTHERS, lambda i: _other(group, i))
        yield "also", ", ".join(others)
    strangers = [each for each in _other_holders(oldest) if not _told(each, oldest)]
    held = page.few(strangers, SHOWN_OTHERS, _holder)
    if held:
        yield "held", f"also by {', '.join(held)}: closing one copy is not enough"


def _release(page: Page, verdict: Verdict) -> str:
    how = RELEASE.get(verdict.released_by or "unknown") or visible(verdict.released_by or "")
    source = next((each.source for each in verdict.evidence if each.source), None)
    at = page.clocks.moment(verdict.released_at, source)
    return f"when {how}, at {at}" if at else f"when {how}"


def _other(group: Group, index: int) -> str:
    verdict, oldest = group.verdicts[index], group.oldest
    party, first = where(verdict), where(oldest)
    text = _ends(verdict.socket, group.oldest.socket)
    if party is None or party.fd is None:
        return text
    stranger = first is not None and party.pid != first.pid and party.pid is not None
    return f"fd {party.fd} of {party.pid} {text}" if stranger else f"fd {party.fd} {text}"


# The side that all connections of a group share is said once, in the summary.
def _ends(socket: SocketView, first: SocketView) -> str:
    arrow = ARROW.get(socket.role, "–")
    local, peer = visible(socket.local or "?"), visible(socket.peer or "?")
    if socket.local is None and socket.peer is None:
        return "(addresses unknown)"
    return f"{arrow} {peer}" if socket.role == "accepted" and socket.local == first.local else f"{local} {arrow} {peer}"


def _other_holders(verdict: Verdict) -> list[Holder]:
    culprit = where(verdict)
    if verdict.released or culprit is None:
        return []
    return [each for each in verdict.holders if (each.pid, each.fd) != (culprit.pid, culprit.fd)]


def _told(holder: Holder, verdict: Verdict) -> bool:
    return f"{holder.pid} " in f"{verdict.summary} " and (holder.fd is None or f"fd {holder.fd}" in verdict.summary)


def _holder(holder: Holder) -> str:
    name = visible(holder.comm) if holder.comm else "process"
    how = [WAY[holder.how]] if holder.how in WAY else []
    how += ["never used it"] if holder.used is False else []
    pid = "" if holder.pid is None else f"[{holder.pid}]"
    number = "" if holder.fd is None else f" as fd {holder.fd}"
    return f"{name}{pid}{number}" + (f" ({', '.join(how)})" if how else "")
