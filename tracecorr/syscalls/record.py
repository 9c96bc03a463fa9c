"""All that a tracer knows of one call, whoever the tracer is.

`Record` is what a log reader or a live engine yields; `tracecorr.syscalls.decode` gives it meaning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Union

from tracecorr.events import Endpoint, Gap, Origin, TaskId
from tracecorr.kernel import TcpState

# One argument, as a Linux value: an int (numbers, descriptors, flags ORed together, constants by
# tracecorr.kernel.CONSTANTS), None (NULL), a str (a quoted string as printed, or a symbol that we do not know),
# a list ([…]) or a dict ({name=…}; members without a name are keyed 0, 1, …).  A number that the log decorates
# with what it refers to is a NamedDescriptor.  Anything that cannot be told is the str that was printed.
Value = Any


class NamedDescriptor(int):
    """A descriptor printed with what it refers to: `path` is the text inside <…>."""

    path: str

    def __new__(cls, number: int, path: str) -> NamedDescriptor:
        self = super().__new__(cls, number)
        self.path = path
        return self


class SyscallRecord(NamedTuple):
    """One finished call.

    `result` is the value, -1 with `errno` set on an error, None where the log has none ("= ?").
    `errno` is the name: EAGAIN, ERESTARTSYS, …; `entered` and `returned` are nanoseconds or None.
    `origin` is the line of the return, `began` that of the entry (the same where the log has one line).
    `result_path` is what the log says that a returned descriptor refers to.
    `as_child` marks the return of fork in the child (truss: "returning as child"): `result` is then the parent.
    `note` is what a log decodes behind the result, as a Value: the revents of poll, the second result of truss.
    """

    task: TaskId
    name: str
    args: Sequence[Value]
    result: int | None
    errno: str | None
    entered: int | None
    returned: int | None
    origin: Origin
    began: Origin
    result_path: str | None = None
    as_child: bool = False
    note: Value = None


class UnfinishedRecord(NamedTuple):
    """A call was entered; its return may follow as a SyscallRecord, or never."""

    task: TaskId
    name: str
    args: Sequence[Value]
    entered: int | None
    origin: Origin


class ExitRecord(NamedTuple):
    """`+++ exited with 0 +++`, `+++ killed by SIGKILL +++`: `how` is the text between the marks."""

    task: TaskId
    at: int | None
    origin: Origin
    how: str


class SupersededRecord(NamedTuple):
    """`+++ superseded by execve in pid N +++`: task `by` goes on under the name of `task`."""

    task: TaskId
    at: int | None
    origin: Origin
    by: TaskId


class SignalRecord(NamedTuple):
    """A signal was delivered: its name, and where the log has it si_code and si_pid."""

    task: TaskId
    at: int | None
    origin: Origin
    signal: str
    code: str | None
    sender: int | None


class NameRecord(NamedTuple):
    """The log gave the command name of a task (strace -Y)."""

    task: TaskId
    at: int | None
    origin: Origin
    comm: str


class DetachedRecord(NamedTuple):
    """The tracer let go of the task (`<detached ...>`)."""

    task: TaskId
    at: int | None
    origin: Origin


# Frames of one stack that are kept: enough to leave libc and reach the program's own code.
STACK_FRAMES: Final = 12


class StackRecord(NamedTuple):
    """The user stack (strace -k, truss -u) of the call of `task` that was printed last, innermost frame first."""

    task: TaskId
    origin: Origin
    frames: Sequence[str]


class TaskFound(NamedTuple):
    """A thread that existed when tracing began (live engines; /proc/PID/task).

    `pid` is its thread group, `parent` that process' parent, `comm` the command name of the process;
    `table` is the thread whose descriptors it shares: its leader, unless kcmp(KCMP_FILES) says otherwise.
    """

    task: TaskId
    at: int | None
    origin: Origin
    pid: int
    parent: int | None
    comm: str | None
    table: TaskId


class DescriptorFound(NamedTuple):
    """What a number refers to as a look at the host shows it (/proc/PID/fd, fdinfo, sock_diag).

    `target` is the link as /proc prints it ("socket:[4711]", "pipe:[5]", "anon_inode:[eventpoll]", a path), None for a
    number that refers to nothing although the records so far say it does.  Of a TCP socket follow `state`, both ends,
    `unread`, the Recv-Q, and `role` (accepted or connected), where the kernel tells them; of an epoll descriptor
    `watches`: the number that EPOLL_CTL_ADD was given, the events asked for, and the data; of a pidfd the process that
    it is `about`.
    """

    task: TaskId
    at: int | None
    origin: Origin
    fd: int
    target: str | None
    close_on_exec: bool | None = None
    state: TcpState | None = None
    local: Endpoint | None = None
    peer: Endpoint | None = None
    unread: int | None = None
    role: str | None = None
    watches: Sequence[tuple[int, int, int | None]] = ()
    about: int | None = None


class StateRecord(NamedTuple):
    """A TCP connection changed its state (tracepoint sock:inet_sock_set_state, in whatever task it fired)."""

    at: int | None
    origin: Origin
    old: TcpState
    new: TcpState
    local: Endpoint
    peer: Endpoint


class TransferRecord(NamedTuple):
    """A read or write of `task` on the TCP connection with these ends moved `size` bytes; 0 is the end of file.

    Which call it was, on which number, is not told (tracepoints sock:sock_recv_length, sock_send_length).
    `peeked` is MSG_PEEK.
    """

    task: TaskId
    at: int | None
    origin: Origin
    local: Endpoint
    peer: Endpoint
    sent: bool
    size: int
    peeked: bool = False


class LookRecord(NamedTuple):
    """What a look at the host concluded by itself, without any history: verdicts, as plain values of JSON."""

    at: int | None
    origin: Origin
    verdicts: Sequence[Value]


Record = Union[
    SyscallRecord,
    UnfinishedRecord,
    ExitRecord,
    SupersededRecord,
    SignalRecord,
    NameRecord,
    DetachedRecord,
    StackRecord,
    TaskFound,
    DescriptorFound,
    StateRecord,
    TransferRecord,
    LookRecord,
    Gap,
]
