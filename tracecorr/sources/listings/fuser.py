"""fuser PORT/tcp of psmisc, with and without -v: which processes have a socket with this local port."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from tracecorr.snapshot import Snapshot
from tracecorr.sources.base import Tally
from tracecorr.sources.listings import words
from tracecorr.sources.listings.base import Draft, texts

NAME: Final = "fuser"

_HEADER: Final = re.compile(r"\s+USER\s+PID\s+ACCESS\s+COMMAND\s*")
_PORT: Final = re.compile(r"(?P<port>[\w.-]+)(?:,[^/\s]*)?/tcp:\s*(?P<rest>.*)")
_VERBOSE: Final = re.compile(r"\s*(?P<user>\S+)\s+(?P<pid>\d+)\s+(?P<access>[.cefFrmn]{5,6})\s+(?P<comm>\S.*)")
_PIDS: Final = re.compile(r"\s*\d+[a-z]?(?:\s+\d+[a-z]?)*\s*")


def recognises(head: list[bytes]) -> bool:
    """Say whether a line begins as "8080/tcp:"."""
    return any(_PORT.fullmatch(text) for text in list(texts(head))[:10])


def read(lines: Iterable[tuple[int, str]], tally: Tally) -> Snapshot:
    """Return which processes use a port: not which of its connections, nor by which descriptor."""
    draft = Draft(tally)
    port: int | None = None
    for number, text in lines:
        if not text.strip():
            continue
        tally.lines = number
        begun = _PORT.fullmatch(text)
        if begun is not None:
            port = words.port_number(begun["port"])
        rest = begun["rest"] if begun is not None else text
        verbose = _VERBOSE.fullmatch(rest.rstrip())
        if verbose is not None:
            _user(draft, port, int(verbose["pid"]), verbose["comm"])
        elif _PIDS.fullmatch(rest):
            for pid in re.findall(r"\d+", rest):
                _user(draft, port, int(pid), None)
        elif rest.strip() and not _HEADER.fullmatch(text):
            tally.skip(number, text.encode("utf-8", "surrogatepass"))
    return draft.snapshot()


def _user(draft: Draft, port: int | None, pid: int, comm: str | None) -> None:
    draft.process(pid, comm)
    if port:
        draft.users[port] = (*draft.users.get(port, ()), pid)
