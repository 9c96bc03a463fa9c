"""Fact: one thing that happened to a connection, with who did it and where it was read."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tracecorr.events import Origin

if TYPE_CHECKING:
    from tracecorr.model.process import Process, Task


class Fact(NamedTuple):
    """`what` is an identifier (accepted, eof, closed, fork …), `call` the call as it would be written in a log.

    `step` orders facts of the whole input, `entered` is the time of the call's entry where it is known.
    """

    what: str
    at: int | None
    task: Task
    fd: int | None
    call: str
    origin: Origin
    step: int = 0
    entered: int | None = None

    @property
    def process(self) -> Process:
        return self.task.process

    @property
    def pid(self) -> int | None:
        return self.task.process.pid
