"""Words and numbers of the kernel: enums, and the constants whose names logs print (Linux values).

Names are portable, numbers are not: a reader of another system's log turns the *name* into the Linux value here.
"""

from __future__ import annotations

from enum import Enum, Flag
from typing import Final


class Shutdown(Flag):
    """Which halves shutdown(2) closes.  WR is what sends our FIN."""

    NONE = 0
    RD = 1
    WR = 2
    RDWR = 3


class Domain(Enum):
    """Family of a stream socket.  UNKNOWN: the log does not say, it might be AF_UNIX."""

    INET = "inet"
    UNIX = "unix"
    OTHER = "other"
    UNKNOWN = "unknown"


class TcpState(str, Enum):
    """include/net/tcp_states.h, in the spelling of the kernel's own tables."""

    ESTABLISHED = "ESTABLISHED"
    SYN_SENT = "SYN_SENT"
    SYN_RECV = "SYN_RECV"
    FIN_WAIT1 = "FIN_WAIT1"
    FIN_WAIT2 = "FIN_WAIT2"
    TIME_WAIT = "TIME_WAIT"
    CLOSE = "CLOSE"
    CLOSE_WAIT = "CLOSE_WAIT"
    LAST_ACK = "LAST_ACK"
    LISTEN = "LISTEN"
    CLOSING = "CLOSING"
    NEW_SYN_RECV = "NEW_SYN_RECV"


# By the number that the kernel gives each of them: TCP_STATES[8] is CLOSE_WAIT.  There is no 0.
TCP_STATES: Final = (None, *TcpState)

AF_UNIX: Final = 1
AF_INET: Final = 2
AF_INET6: Final = 10
SOCK_STREAM: Final = 1
SOCK_CLOEXEC: Final = 0o2000000
O_CLOEXEC: Final = 0o2000000
FD_CLOEXEC: Final = 1
CLONE_FILES: Final = 0x400
CLONE_THREAD: Final = 0x10000
CLOSE_RANGE_UNSHARE: Final = 2
CLOSE_RANGE_CLOEXEC: Final = 4
MSG_PEEK: Final = 2
MSG_CMSG_CLOEXEC: Final = 0x40000000
SOL_SOCKET: Final = 1
SO_ERROR: Final = 4
SCM_RIGHTS: Final = 1
POLLIN: Final = 1
POLLOUT: Final = 4
POLLERR: Final = 8
POLLHUP: Final = 0x10
POLLRDHUP: Final = 0x2000
F_DUPFD: Final = 0
F_SETFD: Final = 2
F_DUPFD_CLOEXEC: Final = 1030

# Solaris and AIX commands of fcntl that Linux has not: numbers above any of Linux, meaning as named.
F_DUP2FD: Final = 0x10001
F_DUP2FD_CLOEXEC: Final = 0x10002
F_CLOSEM: Final = 0x10003
FIOCLEX: Final = 0x5451
FIONCLEX: Final = 0x5450

CONSTANTS: Final[dict[str, int]] = {
    "AF_UNSPEC": 0, "AF_UNIX": AF_UNIX, "AF_LOCAL": AF_UNIX, "AF_INET": AF_INET, "AF_INET6": AF_INET6,
    "PF_UNSPEC": 0, "PF_UNIX": AF_UNIX, "PF_LOCAL": AF_UNIX, "PF_INET": AF_INET, "PF_INET6": AF_INET6,
    "AF_NETLINK": 16, "PF_NETLINK": 16, "AF_PACKET": 17, "PF_PACKET": 17,
    "SOCK_STREAM": SOCK_STREAM, "SOCK_DGRAM": 2, "SOCK_RAW": 3, "SOCK_SEQPACKET": 5,
    "SOCK_CLOEXEC": SOCK_CLOEXEC, "SOCK_NONBLOCK": 0o4000,
    "O_CLOEXEC": O_CLOEXEC, "O_NONBLOCK": 0o4000, "O_RDONLY": 0, "O_WRONLY": 1, "O_RDWR": 2,
    "FD_CLOEXEC": FD_CLOEXEC, "FD_CLOFORK": 2, "EFD_CLOEXEC": O_CLOEXEC, "TFD_CLOEXEC": O_CLOEXEC,
    "SFD_CLOEXEC": O_CLOEXEC, "EPOLL_CLOEXEC": O_CLOEXEC, "IN_CLOEXEC": O_CLOEXEC, "MFD_CLOEXEC": 1,
    "PIDFD_NONBLOCK": 0o4000,
    "CLONE_VM": 0x100, "CLONE_FS": 0x200, "CLONE_FILES": CLONE_FILES, "CLONE_SIGHAND": 0x800,
    "CLONE_PIDFD": 0x1000, "CLONE_VFORK": 0x4000, "CLONE_PARENT": 0x8000, "CLONE_THREAD": CLONE_THREAD,
    "CLOSE_RANGE_UNSHARE": CLOSE_RANGE_UNSHARE, "CLOSE_RANGE_CLOEXEC": CLOSE_RANGE_CLOEXEC,
    "SHUT_RD": 0, "SHUT_WR": 1, "SHUT_RDWR": 2,
    "MSG_PEEK": MSG_PEEK, "MSG_CMSG_CLOEXEC": MSG_CMSG_CLOEXEC, "MSG_DONTWAIT": 0x40, "MSG_ERRQUEUE": 0x2000,
    "MSG_NOSIGNAL": 0x4000, "MSG_WAITALL": 0x100, "MSG_TRUNC": 0x20, "MSG_MORE": 0x8000,
    "SOL_SOCKET": SOL_SOCKET, "SOL_TCP": 6, "IPPROTO_TCP": 6, "IPPROTO_IP": 0, "IPPROTO_UDP": 17, "SO_ERROR": SO_ERROR,
    "SCM_RIGHTS": SCM_RIGHTS,
    "POLLIN": POLLIN, "POLLPRI": 2, "POLLOUT": POLLOUT, "POLLERR": POLLERR, "POLLHUP": POLLHUP, "POLLNVAL": 0x20,
    "POLLRDNORM": 0x40, "POLLRDBAND": 0x80, "POLLWRNORM": 0x100, "POLLWRBAND": 0x200, "POLLRDHUP": POLLRDHUP,
    "EPOLLIN": POLLIN, "EPOLLPRI": 2, "EPOLLOUT": POLLOUT, "EPOLLERR": POLLERR, "EPOLLHUP": POLLHUP,
    "EPOLLRDNORM": 0x40, "EPOLLRDHUP": POLLRDHUP, "EPOLLET": 1 << 31, "EPOLLONESHOT": 1 << 30,
    "EPOLLEXCLUSIVE": 1 << 28, "EPOLLWAKEUP": 1 << 29,
    "EPOLL_CTL_ADD": 1, "EPOLL_CTL_DEL": 2, "EPOLL_CTL_MOD": 3,
    "F_DUPFD": F_DUPFD, "F_GETFD": 1, "F_SETFD": F_SETFD, "F_GETFL": 3, "F_SETFL": 4,
    "F_DUPFD_CLOEXEC": F_DUPFD_CLOEXEC, "F_DUPFD_CLOFORK": F_DUPFD, "F_DUP2FD_CLOFORK": F_DUP2FD,
    "F_DUP2FD": F_DUP2FD, "F_DUP3FD": F_DUP2FD, "F_DUP2FD_CLOEXEC": F_DUP2FD_CLOEXEC, "F_CLOSEM": F_CLOSEM,
    "FIOCLEX": FIOCLEX, "FIONCLEX": FIONCLEX,
}  # fmt: skip

WRITES: Final = frozenset(
    ["write", "writev", "send", "sendto", "sendmsg", "sendmmsg", "sendfile", "sendfile64", "sendfilev", "splice"]
)

# Calls in which a thread waits for something to happen: one that is inside has gone on to other things.
WAITING: Final = WRITES | frozenset(
    [
        "accept", "accept4", "connect", "epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll",
        "ppoll_time64", "pollsys", "select", "_newselect", "pselect6", "pselect6_time64", "read", "readv",
        "recv", "recvfrom", "recvmsg", "recvmmsg", "futex", "futex_wait", "futex_waitv", "futex_time64",
        "nanosleep", "clock_nanosleep", "clock_nanosleep_time64", "pause", "wait4", "waitpid", "waitid",
        "waitsys", "rt_sigsuspend", "rt_sigtimedwait", "sigsuspend", "sigtimedwait", "restart_syscall", "flock",
        "io_getevents", "io_uring_enter", "semop", "semtimedop", "msgrcv", "mq_timedreceive", "lwp_park",
        "lwp_wait", "lwp_cond_wait", "lwp_mutex_timedlock", "lwp_sema_timedwait", "port_get", "port_getn",
        "door_return", "kevent", "pselect",
    ]
)  # fmt: skip
