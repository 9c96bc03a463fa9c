"""netstat of Linux (net-tools), Solaris, AIX, HP-UX, BSD, macOS and Windows.

Lines are told apart by their shape rather than by headers: people grep, and headers are translated.  The header of the
addresses is used for one thing, the width of their column: BSD cuts what is longer, digits of ports among it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from tracecorr.events import Gap
from tracecorr.snapshot import Snapshot
from tracecorr.sources.base import Tally
from tracecorr.sources.listings.base import Draft, texts
from tracecorr.sources.listings.netstat_rows import LAYOUTS, Reading

NAME: Final = "netstat"

# What else netstat prints: other protocols, titles, rules, headers, and notices on standard error.
_OTHERS: Final = re.compile(
    r"\s*(?:"
    r"(?:[0-9a-f]{6,16}\s+(?:[0-9a-f]{1,8}\s+)?)?(?:udp|udplite|raw|icmp|icm|sctp|igmp|div|unix|mptcp)[l46]{0,2}\b.*"
    r"|(?:UDP|ICMP)\s.*|.*\s(?:Idle|Unbound)"
    r"|(?:Active|Aktive)\b.*|(?:TCP|UDP|SCTP): IPv[46].*|[-\s]{5,}"
    r"|Proto\b.*|.*\sProto\s+Recv-Q.*|Local Address\b.*"
    r"|so_\w+:.*|timeo:.*|q0?len:.*"
    r"|\(.*\)?|netstat: .*|will not be shown.*|root to see it all.*|all processes could not be.*"
    r")"
)
_TITLE: Final = re.compile(
    r"^\s*Active (?:Internet )?[Cc]onnections|\bProto\s+Recv-Q\s+Send-Q\s+Local|^\s*TCP: IPv4|\sSwind\s+Send-Q\s"
)
# Every row has numbers.  What has none is a title, a header or a notice, in whatever language.
_DIGIT: Final = re.compile(r"\d")
_WINDOWS_PROGRAM: Final = re.compile(r"\s*\[(?P<program>[^\]]+)\]")
_SECTION: Final = re.compile(r"\s*(?:Active|Aktive)\s.*")
_NO_TCP: Final = re.compile(r"UNIX|domain|Bluetooth|Multipath|kernel|route", re.IGNORECASE)
_COLUMNS: Final = re.compile(r"(?P<before>.*?)Local Address(?P<blank>\s+)(?:Foreign|Remote) Address")


def recognises(head: list[bytes]) -> bool:
    """Say whether most of these lines have a shape of netstat's, and one at least is a row or a title of TCP."""
    rows = titles = others = 0
    for text in texts(head):
        layout = next((layout for layout in LAYOUTS if layout.shape.fullmatch(text)), None)
        if layout is not None:
            rows += not layout.half
        elif _TITLE.search(text):
            titles += 1
        elif not rows and not _DIGIT.search(text):
            pass  # a title or a notice, in whatever language
        elif not _OTHERS.fullmatch(text) and not text.startswith((" ", "/", "@")):
            others += 1
    return bool(titles) or rows > others


def read(lines: Iterable[tuple[int, str]], tally: Tally) -> Snapshot:
    """Return what a listing of netstat shows.

    It names one process for a socket, never a second one, and on Linux and Windows no descriptor.
    """
    state = Reading(Draft(tally))
    for number, text in lines:
        if text.strip():
            tally.lines = number
            _line(state, number, text.rstrip())
    if state.stateless and not state.draft.sockets:
        why = f"{state.stateless} lines have no state: netstat was given an option that leaves it out"
        state.draft.gaps.append(Gap("states unknown", why, "netstat -an", tally.name, None))
    return state.draft.snapshot()


def _line(state: Reading, number: int, text: str) -> None:
    columns = _COLUMNS.match(text)
    if columns is not None:
        state.width = len("Local Address") + len(columns["blank"]) - 1
        state.other_section = False
        return
    section = _SECTION.fullmatch(text)
    if section is not None:
        state.other_section = _NO_TCP.search(text) is not None
        return
    if state.other_section or _program(state, text):
        return
    for layout in LAYOUTS:
        found = layout.shape.fullmatch(text)
        if found is not None:
            if not layout.take(state, number, found):
                state.draft.tally.skip(number, text.encode("utf-8", "surrogatepass"))
            return
    if not _OTHERS.fullmatch(text) and _DIGIT.search(text):
        state.draft.tally.skip(number, text.encode("utf-8", "surrogatepass"))


# With -b Windows names the program, and a service of it, on lines of their own below the connection.
def _program(state: Reading, text: str) -> bool:
    found = _WINDOWS_PROGRAM.fullmatch(text)
    if found is not None and state.windows_pid:
        state.draft.process(state.windows_pid, found["program"])
        return True
    return state.windows_pid is not None and text.startswith(" ") and not text.lstrip().startswith(("TCP", "UDP"))
