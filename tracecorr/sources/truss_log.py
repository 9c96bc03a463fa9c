"""Logs of truss(1) of Solaris and illumos.

A line is [process and LWP] [times] call, tabs, result; lines that stand further in explain the call above them (-v) or
show its buffer (-r, -w).  Sources: truss(1), and usr/src/cmd/truss of illumos-gate: make_pname() and timestamp() in
main.c for the columns, actions.c for calls and signals, expound.c for explanations, systable.c for arguments.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

from tracecorr.events import Origin, TaskId
from tracecorr.kernel import AF_INET, AF_INET6, AF_UNIX
from tracecorr.sources.arguments import parse_members
from tracecorr.sources.base import Tally
from tracecorr.syscalls.record import (
    DetachedRecord,
    ExitRecord,
    Record,
    SignalRecord,
    SupersededRecord,
    SyscallRecord,
    UnfinishedRecord,
    Value,
)

NAME: Final = "truss-solaris"

_PREFIX: Final = re.compile(
    r"(?P<name>(?:(?P<pid>\d{1,10})(?:/(?P<lwp>\d{1,10}))?|/(?P<alone>\d{1,10}))(?:@\d{1,10})?:(?=[ \t]|\Z))?"
    r"(?P<gap>[ \t]*)(?P<times>(?:-?\d{1,10}\.\d{4}[ \t]+){0,3})"
)
_CALL: Final = re.compile(r"([A-Za-z_][\w#]{0,63})\(")
_MARK: Final = re.compile(r'["()\[\],]')
_QUOTE: Final = re.compile(r'\\.|"', re.DOTALL)
# The first 12 bytes of a buffer, two columns each; a quote among them is no end (showbytes() in actions.c).
_BUFFER: Final = re.compile(r'(?: .|\\.|[0-9A-F]{2}){0,16}"(?=(?:\.\.)?(?:, |\)))', re.DOTALL)
_RESULT: Final = re.compile(
    r"(?:\(returning as (?P<new>child|new lwp) \.\.\.\)[ \t]{1,32})?"
    r"(?:= (?P<value>-?\d{1,20}|0x[0-9A-Fa-f]{1,32}|SIG[\w+#]{1,20})(?: \[(?P<second>[^\]]{1,40})\])?"
    r"|Err#(?P<number>\d{1,5})(?: {1,2}(?P<error>[A-Z0-9_]{1,30}))?(?: \[\S{1,80}\])?"
    r"|(?P<executed>argc = \d{1,9})"
    r"|(?P<asleep>\((?:sleeping|waiting for child to exit\(\)/exec\(\))\.\.\.\)))?"
)
# No result, and no argument but a string, is as long as this; systable.c has 8 arguments at most.
_LONG: Final = 300
_MOST_ARGUMENTS: Final = 16
_SIGNAL: Final = re.compile(
    r"Received signal #\d{1,5}, (SIG[\w+#]{1,20})(?:, in ([\w#]{1,64})\(\))?(?: \[(caught|default|ignored)\])?"
)
_SIGINFO: Final = re.compile(r"siginfo: SIG\S{1,20}(?: ([A-Z]{2,5}_[A-Z]{1,20}))?(?: pid=(\d{1,10}))?")
_BASE: Final = re.compile(r"Base time stamp: {1,4}(\d{1,12}\.\d{4})")
_TIMED: Final = re.compile(rb"^(?:[\d/@]{1,40}:[ \t]{1,32})? ?(\d{1,10}\.\d{4})[ \t]", re.MULTILINE)
# Lines that are no event of the process, though they do not stand further in.
_NOISE: Final = re.compile(
    r"->|<-|truss: |psargs: |argv:|envp:|sfv_fd=|\(Warning: |Incurred fault |Stopped by |Continued with "
)
# What AIX alone prints; and what FreeBSD and strace do where their lines might otherwise pass for ours.
AIX: Final = re.compile(
    r"(?:\d{1,10}:[ \t]+){2}\w{1,32}\("
    r"|(?:\d{1,10}:[ \t]+)?(?:k(?:p?readv?|p?writev?|fcntl|ioctl|open|fork|lseek|waitpid)"
    r"|naccept|connext|statx|_erecv|_esend|e?n(?:recv|send)(?:from|to|msg)|nget(?:peer|sock)name|_nsleep|__loadx)\("
)
_FOREIGN: Final = re.compile(
    r"\) +<unfinished |= -1 E[A-Z]+ \(|= -?\d{1,20} \(0x\w{1,16}\)$|ERR#\d|[ \t]argc: \d{1,9}$"
)
_ADDRESS: Final = re.compile(r"AF_(INET6?)\s{1,8}\w{1,16} = ([0-9A-Fa-f.:%]{2,64})\s{1,8}port = (\d{1,5})")
_PATH: Final = re.compile(r"AF_UNIX\s{1,8}\w{1,16} = (.*)", re.DOTALL)
_POLLFD: Final = re.compile(r"fd=(-?\d{1,10})\s{1,8}ev=([\w|]{1,120})\s{1,8}rev=([\w|]{1,120})")
_PORT_EVENT: Final = re.compile(r"events=(0x[0-9a-fA-F]{1,8}) source=4\b")
_PORT_OBJECT: Final = re.compile(r"object=(?:0x)?([0-9a-fA-F]{1,8})\b")

_LET_GO: Final = ("*** cannot trace across exec", "*** lost control", "*** process otherwise traced")
_EXITS: Final = {"_exit", "exit"}
_ONE_WAY: Final = _EXITS | {
    "lwp_exit", "getcontext", "setcontext", "getustack", "setustack", "evtrapret", "exec", "execve",
}  # fmt: skip
# Signals whose default is not the end of the process (signal.h(3HEAD)).
_HARMLESS: Final = {
    "SIGCLD", "SIGCHLD", "SIGPWR", "SIGWINCH", "SIGURG", "SIGSTOP", "SIGTSTP", "SIGCONT", "SIGTTIN", "SIGTTOU",
    "SIGWAITING", "SIGLWP", "SIGFREEZE", "SIGTHAW", "SIGCANCEL", "SIGXRES", "SIGJVM1", "SIGJVM2", "SIGINFO",
}  # fmt: skip
# Lines after which a call is no longer held back for an explanation: each truss writes an event as a whole.
_PATIENCE: Final = 64


def recognises(head: list[bytes]) -> bool:
    """Say whether the first lines are of a truss that is neither AIX's nor FreeBSD's."""
    ours = foreign = strange = 0
    for raw in head:
        text = raw.decode("utf-8", "replace").rstrip()
        line = _split(text)
        call = None if line.inner else _parsed(line.body)
        if AIX.match(text):
            return False
        if _FOREIGN.search(text[-_LONG:]):
            foreign += 1
        elif _BASE.match(text) or (call and _is_ours(text, line, call.result)):
            ours += 1
        elif line.body and not (line.inner or call or _NOISE.match(line.body)):
            strange += 1
    return ours > foreign and ours * 4 >= strange


def read(blocks: Iterable[bytes], tally: Tally) -> Iterator[Record]:
    """Yield the records of a log; an explained call waits for its explanation, and nothing overtakes it."""
    return _Reader(tally).read(blocks)


class _Line(NamedTuple):
    pid: int | None
    lwp: int | None
    times: str
    body: str
    inner: bool


def _split(text: str) -> _Line:
    match = _PREFIX.match(text)
    assert match is not None  # every part is optional
    pid, lwp, times = match["pid"], match["lwp"] or match["alone"], match["times"]
    inner = not times and _is_inner(match["name"] or "", match["gap"], 2 if pid and lwp else 1)
    return _Line(int(pid) if pid else None, int(lwp) if lwp else None, times, text[match.end() :], inner)


# Further in than calls stand: one tab behind a name, two behind a short one of both numbers (make_pname()).
# Columns are compared and not tabs, because logs that were pasted somewhere have blanks instead.
def _is_inner(name: str, gap: str, tabs: int) -> bool:
    if not name or len(gap) > 80:
        return bool(gap)
    outer = name + "\t" * (tabs if len(name) < 8 else 1)
    return len((name + gap).expandtabs()) > len(outer.expandtabs())


class _Call(NamedTuple):
    name: str
    args: list[Value]
    result: re.Match[str]


def _parsed(body: str) -> _Call | None:
    if (match := _CALL.match(body)) is None:
        return None
    args, end = arguments(body, match.end())
    result = _RESULT.fullmatch(body[end:].strip()) if 0 < end > len(body) - _LONG else None
    return _Call(match[1], args, result) if result is not None else None


# Where nothing but a number follows and no process goes before, strace prints the same, with blanks for our tabs.
def _is_ours(text: str, line: _Line, result: re.Match[str]) -> bool:
    named = line.pid is not None or line.lwp is not None
    shaped = result["value"] is None or result["second"] is not None or "\t= " in text[-_LONG:]
    return bool(result[0]) and (named or shaped)


def arguments(body: str, start: int) -> tuple[list[Value], int]:
    """Return the values up to the closing parenthesis, and the position behind it or 0 if there is none."""
    args: list[Value] = []
    depth, at = 0, start
    while len(args) < _MOST_ARGUMENTS and (mark := _MARK.search(body, at)):
        at = mark.end()
        if mark[0] == '"':
            at = _string_end(body, at)
        elif mark[0] in "([":
            depth += 1
        elif depth:
            depth -= mark[0] != ","
        elif mark[0] != "]":
            if args or mark[0] == "," or mark.start() > start:
                args.append(_value(body[start : mark.start()].strip()))
            if mark[0] == ")":
                return args, at
            start = at
    return args, 0


def _string_end(body: str, at: int) -> int:
    if buffer := _BUFFER.match(body, at):
        return buffer.end()
    return next((mark.end() for mark in _QUOTE.finditer(body, at) if mark[0] == '"'), len(body))


def _value(text: str) -> Value:
    if text.startswith('"'):
        return text[1:].removesuffix("..").removesuffix('"')
    return next((value for _, value in parse_members(text)), text) if len(text) < _LONG else text


def _bits(text: str) -> int:
    value = _value(text)
    return value if isinstance(value, int) else 0


# What a line of -v makes of an argument, given what the line before made of it; None: it tells of something else.
def _address(old: Value, text: str) -> Value:
    if match := _ADDRESS.match(text):
        family, version = (AF_INET6, "6") if match[1] == "INET6" else (AF_INET, "")
        return {"sa_family": family, f"sin{version}_port": int(match[3]), f"sin{version}_addr": match[2]}
    match = _PATH.match(text)
    return match and {"sa_family": AF_UNIX, "sun_path": match[1]}


def _message(old: Value, text: str) -> Value:
    address = _address(old, text)
    return address and {"msg_name": address}


def _pollfd(old: Value, text: str) -> Value:
    if (match := _POLLFD.match(text)) is None:
        return None
    fds = old if isinstance(old, list) else []
    fds.append({"fd": int(match[1]), "events": _bits(match[2]), "revents": _bits(match[3])})
    return fds


# Two lines: what happened to a descriptor (source 4, PORT_SOURCE_FD in port.h), and to which.
def _port_event(old: Value, text: str) -> Value:
    if match := _PORT_EVENT.match(text):
        return [{"events": 0, "revents": _bits(match[1])}]
    match = _PORT_OBJECT.match(text)
    return [{"fd": int(match[1], 16), **old[0]}] if match and isinstance(old, list) else None


_EXPLAINED: Final[dict[str, tuple[int, Callable[[Value, str], Value]]]] = {
    "accept": (1, _address), "accept4": (1, _address), "bind": (1, _address), "connect": (1, _address),
    "getpeername": (1, _address), "getsockname": (1, _address), "recvfrom": (4, _address), "sendto": (4, _address),
    "recvmsg": (1, _message), "sendmsg": (1, _message), "poll": (0, _pollfd), "pollsys": (0, _pollfd),
    "port_get": (1, _port_event),
}  # fmt: skip


@dataclass(slots=True)
class _Held:
    record: Record
    args: list[Value]
    line: int
    waits: bool

    def explained_by(self, text: str) -> bool:
        record = self.record
        if not self.waits or not isinstance(record, (SyscallRecord, UnfinishedRecord, SignalRecord)):
            return False
        if isinstance(record, SignalRecord):
            match = _SIGINFO.match(text)
            if match is not None:
                self.record = record._replace(code=match[1], sender=int(match[2]) if match[2] else None)
            return match is not None
        at, explanation = _EXPLAINED[record.name]
        value = explanation(self.args[at], text)
        if value is not None:
            self.args[at] = value
        return value is not None


class _Queue:
    """Records in the order of the log; the first leaves when nothing can explain it any more."""

    def __init__(self) -> None:
        self._records: deque[_Held] = deque()
        self._last: dict[TaskId, _Held] = {}

    def put(self, task: TaskId, record: Record, line: int, args: list[Value]) -> None:
        self.close(task)
        at, _ = _EXPLAINED.get(getattr(record, "name", ""), (len(args), None))
        waits = isinstance(record, SignalRecord) or at < len(args)
        self._last[task] = held = _Held(record, args, line, waits)
        self._records.append(held)

    def close(self, task: TaskId) -> None:
        if task in self._last:
            self._last[task].waits = False

    def explained(self, task: TaskId, text: str) -> bool:
        return task in self._last and self._last[task].explained_by(text)

    def ready(self, line: int) -> Iterator[Record]:
        while self._records and not (self._records[0].waits and line - self._records[0].line <= _PATIENCE):
            held = self._records.popleft()
            held.waits = False
            yield held.record


class _Lwps:
    """The LWPs of each process, and which of them a line without one means: the only one there is (make_pname()).

    A process' first LWP is 1, whatever number fork kept for it; where the log began without any number it is 0.
    """

    def __init__(self) -> None:
        self._living: dict[int | None, set[TaskId]] = {}
        self._first: dict[int | None, tuple[int, int]] = {}

    def task(self, pid: int | None, lwp: int | None) -> TaskId:
        living = self._living.setdefault(pid, set())
        if lwp is None and len(living) == 1:
            return next(iter(living))
        printed, number = self._first.setdefault(pid, (1, 0 if pid is None and lwp is None else 1))
        task = TaskId(number if lwp in (None, printed) else lwp, pid)
        living.add(task)
        return task

    def fork(self, pid: int | None, lwp: int | None) -> None:
        """Begin a process with one LWP."""
        self._first[pid] = (lwp or 1, 1)
        self._living[pid] = set()

    def execute(self, pid: int | None) -> TaskId:
        """Leave but one LWP, which exec makes the first (worker_thread() in main.c)."""
        self._first[pid] = (1, self._first[pid][1])
        self._living[pid] = set()
        return self.task(pid, 1)

    def leave(self, task: TaskId) -> None:
        self._living[task.pid].discard(task)

    def end(self, pid: int | None) -> list[TaskId]:
        """End a process and return its LWPs."""
        return sorted(self._living.pop(pid, set()))


class _Clock:
    """The first time column: since the base line (-d), or since the LWP's last line (-D), which then is summed."""

    def __init__(self, head: bytes) -> None:
        times = [float(time) for time in _TIMED.findall(head[: 1 << 16])]
        # Without the base line only their order tells one from the other; LWPs may be printed a little late.
        falls = sum(after < before / 2 for before, after in pairwise(times))
        self._absolute = falls * 10 <= len(times)
        self._base: int | None = None
        self._sums: dict[TaskId, int] = {}

    @property
    def kind(self) -> str:
        return "relative" if self._base is None else "epoch"

    def start(self, base: str) -> None:
        self._base, self._absolute = _nanoseconds(base), True

    def read(self, times: str, task: TaskId) -> int | None:
        if not times:
            return None
        at = _nanoseconds(times.split(maxsplit=1)[0])
        if self._absolute:
            return at + (self._base or 0)
        self._sums[task] = self._sums.get(task, 0) + at
        return self._sums[task]


def _nanoseconds(text: str) -> int:
    seconds, _, fraction = text.partition(".")
    return int(seconds) * 10**9 + int(fraction) * 10**5


class _Reader:
    """The state between the lines of one log."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.clock = _Clock(b"")
        self.queue = _Queue()
        self.lwps = _Lwps()
        self.asleep: dict[TaskId, tuple[str, Origin]] = {}
        self.ended: set[int | None] = set()
        self.doomed: dict[int | None, SignalRecord] = {}

    def read(self, blocks: Iterable[bytes]) -> Iterator[Record]:
        self.tally.columns = False
        for block in blocks:
            if not self.tally.lines:
                self.clock = _Clock(block)
            for raw, origin in self.tally.lines_of(block):
                self._line(raw, origin)
                yield from self.queue.ready(self.tally.lines)
        # A process that is killed leaves no line behind; those that went on after their signal are no longer here.
        for pid, signal in self.doomed.items():
            self._all(pid, ExitRecord, signal.at, signal.origin, f"killed by {signal.signal}")
        yield from self.queue.ready(self.tally.lines + _PATIENCE + 1)

    def _line(self, raw: bytes, origin: Origin) -> None:
        text = raw.decode("utf-8", "replace").rstrip()
        line = _split(text)
        self.tally.columns |= line.pid is not None
        call = None if line.inner else _parsed(line.body)
        if call is not None and (call.result[0] or call.name in _ONE_WAY):
            self._call(line, call, origin)
        elif base := _BASE.match(text):
            self.clock.start(base[1])
        elif line.body and not self._other(line, origin):
            self.tally.skip(origin.line, raw)

    def _call(self, line: _Line, call: _Call, origin: Origin) -> None:
        result = call.result
        if result["new"] == "child":
            self.lwps.fork(line.pid, line.lwp)
        task = self.lwps.task(line.pid, line.lwp)
        at = self._time(line, task)
        if self._is_ghost(line.pid, result):
            return
        if result["executed"]:
            task = self._executed(task, at, origin)
        name, began = self.asleep.pop(task, ("", origin))
        if name != call.name:
            began = origin
            self.tally.calls += not result["new"]
            self.tally.names.add(call.name)
        if not result["asleep"]:
            self.queue.put(task, _finished(task, call, at, origin, began), origin.line, call.args)
            self._follow(task, call)
            return
        self.asleep[task] = (call.name, began)
        self.queue.close(task)
        if began is origin:
            self.queue.put(task, UnfinishedRecord(task, call.name, call.args, None, origin), origin.line, call.args)

    def _time(self, line: _Line, task: TaskId) -> int | None:
        at = self.clock.read(line.times, task)
        if at is not None:
            self.tally.saw(at)
            self.tally.clock = self.clock.kind
        return at

    # The LWPs of a process that ends are still reported where they sleep, or as they leave their calls.
    def _is_ghost(self, pid: int | None, result: re.Match[str]) -> bool:
        if result["asleep"] or result["error"] == "EINTR":
            return pid in self.ended
        self.ended.discard(pid)
        self.doomed.pop(pid, None)
        return False

    def _executed(self, task: TaskId, at: int | None, origin: Origin) -> TaskId:
        first = self.lwps.execute(task.pid)
        if task != first:
            self.queue.put(first, SupersededRecord(first, at, origin, task), origin.line, [])
        return first

    def _follow(self, task: TaskId, call: _Call) -> None:
        if call.name in _EXITS:
            self.lwps.end(task.pid)
            self.ended.add(task.pid)
        elif call.name == "lwp_exit":
            self.lwps.leave(task)
        elif call.name == "lwp_create" and call.result["value"] and not call.result["new"]:
            self.lwps.task(task.pid, _bits(call.result["value"]))

    # Returns False for a line that is not understood.
    def _other(self, line: _Line, origin: Origin) -> bool:
        if _NOISE.match(line.body):
            return True
        task = self.lwps.task(line.pid, line.lwp)
        if signal := _SIGNAL.match(line.body):
            record = SignalRecord(task, self._time(line, task), origin, signal[1], None, None)
            self.queue.put(task, record, origin.line, [])
            # sigtimedwait() takes the signal and goes on.
            if signal[3] == "default" and signal[2] != "sigtimedwait" and signal[1] not in _HARMLESS:
                self.doomed[line.pid] = record
        elif line.body.startswith("*** "):
            at = self._time(line, task)
            if line.body.startswith("*** process killed"):
                cause = self.doomed.pop(line.pid, None)
                self._all(line.pid, ExitRecord, at, origin, f"killed by {cause.signal}" if cause else "killed")
            elif line.body.startswith(_LET_GO):
                self._all(line.pid, DetachedRecord, at, origin)
        else:
            return self.queue.explained(task, line.body) or line.inner
        return True

    def _all(self, pid: int | None, record: Callable[..., Record], at: int | None, origin: Origin, *how: str) -> None:
        for task in self.lwps.end(pid):
            self.queue.put(task, record(task, at, origin, *how), origin.line, [])


def _finished(task: TaskId, call: _Call, at: int | None, origin: Origin, began: Origin) -> SyscallRecord:
    result = call.result
    value, error, second = result["value"], result["number"] and (result["error"] or "Err#" + result["number"]), None
    if error:
        number: int | None = -1
    else:
        number = _bits(value) if value else 0 if result["executed"] else None
    if result["second"]:
        second = _value(result["second"])
        if call.name == "pipe":
            call.args.append([number, second])
    entered = at if began is origin else None
    new = result["new"] is not None
    return SyscallRecord(task, call.name, call.args, number, error, entered, at, origin, began, None, new, second)
