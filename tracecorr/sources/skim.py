"""Skims a log of strace: passes over what cannot matter, so that a large log costs little more than its search.

Most of a busy server's log is connections that are accepted, served and closed in good order.  One is passed over
as a whole when the tasks that share the table in which it was accepted close it, nothing else could have got a
reference in between (no fork, dup, exec or message with descriptors in that table), and the close came within the
threshold of the first sign of the peer's FIN, or there was none.  Until that is certain its lines are held back; when
anything unusual happens in its table they are handed on, in the order of the log.

The same goes for files, whose numbers the replay needs only where something else than file calls touches them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from tracecorr.sources.clock import Clock

_READS: Final = frozenset((b"read", b"readv", b"recv", b"recvfrom", b"recvmsg"))
_WRITES: Final = frozenset((b"write", b"writev", b"send", b"sendto", b"sendmsg", b"sendfile", b"sendfile64"))
_MOVES: Final = _READS | _WRITES
_ACCEPTS: Final = frozenset((b"accept", b"accept4"))
_OPENS: Final = frozenset((b"open", b"openat", b"openat2", b"creat"))
_WAITS: Final = frozenset((b"epoll_wait", b"epoll_pwait", b"epoll_pwait2"))
# They concern the descriptor that is their first argument, and no other.
_ABOUT: Final = frozenset((b"setsockopt", b"getsockopt", b"getpeername", b"getsockname", b"shutdown", b"ioctl"))
_FORKS: Final = frozenset((b"fork", b"vfork", b"clone", b"clone3"))
# From here on a thread that shared its table may have one of its own.
_UNSHARES: Final = re.compile(rb"(?:execve|execveat|unshare)\(|CLOSE_RANGE_UNSHARE")
_EXIT: Final = b"+++ "
_SINGLE: Final = _MOVES | _ACCEPTS | _OPENS | _WAITS | _ABOUT | {b"epoll_ctl"}

_PATH: Final = rb"(?:<(?:->|[^<>\n])*>)?"
_EPOLL: Final = re.compile(rb"epoll_ctl\(\d+" + _PATH + rb", EPOLL_CTL_(?:ADD|MOD|DEL), (\d+)(?:.*?u64=(\d+))?")
_REPORTED: Final = re.compile(rb"\{(?:events=)?([A-Z|]+), (?:data=)?\{u32=\d+, u64=(\d+)\}\}")
_HANGUP: Final = re.compile(rb"HUP|EPOLLERR")
_PLAIN_FCNTL: Final = re.compile(rb"fcntl(?:64)?\(\d+" + _PATH + rb", F_(?:GETFL|SETFL|GETFD|SETFD)\b")
_PORT: Final = re.compile(rb"htons\((\d+)\)")
_CHILD: Final = re.compile(rb"= (\d+)[^\n=]*\Z")

# So much of a log is read in full before anything is passed over: it shows the set-up, and small logs do not need it.
AFTER: Final = 2 << 20

# Forms of lines that this does not know: the whole log is read in full then.
_UNKNOWN: Final = re.compile(
    rb"\n(?: > | \| |\[pid |\d{1,7}<|[ \t]+\d|(?:\d{1,7} +)?(?:[\d:.]{8,} )?"
    rb"(?:\[|\(\+|\d{1,6}\.\d+ |(?:close|read|write|accept4?|recvfrom)\((?:0x|(?:sock)?fd=)))"
)

_TASK: Final = rb"(?:(\d{1,7}) +)?"
_TIME: Final = rb"(?:(\d\d:\d\d:\d\d(?:\.\d+)?|\d{8,11}(?:\.\d+)?) )?"

# What match.lastindex says of a line.
_WHOLE, _CUT, _RESUMED = 6, 8, 10

Line = tuple[bytes, int]
Key = tuple[bytes, bytes]


def _number(line: Line) -> int:
    return line[1]


def ports_in(text: bytes) -> list[bytes]:
    """Return the ports of the addresses that are printed in the arguments of a call."""
    return _PORT.findall(text)


def suits(block: bytes) -> bool:
    """Say whether the log is of the plain form: an optional task and time, and no stacks, deltas or raw numbers."""
    return _UNKNOWN.search(b"\n" + block[: 1 << 18]) is None


def pattern(wanted: bytes) -> re.Pattern[bytes]:
    """Return what finds the lines that are worth a look; `wanted` matches the names that have an effect.

    Groups: 2 task, 3 time; of a whole call 4 name, 5 first number, 6 result; of one that was cut 7 name, 8 number;
    of a resumed one 9 name, 10 result.  Any other line has none of 4 to 10.
    """
    dull = (
        rb"(?!" + wanted + rb"\()[a-z_]\w*\([^\n]*\)\s+= [^?\n]"
        rb"|epoll_p?wait2?\((?![^\n]*(?:HUP|EPOLLERR))[^\n]*\)\s+= \d"
        rb"|(?:read|recv|write|send|accept)[a-z0-9]*\([^\n]*\)\s+= -1 EAGAIN"
    )
    # A lookahead is never entered again once it has matched: without it a dull line would be tried without its time.
    return re.compile(
        rb"\n(?=(" + _TASK + _TIME + rb"))\1(?!" + dull + rb")(?:"
        rb"([a-z_]\w*)\((\d*)[^\n]*\)\s+= (-?\d+)[^\n]*"
        rb"|([a-z_]\w*)\((\d*)[^\n]*<unfinished \.\.\.>"
        rb"|<\.\.\. (\w+) resumed>[^\n]*\)\s+= (-?\d+)[^\n]*"
        rb"|[^\n]*)(?=\n|\Z)"
    )


class _Episode:
    """One connection, from its accept on: its lines so far, and when the first sign of the FIN came."""

    __slots__ = ("ended_at", "last", "lines", "read", "written")

    def __init__(self, lines: list[Line]) -> None:
        self.lines = lines
        self.ended_at: bytes | None = None
        self.read = self.written = False
        self.last: list[Line] = []

    def moved(self, lines: list[Line], time: bytes | None, result: bytes, *, reads: bool) -> None:
        """Keep a transfer: the first each way, the last one, and every one from the end of file on."""
        if result[:1] in b"-0" or self.ended_at is not None:
            self.lines += lines
            if result == b"0" and reads and self.ended_at is None:
                self.ended_at = time or b""
        elif not (self.read if reads else self.written):
            self.read = self.read or reads
            self.written = self.written or not reads
            self.lines += lines
        else:
            self.last = lines


class Skim:
    """Holds lines back per table of descriptors.  A table is named by the task that was seen of it first."""

    def __init__(self, names: frozenset[bytes], wanted: bytes, stuck_after: int, ports: Iterable[bytes] = ()) -> None:
        self._known = names
        self._pattern = pattern(wanted)
        self.stuck_after = stuck_after
        self.ports = set(ports)
        self.others = 0
        self._clock = Clock()
        self._tables: dict[bytes, bytes] = {}
        self._episodes: dict[Key, _Episode] = {}
        self._numbers: dict[bytes, int] = {}
        # By number, then table: what is a file; and of other numbers who moved bytes there last, and which way.
        self._files: dict[bytes, set[bytes]] = {}
        self._said: dict[bytes, dict[bytes, tuple[bytes, bool, bool]]] = {}
        # Those of which every transfer is news.
        self._after_end: set[Key] = set()
        self._halves: dict[bytes, tuple[bytes, bytes, Line]] = {}
        self._registered: dict[bytes, Key] = {}
        self._off = False
        self._out: list[Line] = []
        self.passed_over = 0
        # Where the last transfer of each kind was that said nothing new; for one who does not know what came before.
        self.dropped: dict[tuple[Key, bool], int] | None = None

    # The one hot loop: what most lines need is decided here, without a call.
    def lines(self, text: bytes, line: int) -> Iterator[Line]:  # noqa: C901
        """Yield what the reader must see of a block, which begins with a line end; `line` is before its first."""
        out, files, at = self._out, self._files, 0
        matches = self._pattern.finditer(text)
        for match in matches:
            if self._off:
                yield from self._all(text, match.start(), line + text.count(b"\n", at, match.start()))
                return
            kind = match.lastindex
            if kind == _WHOLE:
                task, name, number, result = match.group(2, 4, 5, 6)
                key = (self._tables.get(task, task), number)
                if number in files and key[0] in files[number] and (name in _MOVES or name == b"close"):
                    if name == b"close":
                        files[number].discard(key[0])
                    continue
                if name in _MOVES and self._says_nothing(key, task, name in _READS, result):
                    if self.dropped is not None:
                        self.dropped[key, name in _READS] = match.start() + 1
                    continue
                if name in _OPENS and self._is_file((key[0], result)):
                    files.setdefault(result, set()).add(key[0])
                    continue
            # Only lines that are kept need their number.
            start = match.start() + 1
            line += text.count(b"\n", at, start)
            at = start
            if kind == _WHOLE:
                raw = match[0][1:]
                self._call([(raw, line)], raw, task, match[3], key, name, result)
            else:
                self._part(match, kind, line)
            if out:
                yield from out
                out.clear()

    def _all(self, text: bytes, at: int, line: int) -> Iterator[Line]:
        for number, raw in enumerate(text[at:].split(b"\n")):
            if raw:
                self.others += raw.endswith(b"<unfinished ...>") or b" --- SIG" in raw or b" +++ " in raw
                yield raw, line + number

    def left(self, lines: Iterable[Line]) -> Iterator[Line]:
        """Yield what the reader must see of single lines that another Skim has left of a piece of the log."""
        for raw, line in lines:
            yield from self.lines(b"\n" + raw, line - 1)

    def _has_file(self, key: Key) -> bool:
        return key[0] in self._files.get(key[1], ())

    # A result that is no descriptor, or one that nothing we know of has: a file and nothing else.
    def _is_file(self, key: Key) -> bool:
        return key[1][:1] != b"-" and key not in self._episodes and not self._is_known(key)

    def _is_known(self, key: Key) -> bool:
        return key[0] in self._said.get(key[1], ()) or key in self._after_end

    def _forget(self, key: Key) -> None:
        self._said.get(key[1], {}).pop(key[0], None)
        self._after_end.discard(key)

    def finish(self) -> Iterator[Line]:
        """Yield what is still held back at the end of the log, in its order."""
        self._hand_on_all()
        yield from self._out
        self._out.clear()

    # A number that is not held back: that the same task reads and writes there is news once, until its end of file.
    def _says_nothing(self, key: Key, task: bytes, reads: bool, result: bytes) -> bool:
        said = self._said[key[1]].get(key[0]) if key[1] in self._said else None
        if said is None or result[:1] in b"-0" or key in self._after_end:
            return False
        last, read, written = said
        return last == task and (read if reads else written)

    def _part(self, match: re.Match[bytes], kind: int | None, line: int) -> None:
        raw = match[0][1:]
        task = match[2] or b""
        self.others += bool(raw) and kind != _RESUMED and b" = ?" not in raw
        if kind == _CUT:
            self._cut(raw, line, task, match[3], match[7], match[8])
        elif kind == _RESUMED:
            self._resumed(raw, line, task, match[3], match[10])
        elif raw:
            # Signals, ends of tasks, notices, second halves of cut lines: all but signals may concern any table.
            if b"--- SIG" not in raw:
                self._hand_on_all()
            if _EXIT in raw:
                self._alone(task, line)  # its number may be given to another
            self._out.append((raw, line))

    def _cut(self, raw: bytes, line: int, task: bytes, time: bytes | None, name: bytes, number: bytes) -> None:
        key = (self._tables.get(task, task), number)
        if name == b"close":
            kept = len(self._out)
            self._closed([(raw, line)], key, time)
            self._halves.pop(task, None)
            if len(self._out) == kept:
                self._halves[task] = (name, number, (raw, line))
        elif name in _SINGLE or name not in self._known or _PLAIN_FCNTL.search(raw):
            self._halves[task] = (name, number, (raw, line))
        else:
            self._halves.pop(task, None)
            self._unusual([(raw, line)], raw, task, name)

    def _resumed(self, raw: bytes, line: int, task: bytes, time: bytes | None, result: bytes) -> None:
        half = self._halves.pop(task, None)
        if half is None:
            self._out.append((raw, line))
            return
        name, number, first = half
        if name == b"close" or name not in self._known or b"= -1 EAGAIN" in raw:
            return
        if name in _WAITS and not _HANGUP.search(raw):
            return
        key = (self._tables.get(task, task), number)
        if name in _MOVES and (self._has_file(key) or self._says_nothing(key, task, name in _READS, result)):
            return
        self._call([first, (raw, line)], first[0] + raw, task, time, key, name, result)

    def _call(
        self, lines: list[Line], raw: bytes, task: bytes, time: bytes | None, key: Key, name: bytes, result: bytes
    ) -> None:
        if name in _MOVES:
            self._moved(lines, raw, task, time, key, name, result)
        elif name == b"close":
            self._closed(lines, key, time)
        elif name in _ACCEPTS:
            self._accepted(lines, (key[0], result))
        elif name in _OPENS:
            self._opened(lines, (key[0], result))
        elif name in _ABOUT or _PLAIN_FCNTL.search(raw):
            self._notice_ports(raw, name)
            self._about(lines, key)
        elif name == b"epoll_ctl":
            self._watched(lines, raw, key[0])
        elif name in _WAITS:
            self._told(lines, raw, key[0], time)
        else:
            self._unusual(lines, raw, task, name)

    def _moved(
        self, lines: list[Line], raw: bytes, task: bytes, time: bytes | None, key: Key, name: bytes, result: bytes
    ) -> None:
        episode = self._episodes.get(key)
        reads = name in _READS
        if b"SCM_RIGHTS" in raw:
            self._unusual(lines, raw, task, name)
        elif episode is not None:
            episode.moved(lines, time, result, reads=reads)
        else:
            self._full(lines, key)
            tables = self._said.setdefault(key[1], {})
            last, read, written = tables.get(key[0], (task, False, False))
            if result[:1] in b"-0":
                self._after_end.add(key)
            elif key not in self._after_end:
                same = last == task
                tables[key[0]] = (task, reads or (same and read), not reads or (same and written))

    def _closed(self, lines: list[Line], key: Key, time: bytes | None) -> None:
        if self._has_file(key):
            self._files[key[1]].discard(key[0])
            return
        episode = self._episodes.get(key)
        if episode is None:
            # A thread whose creation was not seen may have closed what it shares with others.
            self._said.pop(key[1], None)
            self._files.pop(key[1], None)
            self._after_end.discard(key)
            self._full(lines, key)
        elif self._is_inside(key):
            self._hand_on_all()
            self._out += lines
        elif self._in_time(episode, time):
            self._drop(key)
            self.passed_over += 1
        else:
            self._hand_on(key)
            self._out += lines

    def _in_time(self, episode: _Episode, closed: bytes | None) -> bool:
        if not episode.ended_at or closed is None:
            return True  # no FIN was seen; or no times, and nothing is concluded from a close
        return self._clock.read(closed) - self._clock.read(episode.ended_at) < self.stuck_after

    # A thread may still be inside a call on it.
    def _is_inside(self, key: Key) -> bool:
        return any(half[1] == key[1] and half[0] in _MOVES for half in self._halves.values())

    def _accepted(self, lines: list[Line], key: Key) -> None:
        if key[1][:1] == b"-":
            self._out += lines  # no descriptors are left, perhaps
        elif key in self._episodes or self._has_file(key) or self._is_known(key):
            # Its close was not recorded: the replay will see the number return.
            self._files.get(key[1], set()).discard(key[0])
            self._forget(key)
            if key in self._episodes:
                self._hand_on(key)
            self._out += lines
        else:
            self._episodes[key] = _Episode(lines)
            self._numbers[key[1]] = self._numbers.get(key[1], 0) + 1

    def _opened(self, lines: list[Line], key: Key) -> None:
        if self._is_file(key):
            self._files.setdefault(key[1], set()).add(key[0])
        elif key[1][:1] != b"-":
            self._forget(key)
            if key in self._episodes:
                self._hand_on(key)
            self._out += lines

    def _about(self, lines: list[Line], key: Key) -> None:
        episode = self._episodes.get(key)
        if episode is not None:
            episode.lines += lines
        elif not self._has_file(key):
            self._full(lines, key)

    def _watched(self, lines: list[Line], raw: bytes, table: bytes) -> None:
        match = _EPOLL.search(raw)
        if match is None:
            self._hand_on_all()
            self._out += lines
            return
        key = (table, match[1])
        if match[2] is not None:
            self._registered[match[2]] = key
        self._about(lines, key)

    # A hang-up belongs to the connection whose registration has these data.
    def _told(self, lines: list[Line], raw: bytes, table: bytes, time: bytes | None) -> None:
        episodes: list[_Episode] = []
        full = False
        for events, data in _REPORTED.findall(raw):
            if not _HANGUP.search(events):
                continue
            key = self._registered.get(data)
            if key is None or key[0] != table:
                self._hand_on_all()
                full = True
            elif key in self._episodes:
                episodes.append(self._episodes[key])
            else:
                self._after_end.add(key)
                full = True
        for episode in episodes:
            episode.lines += lines
            episode.ended_at = episode.ended_at or time or b""
        if full or not episodes:
            self._out += lines

    # Whatever may give another table, another number or nobody a reference.
    def _unusual(self, lines: list[Line], raw: bytes, task: bytes, name: bytes) -> None:
        child = _CHILD.search(raw) if name in _FORKS else None
        if child is not None and b"CLONE_FILES" in raw:
            self._tables[child[1]] = self._tables.get(task, task)
        else:
            # Not of this table alone: a thread whose creation was not seen passes for a table of its own.
            self._hand_on_all()
            self._notice_ports(raw, name)
            if child is not None:
                self._alone(child[1], lines[0][1])
            if _UNSHARES.search(raw):
                self._alone(task, lines[0][1])
        self._out += lines

    # No name of a table occurs twice.
    def _alone(self, task: bytes, line: int) -> None:
        self._tables[task] = b"%s at %d" % (task, line)

    # Where both ends of connections are in the log, one end's close is the other's FIN: every line counts.  A port of 0
    # is the kernel's choice, which the log need not tell.
    def _notice_ports(self, raw: bytes, name: bytes) -> None:
        if name in (b"bind", b"getsockname"):
            self.ports.update(_PORT.findall(raw))
        elif name == b"connect":
            to = _PORT.findall(raw)
            if to and (b"0" in self.ports or not self.ports.isdisjoint(to)):
                self._off = True
                self._hand_on_all()

    # A line about a number that this table is not known to have: it may be that of a thread of another table.
    def _full(self, lines: list[Line], key: Key) -> None:
        if self._numbers.get(key[1]):
            for other in [other for other in self._episodes if other[1] == key[1]]:
                self._hand_on(other)
        self._out += lines

    def _drop(self, key: Key) -> _Episode:
        count = self._numbers[key[1]] - 1
        if count:
            self._numbers[key[1]] = count
        else:
            del self._numbers[key[1]]
        return self._episodes.pop(key)

    def _hand_on(self, key: Key) -> None:
        episode = self._drop(key)
        if episode.ended_at is not None:
            self._after_end.add(key)
        self._release((*episode.lines, *episode.last))

    def _release(self, lines: Iterable[Line]) -> None:
        self._out += sorted(set(lines), key=_number)

    # What is known of files and of other numbers holds for one table only until something unusual happens.
    def _hand_on_all(self) -> None:
        lines: list[Line] = []
        for key in list(self._episodes):
            episode = self._drop(key)
            lines += [*episode.lines, *episode.last]
            if episode.ended_at is not None:
                self._after_end.add(key)
        for task, half in list(self._halves.items()):
            if half[0] != b"close":
                lines.append(half[2])
                del self._halves[task]
        self._files.clear()
        self._said.clear()
        self._release(lines)
