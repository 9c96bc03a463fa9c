"""Which of the kernel's events are recorded, under which conditions, and what is taken of each."""

from __future__ import annotations

from typing import Final, NamedTuple

from tracecorr import kernel
from tracecorr.sources.trace_ends import FIELDS


class Call(NamedTuple):
    """A system call: how many of its arguments are taken; the conditions at which the kernel records entry and return.

    None records nothing of it, "" everything.
    """

    arguments: int
    entry: str | None = ""
    exit: str | None = None


# errno values that accept(2) fails with for want of descriptors or memory (include/uapi/asm-generic/errno.h).
EMFILE: Final = 24
_WANTS: Final = " || ".join(f"ret == -{number}" for number in (EMFILE, 23, 105, 12))
_MADE: Final = "ret >= 0"
_DONE: Final = "ret == 0"

_SETS_FLAG: Final = f"cmd == {kernel.FIOCLEX} || cmd == {kernel.FIONCLEX}"
_DUPLICATES: Final = f"cmd == {kernel.F_DUPFD} || cmd == {kernel.F_DUPFD_CLOEXEC} || cmd == {kernel.F_SETFD}"

# close takes effect at its entry, fork when task:task_newtask tells of the child.  What opens anything but a socket
# is left out: it costs, and a number that refers to something unknown is no connection.
CALLS: Final[dict[str, Call]] = {
    "accept": Call(1, "", f"{_MADE} || {_WANTS}"),
    "accept4": Call(4, "", f"{_MADE} || {_WANTS}"),
    "close": Call(1),
    "close_range": Call(3, "", _DONE),
    "dup": Call(1, "", _MADE),
    "dup2": Call(2, "", _MADE),
    "dup3": Call(3, "", _MADE),
    "fcntl": Call(3, _DUPLICATES, _MADE),
    "ioctl": Call(2, _SETS_FLAG),
    "socket": Call(3, "", _MADE),
    "connect": Call(1, "", ""),
    "listen": Call(1, "", _DONE),
    "shutdown": Call(2, "", ""),
    "unshare": Call(1, f"unshare_flags & {kernel.CLONE_FILES}", _DONE),
    "pidfd_open": Call(2, "", _MADE),
    "pidfd_getfd": Call(3, "", _MADE),
    "io_uring_setup": Call(0, "", _MADE),
    "fork": Call(0),
    "vfork": Call(0),
    "clone": Call(0),
    "clone3": Call(0),
}


CLOSES: Final = "syscalls/sys_enter_close"

# Those whose result is a new number, which may refer to a socket.
NEW_NUMBERS: Final = ("accept", "accept4", "socket", "dup", "dup2", "dup3", "fcntl", "pidfd_open", "pidfd_getfd")


class Other(NamedTuple):
    """An event that is no system call; `whole` are fields that are taken as bytes, in one piece."""

    fields: tuple[str, ...]
    whole: tuple[str, ...] = ()
    condition: str | None = None


TCP: Final = "protocol == 6"
_CLOSE_WAIT: Final = kernel.TCP_STATES.index(kernel.TcpState.CLOSE_WAIT)
_OWN_DOING: Final = " || ".join(
    f"newstate == {kernel.TCP_STATES.index(state)}"
    for state in (kernel.TcpState.SYN_SENT, kernel.TcpState.LISTEN, kernel.TcpState.FIN_WAIT1)
)

_STATE: Final = ("common_pid", "skaddr", "oldstate", "newstate")
STATE: Final = "sock/inet_sock_set_state"
READS: Final = "sock/sock_recv_length"
ENDS_READ: Final = f"{TCP} && ret == 0"

# What the traced tasks do; recorded for them alone.
TASKS: Final[dict[str, Other]] = {
    "task/task_newtask": Other(("common_pid", "pid", "comm", "clone_flags")),
    "task/task_rename": Other(("common_pid", "pid", "newcomm")),
    "sched/sched_process_exec": Other(("common_pid", "filename", "pid", "old_pid")),
    "sched/sched_process_exit": Other(("common_pid", "pid")),
    # connect and listen: the state changes inside the call, and the event has the address.  FIN_WAIT1 follows the
    # last close.
    STATE: Other(_STATE, FIELDS, f"{TCP} && ({_OWN_DOING})"),
    # A read of any kind that returned 0 (Linux 6.3), with the socket: of splice and sendfile there is none.
    READS: Other(("common_pid", "sk", "ret", "flags"), condition=ENDS_READ),
}

# Recorded of connections in CLOSE_WAIT alone, while there are any.
SENDS: Final = "sock/sock_send_length"
SENDS_FIELDS: Final = ("common_pid", "sk", "ret")

# What happens in softirq, under whatever task was running: never filtered by task.
CONNECTIONS: Final[dict[str, Other]] = {
    STATE: Other(_STATE, FIELDS, f"{TCP} && (newstate == {_CLOSE_WAIT} || oldstate == {_CLOSE_WAIT})"),
}
