"""The rows of netstat, one shape for each system that prints them: Linux, BSD and AIX, Solaris, Windows."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tracecorr.events import Endpoint
from tracecorr.kernel import TcpState
from tracecorr.snapshot import SocketRow
from tracecorr.sources.listings import words
from tracecorr.sources.listings.base import Draft

# Host names are cut to this many characters before the port is added (inetprint() of BSD and macOS).
_HOST_WIDTH: Final = 16
# The column where no header tells: 22, or 18 beside the addresses of kernel structures.
_WIDTH, _WIDTH_WITH_PCB = 22, 18
_TICKS: Final = 1000


@dataclass(slots=True)
class Reading:
    """What earlier lines of the listing say about the next ones.

    `local` is the first half of a row of two lines (Solaris, -v).
    """

    draft: Draft
    width: int | None = None
    other_section: bool = False
    local: str | None = None
    windows_pid: int | None = None
    stateless: int = 0


@dataclass(frozen=True, slots=True)
class Layout:
    """The shape of one system's lines, and what to make of one; `half` lines are not enough to know a listing by."""

    shape: re.Pattern[str]
    take: Callable[[Reading, int, re.Match[str]], bool]
    half: bool = False


_HEX: Final = "[0-9a-f]{8}"
_QUEUES: Final = r"(?P<recv>\d+)\s+(?P<send>\d+)"
# User and inode (-e), process (-p), timer (-o); each of them may be missing.
_LINUX_TAIL: Final = re.compile(
    r"(?:(?P<user>\S+)\s+(?P<inode>\d+)(?:\s+|$))?"
    r"(?:(?P<pid>\d+)/(?P<program>.*?)|(?P<nobody>-))?\s*"
    r"(?:(?P<timer>[^\W\d][\w-]*)\s+\((?P<when>-?\d{1,9}(?:\.\d{1,9})?)/\d+/\d+\)\s*)?"
)
_TIMERS: Final = {"on": "retransmit", "keepalive": "keepalive", "timewait": "timewait", "probe": "persist"}


def _linux(state: Reading, line: int, found: re.Match[str]) -> bool:
    tcp, tail = words.state(found["state"]), _LINUX_TAIL.fullmatch(found["rest"].strip())
    if tcp is None or tail is None:
        return False
    draft = state.draft
    inode = int(tail["inode"]) if tail["inode"] is not None else None
    if inode is None and tcp is not TcpState.TIME_WAIT:
        inode = draft.nameless()
    if tail["pid"] is not None and inode:
        draft.holds(int(tail["pid"]), program(tail["program"]), None, inode, line)
    draft.sockets.append(
        SocketRow(
            state=tcp, local=words.split(found["local"]), peer=words.split(found["peer"]),
            receive_queue=int(found["recv"]), send_queue=int(found["send"]), inode=inode,
            timer=_TIMERS.get(tail["timer"] or ""),
            timer_expires=round(float(tail["when"]) * _TICKS) if tail["timer"] in _TIMERS else None,
            origin=draft.origin(line),
        )
    )  # fmt: skip
    return True


def program(text: str) -> str | None:
    """Return the name of a program as comm would have it: without its directory, which "sshd: user [priv]" has not."""
    text = text.strip()
    return (text if " " in text else text.rpartition("/")[2]) or None


# The end of a FIN that was not read counts in Recv-Q on Linux alone; elsewhere 0 says nothing.
def _unread(text: str, tcp: TcpState) -> int | None:
    return int(text) if text != "0" or tcp is TcpState.LISTEN else None


# macOS, -v: rhiwat shiwat pid epid state options, and since macOS 13 name:pid in the place of the two numbers.
_MACOS_OWNER: Final = re.compile(
    r"(?:^|\s)\d+\s+\d+\s+(?:(?P<pid>\d+)\s+\d+|(?P<name>\S.*?):(?P<owner>\d+))\s+[0-9a-f]{5}\s+[0-9a-f]{8}\b"
)


def _bsd(state: Reading, line: int, found: re.Match[str]) -> bool:
    tcp = words.state(found["state"] or "")
    if tcp is None:
        state.stateless += 1
        return False
    pcb = found["pcb"]
    width = state.width or (_WIDTH_WITH_PCB if pcb else _WIDTH)
    local, peer = (_bsd_end(found[side], width) for side in ("local", "peer"))
    draft = state.draft
    inode = draft.nameless()
    owner = _MACOS_OWNER.search(found["rest"])
    if owner is not None:
        draft.holds(int(owner["pid"] or owner["owner"]), owner["name"], None, inode, line)
    draft.sockets.append(
        SocketRow(
            state=tcp, local=local, peer=peer, receive_queue=_unread(found["recv"], tcp),
            send_queue=int(found["send"]), inode=inode, cookie=int(pcb, 16) if pcb else None,
            origin=draft.origin(line),
        )
    )  # fmt: skip
    return True


def _bsd_end(text: str, width: int) -> Endpoint | None:
    host = text.rpartition(".")[0]
    cut = len(text) >= width or (len(host) >= _HOST_WIDTH and not _is_ipv4(host))
    return words.Words(f"{text}…", 0) if cut else words.split(text, ".")


def _is_ipv4(host: str) -> bool:
    return host.count(".") == 3 and words.is_address(host)


def _solaris(state: Reading, line: int, found: re.Match[str]) -> bool:
    if words.is_unconnected(found["state"]):
        return True
    tcp = words.state(found["state"])
    if tcp is None:
        return False
    draft, inode = state.draft, state.draft.nameless()
    if found["pid"] is not None:
        draft.holds(int(found["pid"]), program(found["command"]), None, inode, line)
    # One line for each process with -u.
    draft.sockets.append(
        SocketRow(
            state=tcp, local=words.split(found["local"], "."), peer=words.split(found["peer"], "."),
            receive_queue=_unread(found["recv"], tcp), send_queue=int(found["send"]), inode=inode,
            origin=draft.origin(line),
        )
    )  # fmt: skip
    return True


def _solaris_local(state: Reading, line: int, found: re.Match[str]) -> bool:
    first, state.local = state.local, found["local"]
    return first is None


# The second line of a row of -v; what was sent and is not acknowledged lies between Suna and Snext.
def _solaris_peer(state: Reading, line: int, found: re.Match[str]) -> bool:
    local, state.local = state.local, None
    tcp = words.state(found["state"])
    if local is None or tcp is None:
        return local is not None and words.is_unconnected(found["state"])
    draft, inode = state.draft, state.draft.nameless()
    if found["pid"] is not None:
        draft.holds(int(found["pid"]), program(found["command"]), None, inode, line)
    draft.sockets.append(
        SocketRow(
            state=tcp, local=words.split(local, "."), peer=words.split(found["peer"], "."),
            send_queue=(int(found["next"], 16) - int(found["una"], 16)) % (1 << 32), inode=inode,
            origin=draft.origin(line),
        )
    )  # fmt: skip
    return True


def _windows(state: Reading, line: int, found: re.Match[str]) -> bool:
    tcp = words.state(found["state"])
    state.windows_pid = int(found["pid"]) if found["pid"] is not None else None
    if tcp is None:
        return False
    draft = state.draft
    inode = draft.nameless()
    if state.windows_pid:
        # 0 is the idle process, which stands for none.
        draft.holds(state.windows_pid, None, None, inode, line)
    local, peer = words.split(found["local"]), words.split(found["peer"])
    draft.sockets.append(SocketRow(state=tcp, local=local, peer=peer, inode=inode, origin=draft.origin(line)))
    return True


LAYOUTS: Final[tuple[Layout, ...]] = (
    Layout(
        re.compile(
            rf"tcp6?\s+{_QUEUES}\s+(?P<local>\S*:[^\s.:]+)\s+(?P<peer>\S*:[^\s.:]+)\s+"
            r"(?P<state>[^\W\d][\w-]*)(?P<rest>(?:\s.*)?)"
        ),
        _linux,
    ),
    Layout(
        re.compile(
            rf"(?:(?P<pcb>[0-9a-f]{{6,17}})\s+(?:[0-9a-f]{{1,8}}\s+)?)?tcp(?:4|6|46)?\s+{_QUEUES}\s+"
            r"(?:\d+\s+(?=\S+\.))?(?P<local>\S+\.\S+)\s+(?P<peer>\S+\.\S+)"
            r"(?:\s+(?P<state>\(?[A-Z][A-Z_0-9-]+\)?))?(?P<rest>(?:\s.*)?)"
        ),
        _bsd,
    ),
    Layout(
        re.compile(
            r"\s*(?P<local>\S+\.\S+)\s+(?P<peer>\S+\.\S+)\s+(?:(?P<user>\S+)\s+(?P<pid>\d+)\s+(?P<command>\S+)\s+)?"
            r"\d+\s+(?P<send>\d+)\s+\d+\s+(?P<recv>\d+)\s+(?P<state>[A-Z][A-Z_0-9]+)(?:\s+\S+)?"
        ),
        _solaris,
    ),
    Layout(re.compile(r"\s*(?P<local>[\w.:%*-]*[\w:*]\.(?:\*|[\w-]+))"), _solaris_local, half=True),
    Layout(
        re.compile(
            r"\s*(?P<peer>\S+\.\S+)\s+(?:(?P<user>\S+)\s+(?P<pid>\d+)\s+(?P<command>\S+)\s+)?"
            rf"\d+\s+(?P<next>{_HEX})\s+(?P<una>{_HEX})\s+\d+\s+{_HEX}\s+{_HEX}\s+\d+\s+\d+\s+"
            r"(?P<state>[A-Z][A-Z_0-9]+)(?:\s+\S+)?"
        ),
        _solaris_peer,
    ),
    Layout(
        re.compile(
            r"\s*TCP\s+(?P<local>\S+:[\w*-]+)\s+(?P<peer>\S+:[\w*-]+)\s+(?P<state>[^\s\d]\S*)(?:\s+(?P<pid>\d+))?"
            r"(?:\s+[A-Z]\w+)?"
        ),
        _windows,
    ),
)
