"""The first lines of the text: how many connections are stuck, and what was looked at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from rich.text import Text

from tracecorr.render.clock import moment, span
from tracecorr.render.escape import visible
from tracecorr.verdicts.explanations import EXPLANATIONS

if TYPE_CHECKING:
    from tracecorr.render.layout import Page
    from tracecorr.verdicts.report import Report, Source, Verdict

SHOWN_SOURCES: Final = 3
SHOWN_JOINED: Final = 12
OURS: Final = "tracecorr"

# What an input is counted in, where that is not its lines.
_UNITS: Final = {OURS: "record", "pcap": "frame", "pcapng": "frame", "snoop": "frame"}


def headline(page: Page, report: Report) -> Iterator[Text]:
    """Yield the finding, with the one source beside it where there is room, else the sources below."""
    finding = _finding(report)
    sources = _sources(page, report)
    room = page.style.width - finding.cell_len
    if len(sources) == 1 and sources[0].cell_len + 2 <= room:
        yield Text.assemble(finding, " " * (room - sources[0].cell_len), sources[0])
        return
    yield from page.paragraph(finding, indent=0)
    for source in sources:
        yield from page.paragraph(source, indent=2)


def count(number: int, noun: str) -> str:
    """Return 1 line, 5,120 lines."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _finding(report: Report) -> Text:
    stuck = [verdict for verdict in report.verdicts if verdict.blamed and not verdict.released]
    ended = sum(map(_ended, report.verdicts))
    text = Text(style="bold")
    if stuck:
        text.append(_stuck(stuck, report.sockets.seen), "red")
        text.append(f", {ended:,} more {_until_the_end(ended)}" if ended else "")
    elif ended:
        all_seen = count(report.sockets.seen, "connection")
        text.append(f"{ended:,} of {all_seen} {_until_the_end(ended, 'stuck in CLOSE_WAIT ')}", "red")
    elif report.sockets.seen or report.verdicts:
        text.append("No connection is stuck in CLOSE_WAIT", "green")
        text.append(f": {report.sockets.seen:,} {_verb(report.sockets.seen, 'was', 'were')} looked at")
        text.append(", with the gaps below" if report.gaps else "")
    else:
        text.append("No TCP connection was seen, so none can be stuck in CLOSE_WAIT")
    return text.append("".join(_besides(report)))


# An inherited copy needs no FIN to be a fault: such a connection is in no CLOSE_WAIT yet.
def _stuck(stuck: list[Verdict], seen: int) -> str:
    waiting = sum(verdict.socket.state == "CLOSE_WAIT" for verdict in stuck)
    held = len(stuck) - waiting
    copies = all(v.cause == "inherited-copy" for v in stuck if v.socket.state != "CLOSE_WAIT")
    how = "held open by a copy" if copies else "stuck"
    if not waiting:
        return f"{held:,} of {count(seen, 'connection')} {_verb(held, 'is', 'are')} {how}"
    first = f"{waiting:,} of {count(seen, 'connection')} {_verb(waiting, 'is', 'are')} stuck in CLOSE_WAIT"
    return first + (f", {held:,} more {_verb(held, 'is', 'are')} {how}" if held else "")


# Only the end of its holder freed it: the fault is there, and the exit code says so, though nothing is stuck any more.
def _ended(verdict: Verdict) -> bool:
    return verdict.blamed and verdict.released_by == "exit"


def _until_the_end(number: int, what: str = "") -> str:
    return _verb(number, f"was {what}until its holder ended", f"were {what}until their holders ended")


def _besides(report: Report) -> Iterator[str]:
    # With --all a report also lists connections that are healthy: their cause is none of the explained ones.
    lawful = sum(v.cause in EXPLANATIONS and not v.blamed and not v.released for v in report.verdicts)
    released = sum(verdict.released and not _ended(verdict) for verdict in report.verdicts)
    if lawful:
        yield f", {lawful:,} {_verb(lawful, 'waits', 'wait')} without a fault"
    if released:
        yield f", {released:,} {_verb(released, 'was', 'were')} stuck and then released"


def _verb(number: int, one: str, many: str) -> str:
    return one if number == 1 else many


def _sources(page: Page, report: Report) -> list[Text]:
    # What was joined is shown whole: each input says what came of it.
    joined = any(source.contributed is not None for source in report.sources)
    shown = report.sources if page.style.everything else report.sources[: SHOWN_JOINED if joined else SHOWN_SOURCES]
    lines = [Text(f"{visible(source.name)}: {', '.join(_looked_at(source))}", "dim") for source in shown]
    rest = report.sources[len(shown) :]
    if rest:
        lines.append(Text(f"and {', '.join(_sum(rest))}", "dim"))
    return lines


def _looked_at(source: Source) -> Iterator[str]:
    yield visible(source.format)
    if source.first is not None and source.last is not None and source.last > source.first:
        day = f" on {moment(source.first, 'epoch', dated=True)[:10]}" if source.clock == "epoch" else ""
        yield span(source.last - source.first) + day
    # One look at the kernel has no records.
    if source.lines or source.format != OURS:
        yield count(source.lines, _UNITS.get(source.format, "line"))
    if source.skipped:
        yield f"{source.skipped:,} not understood"
    if source.contributed is not None:
        yield visible(source.contributed)


def _sum(sources: tuple[Source, ...]) -> Iterator[str]:
    yield count(len(sources), "more input")
    yield count(sum(source.lines for source in sources), "line")
    skipped = sum(source.skipped for source in sources)
    if skipped:
        yield f"{skipped:,} not understood"
