"""SYSCALLS: one row per name, to what it means.  Any other name has no effect on descriptors or connections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from tracecorr.events import Event
from tracecorr.syscalls import descriptors, polling, processes, sockets, transfers
from tracecorr.syscalls.record import SyscallRecord

Decoder = Callable[[SyscallRecord], Sequence[Event]]

# pread and pwrite are not among them: on a socket they fail with ESPIPE (pread(2)); preadv2 may have no offset.
READ_FAMILY: Final[dict[str, Decoder]] = {
    "read": transfers.read, "readv": transfers.read, "recv": transfers.read, "recvfrom": transfers.read,
    "recvmsg": transfers.recvmsg, "recvmmsg": transfers.recvmmsg, "recvmmsg_time64": transfers.recvmmsg,
    "preadv2": transfers.read, "splice": transfers.splice,
}  # fmt: skip

WRITE_FAMILY: Final[dict[str, Decoder]] = {
    "write": transfers.write, "writev": transfers.write, "send": transfers.write, "sendto": transfers.write,
    "sendmsg": transfers.sendmsg, "sendmmsg": transfers.sendmsg, "sendfile": transfers.write,
    "sendfile64": transfers.write, "sendfilev": transfers.sendfilev, "sendfilev64": transfers.sendfilev,
    "pwritev2": transfers.write,
}  # fmt: skip

CLOSE_FAMILY: Final[dict[str, Decoder]] = {
    "close": descriptors.close, "close_range": descriptors.close_range, "closefrom": descriptors.closefrom,
}  # fmt: skip

FORK_FAMILY: Final[dict[str, Decoder]] = {
    "fork": processes.fork, "vfork": processes.fork, "clone": processes.clone, "clone3": processes.clone,
    "fork1": processes.fork, "forkall": processes.fork, "forkx": processes.fork, "forkallx": processes.fork,
    "vforkx": processes.fork, "forksys": processes.fork, "spawn": processes.spawn,
}  # fmt: skip

POLL_FAMILY: Final[dict[str, Decoder]] = {
    "poll": polling.poll, "ppoll": polling.poll, "ppoll_time64": polling.poll, "pollsys": polling.poll,
    "select": polling.select, "_newselect": polling.select, "pselect6": polling.select,
    "pselect6_time64": polling.select,
    "kevent": polling.poll, "pselect": polling.select,
    "epoll_wait": polling.epoll_wait, "epoll_pwait": polling.epoll_wait, "epoll_pwait2": polling.epoll_wait,
}  # fmt: skip

SYSCALLS: Final[dict[str, Decoder]] = {
    **READ_FAMILY, **WRITE_FAMILY, **CLOSE_FAMILY, **FORK_FAMILY, **POLL_FAMILY,
    "dup": descriptors.dup, "dup2": descriptors.dup, "dup3": descriptors.dup,
    "fcntl": descriptors.fcntl, "fcntl64": descriptors.fcntl, "ioctl": descriptors.ioctl,
    "open": descriptors.opened, "open64": descriptors.opened, "openat": descriptors.opened,
    "openat64": descriptors.opened, "openat2": descriptors.opened, "creat": descriptors.opened,
    "epoll_create": descriptors.opened, "epoll_create1": descriptors.opened, "eventfd": descriptors.opened,
    "eventfd2": descriptors.opened, "signalfd": descriptors.opened, "signalfd4": descriptors.opened,
    "timerfd_create": descriptors.opened, "memfd_create": descriptors.opened, "inotify_init": descriptors.opened,
    "inotify_init1": descriptors.opened, "userfaultfd": descriptors.opened, "perf_event_open": descriptors.opened,
    "bpf": descriptors.opened, "fsopen": descriptors.opened, "fsmount": descriptors.opened,
    "open_tree": descriptors.opened, "fanotify_init": descriptors.opened, "open_by_handle_at": descriptors.opened,
    "pidfd_open": descriptors.opened, "port_create": descriptors.opened, "kqueue": descriptors.opened,
    "kqueuex": descriptors.opened, "mq_open": descriptors.opened,
    "landlock_create_ruleset": descriptors.opened,
    "pipe": descriptors.pipe, "pipe2": descriptors.pipe, "pidfd_getfd": descriptors.pidfd_getfd,
    "io_uring_setup": descriptors.io_uring, "io_uring_enter": descriptors.io_uring,
    "socket": sockets.socket, "so_socket": sockets.socket, "socketpair": sockets.socketpair,
    "so_socketpair": sockets.socketpair, "bind": sockets.bind, "listen": sockets.listen,
    "connect": sockets.connect, "accept": sockets.accept, "accept4": sockets.accept, "shutdown": sockets.shutdown,
    "getsockopt": sockets.getsockopt, "setsockopt": sockets.setsockopt,
    "getsockname": sockets.getname, "getpeername": sockets.getname,
    "epoll_ctl": polling.epoll_ctl, "epoll_ctl_old": polling.epoll_ctl,
    "lwp_create": processes.lwp_create, "unshare": processes.unshare, "prctl": processes.prctl,
    "execve": processes.execve, "execveat": processes.execve, "exec": processes.execve,
    "exit_group": processes.exit_group, "_exit": processes.old_exit, "exit": processes.exit_task,
    "lwp_exit": processes.exit_task,
    "wait4": processes.wait, "waitpid": processes.wait, "wait": processes.wait,
    "waitid": processes.waitid,
}  # fmt: skip
