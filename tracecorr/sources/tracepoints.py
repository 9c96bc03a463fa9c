"""Events of the Linux kernel's tracepoints as perf and ftrace print them: calls, tasks and TCP states.

A call is two events, `sys_enter_NAME: fd: 0x3, …` and `sys_exit_NAME: 0x0` (kernel/trace/trace_syscalls.c), in the raw
form `sys_enter: NR 3 (3, 0, …)` (include/trace/events/syscalls.h).  Arguments are registers: what they point
to, ends of connections and the arrays of poll, is not shown.  Others: include/trace/events/task.h, sched.h, sock.h.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from tracecorr.events import Endpoint, Gap, Origin, TaskId
from tracecorr.kernel import TcpState
from tracecorr.sources.arguments import parse_members
from tracecorr.sources.base import WATCHERS, Tally
from tracecorr.sources.call_text import number as integer
from tracecorr.sources.errno_names import RESTARTS, linux
from tracecorr.sources.pairing import Pairing, Result
from tracecorr.syscalls.record import ExitRecord, NameRecord, Record, StateRecord, SyscallRecord, Value

# What is longer holds strings; none of ours is.
_LONG: Final = 4096
_CALL: Final = re.compile(r"(?:syscalls:)?sys_(enter|exit)(?:_(\w{1,40}))?\Z")
_ARGUMENT: Final = re.compile(r"\w{1,40}: ([^,]{0,200})")
_NUMBER: Final = re.compile(r"0x[0-9a-fA-F]{1,16}|-?\d{1,20}")
_RAW_ENTRY: Final = re.compile(r"NR (-?\d{1,5}) \(([0-9a-fA-F]{1,16}(?:, [0-9a-fA-F]{1,16}){5})\)")
_RAW_RETURN: Final = re.compile(r"NR (-?\d{1,5}) = (-?\d{1,20})")
_HEX: Final = re.compile(r"[0-9a-fA-F]{1,16}")
_FIELD: Final = re.compile(r"(\w{1,32})=(\S{1,80})")
_MOST_FIELDS: Final = 32
# An error is -1 to -4095 (include/linux/err.h).
_LAST_ERROR: Final = 4095
_WIDTH: Final = 64
_OTHERS: Final = {"sched_process_exit", "task_newtask", "inet_sock_set_state"}

# arch/x86/entry/syscalls/syscall_64.tbl: the calls that have an effect on descriptors, and where threads wait.
X86_64: Final[dict[int, str]] = {
    0: "read", 1: "write", 2: "open", 3: "close", 7: "poll", 16: "ioctl", 19: "readv", 20: "writev", 22: "pipe",
    23: "select", 32: "dup", 33: "dup2", 34: "pause", 35: "nanosleep", 40: "sendfile", 41: "socket", 42: "connect",
    43: "accept", 44: "sendto", 45: "recvfrom", 46: "sendmsg", 47: "recvmsg", 48: "shutdown", 49: "bind", 50: "listen",
    51: "getsockname", 52: "getpeername", 53: "socketpair", 54: "setsockopt", 55: "getsockopt", 56: "clone",
    57: "fork", 58: "vfork", 59: "execve", 60: "exit", 61: "wait4", 72: "fcntl", 73: "flock", 85: "creat",
    128: "rt_sigtimedwait", 130: "rt_sigsuspend", 202: "futex", 213: "epoll_create", 219: "restart_syscall",
    230: "clock_nanosleep", 231: "exit_group", 232: "epoll_wait", 233: "epoll_ctl", 247: "waitid", 253: "inotify_init",
    257: "openat", 270: "pselect6", 271: "ppoll", 272: "unshare", 275: "splice", 281: "epoll_pwait", 282: "signalfd",
    283: "timerfd_create", 284: "eventfd", 288: "accept4", 289: "signalfd4", 290: "eventfd2", 291: "epoll_create1",
    292: "dup3", 293: "pipe2", 294: "inotify_init1", 299: "recvmmsg", 307: "sendmmsg", 319: "memfd_create",
    322: "execveat", 327: "preadv2", 328: "pwritev2", 425: "io_uring_setup", 426: "io_uring_enter", 434: "pidfd_open",
    435: "clone3", 436: "close_range", 437: "openat2", 438: "pidfd_getfd", 441: "epoll_pwait2", 449: "futex_waitv",
}  # fmt: skip

# All six registers are shown; what is behind the last argument of these would pass for their flags.
_ARGUMENTS: Final = {"accept": 3, "accept4": 4, "pipe": 1}


class Tracepoints:
    """Turns the events of one log into records; `raw` names calls by number, None where the machine is unknown."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.calls = Pairing(tally)
        self.raw: dict[int, str] | None = None
        self._unnamed = 0
        self._comms: dict[TaskId, str] = {}
        tally.arrays = False
        tally.deaths = False
        tally.blind = WATCHERS

    def named(self, task: TaskId, comm: str, at: int | None, origin: Origin) -> Iterator[Record]:
        """Tell the command name of a task where it is new."""
        if comm != "<...>" and self._comms.get(task) != comm:
            self._comms[task] = comm
            yield NameRecord(task, at, origin, comm)

    @staticmethod
    def knows(event: str) -> bool:
        """Whether this is an event that event() understands."""
        return _CALL.match(event) is not None or event.rpartition(":")[2] in _OTHERS

    def event(self, task: TaskId, event: str, text: str, at: int | None, origin: Origin) -> Iterator[Record]:
        """Yield what one event tells.  Raises ValueError where its text is not as the kernel prints it."""
        if call := _CALL.match(event):
            if call[2] is None:
                yield from self._raw_call(task, call[1], text, at, origin)
            elif call[1] == "enter":
                yield self.calls.enter(task, call[2], arguments(text), at, origin)
            else:
                yield from self.calls.leave(task, call[2], result(text), at, origin)
            return
        fields = dict(_FIELD.findall(text[:_LONG])[:_MOST_FIELDS])
        yield from self._told(task, event.rpartition(":")[2], fields, at, origin)

    def _raw_call(self, task: TaskId, what: str, text: str, at: int | None, origin: Origin) -> Iterator[Record]:
        match = (_RAW_ENTRY if what == "enter" else _RAW_RETURN).match(text)
        if match is None:
            raise ValueError("not as raw_syscalls prints it")
        self.tally.whole = True
        if self.raw is None:
            self._unnamed += 1
            return
        name = self.raw.get(int(match[1]), f"syscall_{match[1]}")
        if what == "enter":
            args: list[Value] = [int(word, 16) for word in match[2].split(", ")[: _ARGUMENTS.get(name)]]
            yield self.calls.enter(task, name, args, at, origin)
        else:
            yield from self.calls.leave(task, name, _result(int(match[2])), at, origin)

    def _told(
        self, task: TaskId, event: str, fields: dict[str, str], at: int | None, origin: Origin
    ) -> Iterator[Record]:
        if (
            event == "task_newtask"
            and fields.get("pid", "").isdigit()
            and _HEX.fullmatch(fields.get("clone_flags", ""))
        ):
            yield from self.made(task, int(fields["pid"]), int(fields["clone_flags"], 16), at, origin)
        elif event == "sched_process_exit":
            self.tally.deaths = True
            self.calls.end(task)
            yield ExitRecord(task, at, origin, "ended")
        elif event == "inet_sock_set_state" and fields.get("protocol") == "IPPROTO_TCP":
            yield from _state(fields, at, origin)

    def unnamed(self, tally: Tally) -> Iterator[Gap]:
        """Tell of the calls that have but a number, at the end of the log."""
        if self._unnamed:
            why = f"{self._unnamed} calls have a number alone, and the log does not say of which machine"
            yield Gap("calls without names", why, "perf record -e 'syscalls:*' rather than raw_syscalls", tally.name, 1)

    def made(self, task: TaskId, child: int, flags: int, at: int | None, origin: Origin) -> Iterator[Record]:
        """Tell that a task made another: within the call that does it, before the new task runs (kernel/fork.c)."""
        args = self.calls.arguments(task)
        if args is not None:
            args[:1] = [{"flags": flags}]
        else:
            yield SyscallRecord(task, "clone", [flags], child, None, at, at, origin, origin)


def arguments(text: str) -> list[Value]:
    """Return the registers of `fd: 0x00000003, buf: 0x7ffe, …` in their order."""
    return [_value(word) for word in _ARGUMENT.findall(text[:_LONG])]


# Newer kernels print names of flags and the strings that are pointed to.
def _value(word: str) -> Value:
    number = _NUMBER.match(word)
    if number is not None:
        return integer(number[0])
    return next((value for _, value in parse_members(word)), word)


def result(text: str) -> Result:
    """Return what `0x3` or `-2` means as the result of a call."""
    match = re.match(r"0x([0-9a-fA-F]{1,16})|(-?\d{1,20})", text.strip())
    if match is None:
        raise ValueError("no result")
    return _result(int(match[1], 16) if match[1] else int(match[2]))


def _result(value: int) -> Result:
    if value >= 1 << (_WIDTH - 1):
        value -= 1 << _WIDTH
    if not -_LAST_ERROR <= value < 0:
        return Result(value)
    return Result(None if -value in RESTARTS else -1, linux(-value))


def _state(fields: dict[str, str], at: int | None, origin: Origin) -> Iterator[Record]:
    version = "v6" if fields.get("family") == "AF_INET6" else ""
    old, new = (fields.get(key, "").removeprefix("TCP_") for key in ("oldstate", "newstate"))
    states = TcpState.__members__
    ports = [fields.get(key, "") for key in ("sport", "dport")]
    ends = [fields.get(key + version, "") for key in ("saddr", "daddr")]
    if old in states and new in states and all(port.isdigit() and len(port) < 6 for port in ports) and all(ends):
        local, peer = (Endpoint(end, int(port)) for end, port in zip(ends, ports, strict=True))
        yield StateRecord(at, origin, states[old], states[new], local, peer)


_NUMBERED: Final = re.compile(rb"sys_enter: NR (\d{1,4}) \(")


def machine(head: Iterable[bytes]) -> dict[int, str] | None:
    """Return the names of the calls whose numbers a log has, None where they may be of any machine.

    No line says the machine.  Programs read and write: numbers 0 and 1 of x86-64; 3 and 4 of i386; 63 and 64 of others.
    """
    seen = Counter(int(number) for line in head for number in _NUMBERED.findall(line[:_LONG]))
    return X86_64 if seen[0] + seen[1] > seen[4] + seen[63] + seen[64] else None
