"""One line of the record itself: a call that touched the life of a descriptor or connection."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """What happened to one connection, in one process.

    `at`          seconds on `clock` (epoch, day, relative), or None where the input has no times;
    `pid`, `tid`  the process and the thread that did it, as far as the log says;
    `what`        accepted, connected, eof, received, sent, polled, dup, fork, exec, passed, closed, shutdown, exit, …;
    `text`        what it meant, in words;
    `call`        the call as the log has it;
    `socket`      both ends, as "127.0.0.1:6379 ← 127.0.0.1:47374";
    `connection`  the running number of the connection within these inputs.
    """

    at: float | None
    clock: str | None
    pid: int | None
    tid: int | None
    fd: int | None
    what: str
    text: str
    call: str | None
    socket: str | None
    connection: int
    source: str
    line: int
