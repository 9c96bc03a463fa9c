"""Text of `perf trace`: one line per call, with its arguments by name; arguments that are 0 are left out.

A line is time in ms, (duration), comm/tid, call.  A call during which another task makes one is cut: its entry ends in
`...`, its return is `... [continued]: NAME()) = r` (perf-trace(1), tools/perf/builtin-trace.c).  Constants lack their
prefix.  What descriptors are said to refer to was read from /proc late, and kept when they were closed: it is not used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from tracecorr.events import Gap, Origin, TaskId
from tracecorr.kernel import CONSTANTS
from tracecorr.sources import clone3
from tracecorr.sources.base import WATCHERS, Tally, blocked
from tracecorr.sources.call_text import number as integer
from tracecorr.sources.errno_names import RESTARTS
from tracecorr.sources.pairing import Pairing, Result
from tracecorr.syscalls.record import NameRecord, Record, SyscallRecord, UnfinishedRecord, Value

NAME: Final = "perf-trace"

_LONG: Final = 1 << 14
_COLOUR: Final = re.compile(rb"\x1b\[[0-9;]{0,10}m")
_LINE: Final = re.compile(
    r" {0,20}(\?|\d{1,15}\.\d{3}) \( {0,12}(?:(\d{1,15}\.\d{3}) ms)? {0,12}\): {1,12}"
    r"(?:(?:(\S[^/]{0,15}(?:/[^/ ]{0,12})?)/)?(\d{1,10}) {1,16})?(\S.*)",
    re.DOTALL,
)
_ENTRY: Final = re.compile(r"([a-z_]\w{0,40})\((.*)\) {1,80}\.\.\.\s*\Z", re.DOTALL)
_RETURN: Final = re.compile(r"\.\.\. \[continued\]: ([a-z_]\w{0,40})\(\)\)? {0,80}= ?(.*)", re.DOTALL)
_CALL: Final = re.compile(r"([a-z_]\w{0,40})\((.*)\) {1,80}= ?(.*)", re.DOTALL)
_MEMBER: Final = re.compile(r'(\w{1,32}): ("[^"]{0,4096}"|\{[^}]{0,300}\}|\[[^\]]{0,300}\]|[^,]{0,300})(?:, |\Z)')
_NUMBER: Final = re.compile(r"0x[0-9a-fA-F]{1,16}|-?\d{1,20}")
_ADDRESS: Final = re.compile(r"\.family: (INET6?).{0,20}port: (\d{1,5}), addr: ([0-9a-fA-F.:]{2,45})")
_ERROR: Final = re.compile(r"-1 (?:(E[A-Z0-9]{1,20})\b|.{0,60}strerror_r\((\d{1,4}),)")
_WORD: Final = re.compile(r"[A-Z_][A-Z0-9_|]{0,200}")
_LOST: Final = re.compile(rb"LOST (\d{1,18}) events")
_MS: Final = 10**6
_INT: Final = 1 << 31

# The arguments that decoders ask for, by the kernel's names, in their order; None is one that nobody needs.
_SOCKET: Final = ("family", "type", "protocol")
_NAMES: Final[dict[str, tuple[str | None, ...]]] = {
    "read": ("fd", None, "count"), "write": ("fd", None, "count"), "readv": ("fd",), "writev": ("fd",),
    "recvfrom": ("fd", None, "size", "flags"), "sendto": ("fd", None, "len", "flags"),
    "recvmsg": ("fd", None, "flags"), "sendmsg": ("fd", None, "flags"), "recvmmsg": ("fd", None, "vlen", "flags"),
    "sendmmsg": ("fd",), "sendfile": ("out_fd", "in_fd"), "sendfile64": ("out_fd", "in_fd"), "preadv2": ("fd",),
    "pwritev2": ("fd",), "splice": ("fd_in", None, "fd_out", None, "len"),
    "close": ("fd",), "close_range": ("fd", "max_fd", "flags"), "dup": ("fildes",), "dup2": ("oldfd", "newfd"),
    "dup3": ("oldfd", "newfd", "flags"), "fcntl": ("fd", "cmd", "arg"), "ioctl": ("fd", "cmd"),
    "open": ("filename", "flags"), "openat": ("dfd", "filename", "flags"), "socket": _SOCKET, "socketpair": _SOCKET,
    "bind": ("fd", "umyaddr"), "listen": ("fd", "backlog"), "connect": ("fd", "uservaddr"),
    "accept": ("fd", "upeer_sockaddr"),
    "accept4": ("fd", "upeer_sockaddr", None, "flags"), "shutdown": ("fd", "how"), "getsockname": ("fd",),
    "getpeername": ("fd",), "getsockopt": ("fd", "level", "optname"), "setsockopt": ("fd", "level", "optname"),
    "epoll_create1": ("flags",), "epoll_ctl": ("epfd", "op", "fd"), "epoll_wait": ("epfd",), "epoll_pwait": ("epfd",),
    "epoll_pwait2": ("epfd",), "eventfd2": (None, "flags"), "timerfd_create": (None, "flags"), "pipe2": (None, "flags"),
    "signalfd4": (None, None, None, "flags"), "memfd_create": (None, "flags"), "inotify_init1": ("flags",),
    "pidfd_open": ("pid", "flags"), "pidfd_getfd": ("pidfd", "fd", "flags"), "unshare": ("unshare_flags",),
    "wait4": ("upid",), "execve": ("filename",), "execveat": ("fd", "filename"), "flock": ("fd",),
}  # fmt: skip
_PREFIXES: Final = {
    "family": "AF_", "type": "SOCK_", "cmd": "F_", "op": "EPOLL_CTL_", "arg": "FD_", "clone_flags": "CLONE_",
    "unshare_flags": "CLONE_", "how": "SHUT_",
}  # fmt: skip
# `flags` is that of the call; a call that is not here has flags that nobody needs.
_FLAGS: Final = {
    "recvfrom": "MSG_", "recvmsg": "MSG_", "recvmmsg": "MSG_", "sendto": "MSG_", "sendmsg": "MSG_", "accept4": "SOCK_",
    "eventfd2": "EFD_", "close_range": "CLOSE_RANGE_", "epoll_create1": "EPOLL_", "memfd_create": "MFD_",
}  # fmt: skip


def recognises(head: list[bytes]) -> bool:
    """Say whether one of the first lines is a call as perf trace prints it."""
    return any(_is_call(_text(raw)) for raw in head)


def _is_call(text: str) -> bool:
    match = _LINE.match(text)
    return match is not None and any(form.match(match[5]) for form in (_ENTRY, _RETURN, _CALL))


def _text(raw: bytes) -> str:
    return _COLOUR.sub(b"", raw[:_LONG]).decode("utf-8", "replace").rstrip()


def read(blocks: Iterable[bytes], tally: Tally) -> Iterator[Record]:
    """Yield the records of a trace."""
    return clone3.told(_Reader(tally).read(blocks))


class _Reader:
    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.calls = Pairing(tally)
        self.comms: dict[TaskId, str] = {}
        tally.arrays = tally.deaths = tally.columns = False
        tally.blind = WATCHERS

    def read(self, blocks: Iterable[bytes]) -> Iterator[Record]:
        self.tally.clock = "relative"
        for block in blocks:
            for raw, origin in self.tally.lines_of(block):
                yield from self._line(raw, origin)
        yield blocked(self.tally, "/proc/PID/task/TID/syscall, and lsof -nP -p PID")

    def _line(self, raw: bytes, origin: Origin) -> Iterator[Record]:
        match = _LINE.match(_text(raw))
        if match is None:
            if lost := _LOST.search(raw[:200]):
                self.tally.lost += int(lost[1])
                why = f"perf could not keep up: {int(lost[1])} events were lost"
                yield Gap("events were lost", why, "perf trace -m 32M, with the calls that matter alone (-e)", *origin)
            elif raw.strip():
                self.tally.skip(origin.line, raw)
            return
        began, lasted, comm, tid, body = match.groups()
        self.tally.columns |= tid is not None
        task = TaskId(int(tid or 0))
        entered = _nanoseconds(began) if began != "?" else None
        returned = entered + _nanoseconds(lasted) if entered is not None and lasted is not None else None
        self.tally.saw(returned if returned is not None else entered)
        # A child's return from the fork stands before the line of its parent: it must not show itself before.
        born = _RETURN.match(body) is not None and self.calls.arguments(task) is None
        if comm is not None and not born and self.comms.get(task) != comm:
            self.comms[task] = comm
            yield NameRecord(task, entered, origin, comm)
        yield from self._call(task, body, entered, returned, raw, origin)

    def _call(
        self, task: TaskId, body: str, entered: int | None, returned: int | None, raw: bytes, origin: Origin
    ) -> Iterator[Record]:
        if call := _RETURN.match(body):
            yield from self.calls.leave(task, call[1], _result(call[2]), returned, origin)
        elif call := _ENTRY.match(body):
            yield self.calls.enter(task, call[1], _arguments(call[1], call[2]), entered, origin)
        elif call := _CALL.match(body):
            self.tally.calls += 1
            self.tally.names.add(call[1])
            result, args = _result(call[3]), _arguments(call[1], call[2])
            if call[1] == "clone3":  # who it made may have shown itself between its entry and this line
                yield UnfinishedRecord(task, call[1], args, entered, origin)
            yield SyscallRecord(
                task, call[1], args, result.value, result.error, entered, returned, origin,
                Origin(*origin) if call[1] == "clone3" else origin,
            )  # fmt: skip
        else:
            self.tally.skip(origin.line, raw)


def _nanoseconds(text: str) -> int:
    whole, _, fraction = text.partition(".")
    return (int(whole) * 1000 + int(fraction)) * (_MS // 1000)


def _result(text: str) -> Result:
    text = text.strip()
    if error := _ERROR.match(text):
        number = int(error[2] or 0)
        return Result(None if number in RESTARTS else -1, error[1] or RESTARTS.get(number) or f"errno {number}")
    if not text:
        return Result(0)  # a task of another pid namespace, or none: 0
    value = _word(text, "FD_")
    return Result(value if isinstance(value, int) else None)


def _arguments(name: str, text: str) -> list[Value]:
    told = {member[0]: member[1] for member in _MEMBER.findall(text)}
    if name == "clone":
        return [_word(told.get("clone_flags", "0"), "CLONE_")]
    if name == "clone3":
        return [1]  # an address
    # A name that the kernel has changed must not pass for one that was left out as 0.
    return [_value(name, key, told[key]) if key in told else _left_out(told, key) for key in _NAMES.get(name, ())]


def _left_out(told: dict[str, str], key: str | None) -> Value:
    return "" if key is None else 0


def _value(name: str, key: str | None, text: str) -> Value:
    if text.startswith("{"):
        return _address(text)
    if key == "flags":
        return _word(text, _FLAGS.get(name, "O_"))
    return _word(text, _PREFIXES.get(key or "", ""))


def _address(text: str) -> Value:
    match = _ADDRESS.search(text)
    if match is None:
        return text
    version = match[1].removeprefix("INET")
    return {
        "sa_family": CONSTANTS[f"AF_{match[1]}"],
        f"sin{version}_port": int(match[2]),
        f"sin{version}_addr": match[3],
    }


# Descriptors are ints, and -1 is printed as what it is without a sign.
def _word(text: str, prefix: str) -> Value:
    if number := _NUMBER.match(text):
        value = integer(number[0])
        if "|" not in text:
            return value - 2 * _INT if value == 2 * _INT - 1 else value
    bits = 0
    for word in text.split("|"):
        number = _NUMBER.fullmatch(word)
        known = CONSTANTS.get(word, CONSTANTS.get(prefix + word))
        if number is None and known is None and not _WORD.fullmatch(word):
            return text
        bits |= integer(number[0]) if number is not None else known or 0
    return bits
