"""PLANS: what is read of each call that has a meaning for us, when it begins and when it returns.

Arguments come as six registers; what leaves here are the Values that a reader of logs would give (see `Value` in
tracecorr.syscalls.record), so that the same decoders serve both.  A plan is asked in this order: `wants` at the entry
whether this very call matters, `enter` at the entry for the arguments, `leave` at a successful return for what the
kernel has filled in.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from tracecorr import kernel
from tracecorr.sources import user_memory
from tracecorr.syscalls.record import Value

Registers = Sequence[int]


class _Nothing:
    """What `leave` returns when the return tells nothing after all."""


NOTHING: Final = _Nothing()


def _any(_: Registers) -> bool:
    return True


def _nothing_more(_: int, __: Registers, ___: list[Value], ____: int) -> Value:
    return None


class Plan(NamedTuple):
    """How to read one call.

    `leave` may change the arguments and returns the record's note, or NOTHING.  `early` marks calls whose beginning
    must be told before what other threads do meanwhile (close frees the number at its entry).  `failures` says which
    failed calls mean something: all of them, none, or those that tell of the descriptor ("some").
    """

    name: str
    enter: Callable[[int, Registers], list[Value]]
    leave: Callable[[int, Registers, list[Value], int], Value] = _nothing_more
    wants: Callable[[Registers], bool] = _any
    early: bool = False
    failures: str = "some"
    makes_socket: bool = False


def signed(value: int) -> int:
    """Return the C int in a register."""
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


# Entries.


def _numbers(count: int) -> Callable[[int, Registers], list[Value]]:
    return lambda _, registers: [signed(value) for value in registers[:count]]


def _words(count: int) -> Callable[[int, Registers], list[Value]]:
    return lambda _, registers: list(registers[:count])


# read(fd, buffer, size), and recvfrom with flags
def _transfer(_: int, registers: Registers) -> list[Value]:
    return [signed(registers[0]), None, registers[2], signed(registers[3])]


def _vector(_: int, registers: Registers) -> list[Value]:
    return [signed(registers[0]), None, signed(registers[2])]


def _splice(_: int, registers: Registers) -> list[Value]:
    return [signed(registers[0]), None, signed(registers[2]), None, registers[4], signed(registers[5])]


# The path is not worth reading: an open file is no connection.
def _open(place: int) -> Callable[[int, Registers], list[Value]]:
    def enter(_: int, registers: Registers) -> list[Value]:
        values: list[Value] = [signed(value) for value in registers[:4]]
        values[place] = None
        return values

    return enter


# A message that is to be received is worth reading when it is there.
def _receive(_: int, registers: Registers) -> list[Value]:
    return [signed(registers[0]), None, signed(registers[2]), signed(registers[3])]


def _send(tid: int, registers: Registers) -> list[Value]:
    return [signed(registers[0]), user_memory.message(tid, registers[1]), signed(registers[2])]


def _send_many(tid: int, registers: Registers) -> list[Value]:
    fd, count = signed(registers[0]), registers[2] & 0xFFFFFFFF
    return [fd, user_memory.messages(tid, registers[1], count), count, signed(registers[3])]


# The address is there at the return.
def _accept(_: int, registers: Registers) -> list[Value]:
    return [signed(registers[0]), None, None]


def _accept4(_: int, registers: Registers) -> list[Value]:
    return [signed(registers[0]), None, None, signed(registers[3])]


def _to_address(tid: int, registers: Registers) -> list[Value]:
    return [signed(registers[0]), user_memory.address(tid, registers[1], signed(registers[2])), signed(registers[2])]


def _path_first(tid: int, registers: Registers) -> list[Value]:
    return [user_memory.text(tid, registers[0])]


def _path_second(tid: int, registers: Registers) -> list[Value]:
    return [signed(registers[0]), user_memory.text(tid, registers[1])]


def _clone3(tid: int, registers: Registers) -> list[Value]:
    flags = user_memory.word(tid, registers[0])
    return [{"flags": flags} if flags is not None else None]


def _epoll_ctl(tid: int, registers: Registers) -> list[Value]:
    event = user_memory.epoll_event(tid, registers[3])
    return [signed(registers[0]), signed(registers[1]), signed(registers[2]), event]


def _prctl(tid: int, registers: Registers) -> list[Value]:
    return [signed(registers[0]), (user_memory.text(tid, registers[1]) or "")[:15]]


# select overwrites its sets when it returns.
def _select(tid: int, registers: Registers) -> list[Value]:
    return [signed(registers[0]), user_memory.set_of_descriptors(tid, registers[1], signed(registers[0]))]


def _option(tid: int, registers: Registers) -> list[Value]:
    fd, level, option = (signed(value) for value in registers[:3])
    if level == kernel.SOL_SOCKET and option == _SO_LINGER:
        linger = user_memory.integers(tid, registers[3], 2) or [1, 1]
        return [fd, level, "SO_LINGER", {"l_onoff": linger[0], "l_linger": linger[1]}]
    return [fd, level, option, None]


# Returns.


def _vector_returned(tid: int, registers: Registers, values: list[Value], result: int) -> Value:
    if result == 0:
        values[1] = user_memory.vector(tid, registers[1], signed(registers[2]))


def _message_returned(tid: int, registers: Registers, values: list[Value], result: int) -> Value:
    values[1] = user_memory.message(tid, registers[1], buffers=result == 0)


def _messages_returned(tid: int, registers: Registers, values: list[Value], result: int) -> Value:
    values[1] = user_memory.messages(tid, registers[1], result)


def _address_returned(tid: int, registers: Registers, values: list[Value], _: int) -> Value:
    values[1] = user_memory.address_returned(tid, registers[1], registers[2])


def _pair_returned(place: int) -> Callable[[int, Registers, list[Value], int], Value]:
    def leave(tid: int, registers: Registers, values: list[Value], _: int) -> Value:
        values[place] = user_memory.integers(tid, registers[place], 2)

    return leave


def _option_returned(tid: int, registers: Registers, values: list[Value], _: int) -> Value:
    if values[1] == kernel.SOL_SOCKET and values[2] == kernel.SO_ERROR:
        code = user_memory.integer(tid, registers[3])
        values[3] = [errno.errorcode.get(code, code) if code else code]


def _polled(tid: int, registers: Registers, values: list[Value], _: int) -> Value:
    values[0] = entries = user_memory.polled(tid, registers[0], registers[1])
    return [entry for entry in entries or () if entry["revents"]]


_ENDED: Final = kernel.POLLERR | kernel.POLLHUP | kernel.POLLRDHUP


def _epoll_returned(tid: int, registers: Registers, values: list[Value], result: int) -> Value:
    told = user_memory.epoll_events(tid, registers[1], result)
    values[1] = [event for event in told if event["events"] & _ENDED]
    return None if values[1] else NOTHING


def _waited(tid: int, registers: Registers, values: list[Value], result: int) -> Value:
    status = user_memory.integer(tid, registers[1])
    values[1] = _what_became(status) if status is not None else None
    return None if result > 0 else NOTHING


# wait(2): 0x7f in the low byte is a stop, 0xffff that it was continued.
def _what_became(status: int) -> list[str]:
    if status == 0xFFFF:
        return ["WIFCONTINUED(s)"]
    low = status & 0x7F
    return ["WIFSTOPPED(s)"] if low == 0x7F else ["WIFSIGNALED(s)"] if low else ["WIFEXITED(s)"]


_CLD: Final = {1: "CLD_EXITED", 2: "CLD_KILLED", 3: "CLD_DUMPED"}


def _wait_info(tid: int, registers: Registers, values: list[Value], _: int) -> Value:
    words = user_memory.integers(tid, registers[2], 5)
    if words is None or words[2] not in _CLD or not words[4]:
        return NOTHING
    values[2] = {"si_code": _CLD[words[2]], "si_pid": words[4]}
    return None


# Which of the many uses of a call matter.

_SO_LINGER: Final = 13
_SOL_TCP: Final = 6
_PR_SET_NAME: Final = 15
_FCNTL: Final = frozenset([kernel.F_DUPFD, kernel.F_DUPFD_CLOEXEC, kernel.F_SETFD])
# enum bpf_cmd, include/uapi/linux/bpf.h: those that return a descriptor
_BPF: Final = frozenset([0, 5, 7, 13, 14, 17, 18, 19, 28, 30, 32, 33, 36])


def _second_in(numbers: frozenset[int]) -> Callable[[Registers], bool]:
    return lambda registers: registers[1] & 0xFFFFFFFF in numbers


def _sets_what_matters(registers: Registers) -> bool:
    level = registers[1]
    return level == _SOL_TCP or (level == kernel.SOL_SOCKET and registers[2] == _SO_LINGER)


def _asks_for_an_error(registers: Registers) -> bool:
    return registers[1] == kernel.SOL_SOCKET and registers[2] == kernel.SO_ERROR


def _plans() -> dict[str, Plan]:
    plans = [
        *(Plan(name, _transfer) for name in ("read", "write", "recvfrom", "sendto")),
        *(Plan(name, _vector, _vector_returned) for name in ("readv", "preadv2")),
        *(Plan(name, _vector) for name in ("writev", "pwritev2")),
        Plan("recvmsg", _receive, _message_returned), Plan("recvmmsg", _receive, _messages_returned),
        Plan("sendmsg", _send, early=True), Plan("sendmmsg", _send_many, early=True),
        Plan("splice", _splice), Plan("sendfile", _numbers(2)),
        Plan("close", _numbers(1), early=True, failures="all"),
        Plan("close_range", lambda _, registers: [value & 0xFFFFFFFF for value in registers[:3]], early=True),
        *(Plan(name, _numbers(0), early=True) for name in ("fork", "vfork")),
        Plan("clone", _words(1), early=True), Plan("clone3", _clone3, early=True),
        *(Plan(name, _numbers(1), _polled) for name in ("poll", "ppoll")),
        *(Plan(name, _select) for name in ("select", "pselect6")),
        *(Plan(name, _numbers(2), _epoll_returned) for name in ("epoll_wait", "epoll_pwait", "epoll_pwait2")),
        Plan("epoll_ctl", _epoll_ctl),
        *(Plan(name, _numbers(3), early=True) for name in ("dup2", "dup3")), Plan("dup", _numbers(1)),
        Plan("fcntl", _numbers(3), wants=_second_in(_FCNTL)),
        Plan("ioctl", _numbers(2), wants=_second_in(frozenset([kernel.FIOCLEX, kernel.FIONCLEX]))),
        *(
            Plan(name, _numbers(4), failures="none")
            for name in (
                "epoll_create", "epoll_create1", "eventfd", "eventfd2",
                "signalfd", "signalfd4", "timerfd_create", "inotify_init", "inotify_init1",
                "userfaultfd", "perf_event_open", "fsopen", "fsmount", "open_tree", "fanotify_init",
                "open_by_handle_at", "pidfd_open", "mq_open", "landlock_create_ruleset", "io_uring_setup",
            )
        ),
        *(Plan(name, _open(0), failures="none") for name in ("open", "creat", "memfd_create")),
        *(Plan(name, _open(1), failures="none") for name in ("openat", "openat2")),
        Plan("bpf", _numbers(1), wants=lambda registers: registers[0] in _BPF, failures="none"),
        *(Plan(name, _numbers(2), _pair_returned(0), failures="none") for name in ("pipe", "pipe2")),
        Plan("pidfd_getfd", _numbers(3), failures="none"), Plan("io_uring_enter", _numbers(4)),
        Plan("socket", _numbers(3), failures="none", makes_socket=True),
        Plan("socketpair", _numbers(4), _pair_returned(3), failures="none"),
        Plan("bind", _to_address), Plan("listen", _numbers(2)),
        Plan("connect", _to_address, failures="all"),
        Plan("accept", _accept, _address_returned, makes_socket=True),
        Plan("accept4", _accept4, _address_returned, makes_socket=True),
        Plan("shutdown", _numbers(2), failures="all"),
        Plan("setsockopt", _option, wants=_sets_what_matters),
        Plan("getsockopt", _option, _option_returned, wants=_asks_for_an_error),
        *(Plan(name, _numbers(2), _address_returned) for name in ("getsockname", "getpeername")),
        Plan("unshare", _words(1), wants=lambda registers: bool(registers[0] & kernel.CLONE_FILES)),
        Plan("prctl", _prctl, wants=lambda registers: registers[0] == _PR_SET_NAME),
        Plan("execve", _path_first, failures="none"), Plan("execveat", _path_second, failures="none"),
        Plan("exit", _numbers(1)), Plan("exit_group", _numbers(1)),
        Plan("wait4", _numbers(2), _waited, failures="none"),
        Plan("waitid", _numbers(3), _wait_info, failures="none"),
    ]  # fmt: skip
    return {plan.name: plan for plan in plans}


PLANS: Final[dict[str, Plan]] = _plans()

# The kernel's own errors, include/linux/errno.h: the call begins again, or ends with EINTR if a handler runs.
RESTARTS: Final[dict[int, str]] = {
    512: "ERESTARTSYS", 513: "ERESTARTNOINTR", 514: "ERESTARTNOHAND", 516: "ERESTART_RESTARTBLOCK",
}  # fmt: skip
_SILENT: Final = frozenset([errno.EAGAIN, errno.EINTR, *RESTARTS])


def error_name(number: int) -> str:
    """Return EAGAIN for 11."""
    return RESTARTS.get(number) or errno.errorcode.get(number) or f"errno_{number}"


def means_something(plan: Plan, number: int) -> bool:
    """Say whether a call that failed with this error has a meaning."""
    return plan.failures == "all" or (plan.failures == "some" and number not in _SILENT)
