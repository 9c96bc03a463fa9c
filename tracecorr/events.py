"""What happened to tasks, descriptors and connections: frozen values in past tense, each with its Origin.

They are NamedTuples rather than frozen dataclasses because a large log makes millions of them and a
NamedTuple is three times cheaper to build.  Every event starts with the same three fields:

`at`      nanoseconds of the input's clock when the effect took place (a descriptor exists from accept's
          return, its number is free from close's entry), or None where the input has no times;
`task`    the thread that did it;
`origin`  where it was read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Union

from tracecorr.kernel import Domain, Shutdown, TcpState


class Origin(NamedTuple):
    """Where a fact was read: the name of the input and the line, counted from 1."""

    source: str
    line: int

    def __str__(self) -> str:
        return f"{self.source}:{self.line}"


class TaskId(NamedTuple):
    """A thread as its tracer names it.

    strace prints Linux thread ids, unique on the host, and never the process: `pid` is None.  truss prints
    the process and a small LWP number in it: `pid` is the process and `tid` the LWP.  A log without any
    column has `TaskId(0)`.
    """

    tid: int
    pid: int | None = None


class Endpoint(NamedTuple):
    """One end of a connection, as printed: the address without brackets, and the port."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


class Gap(NamedTuple):
    """Evidence that we lack.  It lowers confidence and is never an exception."""

    what: str
    why: str
    try_: str | None = None
    source: str | None = None
    line: int | None = None


class CallBegan(NamedTuple):
    """A call was entered and has not returned yet; `fd` is its first argument where that is a descriptor."""

    at: int | None
    task: TaskId
    origin: Origin
    name: str
    fd: int | None


class CallReturned(NamedTuple):
    """A call without effect on descriptors returned: its thread is no longer inside the call that began."""

    at: int | None
    task: TaskId
    origin: Origin
    name: str


class ForkBegan(NamedTuple):
    """fork, clone … was entered and has not returned: its child may show itself first."""

    at: int | None
    task: TaskId
    origin: Origin
    shares_files: bool
    same_process: bool
    call: str


class TaskCreated(NamedTuple):
    """fork, vfork, clone, clone3 returned in the parent (or, `seen_by_child`, in the child itself).

    `child` is named as its parent saw it, which in another pid namespace is not how the log names it.
    `shares_files` is CLONE_FILES, `same_process` is CLONE_THREAD.
    """

    at: int | None
    task: TaskId
    origin: Origin
    child: TaskId
    shares_files: bool
    same_process: bool
    entered: int | None
    seen_by_child: bool
    call: str


class ProgramExecuted(NamedTuple):
    """execve succeeded: descriptors with FD_CLOEXEC are closed and the table is no longer shared."""

    at: int | None
    task: TaskId
    origin: Origin
    program: str | None


class TaskNamed(NamedTuple):
    """The log said the command name (comm) of a task."""

    at: int | None
    task: TaskId
    origin: Origin
    comm: str


class TaskSuperseded(NamedTuple):
    """Thread `by` called execve and goes on under this task's (the leader's) id (ptrace(2), execve under ptrace)."""

    at: int | None
    task: TaskId
    origin: Origin
    by: TaskId


class TaskExited(NamedTuple):
    """One thread ended; `how` is the log's words, such as "exited with 0" or "killed by SIGKILL"."""

    at: int | None
    task: TaskId
    origin: Origin
    how: str


class ProcessExited(NamedTuple):
    """exit_group was called: every thread of the process ends."""

    at: int | None
    task: TaskId
    origin: Origin


class ChildEnded(NamedTuple):
    """The parent was told (wait4, SIGCHLD) that the process `child` has ended."""

    at: int | None
    task: TaskId
    origin: Origin
    child: int


class TracingEnded(NamedTuple):
    """The tracer detached from this task, which lives on unseen."""

    at: int | None
    task: TaskId
    origin: Origin


class DescriptorOpened(NamedTuple):
    """Something that is no TCP socket was opened; `kind` is file, pipe, epoll, pidfd, unix, udp, io_uring, unknown …

    `about` is the process that a pidfd refers to, `other_end` the number that the same call gave to the other end.
    """

    at: int | None
    task: TaskId
    origin: Origin
    fd: int
    kind: str
    close_on_exec: bool
    call: str
    about: int | None = None
    other_end: int | None = None


class SocketOpened(NamedTuple):
    """socket() made a stream socket that may become a connection or a listener."""

    at: int | None
    task: TaskId
    origin: Origin
    fd: int
    domain: Domain
    close_on_exec: bool
    call: str


class SocketBound(NamedTuple):
    at: int | None
    task: TaskId
    origin: Origin
    fd: int
    local: Endpoint | None


class SocketListening(NamedTuple):
    at: int | None
    task: TaskId
    origin: Origin
    fd: int


class ConnectionStarted(NamedTuple):
    """connect() returned EINPROGRESS, or was interrupted: the handshake goes on in the kernel."""

    at: int | None
    task: TaskId
    origin: Origin
    fd: int
    peer: Endpoint | None
    domain: Domain
    entered: int | None


class ConnectionEstablished(NamedTuple):
    """connect() returned 0."""

    at: int | None
    task: TaskId
    origin: Origin
    fd: int
    peer: Endpoint | None
    domain: Domain
    entered: int | None
    call: str


class ConnectionFailed(NamedTuple):
    """connect() failed, or SO_ERROR told of a failure: the socket is closed, a read of 0 on it is no FIN."""

    at: int | None
    task: TaskId
    origin: Origin
    fd: int
    error: str


class ConnectionConfirmed(NamedTuple):
    """getsockopt(SO_ERROR) returned 0, or connect() EISCONN, after a non-blocking connect."""

    at: int | None
    task: TaskId
    origin: Origin
    fd: int


class LingerSet(NamedTuple):
    """setsockopt(SO_LINGER) with a time of 0: close will send RST, not FIN."""

    at: int | None
    task: TaskId
    origin: Origin
    fd: int


class ConnectionAccepted(NamedTuple):
    at: int | None
    task: TaskId
    origin: Origin
    listener: int
    fd: int
    domain: Domain
    peer: Endpoint | None
    close_on_exec: bool
    entered: int | None
    call: str


class AcceptFailed(NamedTuple):
    """accept failed for want of descriptors or memory (EMFILE, ENFILE, ENOBUFS, ENOMEM)."""

    at: int | None
    task: TaskId
    origin: Origin
    listener: int
    error: str


class SocketSeen(NamedTuple):
    """The log printed what a descriptor refers to (strace -y, -yy; getpeername; getsockname).

    `kind` as in DescriptorOpened, or "tcp"; None where it says nothing of the kind.
    """

    at: int | None
    task: TaskId
    origin: Origin
    fd: int
    kind: str | None
    inode: int | None
    local: Endpoint | None
    peer: Endpoint | None


class UnixSocketNamed(NamedTuple):
    """bind(2) of a unix socket to `path`, or with `connected` connect(2) to the one that is bound there."""

    at: int | None
    task: TaskId
    origin: Origin
    fd: int
    path: str
    connected: bool


class DescriptorDuplicated(NamedTuple):
    at: int | None
    task: TaskId
    origin: Origin
    fd: int
    new: int
    close_on_exec: bool
    call: str


class DescriptorClosed(NamedTuple):
    at: int | None
    task: TaskId
    origin: Origin
    fd: int
    call: str


class DescriptorMissing(NamedTuple):
    """A call failed with EBADF: the number refers to nothing."""

    at: int | None
    task: TaskId
    origin: Origin
    fd: int


class DescriptorRangeClosed(NamedTuple):
    """close_range, closefrom, F_CLOSEM: every number from `first` to `last`, both included.

    With `close_on_exec` they are only marked (CLOSE_RANGE_CLOEXEC); `unshare` is CLOSE_RANGE_UNSHARE.
    """

    at: int | None
    task: TaskId
    origin: Origin
    first: int
    last: int
    close_on_exec: bool
    unshare: bool
    call: str


class DescriptorFlagsSet(NamedTuple):
    """fcntl(F_SETFD), ioctl(FIOCLEX, FIONCLEX)."""

    at: int | None
    task: TaskId
    origin: Origin
    fd: int
    close_on_exec: bool


class TableUnshared(NamedTuple):
    """unshare(CLONE_FILES)."""

    at: int | None
    task: TaskId
    origin: Origin


class DescriptorsSent(NamedTuple):
    """sendmsg with SCM_RIGHTS: new references are in flight in the queue of the unix socket `via`."""

    at: int | None
    task: TaskId
    origin: Origin
    via: int
    fds: Sequence[int]


class DescriptorsReceived(NamedTuple):
    at: int | None
    task: TaskId
    origin: Origin
    via: int
    fds: Sequence[int]
    close_on_exec: bool


class DescriptorFetched(NamedTuple):
    """pidfd_getfd(pidfd, target): a reference to another process' open file description."""

    at: int | None
    task: TaskId
    origin: Origin
    pidfd: int
    target: int
    fd: int


class SocketShutDown(NamedTuple):
    at: int | None
    task: TaskId
    origin: Origin
    fd: int
    how: Shutdown
    error: str | None


class EndOfFileRead(NamedTuple):
    """A read-family call with room for data returned 0; `peeked` is MSG_PEEK, which does not consume it."""

    at: int | None
    task: TaskId
    origin: Origin
    fd: int
    peeked: bool
    entered: int | None
    call: str


class BytesReceived(NamedTuple):
    """A read-family call returned data."""

    at: int | None
    task: TaskId
    origin: Origin
    fd: int
    size: int
    call: str


class BytesSent(NamedTuple):
    at: int | None
    task: TaskId
    origin: Origin
    fd: int
    size: int
    call: str


class ResetSeen(NamedTuple):
    """A call failed with ECONNRESET, EPIPE, ETIMEDOUT …: the connection is closed, in no CLOSE_WAIT."""

    at: int | None
    task: TaskId
    origin: Origin
    fd: int
    error: str
    call: str


class DescriptorsPolled(NamedTuple):
    """poll, ppoll, select: `fds` were watched; for `readable` ones end of file would have been told."""

    at: int | None
    task: TaskId
    origin: Origin
    fds: Sequence[int]
    call: str


class HangupReported(NamedTuple):
    """poll told of `fd`: the peer has sent its FIN, or with `both` that nothing goes in either direction any more.

    Linux tells a FIN by POLLRDHUP, and by POLLHUP that both directions are closed, which without a shutdown of ours is
    a reset (tcp_poll() in net/ipv4/tcp.c).  Solaris has no POLLRDHUP and tells the FIN by POLLHUP.
    """

    at: int | None
    task: TaskId
    origin: Origin
    fd: int
    both: bool
    call: str


class EpollChanged(NamedTuple):
    """epoll_ctl: `op` is add, mod or del; `events` the names asked for; `data` what the program put there."""

    at: int | None
    task: TaskId
    origin: Origin
    epfd: int
    op: str
    fd: int
    events: int
    data: int | None


class EpollReported(NamedTuple):
    """epoll_wait returned (events, data) pairs."""

    at: int | None
    task: TaskId
    origin: Origin
    epfd: int
    ready: Sequence[tuple[int, int | None]]
    call: str


class TaskSeen(NamedTuple):
    """A look at the host found a thread: its process `pid`, that one's parent, and the thread whose table it shares."""

    at: int | None
    task: TaskId
    origin: Origin
    pid: int
    parent: int | None
    comm: str | None
    table: TaskId


class DescriptorSeen(NamedTuple):
    """A look at the host found what a number refers to.

    `kind` as in DescriptorOpened, or "tcp", "listener", "socket" (of whatever kind); of a connection follow its state,
    its ends, the Recv-Q, and whether this host accepted or connected it.  `watches` are the entries of an epoll set:
    the number and the events that epoll_ctl was given, and its data; `about` is the process that a pidfd refers to.
    """

    at: int | None
    task: TaskId
    origin: Origin
    fd: int
    kind: str
    inode: int | None
    close_on_exec: bool | None
    state: TcpState | None
    local: Endpoint | None
    peer: Endpoint | None
    unread: int | None
    role: str | None
    watches: Sequence[tuple[int, int, int | None]]
    about: int | None


class DescriptorGone(NamedTuple):
    """A look at the host did not find what the replay says is open: how it went was not seen."""

    at: int | None
    task: TaskId
    origin: Origin
    fd: int


class StateChanged(NamedTuple):
    """The kernel moved a TCP connection to another state.  `task` means nothing: it happens under any."""

    at: int | None
    task: TaskId
    origin: Origin
    old: TcpState
    new: TcpState
    local: Endpoint
    peer: Endpoint


class ConnectionUsed(NamedTuple):
    """A read or (`sent`) a write moved `size` bytes on the connection with these ends; its descriptor is not told.

    A read of 0 is the end of file, `peeked` is MSG_PEEK.
    """

    at: int | None
    task: TaskId
    origin: Origin
    local: Endpoint
    peer: Endpoint
    sent: bool
    size: int
    peeked: bool


class LookConcluded(NamedTuple):
    """A look at the host came to verdicts by itself (plain values); `task` means nothing."""

    at: int | None
    task: TaskId
    origin: Origin
    verdicts: Sequence[Any]


class StackSeen(NamedTuple):
    """The user stack of the call that returned at `call`, innermost frame first; the list may still grow."""

    at: int | None
    task: TaskId
    origin: Origin
    frames: Sequence[str]
    call: Origin


class IoUringUsed(NamedTuple):
    """io_uring_setup or io_uring_enter: work that no tracer of calls sees."""

    at: int | None
    task: TaskId
    origin: Origin


Event = Union[
    CallBegan,
    CallReturned,
    ForkBegan,
    TaskCreated,
    ProgramExecuted,
    TaskNamed,
    TaskSuperseded,
    TaskExited,
    ProcessExited,
    ChildEnded,
    TracingEnded,
    DescriptorOpened,
    SocketOpened,
    SocketBound,
    SocketListening,
    ConnectionStarted,
    ConnectionEstablished,
    ConnectionFailed,
    ConnectionConfirmed,
    ConnectionAccepted,
    LingerSet,
    AcceptFailed,
    SocketSeen,
    UnixSocketNamed,
    DescriptorDuplicated,
    DescriptorClosed,
    DescriptorMissing,
    DescriptorRangeClosed,
    DescriptorFlagsSet,
    TableUnshared,
    DescriptorsSent,
    DescriptorsReceived,
    DescriptorFetched,
    SocketShutDown,
    EndOfFileRead,
    BytesReceived,
    BytesSent,
    ResetSeen,
    DescriptorsPolled,
    HangupReported,
    EpollChanged,
    EpollReported,
    TaskSeen,
    DescriptorSeen,
    DescriptorGone,
    StateChanged,
    ConnectionUsed,
    LookConcluded,
    StackSeen,
    IoUringUsed,
    Gap,
]
