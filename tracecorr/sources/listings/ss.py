"""ss of iproute2: -tan with any of -p -o -e -i -m, with and without its State column and header."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from tracecorr.events import Gap
from tracecorr.kernel import Shutdown, TcpState
from tracecorr.snapshot import Ends, Snapshot, SocketRow, TcpInfo
from tracecorr.sources.base import Tally
from tracecorr.sources.listings import words
from tracecorr.sources.listings.base import Draft, texts

NAME: Final = "ss"

_STATE: Final = (
    r"ESTAB|SYN-SENT|SYN-RECV|NEW-SYN-RECV|FIN-WAIT-1|FIN-WAIT-2|TIME-WAIT|UNCONN|CLOSE-WAIT|LAST-ACK|LISTEN|CLOSING"
    r"|CLOSED"
)
_NETID: Final = r"[a-z][a-z0-9_?]{0,9}|\?\?\?"
_ROW: Final = re.compile(
    rf"(?:(?P<netid>{_NETID})\s+)?(?P<state>{_STATE}|UNKNOWN)\s+(?P<recv>\d+)\s+(?P<send>\d+)\s+"
    r"(?P<local>\S+)\s+(?P<peer>\S+)(?P<rest>(?:\s.*)?)"
)
# `ss state close-wait` leaves the State column out.
_STATELESS: Final = re.compile(
    rf"(?:(?P<netid>{_NETID})\s+)?(?P<recv>\d+)\s+(?P<send>\d+)\s+(?P<local>\S+:\S+)\s+(?P<peer>\S+:\S+)(?P<rest>(?:\s.*)?)"
)
# What may stand behind the ends where there is no state: netstat has one there.
_DETAILS: Final = re.compile(r"\s*(?:(?:users|timer|uid|ino|sk|cgroup|v6only|fwmark|skmem)[:=].*)?")
_HEADER: Final = re.compile(r"(?:Netid\s+)?(?:State\s+)?Recv-Q\s+Send-Q\s+Local Address:Port\s+Peer Address:Port.*")
_USER: Final = re.compile(r'\("((?:[^"\\]|\\.)*)",(?:pid=)?(\d+),(?:fd=)?(\d+)\)')
_TIMER: Final = re.compile(r"timer:\((?P<kind>\w+),(?P<time>[^,]*),\d+\)")
_TIME: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|sec|min|hour|day|s|m|h)")
_MILLISECONDS: Final = {
    "ms": 1, "sec": 1000, "s": 1000, "min": 60_000, "m": 60_000, "hour": 3_600_000, "h": 3_600_000, "day": 86_400_000,
}  # fmt: skip
_KINDS: Final = {"on": "retransmit", "keepalive": "keepalive", "timewait": "timewait", "persist": "persist"}
# "<->" loses the arrow of each half that was shut down (misc/ss.c, proc_ctx_print() and sock_details_print()).
_ARROWS: Final = {
    "<->": Shutdown.NONE,
    "-->": Shutdown.RD,
    "<--": Shutdown.WR,
    "---": Shutdown.RDWR,
}
_ARROW: Final = re.compile(rf"\s({'|'.join(_ARROWS)})(?=\s|$)")
# The middle of a line of -i, with one of the words that it always has.
_WORDS: Final = re.compile(
    r"(?:\S+ )+.*\b(?:rto|rtt|cwnd|mss|lastsnd|lastrcv|lastack|bytes_\w+|segs_\w+|rcv_\w+|minrtt):\d"
)
# The fields of TcpInfo by ss' own words for them.
_INFO: Final = {
    "last_data_sent": "lastsnd", "last_data_received": "lastrcv", "last_ack_received": "lastack",
    "bytes_acked": "bytes_acked", "bytes_received": "bytes_received", "bytes_sent": "bytes_sent",
    "not_sent": "notsent", "unacked": "unacked", "peer_window": "snd_wnd", "probes": "probes",
}  # fmt: skip
_NUMBER: Final = re.compile(r"(?<![\w])([a-z_]+):(\d+)(?![\w.,/])")
_RETRANSMITS: Final = re.compile(r"\bretrans:(\d+)/")


def recognises(head: list[bytes]) -> bool:
    """Say whether these lines begin as the header of ss, or most of them are its rows."""
    rows = others = 0
    for text in texts(head):
        if _HEADER.fullmatch(text):
            return True
        if _ROW.fullmatch(text) or _is_filtered(text):
            rows += 1
        elif not text.startswith(("\t", " ")):
            others += 1
    return rows > others


def _is_filtered(text: str) -> bool:
    found = _STATELESS.fullmatch(text)
    return found is not None and _DETAILS.fullmatch(found["rest"]) is not None


def read(lines: Iterable[tuple[int, str]], tally: Tally) -> Snapshot:
    """Return what a listing of ss shows.

    With -e it tells inodes and which halves are shut down, with -i what tcp_info has.
    """
    draft = Draft(tally)
    stateless = 0
    for number, row, text in _rows(lines, tally):
        found = _ROW.fullmatch(row) or _STATELESS.fullmatch(row)
        if found is None:
            if not _HEADER.fullmatch(row):
                tally.skip(number, row.encode("utf-8", "surrogatepass"))
        elif found["netid"] in (None, "tcp"):
            stateless += _row(draft, number, found, text)
    if stateless:
        why = "it has no State column: ss was given a filter, and the listing does not say which"
        draft.gaps.append(Gap("states unknown", why, "ss -tanpeoi", tally.name, None))
    return draft.snapshot()


# A row goes on in the lines below that are indented: what -i and -m add, and on a terminal all that did not fit.  What
# a terminal has cut in the middle of a word begins at its left edge.
def _rows(lines: Iterable[tuple[int, str]], tally: Tally) -> Iterator[tuple[int, str, str]]:
    """Yield the number of a row's line, the line, and all that stands behind its ends."""
    first: tuple[int, str] | None = None
    more: list[str] = []
    for number, text in lines:
        if not text.strip():
            continue
        tally.lines = number
        if first is not None and (text.startswith(("\t", " ")) or _is_rest(text)):
            more.append(text.rstrip() if text.startswith(("\t", " ")) else f"\0{text.rstrip()}")
            continue
        if first is not None:
            yield *first, "".join(f" {each}" for each in more).replace(" \0", "")
        first, more = (number, text.rstrip()), []
    if first is not None:
        yield *first, "".join(f" {each}" for each in more).replace(" \0", "")


def _is_rest(text: str) -> bool:
    return not _ROW.fullmatch(text.rstrip()) and not _HEADER.fullmatch(text.rstrip()) and _WORDS.match(text) is not None


def _row(draft: Draft, line: int, found: re.Match[str], more: str) -> bool:
    rest = found["rest"] + more
    inode = _number(rest, "ino")
    if inode is None:
        inode = draft.nameless()
    for comm, pid, fd in _USER.findall(rest):
        draft.holds(int(pid), comm, int(fd), inode, line)
    local, peer = words.split(found["local"]), words.split(found["peer"])
    arrow = _ARROW.search(rest)
    shut = _ARROWS[arrow[1]] if arrow is not None else None
    stated = found["state"] if "state" in found.re.groupindex else None
    state = words.state(stated) if stated is not None else _filtered(draft.tally.name, shut)
    if state is None:
        if stated is None:
            draft.ends[inode] = Ends(local, peer, draft.origin(line))
        return stated is None
    timer = _TIMER.search(rest)
    info = _info(rest)
    cookie = re.search(r"\bsk[:=]([0-9a-f]+)", rest)
    draft.sockets.append(
        SocketRow(
            state=state, local=local, peer=peer, receive_queue=int(found["recv"]), send_queue=int(found["send"]),
            inode=inode, uid=_number(rest, "uid"), shutdown=shut, cookie=int(cookie[1], 16) if cookie else None,
            timer=_KINDS.get(timer["kind"]) if timer else None, timer_expires=_milliseconds(timer), info=info,
            origin=draft.origin(line),
        )
    )  # fmt: skip
    return False


# The read side is shut down by the peer and ours is not: CLOSE_WAIT.  Else the file may be named after its filter.
def _filtered(name: str, shut: Shutdown | None) -> TcpState | None:
    if shut is Shutdown.RD or re.search(r"close[-_]?wait", name, re.IGNORECASE):
        return TcpState.CLOSE_WAIT
    return None


def _number(text: str, key: str) -> int | None:
    found = re.search(rf"(?:^|\s){key}[:=](\d{{1,19}})\b", text)
    return int(found[1]) if found else None


def _milliseconds(timer: re.Match[str] | None) -> int | None:
    if timer is None:
        return None
    parts = _TIME.findall(timer["time"])
    return round(sum(float(number) * _MILLISECONDS[unit] for number, unit in parts)) if parts else None


def _info(text: str) -> TcpInfo | None:
    numbers = dict(_NUMBER.findall(text))
    if "lastsnd" not in numbers and "cwnd" not in numbers:
        return None
    retransmits = _RETRANSMITS.search(text)
    known = {name: int(numbers[word]) for name, word in _INFO.items() if word in numbers}
    # ss leaves out what is 0 (misc/ss.c, tcp_stats_print()).
    counted = {"bytes_sent": 0, "bytes_received": 0, "unacked": 0, "not_sent": 0} if "lastsnd" in numbers else {}
    return TcpInfo(**{"retransmits": int(retransmits[1]) if retransmits else 0, **counted, **known})
