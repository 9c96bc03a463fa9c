"""Arrays and structures as truss of FreeBSD prints them (usr.bin/truss/syscalls.c): those that tell of descriptors."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from tracecorr.kernel import CONSTANTS, POLLIN, POLLRDHUP
from tracecorr.sources.call_text import number
from tracecorr.syscalls.record import Value

_POLLFD: Final = re.compile(r"(-?\d{1,10})/([A-Z|]{1,120})(?:/([A-Z|]{1,120}|0))?")
_KEVENT: Final = re.compile(r"[{ ](0x[0-9a-f]{1,16}|\d{1,20}),EVFILT_READ,([A-Z_0-9x|]{1,160}),(\w{1,80})[,|]")
_FD: Final = re.compile(r"\b\d{1,10}\b")
_MOST: Final = 1000


def _fds(text: str) -> Value:
    return [int(fd) for fd in _FD.findall(text)[:_MOST]]


def _bits(words: str) -> int:
    bits = 0
    for word in words.split("|"):
        bits |= CONSTANTS.get(word, 0)
    return bits


def _pollfds(text: str) -> Value:
    return [
        # POLLHUP is told at an end of either direction; POLLRDHUP (FreeBSD 13) is the FIN.
        {"fd": int(fd), "events": _bits(asked), "revents": _bits(told) & POLLRDHUP}
        for fd, asked, told in _POLLFD.findall(text)[:_MOST]
    ]


# An error of the socket is in fflags (kqueue(2), EV_EOF): then it is no FIN.
def _kevents(text: str) -> list[Value]:
    return [
        {"fd": number(fd), "events": POLLIN, "revents": POLLRDHUP if "EV_EOF" in flags and error in ("0", "0x0") else 0}
        for fd, flags, error in _KEVENT.findall(text)[:_MOST]
        if "EV_DELETE" not in flags
    ]


def _status(text: str) -> Value:
    return "WIFSTOPPED" if "STOPPED" in text or "CONTINUED" in text else text


_AT: Final[dict[str, tuple[int, Callable[[str], Value]]]] = {
    "poll": (0, _pollfds), "ppoll": (0, _pollfds), "select": (1, _fds), "pselect": (1, _fds), "pipe": (0, _fds),
    "pipe2": (0, _fds), "socketpair": (3, _fds), "wait4": (1, _status),
}  # fmt: skip


def shown(name: str, args: list[Value]) -> list[Value]:
    """Return the arguments with arrays as lists; of kevent, the events asked for and told, as poll has them."""
    if name == "kevent":
        arrays = [argument for argument in (args[1:2] + args[3:4]) if isinstance(argument, str)]
        return [[entry for text in arrays for entry in _kevents(text)]]
    at, turned = _AT.get(name, (len(args), _fds))
    if at < len(args) and isinstance(args[at], str):
        args[at] = turned(args[at])
    return args
