"""What each cause means, how it is recognised and what to change: data only.

The facts are those of close(2), shutdown(2), fork(2), execve(2), accept(2), dup(2), fcntl(2), poll(2), epoll(7),
unix(7), tcp(7), getrlimit(2) and RFC 9293.  The rules put ADVICE into verdicts; `tracecorr explain` shows the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One cause in words; `details` are its sub-cases, each in a sentence or two."""

    cause: str
    title: str
    meaning: str
    recognise: str
    fix: str
    references: tuple[str, ...]
    details: dict[str, str] = field(default_factory=dict)


LABEL: Final[dict[str, str]] = {
    "never-reads-eof": "end of file never read",
    "eof-ignored": "end of file ignored",
    "still-sending": "still sending",
    "inherited-copy": "inherited copy",
    "duplicate-kept": "duplicate kept",
    "never-accepted": "never accepted",
    "held-without-fd": "held without a descriptor",
    "lingering-fin": "lingering FIN",
    "unexplained": "unexplained",
    "idle-pool": "idle in a pool",
    "owner-blocked": "owner blocked",
    "not-armed": "not watched",
    "forgotten": "forgotten",
    "spinning": "spinning",
    "relay": "relay",
    "fork-race": "fork race",
    "no-cloexec": "survived exec",
    "forked-worker": "forked worker",
    "parent-kept": "kept by the parent",
    "fd-passed": "passed on",
    "blocked-call": "blocked call",
    "in-flight": "in flight",
    "io-uring": "io_uring",
}

EXPLANATIONS: Final[dict[str, Explanation]] = {
    "never-reads-eof": Explanation(
        cause="never-reads-eof",
        title="Nobody has read since the peer closed",
        meaning=(
            "The peer's FIN has arrived, so the next read after the queued data would return 0. The process that owns "
            "the connection never makes that read, so it does not know that the peer has gone, and never closes."
        ),
        recognise=(
            "The FIN is known (a poll that returned POLLRDHUP or EPOLLRDHUP, a capture, a listing in CLOSE_WAIT) and "
            "no holder tries to read after it. In a listing, Recv-Q of at least 1 in CLOSE_WAIT is the proof: the FIN "
            "counts as one until the end of file is consumed, and neither MSG_PEEK nor SHUT_RD consumes it."
        ),
        fix=(
            "Keep watching every open connection for EPOLLIN | EPOLLRDHUP (POLLIN | POLLRDHUP), idle ones too, read "
            "until 0, then close(). Close on the error, time-out and cancel paths as well as on the good one."
        ),
        references=("tcp(7)", "poll(2): POLLRDHUP", "epoll_ctl(2): EPOLLRDHUP", "RFC 9293, 3.10.7.4"),
        details={
            "idle-pool": (
                "A client's keep-alive connection that the server has closed while it lay unused in the pool. It "
                "goes at its next use. Where the pool's size bounds the number, it costs descriptors but does not grow."
            ),
            "owner-blocked": (
                "The thread that should read sits in another call: a lock, a database, a disk, another socket. The "
                "connection ends when that call returns."
            ),
            "not-armed": (
                "The descriptor is in no poll or epoll set, or is there without EPOLLIN and EPOLLRDHUP, as after "
                "EPOLLONESHOT that was never re-armed, or after reading was paused for back-pressure. EPOLLHUP, which "
                "is always reported, comes only when both directions are shut down."
            ),
            "forgotten": (
                "Nobody waits for it and nobody is busy: the program dropped its handle on an error, time-out or "
                "cancel path without closing it."
            ),
        },
    ),
    "eof-ignored": Explanation(
        cause="eof-ignored",
        title="The end of file was read, and nothing followed",
        meaning=(
            "A read returned 0, which tells that the peer will send nothing more. The program took no notice: it "
            "neither closed the socket nor shut it down, and has nothing left to send."
        ),
        recognise=(
            "A call of the read family with room for data returned 0 on the stream socket, and no close(), shutdown() "
            "or successful write on it follows. In a listing: CLOSE_WAIT with Recv-Q 0 and nothing sent since. There "
            "it is likely at most, since one read may take the last data and the FIN together."
        ),
        fix=(
            "Treat a return value of 0 as the end: finish what is still to be sent, then close(). Treat it apart from "
            "-1 with EAGAIN, which only means that there is nothing yet."
        ),
        references=("read(2)", "recv(2): RETURN VALUE", "close(2)"),
        details={
            "spinning": (
                "It reads 0 again and again. A descriptor at end of file stays readable, so a level-triggered poll or "
                "epoll_wait returns at once each time: a busy processor usually comes with the stuck connection."
            ),
            "forgotten": "It read 0 once and never touched the descriptor again.",
        },
    ),
    "still-sending": Explanation(
        cause="still-sending",
        title="A half-closed connection that is still in use",
        meaning=(
            "The peer has closed its sending side and still receives. That is legal in TCP, for as long as the "
            "program has data to send. CLOSE_WAIT is the right state, and this is no fault."
        ),
        recognise=(
            "Writes on the connection succeed after the FIN, whether or not the end of file has been read; in a "
            "listing, data was sent recently or Send-Q is above 0. If the peer answers with RST (EPIPE or ECONNRESET "
            "on the next write), it had closed both directions and the sending is useless."
        ),
        fix=(
            "Nothing, while data goes out. Give the transfer a deadline, and close() on EPIPE or ECONNRESET, so that "
            "it cannot turn into a leak."
        ),
        references=("RFC 9293, 3.6", "shutdown(2)", "send(2): EPIPE"),
        details={
            "relay": (
                "It has passed the end of file on, by shutdown() of its other leg, and now waits for that leg to end. "
                "The fault, if any, is with whoever holds the other leg."
            ),
        },
    ),
    "inherited-copy": Explanation(
        cause="inherited-copy",
        title="Another process still holds a copy of the descriptor",
        meaning=(
            "The process that served the connection has closed its descriptor, or has ended. Another process got a "
            "reference to the same open file description, by fork() or over a unix socket. close() sends the FIN only "
            "with the last reference, so none goes out."
        ),
        recognise=(
            "The holder's descriptor came by fork() (with or without execve() after it), by SCM_RIGHTS or by "
            "pidfd_getfd(), and the owner's own is gone. Most holders never use their copy and do not know of it."
        ),
        fix=(
            "Where a child may hold a copy, end the connection with shutdown(fd, SHUT_RDWR) before close(): it acts on "
            "the connection, whoever else refers to it. And keep copies from arising: SOCK_CLOEXEC for children that "
            "call execve(), close() after fork() in those that do not."
        ),
        references=(
            "close(2)",
            "shutdown(2)",
            "fork(2)",
            "accept4(2): SOCK_CLOEXEC",
            "close_range(2)",
            "unix(7): SCM_RIGHTS",
        ),
        details={
            "fork-race": (
                "One thread had accepted the connection when another one forked, before the first was done with it. "
                "fork() copies the whole table, whatever other threads are doing with it at that instant."
            ),
            "no-cloexec": (
                "The copy survived execve(), because the descriptor was not close-on-exec. The program that now runs "
                "does not even know the number."
            ),
            "forked-worker": (
                "The child forked and never called execve(), as a background save or a prefork worker does. "
                "Close-on-exec acts at execve() alone and cannot help here."
            ),
            "parent-kept": (
                "A parent accepted the connection, forked a child to serve it, and kept its own copy. The child has "
                "finished; the parent's copy stays."
            ),
            "fd-passed": (
                "The descriptor was passed with SCM_RIGHTS or fetched with pidfd_getfd(). Sender and receiver each "
                "hold a reference, and each must close its own."
            ),
        },
    ),
    "duplicate-kept": Explanation(
        cause="duplicate-kept",
        title="The process closed one number and holds another",
        meaning=(
            "dup(), dup2() or F_DUPFD gave the connection a second number in the same process. One was closed, the "
            "other was not, and the FIN goes out only with the last."
        ),
        recognise="A call of the dup family on the connection, then close() of only one of the two numbers.",
        fix=(
            "Close both, or shutdown(fd, SHUT_RDWR) before the first close(). A pair of stdio streams made with "
            "fdopen(dup(fd)) needs fclose() on both."
        ),
        references=("dup(2)", "close(2)", "fdopen(3)"),
    ),
    "never-accepted": Explanation(
        cause="never-accepted",
        title="The program never accepted the connection",
        meaning=(
            "The kernel completes a handshake by itself and queues the connection for accept(). The peer gave up and "
            "closed while it was still in that queue, so no process has a descriptor of it."
        ),
        recognise=(
            "CLOSE_WAIT, inode 0 and no holder; the listener's Recv-Q, which is the length of its queue, is above 0. "
            "Often its owner is blocked, stopped, or at its limit of descriptors (accept fails with EMFILE)."
        ),
        fix=(
            "Make the listener's owner accept again: see what its threads do. Accept in a loop until EAGAIN, do slow "
            "work elsewhere, raise RLIMIT_NOFILE if it is at EMFILE."
        ),
        references=("listen(2): backlog", "accept(2): EMFILE", "getrlimit(2): RLIMIT_NOFILE"),
    ),
    "held-without-fd": Explanation(
        cause="held-without-fd",
        title="Closed everywhere, yet something keeps it alive",
        meaning=(
            "No process has a descriptor of the connection, but its open file description still exists: something "
            "that is no descriptor refers to it, and until that lets go no FIN is sent."
        ),
        recognise="CLOSE_WAIT with an inode that is not 0, and no process with a descriptor of that inode.",
        fix="Call shutdown(fd, SHUT_RDWR) before close(): it wakes and ends what else uses the connection.",
        references=("close(2): multithreaded processes", "unix(7): SCM_RIGHTS", "io_uring_register(2)"),
        details={
            "blocked-call": (
                "A thread sits in a call on the connection that began before another thread closed the number. On "
                "Linux close() does not interrupt that call, which holds its own reference until it returns."
            ),
            "in-flight": (
                "The descriptor was sent with SCM_RIGHTS and waits in the queue of a unix socket that nobody reads."
            ),
            "io-uring": (
                "A request in an io_uring, or its table of registered files, holds the reference. Closing the number "
                "does not cancel the request."
            ),
        },
    ),
    "lingering-fin": Explanation(
        cause="lingering-fin",
        title="Closed here, the FIN cannot leave yet",
        meaning=(
            "Everybody on this side has closed. The FIN waits behind data that the peer does not take: its window is "
            "closed, or it has gone without a word. This is not this side's fault."
        ),
        recognise=(
            "The last reference was closed, or the state is LAST_ACK or FIN_WAIT_1 with Send-Q above 0 and inode 0; in "
            "a capture, zero windows, or retransmissions without any ACK."
        ),
        fix=(
            "Look at the peer: why does it not read? The kernel gives up by itself (tcp_orphan_retries); "
            "TCP_USER_TIMEOUT sets the limit per connection."
        ),
        references=("tcp(7): TCP_USER_TIMEOUT, tcp_orphan_retries", "RFC 9293, 3.8.6.1"),
    ),
    "unexplained": Explanation(
        cause="unexplained",
        title="Stuck, and the evidence does not single out one cause",
        meaning=(
            "The connection is in CLOSE_WAIT, and what was recorded fits more than one cause, or breaks off where the "
            "proof would be."
        ),
        recognise="No rule could prove its cause. The verdict lists what is missing.",
        fix=(
            "Record what is missing, with the command that the report names. Usually: strace -f -tt -T -yy -p PID, "
            "begun before the connection is accepted and kept on until after it is stuck."
        ),
        references=("strace(1)",),
    ),
}

_SHUT: Final = "Call shutdown(fd, SHUT_RDWR) before close(): it ends the connection whoever else holds a copy."
_WATCH: Final = "Watch it for EPOLLIN | EPOLLRDHUP as long as it is open, read until 0, then close()."

ADVICE: Final[dict[tuple[str, str | None], tuple[str, ...]]] = {
    ("never-reads-eof", None): (_WATCH,),
    ("never-reads-eof", "idle-pool"): (
        "Check a pooled connection before its reuse: recv(fd, …, MSG_PEEK | MSG_DONTWAIT) = 0 says that it is dead.",
        "Close idle connections sooner than the server does: a pool time-out below its keep-alive time-out.",
    ),
    ("never-reads-eof", "owner-blocked"): (
        "Take the blocking work off the thread that reads, or give that call a time-out.",
        "SO_RCVTIMEO and SO_SNDTIMEO bound calls on sockets; poll() with a time-out bounds the others.",
    ),
    ("never-reads-eof", "not-armed"): (
        "Arm it again with epoll_ctl(EPOLL_CTL_MOD, EPOLLIN | EPOLLRDHUP), after each event if it is EPOLLONESHOT.",
        "While reading is paused keep EPOLLRDHUP: it tells of the FIN without reading.",
    ),
    ("never-reads-eof", "forgotten"): (
        "Close it on every path out, also on error, time-out and cancel: try/finally, with, defer, RAII.",
    ),
    ("eof-ignored", None): ("When a read returns 0, send what is still to be sent, then close().",),
    ("eof-ignored", "spinning"): (
        "When a read returns 0, stop reading: epoll_ctl(EPOLL_CTL_DEL), then close().",
        "Tell 0 (end of file) from -1 with EAGAIN (nothing yet).",
    ),
    ("eof-ignored", "forgotten"): (
        "When a read returns 0, send what is still to be sent, then close(), also on the error and time-out paths.",
    ),
    ("still-sending", None): (
        "Nothing to fix while data goes out. Give the transfer a deadline, and close() on EPIPE or ECONNRESET.",
    ),
    ("still-sending", "relay"): (
        "Look at what holds the other leg. Give half-closed pairs an idle time-out, then close() both legs.",
    ),
    ("inherited-copy", None): (_SHUT, "Or close the copy in the process that does not use it."),
    ("inherited-copy", "fork-race"): (
        "Accept with accept4(SOCK_CLOEXEC): the flag set later by fcntl() leaves a gap in which another thread forks.",
        "If the child does not call execve(), shutdown(fd, SHUT_RDWR) before close(), or close_range() in the child.",
    ),
    ("inherited-copy", "no-cloexec"): (
        "Open it close-on-exec: accept4(SOCK_CLOEXEC), socket(SOCK_CLOEXEC), F_DUPFD_CLOEXEC, MSG_CMSG_CLOEXEC.",
        "In the child, close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) before execve() covers what libraries opened.",
    ),
    ("inherited-copy", "forked-worker"): (
        "shutdown(fd, SHUT_RDWR) before close() while a forked child lives, or close client sockets in the child "
        "after fork().",
        "Close-on-exec will not help: the child never calls exec.",
    ),
    ("inherited-copy", "parent-kept"): (
        "close(fd) in the parent right after fork(), on the path where fork() fails too.",
    ),
    ("inherited-copy", "fd-passed"): (
        "Close the sender's copy after sendmsg() and the receiver's when it is done; "
        "shutdown(fd, SHUT_RDWR) ends it for both.",
        "Receive with MSG_CMSG_CLOEXEC, so that no child gets a third copy.",
    ),
    ("duplicate-kept", None): (
        "Close the duplicate as well, or shutdown(fd, SHUT_RDWR) before the first close().",
    ),
    ("never-accepted", None): (
        "Call accept4() in a loop until EAGAIN, on a thread that nothing else blocks.",
        "At EMFILE raise RLIMIT_NOFILE and find what uses it up, or keep a spare descriptor to accept and close with.",
    ),
    ("held-without-fd", None): (_SHUT,),
    ("held-without-fd", "blocked-call"): (
        "Call shutdown(fd, SHUT_RDWR) before close(): close() alone does not wake a thread that is blocked on it.",
        "Bound such calls with SO_RCVTIMEO and SO_SNDTIMEO.",
    ),
    ("held-without-fd", "in-flight"): (
        "Read the unix socket with recvmsg() and close what is not wanted, or close both of its ends.",
    ),
    ("held-without-fd", "io-uring"): (
        "Cancel its requests (IORING_OP_ASYNC_CANCEL with IORING_ASYNC_CANCEL_FD) and take it out of the registered "
        "files before close(), or shutdown(fd, SHUT_RDWR) first.",
    ),
    ("lingering-fin", None): (
        "Nothing to fix on this side: the peer does not take the data. TCP_USER_TIMEOUT bounds the wait.",
    ),
    ("unexplained", None): (
        "Record it again with strace -f -tt -T -yy -p PID, begun before the connection is accepted.",
    ),
}  # fmt: skip


def advice(cause: str, detail: str | None) -> tuple[str, ...]:
    """Return what to do about a cause: the advice for its sub-case, else for the cause as such."""
    return ADVICE.get((cause, detail)) or ADVICE.get((cause, None), ())


def label(identifier: str) -> str:
    """Return the human name of a cause or sub-case; one that we do not know keeps its own words."""
    return LABEL.get(identifier, identifier.replace("-", " "))
