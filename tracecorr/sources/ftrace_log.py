"""Text of the kernel's ftrace: the files trace and trace_pipe of tracefs, and what trace-cmd report makes of trace.dat.

A line is task-tid [(process)] [cpu] [flags] time: event.  tracefs prints calls as `sys_close(fd: 5)` and
`sys_close -> 0x0` (kernel/trace/trace_syscalls.c), trace-cmd as `sys_enter_close: fd: 0x5` and `sys_exit_close: 0x0`,
perhaps behind the name of a buffer.  Times are seconds of the trace clock, since the boot unless set otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from tracecorr.events import Gap, Origin, TaskId
from tracecorr.sources import clone3
from tracecorr.sources.base import Tally
from tracecorr.sources.clock import Clock
from tracecorr.sources.tracepoints import Tracepoints, machine
from tracecorr.syscalls.record import Record

NAME: Final = "ftrace"

# Of a line that is longer no more is read: it holds a string of the program.
_LONG: Final = 1 << 14
_LINE: Final = re.compile(
    r"(?:[^\s:]{1,100}: {1,32})?[ \t]{0,32}(\S.{0,15}?)-(\d{1,10})[ \t]{1,32}"
    r"(?:\( {0,10}(?:\d{1,10}|-{1,10})\)[ \t]{1,32})?"
    r"\[\d{1,5}\][ \t]{1,32}(?:[.\w#*!]{3,8}[ \t]{1,32})?(\d{1,12}\.\d{1,9}): {1,32}(\S.*)",
    re.DOTALL,
)
_EVENT: Final = re.compile(r"([\w.]{1,80}):(?:[ \t]|\Z)[ \t]{0,64}(.*)", re.DOTALL)
_CALL: Final = re.compile(r"sys_(\w{1,40})(?:\((.*)\)| -> (\S{1,20}))", re.DOTALL)
_COMMENT: Final = re.compile(rb"#|\s*\Z|cpus=\d|version = ")
_LOST: Final = re.compile(rb"CPU: ?\d{1,5} \[(?:LOST )?(\d{1,18}) EVENTS")
_BUFFER: Final = re.compile(rb"# entries-in-buffer/entries-written: (\d{1,18})/(\d{1,18})")


def recognises(head: list[bytes]) -> bool:
    """Say whether one of the first lines is a call or another event that we know, in a line of ftrace."""
    events = (_event(raw) for raw in head)
    return any(event is not None and (_CALL.match(event) or _known(event)) for event in events)


def _event(raw: bytes) -> str | None:
    match = _LINE.match(raw[:_LONG].decode("utf-8", "replace"))
    return match[4] if match is not None else None


def _known(event: str) -> bool:
    match = _EVENT.match(event)
    return match is not None and Tracepoints.knows(match[1])


def read(blocks: Iterable[bytes], tally: Tally) -> Iterator[Record]:
    """Yield the records of a trace."""
    return clone3.told(_Reader(tally).read(blocks))


class _Reader:
    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.clock = Clock()
        self.events = Tracepoints(tally)

    def read(self, blocks: Iterable[bytes]) -> Iterator[Record]:
        self.tally.clock = "relative"
        for block in blocks:
            if not self.tally.lines:
                self.events.raw = machine(block.split(b"\n"))
            for raw, origin in self.tally.lines_of(block):
                yield from self._line(raw, origin)
        yield from self.events.unnamed(self.tally)

    def _line(self, raw: bytes, origin: Origin) -> Iterator[Record]:
        match = _LINE.match(raw[:_LONG].decode("utf-8", "replace"))
        if match is None:
            yield from self._other(raw, origin)
            return
        task = TaskId(int(match[2]))
        at = self.clock.length(match[3].encode())
        self.tally.saw(at)
        event, text = _split(match[4])
        if not self.events.knows(event):
            return  # an event of another kind, or a function
        yield from self.events.named(task, match[1], at, origin)
        try:
            yield from self.events.event(task, event, text, at, origin)
        except ValueError:
            self.tally.skip(origin.line, raw)

    def _other(self, raw: bytes, origin: Origin) -> Iterator[Record]:
        if lost := _LOST.search(raw[:200]):
            yield self._lost(int(lost[1]), origin)
        elif (buffer := _BUFFER.match(raw)) and int(buffer[2]) > int(buffer[1]):
            yield self._lost(int(buffer[2]) - int(buffer[1]), origin)
        elif not _COMMENT.match(raw):
            self.tally.skip(origin.line, raw)

    def _lost(self, count: int, origin: Origin) -> Gap:
        self.tally.lost += count
        why = f"the buffer was too small: {count} events were overwritten or lost"
        return Gap("events were lost", why, "trace-cmd record -b 50000, with the calls that matter alone", *origin)


# The two spellings of a call as one.
def _split(text: str) -> tuple[str, str]:
    if call := _CALL.match(text):
        returned = call[3] is not None
        return f"sys_{'exit' if returned else 'enter'}_{call[1]}", call[3] if returned else call[2]
    event = _EVENT.match(text)
    return (event[1], event[2]) if event is not None else ("", "")
