"""Logs of strace(1): what the lines say, one after the other (their grammar is in strace_grammar).

Speed: one regular expression walks over a whole block and stops only at lines that can matter; the others (some
90 % of a log) cost no Python at all.  Where every line is needed for its time (deltas of -r), it stops at each.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Final

from tracecorr.events import Origin, TaskId
from tracecorr.sources import clone3, parallel, skim
from tracecorr.sources import strace_grammar as grammar
from tracecorr.sources.arguments import TextArguments, parse_members
from tracecorr.sources.base import Tally
from tracecorr.sources.clock import Clock
from tracecorr.sources.strace_grammar import recognises as recognises
from tracecorr.syscalls.record import (
    STACK_FRAMES,
    DetachedRecord,
    ExitRecord,
    NameRecord,
    Record,
    SignalRecord,
    StackRecord,
    SupersededRecord,
    SyscallRecord,
    UnfinishedRecord,
    Value,
)

NAME: Final = "strace"

# One block in this many is asked which names occur.
_SAMPLED: Final = 16

# How far the first block is looked at for what holds for the whole log.
_SURVEYED: Final = 4000

# So many lines of a kind, for each that is not, tell how all lines look.
_ENOUGH: Final = 8

# A line that says nothing in this many bytes will not be joined with what follows it.
_LONGEST_HALF: Final = 1 << 16


def read(blocks: Iterable[bytes], tally: Tally) -> Iterator[Record]:
    """Yield the records of a strace log in the order of its lines."""
    return clone3.foretold(_Reader(tally).read(blocks))


def piecewise(tally: Tally) -> Callable[[bytes], Iterator[Record]]:
    """Return what reads a log that is still being written, piece by piece; each piece ends at a line end."""
    return _Reader(tally).feed


# A log that was cut anywhere may begin in the midst of a number: "96" is what is left of a task that has other lines.
def _torn_at_the_start(block: bytes) -> bytes | None:
    match = grammar.LINE_PREFIX.match(block)
    if match is None or not match[1] or not block.startswith(match[1]):
        return None
    tasks = set(grammar.FIRST_COLUMN.findall(block))
    return match[1] if match[1] not in tasks and any(task.endswith(match[1]) for task in tasks) else None


# Whether a task and a time stand before all lines but for some strange ones, as they do with -f -tt -o.
def _are_prefixed(lines: list[bytes]) -> bool:
    prefixed = bare = 0
    for line in lines:
        match = grammar.LINE_PREFIX.match(line)
        if match is not None and match[1] and match[3] and not line.startswith(b"["):
            prefixed += 1
        elif match is None or not match[0]:
            bare += grammar.COMPLETE.match(line) is not None
    return prefixed >= _ENOUGH and prefixed >= _ENOUGH * bare


# What poll(2) has found, behind its result: ([{fd=4, revents=POLLIN}])
def _revents(note: bytes) -> Value:
    place = note.find(b"([{")
    told = parse_members(note[place:].decode("utf-8", "replace"))[0][1] if place >= 0 else None
    return told[0] if isinstance(told, list) and told else None


class _Half:
    """A call that was entered: its name, its arguments so far, and where."""

    __slots__ = ("args", "entered", "name", "origin")

    def __init__(self, name: bytes, args: bytes, entered: int | None, origin: Origin) -> None:
        self.name = name
        self.args = args
        self.entered = entered
        self.origin = origin


# What follows a cut line may be the rest of a call, or of the second half of one.
def _ends(text: bytes) -> bool:
    return (
        grammar.COMPLETE.match(text) is not None or grammar.RESUMED.match(text[grammar.prefix_end(text) :]) is not None
    )


class _Reader:
    """The state between the lines of one log."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.clock = Clock()
        self.tasks: dict[bytes | None, TaskId] = {None: TaskId(tally.pid or 0)}
        self.comms: dict[TaskId, bytes] = {}
        self.halves: dict[TaskId, list[_Half]] = {}
        self.living: set[TaskId] = set()
        self.cut: tuple[bytes, int] | None = None
        self.after_cut = b""
        self.stack: list[str] = []
        self.stack_after = 0
        self.last_task = self.tasks[None]
        self.skim: skim.Skim | None = None
        self.may_skim = False
        self.ports: set[bytes] = set()
        self.lines = 0
        self.others = 0
        self.last_line = -1
        self.every_line = tally.every_line
        self.names: dict[bytes, str] = {}
        self.torn: bytes | None = None
        self.prefixed = False
        self.broken: dict[TaskId, _Half] = {}

    def read(self, blocks: Iterable[bytes]) -> Iterator[Record]:
        done = 0
        crlf = colour = False
        for number, block in enumerate(blocks):
            if number == 0:
                crlf, colour = b"\r\n" in block, b"\x1b[" in block
            done += len(block)
            block = block.replace(b"\r\n", b"\n") if crlf else block
            block = grammar.COLOUR.sub(b"", block) if colour else block
            if number == 0:
                self._survey(block)
            if number % _SAMPLED == 0:
                self._note_names(block)
            if self.may_skim and self.skim is None and done > skim.AFTER:
                self.skim = skim.Skim(grammar.KNOWN, grammar.WANTED, self.tally.skim or 0, self.ports)
            yield from self._block(block)
            if self.skim is not None and not crlf and not colour and self._is_large(done):
                yield from self._rest(done)
                break
        if self.skim is not None:
            yield from self._lines(self.skim.finish())

    def feed(self, block: bytes) -> Iterator[Record]:
        if not self.lines:
            self._survey(block)
        yield from self._block(block)

    def _note_names(self, block: bytes) -> None:
        self.tally.names.update(name.decode() for name in set(grammar.NAMES.findall(b"\n" + block)))

    def _is_large(self, done: int) -> bool:
        size = self.tally.size or 0
        return size - done > parallel.WORTHWHILE and parallel.processes() > 1

    # What follows the first block of a large file.
    def _rest(self, done: int) -> Iterator[Record]:
        assert self.skim is not None
        size = self.tally.size or 0
        for piece in parallel.skimmed(self.tally.name, done, size, grammar.KNOWN, grammar.WANTED, self.skim):
            passed = self.skim.passed_over
            yield from self._lines(self.skim.left((raw, self.lines + line) for raw, line in piece.lines))
            self.lines += piece.count
            self.tally.lines = self.lines
            self.tally.calls += piece.count - piece.others
            self.tally.passed_over += piece.passed_over + self.skim.passed_over - passed
            self._note_names(piece.head)
            self._note_last_time(piece.tail)
            if self.tally.progress is not None:
                self.tally.progress(piece.end, size)

    def _lines(self, lines: Iterable[tuple[bytes, int]]) -> Iterator[Record]:
        for raw, line in lines:
            yield from self._line(raw, line)

    # What the first block tells of the whole log: whether deltas are needed, and who the lines without a pid are.
    def _survey(self, block: bytes) -> None:
        self.torn = _torn_at_the_start(block)
        born = set(re.findall(rb"Process (\d{1,10}) attached", block)) | set(grammar.FORKED.findall(block))
        root: bytes | None = None
        lines = block.split(b"\n", _SURVEYED)[:_SURVEYED]
        self.prefixed = _are_prefixed(lines)
        for line in lines:
            match = grammar.LINE_PREFIX.match(line)
            if match is None or not match[0]:
                continue
            if self.tally.first is None and match[3]:
                self._time(match[3], None)
            self.every_line = self.every_line or (match[4] is not None and match[3] is None)
            if match[1] and root is None and match[1] not in born and match[1] != self.torn:
                root = match[1]
        if root is not None and self.tally.pid is None:
            self.tasks[root] = self.tasks[None] = TaskId(int(root))
            self.last_task = self.tasks[None]
        self.living.add(self.tasks[None])
        self.may_skim = self.tally.skim is not None and not self.every_line and skim.suits(block)
        self.tally.columns = root is not None or (bool(born) and b"[pid " in block) or self.tally.pid is not None

    def _block(self, block: bytes) -> Iterator[Record]:
        text = b"\n" + block
        seen = 0
        line = self.lines
        others = 0
        if self.skim is not None:
            before, passed = self.skim.others, self.skim.passed_over
            yield from self._lines(self.skim.lines(text, line))
            others = self.skim.others - before
            self.tally.passed_over += self.skim.passed_over - passed
            if self.skim.passed_over:
                self.tally.names.add("close")
        else:
            before = self.others
            for match in (grammar.EVERY_LINE if self.every_line else grammar.LINES).finditer(text):
                start = match.start()
                line += text.count(b"\n", seen, start + 1)
                seen = start + 1
                raw = match[1]
                if raw.startswith(b" > "):
                    self.others += 1
                    if line == self.last_line + 1 or line == self.stack_after + 1 + len(self.stack):
                        yield from self._frame(raw[3:], line)
                else:
                    yield from self._line(raw, line)
            others = self.others - before
        count = block.count(b"\n") + (not block.endswith(b"\n"))
        self.tally.calls += count - others
        self.lines += count
        self.tally.lines = self.lines
        self._note_last_time(block)

    def _note_last_time(self, block: bytes) -> None:
        if self.every_line:
            return
        for line in reversed(block[-8192:].split(b"\n")):
            match = grammar.LINE_PREFIX.match(line)
            if match and match[3]:
                self.tally.saw(self.clock.read(match[3]))
                return

    def _line(self, text: bytes, line: int) -> Iterator[Record]:
        if line == 1 and self.torn is not None:
            self.tally.skip(line, text)
            return
        match = grammar.COMPLETE.match(text)
        if match is None:
            yield from self._other(text, line)
            return
        task_name, comm, time, delta, _, name, args, result = match.groups()
        if self._is_foreign(task_name, time, line):
            self.others += 1
            yield from self._stray(text, text, task_name, time, line)
            return
        if self.every_line and not self.tally.every_line and name not in grammar.KNOWN:
            self._time(time, delta if time is None else None)
            return
        if name in grammar.NAMES_PORT:
            self.ports.update(skim.ports_in(args))
        task = self._task(task_name)
        at = self._time(time, delta if time is None else None)
        origin = Origin(self.tally.name, line)
        if comm is not None:
            yield from self._named(task, comm, at, origin)
        self.last_task, self.last_line = task, line
        yield self._call(task, name, args, result, at, at, origin, origin)

    # In a file of strace -f -tt -o every line has a task and a time: what has neither was written by something else.
    def _is_foreign(self, task: bytes | None, time: bytes | None, line: int) -> bool:
        return self.prefixed and task is None and time is None and line > 1

    def _time(self, time: bytes | None, delta: bytes | None) -> int | None:
        if time is not None:
            at = self.clock.read(time)
        elif delta is not None:
            at = self.clock.advance(delta)
        else:
            return None
        self.tally.saw(at)
        self.tally.clock = self.clock.kind
        return at

    # On a terminal strace names the task only while there are several: a line without belongs to the one that is left.
    def _task(self, name: bytes | None) -> TaskId:
        if name is None:
            return next(iter(self.living)) if len(self.living) == 1 else self.tasks[None]
        task = self.tasks.get(name)
        if task is None:
            task = self.tasks[name] = TaskId(int(name))
            self.living.add(task)
        return task

    def _named(self, task: TaskId, comm: bytes, at: int | None, origin: Origin) -> Iterator[Record]:
        if self.comms.get(task) != comm:
            self.comms[task] = comm
            yield NameRecord(task, at, origin, comm.decode("utf-8", "replace"))

    def _call(
        self, task: TaskId, name: bytes, args: bytes, result: bytes, entered: int | None, at: int | None,
        origin: Origin, began: Origin,
    ) -> SyscallRecord:  # fmt: skip
        self.cut = None
        if self.broken:
            self._passed(task, name)
        word = self.names.get(name)
        if word is None:
            word = self.names[name] = name.decode("ascii", "replace")
            self.tally.names.add(word)
        value, path, error, returned, note = self._result(result, entered, at)
        arguments = TextArguments(args)
        return SyscallRecord(task, word, arguments, value, error, entered, returned, origin, began, path, False, note)

    # The task has gone on: a call of it whose line was cut has returned, and the log does not say what.
    def _passed(self, task: TaskId, name: bytes) -> None:
        half = self.broken.pop(task, None)
        if half is not None and half.name in grammar.KNOWN and not grammar.OWN_OUTPUT.match(half.args):
            self.tally.cut += 1

    # (value, what a returned descriptor refers to, errno, time of return, what poll noted behind its result)
    def _result(
        self, text: bytes, entered: int | None, at: int | None
    ) -> tuple[int | None, str | None, str | None, int | None, Value]:
        text = text.rstrip()
        duration = grammar.DURATION.search(text[-40:])
        match = grammar.RESULT.match(text[: len(text) - len(duration[0])].rstrip() if duration is not None else text)
        if match is None:
            return None, None, None, at, None
        number, path, error, note = match.groups()
        value = None if number == b"?" else int(number, 16 if number[:2] == b"0x" else 10)
        if (
            note
            and value is not None
            and value > 0
            and b"PID NS" in note
            and (other := grammar.OTHER_NAMESPACE.search(note))
        ):
            value = int(other[1])
        if b"(INJECTED)" in note:
            # strace -e inject: the kernel never made the call, whatever the program was told.
            value, error = -1, b"EINJECTED"
        if duration is not None and entered is not None:
            at = entered + self.clock.length(duration[1])
        told = _revents(note)
        return value, path.decode("utf-8", "replace") if path else None, error.decode() if error else None, at, told

    # Everything that is no complete call.
    def _other(self, text: bytes, line: int) -> Iterator[Record]:
        match = grammar.LINE_PREFIX.match(text)
        assert match is not None  # every part of a prefix is optional
        body = text[match.end() :]
        self.others += not body.startswith(b"<... ")
        task_name, comm, time, delta = match[1], match[2], match[3], match[4]
        ours = body.startswith((b"<... ", b"--- ", b"+++ ")) or re.match(grammar.CALL, body)
        if ours and not self._is_foreign(task_name, time, line):
            task = self._task(task_name)
            at = self._time(time, delta if time is None else None)
            origin = Origin(self.tally.name, line)
            self.last_task, self.last_line = task, line
            if comm is not None:
                yield from self._named(task, comm, at, origin)
            yield from self._body(task, body, at, origin, text)
            return
        yield from self._stray(text, body, task_name, time, line)

    def _body(self, task: TaskId, body: bytes, at: int | None, origin: Origin, text: bytes) -> Iterator[Record]:
        if body.startswith(b"<... "):
            yield from self._resumed(task, body, at, origin, text)
        elif body.startswith(b"--- "):
            yield from self._signal(task, body, at, origin)
        elif body.startswith(b"+++ "):
            yield from self._end(task, body, at, origin)
        else:
            yield from self._unfinished(task, body, at, origin, text)

    def _unfinished(self, task: TaskId, body: bytes, at: int | None, origin: Origin, text: bytes) -> Iterator[Record]:
        notice = grammar.NOTICE.search(body) if b"Process " in body or b"strace: " in body else None
        if not body.rstrip().endswith(b"...>"):
            # Cut by a notice, by the program's own output, or by the end of the log: the rest may follow.
            if notice is not None:
                self._noticed(notice)
            kept = text[: len(text) - len(body) + notice.start()] if notice is not None else text
            self.cut, self.after_cut = (kept[:_LONGEST_HALF], origin.line), b""
            body = body[: notice.start()] if notice is not None else body
        match = grammar.ENTERED.match(grammar.NOT_RETURNED.sub(b"", body.rstrip()))
        if match is None:
            self.tally.skip(origin.line, text)
            return
        half = _Half(match[1], match[2].rstrip(b" ,"), at, origin)
        if self.cut is not None and self.cut[1] == origin.line and len(text) < _LONGEST_HALF:
            self._passed(task, half.name)
            self.broken[task] = half
            if half.name not in grammar.CLOSES and not grammar.is_balanced(half.args):
                return  # strace prints what it knows at the entry and waits; this was cut later by something else
        # One call of a task is open at a time; a line that was held back may come after later ones.
        self.halves[task] = [*(late for late in self.halves.get(task, ()) if late.origin.line > origin.line), half]
        name = half.name.decode("ascii", "replace")
        yield UnfinishedRecord(task, name, TextArguments(half.args), at, origin)
        if body.endswith(b"<detached ...>"):
            yield DetachedRecord(task, at, origin)

    def _resumed(self, task: TaskId, body: bytes, at: int | None, origin: Origin, text: bytes) -> Iterator[Record]:
        match = grammar.RESUMED.match(body)
        if match is None:
            if not re.match(rb"<\.\.\. \w+ resumed>", body):
                self.tally.skip(origin.line, text)
            else:
                self.cut, self.after_cut = (text[:_LONGEST_HALF], origin.line), b""
            return
        half = self._half(task, origin.line)
        name, rest, result = match.groups()
        if half is None or (half.name != name and not half.name.startswith((b"syscall_", b"SYS_"))):
            half = _Half(name, b"", None, origin)  # its beginning lies before the log
            self.tally.headless += 1
        args = half.args + (b", " if half.args and rest and not rest.startswith(b",") else b"") + rest
        yield self._call(task, half.name, args, result, half.entered, at, origin, half.origin)

    def _half(self, task: TaskId, line: int) -> _Half | None:
        halves = self.halves.get(task)
        before = [half for half in halves if half.origin.line < line] if halves else []
        if not halves or not before:
            return None
        half = max(before, key=lambda half: half.origin.line)
        halves.remove(half)
        return half

    def _signal(self, task: TaskId, body: bytes, at: int | None, origin: Origin) -> Iterator[Record]:
        match = grammar.SIGNAL.match(body)
        if match is None:
            return
        fields = dict(grammar.SIGNAL_FIELD.findall(match[2]))
        pid = fields.get(b"si_pid", b"")
        code = fields.get(b"si_code")
        signal = match[1].decode("ascii", "replace")
        sender = int(pid) if pid.isdigit() else None
        yield SignalRecord(task, at, origin, signal, code.decode() if code else None, sender)

    def _end(self, task: TaskId, body: bytes, at: int | None, origin: Origin) -> Iterator[Record]:
        match = grammar.END.match(body)
        how = match[1] if match else body.strip(b"+ ")
        self.halves.pop(task, None)
        self.living.discard(task)
        if superseded := grammar.SUPERSEDED.match(how):
            by = self._task(superseded[1])
            self.halves[task] = self.halves.pop(by, [])
            self.living.discard(by)
            self.living.add(task)
            yield SupersededRecord(task, at, origin, by)
            return
        yield ExitRecord(task, at, origin, how.decode("utf-8", "replace"))

    # Lines that name no task: stacks, dumps, notices, the second half of a cut line, foreign text.
    def _stray(
        self, text: bytes, body: bytes, task_name: bytes | None, time: bytes | None, line: int
    ) -> Iterator[Record]:
        if frame := grammar.FRAME.match(text):
            yield from self._frame(frame[1], line)
            return
        if grammar.DUMP.match(text):
            return
        if self.cut is not None and (yield from self._joined(text)):
            return
        if notice := grammar.NOTICE.match(body):
            self._noticed(notice)
            return
        if not grammar.IGNORED.match(body):
            self.tally.skip(line, text)
        elif b"<detached" in body:
            yield DetachedRecord(self._task(task_name), self._time(time, None), Origin(self.tally.name, line))

    def _noticed(self, notice: re.Match[bytes]) -> None:
        if notice[1] and notice[2] == b"attached":
            self.living.add(self._task(notice[1]))
        elif notice[1] and notice[2] == b"detached":
            self.living.discard(self._task(notice[1]))

    # Frames follow the line of their call at once; those of a call that was passed over follow no line of ours.
    def _frame(self, frame: bytes, line: int) -> Iterator[Record]:
        if line == self.last_line + 1:
            self.stack, self.stack_after = [], self.last_line
            yield StackRecord(self.last_task, Origin(self.tally.name, line), self.stack)
        if line - self.stack_after <= STACK_FRAMES and line == self.stack_after + 1 + len(self.stack):
            self.stack.append(frame.decode("utf-8", "replace"))

    # Tries whether this line completes the one that was cut.
    def _joined(self, text: bytes) -> Generator[Record, None, bool]:
        assert self.cut is not None
        start, began = self.cut
        whole = start + text
        if self.after_cut and not _ends(whole):
            whole = start + self.after_cut + text  # broken in more than two
        if not _ends(whole) and not text.startswith(b" <unfinished ...>"):
            self.after_cut = (self.after_cut + text)[:_LONGEST_HALF]
            return False
        self.cut = None
        self.broken.clear()
        self.others -= 1
        yield from self._line(whole, began)
        return True
