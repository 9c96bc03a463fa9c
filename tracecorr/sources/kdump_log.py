"""Text of kdump(1), which prints what ktrace(1) recorded: FreeBSD, NetBSD, OpenBSD, and macOS before 10.5.

A line is process [thread] command [time] type text.  A call is CALL and, perhaps after lines of others, RET of the same
thread; STRU shows a structure that the call was given or returns, NAMI a path, PSIG a signal (usr.bin/kdump/kdump.c).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from tracecorr.events import Origin, TaskId
from tracecorr.sources.base import WATCHERS, Tally
from tracecorr.sources.bsd_values import translated
from tracecorr.sources.call_text import number, parsed, sockaddr
from tracecorr.sources.clock import Clock
from tracecorr.sources.errno_names import bsd
from tracecorr.sources.pairing import Pairing, Result
from tracecorr.sources.threads_of import ThreadsOf
from tracecorr.syscalls.record import ExitRecord, NameRecord, Record, SignalRecord, Value
from tracecorr.syscalls.table import FORK_FAMILY

NAME: Final = "kdump"

_LONG: Final = 1 << 14
_TYPES: Final = (
    "CALL|RET|NAMI|GIO|PSIG|CSW|USER|STRU|SCTL|SYSC|PRCT|PFLT|PEND|CAP|FAULT|MIB|EMUL|ARGS|EXEC|ENV|MISC|SAUP|PLDG"
)
_LINE: Final = re.compile(
    r" {0,10}(\d{1,10})(?: {1,10}(\d{1,10}))? {1,10}(\S.{0,31}?) {1,32}(?:(\d{1,12}\.\d{6,9}) {1,4})?("
    + _TYPES
    + r") {1,4}(.*)",
    re.DOTALL,
)
_NAME: Final = re.compile(r"([A-Za-z_]\w{0,63})(?:\[\d{1,5}\])?(?=\(|\s|\Z)")
_RETURN: Final = re.compile(
    r"([A-Za-z_]\w{0,63}) (?:(JUSTRETURN|RESTART|-2 RESTART)|-1 errno (\d{1,5}).{0,200}|(-?\d{1,20}|0x[0-9a-f]{1,16})"
    r"(?:/0x[0-9a-f]{1,16})?(?:, ?(-?\d{1,20}))?.{0,200})",
    re.DOTALL,
)
_SIGNAL: Final = re.compile(
    r"(SIG\w{1,20}) (caught|SIG_DFL|SIG_IGN|SIG_CATCH)?(?:.{0,120}?code[= ](\w{1,40}))?", re.DOTALL
)
_SOCKADDR: Final = re.compile(r"struct sockaddr (\{.{0,200})")
_PATH: Final = re.compile(r'"(.{0,1024})"')
# Where a structure that STRU shows belongs among the arguments.
_ADDRESS_AT: Final = {
    "accept": 1, "accept4": 1, "connect": 1, "bind": 1, "getpeername": 1, "getsockname": 1, "sendto": 4, "recvfrom": 4,
}  # fmt: skip
# What default action leaves the process alive (signal(3)).
_HARMLESS: Final = {
    "SIGCHLD",
    "SIGURG",
    "SIGCONT",
    "SIGWINCH",
    "SIGINFO",
    "SIGIO",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
}
_NAMES: Final = {
    "exit": "exit_group", "sys_exit": "exit_group", "_exit": "exit_group", "pdfork": "fork", "__vfork14": "vfork",
    "thr_exit": "lwp_exit", "_lwp_exit": "lwp_exit", "compat_50_select": "select", "__select50": "select",
    "__socket30": "socket", "__kevent50": "kevent", "paccept": "accept4", "compat_50_kevent": "kevent",
}  # fmt: skip
_RFFDG: Final = 1 << 2


def recognises(head: list[bytes]) -> bool:
    """Say whether one of the first lines is a record as kdump prints it."""
    return any(_is_call(raw[:_LONG].decode("utf-8", "replace")) for raw in head)


def _is_call(text: str) -> bool:
    match = _LINE.match(text)
    if match is None or match[5] not in ("CALL", "RET", "NAMI"):
        return False
    return match[5] == "NAMI" or (_RETURN if match[5] == "RET" else _NAME).match(match[6]) is not None


def read(blocks: Iterable[bytes], tally: Tally) -> Iterator[Record]:
    """Yield the records of a dump."""
    return _Reader(tally).read(blocks)


class _Reader:
    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.threads = ThreadsOf()
        self.calls = Pairing(tally)
        self.clock = Clock()
        self.comms: dict[TaskId, str] = {}
        self.dumping = False
        tally.arrays = False
        tally.blind = WATCHERS

    def read(self, blocks: Iterable[bytes]) -> Iterator[Record]:
        for block in blocks:
            for raw, origin in self.tally.lines_of(block):
                yield from self._line(raw, origin)

    def _line(self, raw: bytes, origin: Origin) -> Iterator[Record]:
        match = _LINE.match(raw[:_LONG].decode("utf-8", "replace").rstrip("\r"))
        if match is None:
            # The lines of data behind GIO, and of a structure behind STRU.
            if raw.strip() and not self.dumping:
                self.tally.skip(origin.line, raw)
            return
        pid, tid, comm, time, kind, text = match.groups()
        self.dumping = kind in ("GIO", "STRU", "SCTL", "PSIG", "MISC", "EXEC", "ENV", "ARGS", "MIB")
        task = self.threads.task(int(pid), int(tid) if tid else None)
        at = self._time(time)
        act = _ACTS.get(kind)
        if act is None:
            return
        # "RET fork 0" is the child's first line, perhaps before its parent's: it tells nothing.
        records = list(act(self, task, text, at, origin, raw))
        if records and self.comms.get(task) != comm:
            self.comms[task] = comm
            yield NameRecord(task, at, origin, comm)
        yield from records

    # -R prints the time since the record before; only -T has times that may be compared, since 1970.
    def _time(self, text: str | None) -> int | None:
        if text is None or len(text) < 15:
            return None
        at = self.clock.length(text.encode())
        self.tally.saw(at)
        self.tally.clock = "epoch"
        return at

    def _call(self, task: TaskId, text: str, at: int | None, origin: Origin, raw: bytes) -> Iterator[Record]:
        name = _NAME.match(text)
        if name is None:
            self.tally.skip(origin.line, raw)
            return
        call = parsed(re.sub(r"\[\d{1,5}\]", "", text, count=1) if "[" in text[:70] else text)
        word = _NAMES.get(name[1], name[1])
        args = translated(word, list(call.args) if call is not None else [])
        if word == "rfork":
            word, args = "clone", [0x400 if args and isinstance(args[0], int) and not args[0] & _RFFDG else 0]
        yield self.calls.enter(task, word, args, at, origin)

    def _return(self, task: TaskId, text: str, at: int | None, origin: Origin, raw: bytes) -> Iterator[Record]:
        match = _RETURN.match(text)
        if match is None:
            self.tally.skip(origin.line, raw)
            return
        name, word, error, value, second = match.groups()
        name = "clone" if name == "rfork" else _NAMES.get(name, name)
        if error is not None:
            result = Result(-1, bsd(int(error)))
        elif word is not None:
            result = Result(0) if word == "JUSTRETURN" else Result(None, "ERESTARTSYS")
        else:
            result = Result(number(value))
        if name in FORK_FAMILY and result.value:
            self.threads.born(result.value)
        args = self.calls.arguments(task)
        if name == "pipe" and second is not None and args is not None:
            args[:1] = [[result.value, int(second)]]
        yield from self.calls.leave(task, name, result, at, origin)

    def _structure(self, task: TaskId, text: str, at: int | None, origin: Origin, raw: bytes) -> Iterator[Record]:
        match = _SOCKADDR.match(text)
        self._complete(task, sockaddr(match[1]) if match is not None else None, _ADDRESS_AT)
        return iter(())

    def _path(self, task: TaskId, text: str, at: int | None, origin: Origin, raw: bytes) -> Iterator[Record]:
        match = _PATH.match(text)
        self._complete(task, match[1] if match is not None else None, {"execve": 0, "open": 0, "openat": 1})
        return iter(())

    def _complete(self, task: TaskId, value: Value, places: dict[str, int]) -> None:
        at = places.get(self.calls.name(task) or "")
        args = self.calls.arguments(task)
        if at is not None and args is not None and at < len(args) and value is not None:
            # A program's interpreter is a second path.
            args[at] = value if not isinstance(args[at], str) else args[at]

    def _signalled(self, task: TaskId, text: str, at: int | None, origin: Origin, raw: bytes) -> Iterator[Record]:
        match = _SIGNAL.match(text)
        if match is None:
            self.tally.skip(origin.line, raw)
            return
        yield SignalRecord(task, at, origin, match[1], match[3], None)
        if match[2] == "SIG_DFL" and match[1] not in _HARMLESS:
            yield ExitRecord(task, at, origin, f"killed by {match[1]}")


_ACTS: Final = {
    "CALL": _Reader._call, "RET": _Reader._return, "STRU": _Reader._structure, "NAMI": _Reader._path,
    "PSIG": _Reader._signalled,
}  # fmt: skip
