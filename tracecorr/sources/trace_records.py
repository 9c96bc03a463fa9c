"""What the kernel's events say, as records: calls joined from entry and return, tasks, states of connections."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

from tracecorr.events import Origin, TaskId
from tracecorr.kernel import CLONE_THREAD, MSG_PEEK, TCP_STATES, TcpState
from tracecorr.sources.ring_buffer import TraceEvent
from tracecorr.sources.trace_ends import Ends, ends_of, sockaddr
from tracecorr.sources.trace_table import CALLS
from tracecorr.sources.trace_waits import Waits
from tracecorr.syscalls.record import (
    ExitRecord,
    NameRecord,
    Record,
    StateRecord,
    SupersededRecord,
    SyscallRecord,
    TransferRecord,
    UnfinishedRecord,
)

# The name of a pretended event that carries a record found by looking.
FOUND: Final = "found"

# Another one, with all threads that the kernel follows.
CENSUS: Final = "census"

# What says that a call has ended is the entry: it is taken to have succeeded.
_AT_ENTRY: Final = {name for name, call in CALLS.items() if call.exit is None}
_FORKS: Final = {"fork", "vfork", "clone", "clone3"}

# include/linux/errno.h: codes that leave the kernel only through a tracer.
_RESTART: Final = {512: "ERESTARTSYS", 513: "ERESTARTNOINTR", 514: "ERESTARTNOHAND", 516: "ERESTART_RESTARTBLOCK"}
_MAX_ERRNO: Final = 4095
_UNSIGNED: Final = 0xFFFFFFFF


class _Entered(NamedTuple):
    name: str
    args: list[Any]  # as in SyscallRecord
    at: int


class Translator:
    """Turns events, in order of time, into records.

    `threads` maps each living thread that is traced to its process; `origin` numbers the records.
    """

    def __init__(
        self, threads: dict[int, int], waits: Waits, parts: struct.Struct, origin: Callable[[], Origin], offset: int
    ) -> None:
        """`parts` is for ends_of(); `offset` is what the trace clock lacks to nanoseconds since the epoch."""
        self.threads = threads
        self._waits = waits
        self._parts = parts
        self._origin = origin
        self._offset = offset
        self._inside: dict[int, _Entered] = {}
        self._handlers: dict[str, Callable[[int, tuple[Any, ...]], Iterator[Record]]] = {
            "task_newtask": self._new_task,
            "task_rename": self._renamed,
            "sched_process_exec": self._executed,
            "sched_process_exit": self._exited,
            "sock_recv_length": self._read,
            "sock_send_length": self._sent,
            FOUND: self._found,
            CENSUS: self._census,
        }
        for name in CALLS:
            self._handlers[f"sys_enter_{name}"] = _partial(self._entry, name)
            self._handlers[f"sys_exit_{name}"] = _partial(self._return, name)

    def inside(self, blocked: Iterable[UnfinishedRecord]) -> None:
        """Take in the calls that threads slept in when we came, whose returns may be recorded."""
        for record in blocked:
            if record.name in CALLS and record.args and record.entered is not None:
                self._inside.setdefault(record.task.tid, _Entered(record.name, list(record.args), record.entered))

    def records(self, event: TraceEvent) -> Iterator[Record]:
        """Yield what one event says; nothing for a first half."""
        if event.name == "inet_sock_set_state":
            return self._state(event)
        return self._handlers[event.name](event.at + self._offset, event.values)

    def _found(self, at: int, values: tuple[Any, ...]) -> Iterator[Record]:
        yield from values

    def _entry(self, name: str, at: int, values: tuple[Any, ...]) -> Iterator[Record]:
        tid = values[0]
        args: list[Any] = [_number(value) for value in values[1:]]
        if name == "accept4":
            # addresses in the program: what is there was not recorded
            args[1:3] = [None, None]
        if name in _AT_ENTRY and name not in _FORKS:
            origin = self._origin()
            yield SyscallRecord(TaskId(tid), name, args, 0, None, at, at, origin, origin)
        else:
            self._inside[tid] = _Entered(name, args, at)

    def _return(self, name: str, at: int, values: tuple[Any, ...]) -> Iterator[Record]:
        tid, result = values
        entered = self._inside.pop(tid, None)
        if entered is None or entered.name != name:
            return  # it was entered before we came
        origin, error = self._origin(), None
        if -_MAX_ERRNO <= result < 0:
            error, result = _error(-result), -1
        yield SyscallRecord(TaskId(tid), name, entered.args, result, error, entered.at, at, origin, origin)

    def _new_task(self, at: int, values: tuple[Any, ...]) -> Iterator[Record]:
        parent, child, _, flags = values
        entered = self._inside.pop(parent, None)
        name, began = ("clone", None) if entered is None or entered.name not in _FORKS else (entered.name, entered.at)
        self.threads[child] = self.threads.get(parent, parent) if flags & CLONE_THREAD else child
        origin = self._origin()
        yield SyscallRecord(TaskId(parent), name, [{"flags": flags}], child, None, began, at, origin, origin)

    def _renamed(self, at: int, values: tuple[Any, ...]) -> Iterator[Record]:
        _, tid, comm = values
        yield NameRecord(TaskId(tid), at, self._origin(), _text(comm))

    def _census(self, at: int, values: tuple[Any, ...]) -> Iterator[Record]:
        (followed,) = values
        for tid in self.threads.keys() - followed:
            del self.threads[tid]
            yield ExitRecord(TaskId(tid), at, self._origin(), "gone unseen")

    # Every other thread has exited, each with an event of its own; the one that called goes on as the leader.
    def _executed(self, at: int, values: tuple[Any, ...]) -> Iterator[Record]:
        _, program, tid, before = values
        if before != tid:
            self.threads.pop(before, None)
            yield SupersededRecord(TaskId(tid), at, self._origin(), TaskId(before))
        self.threads[tid] = tid
        origin = self._origin()
        yield SyscallRecord(TaskId(tid), "execve", [program], 0, None, at, at, origin, origin)

    def _exited(self, at: int, values: tuple[Any, ...]) -> Iterator[Record]:
        tid = values[1]
        self._inside.pop(tid, None)
        if self.threads.pop(tid, None) is not None:
            yield ExitRecord(TaskId(tid), at, self._origin(), "exited")

    def _state(self, event: TraceEvent) -> Iterator[Record]:
        tid, _, old, new, data = event.values
        at = event.at + self._offset
        before, after = _tcp_state(old), _tcp_state(new)
        if before is None or after is None:
            return
        if TcpState.CLOSE_WAIT in (before, after):
            if (ends := self._waits.told(event)) is not None:
                yield StateRecord(at, self._origin(), before, after, *ends)
        elif (ends := ends_of(self._parts, data)) is not None:
            yield from self._in_call(tid, at, after, ends)

    # connect has set the peer by then, listen the address that bind or the kernel chose.
    def _in_call(self, tid: int, at: int, state: TcpState, ends: Ends) -> Iterator[Record]:
        entered = self._inside.get(tid)
        if entered is None:
            return
        if state is TcpState.SYN_SENT and entered.name == "connect" and len(entered.args) == 1:
            entered.args.append(sockaddr(ends.peer))
        elif state is TcpState.LISTEN and entered.name == "listen":
            origin = self._origin()
            args = [entered.args[0], sockaddr(ends.local)]
            yield SyscallRecord(TaskId(tid), "bind", args, 0, None, entered.at, at, origin, origin)

    def _read(self, at: int, values: tuple[Any, ...]) -> Iterator[Record]:
        tid, sk, size, flags = values
        if size >= 0 and (ends := self._waits.ends_of(sk)) is not None:
            yield TransferRecord(TaskId(tid), at, self._origin(), *ends, False, size, bool(flags & MSG_PEEK))

    def _sent(self, at: int, values: tuple[Any, ...]) -> Iterator[Record]:
        tid, sk, size = values
        if size > 0 and (ends := self._waits.ends_of(sk)) is not None:
            yield TransferRecord(TaskId(tid), at, self._origin(), *ends, True, size)


def _partial(
    method: Callable[[str, int, tuple[Any, ...]], Iterator[Record]], name: str
) -> Callable[[int, tuple[Any, ...]], Iterator[Record]]:
    return lambda at, values: method(name, at, values)


# Arguments are recorded as whole registers; those that we take are ints of 32 bits.
def _number(value: int) -> int:
    value &= _UNSIGNED
    return value - (1 << 32) if value > 0x7FFFFFFF else value


def _error(number: int) -> str:
    return _RESTART.get(number) or errno.errorcode.get(number, f"errno {number}")


def _text(value: bytes) -> str:
    return value.split(b"\0", 1)[0].decode("utf-8", "replace")


def _tcp_state(number: int) -> TcpState | None:
    return TCP_STATES[number] if 0 < number < len(TCP_STATES) else None
