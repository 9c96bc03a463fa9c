"""Processes as /proc shows them (proc(5)).

Processes end while they are looked at: then a function raises NoSuchProcess, and one that reads many things leaves out
what is gone.  A number may be another process a moment later, so what belongs together is read between two looks at
the start time.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from tracecorr.errors import NoSuchProcess, PermissionDenied
from tracecorr.kernel import O_CLOEXEC
from tracecorr.snapshot import DescriptorRow, Watch

# proc_pid_stat(5): a zombie, or one that is just going.
_ENDED: Final = ("Z", "X")

CLOCK_TICKS: Final = os.sysconf("SC_CLK_TCK")

# include/linux/sched.h: a kernel thread has no files worth a look.
PF_KTHREAD: Final = 0x00200000


class Stat(NamedTuple):
    """/proc/PID/stat: `ticks` is the start time in clock ticks since boot, which tells a reused pid.

    `reaped` says that it has waited for a child that ended: the page faults and times of those are added up.
    """

    pid: int
    comm: str
    state: str
    parent: int
    group: int
    flags: int
    ticks: int
    reaped: bool

    @property
    def started(self) -> float:
        """When it started, in seconds since the epoch."""
        return _boot() + self.ticks / CLOCK_TICKS


def pids() -> list[int]:
    """Return the processes that there are now."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def tids(pid: int) -> list[int]:
    """Return the threads of a process.  Raises NoSuchProcess."""
    with _of(pid):
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]


def descendants(pid: int) -> Iterator[int]:
    """Yield the living children of a process, and theirs; none where the kernel does not list them.

    Source: /proc/PID/task/TID/children (proc(5), CONFIG_PROC_CHILDREN).
    """
    try:
        lists = [read(f"/proc/{pid}/task/{tid}/children", pid) for tid in tids(pid)]
    except (NoSuchProcess, PermissionDenied):
        return
    for child in (int(word) for text in lists for word in text.split()):
        yield child
        yield from descendants(child)


def stat(pid: int, tid: int | None = None) -> Stat:
    """Return what the kernel counts of a process, or of one of its threads.  Raises NoSuchProcess."""
    text = read(f"/proc/{pid}/task/{tid}/stat" if tid is not None else f"/proc/{pid}/stat", pid)
    # The command name may hold spaces and parentheses.
    start, end = text.index("("), text.rindex(")")
    words = text[end + 2 :].split()
    return Stat(
        tid if tid is not None else pid, text[start + 1 : end], words[0], int(words[1]), int(words[2]), int(words[6]),
        int(words[19]), any(words[place] != "0" for place in (8, 10, 13, 14)),
    )  # fmt: skip


def process_of(tid: int) -> int:
    """Return the process that a thread belongs to; of one that has ended nobody knows, and it stands for itself."""
    try:
        lines = read(f"/proc/{tid}/status", tid).splitlines()
    except (NoSuchProcess, PermissionDenied):
        return tid
    return next((int(line[5:]) for line in lines if line.startswith("Tgid:")), tid)


def standing(pid: int) -> int:
    """Return the thread that has what the process has: the first, or, where that has ended alone, another.

    What main() left with pthread_exit(3) goes on without its first thread, whose entry in /proc shows no descriptors,
    no memory and no namespaces any more.  /proc/TID works as /proc/PID does.  Raises NoSuchProcess.
    """
    if stat(pid).state not in _ENDED:
        return pid
    for tid in tids(pid):
        try:
            if stat(pid, tid).state not in _ENDED:
                return tid
        except NoSuchProcess:
            continue
    return pid


def targets(pid: int) -> dict[int, str]:
    """Return where each descriptor of a process links to: "socket:[4711]", "anon_inode:[eventpoll]", a path.

    Raises NoSuchProcess, PermissionDenied.
    """
    found = _targets(pid)
    return found if found or (other := standing(pid)) == pid else _targets(other)


def _targets(pid: int) -> dict[int, str]:
    with _of(pid):
        directory = os.open(f"/proc/{pid}/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    found: dict[int, str] = {}
    readlink = os.readlink
    try:
        with _of(pid):
            for name in os.listdir(directory):
                try:
                    found[int(name)] = readlink(name, dir_fd=directory)
                except FileNotFoundError:
                    continue  # closed meanwhile
    finally:
        os.close(directory)
    return found


def descriptor(pid: int, fd: int, target: str) -> DescriptorRow:
    """Return a descriptor with its close-on-exec flag, None where that may not be read.  Raises NoSuchProcess."""
    try:
        for line in fdinfo(pid, fd).splitlines():
            if line.startswith("flags:"):
                return DescriptorRow(fd, target, bool(int(line[6:], 8) & O_CLOEXEC))
    except PermissionDenied:
        pass
    return DescriptorRow(fd, target, None)


def descriptors(pid: int) -> dict[int, DescriptorRow]:
    """Return all descriptors of a process with their flags.  Raises NoSuchProcess, PermissionDenied."""
    found: dict[int, DescriptorRow] = {}
    for fd, target in targets(pid).items():
        try:
            found[fd] = descriptor(pid, fd, target)
        except NoSuchProcess:
            stat(pid)  # the descriptor has gone, or the process
    return found


def watches(pid: int, fd: int) -> tuple[Watch, ...]:
    """Return what the epoll set `fd` of a process watches.  Raises NoSuchProcess, PermissionDenied."""
    return tuple(_watches(fdinfo(pid, fd)))


# tfd:       31 events:     2019 data:               1f  pos:0 ino:4f3 sdev:8
def _watches(text: str) -> Iterator[Watch]:
    for line in text.splitlines():
        if line.startswith("tfd:"):
            words = line.replace(":", ": ").split()
            inode = int(words[words.index("ino:") + 1], 16) if "ino:" in words else None
            yield Watch(int(words[1]), int(words[3], 16), inode, int(words[5], 16))


def pidfd_process(pid: int, fd: int) -> int | None:
    """Return the process that the pidfd `fd` of a process refers to, None where it has ended.  Raises NoSuchProcess."""
    words = fdinfo(pid, fd).partition("Pid:")[2].split()
    return int(words[0]) if words and words[0].isdigit() and words[0] != "0" else None


class Status(NamedTuple):
    """/proc/PID/status: `uid` is the effective one, `tracer` 0 where there is none.

    Who ignores SIGCHLD waits for no child, so none is counted in Stat.reaped.
    """

    tracer: int
    uid: int
    seccomp: int
    ignores_children: bool


def status(pid: int, tid: int | None = None) -> Status:
    """Return who traces a process and whose it is.  Raises NoSuchProcess."""
    text = read(f"/proc/{pid}/task/{tid}/status" if tid is not None else f"/proc/{pid}/status", pid)
    words = {name: value.split() for name, _, value in (line.partition(":") for line in text.splitlines())}
    return Status(
        tracer=int(words.get("TracerPid", ["0"])[0]),
        uid=int(words.get("Uid", ["0", "0"])[1]),
        seccomp=int(words.get("Seccomp", ["0"])[0]),
        ignores_children=bool(int(words.get("SigIgn", ["0"])[0], 16) >> (signal.SIGCHLD - 1) & 1),
    )


def protocol(pid: int, fd: int) -> str | None:
    """Return the protocol of a socket ("TCP", "TCPv6", "UNIX-STREAM"), None where the kernel does not tell.

    Source: the attribute system.sockprotoname (sockfs_xattr_get() in net/socket.c).  Raises NoSuchProcess.
    """
    try:
        with _of(pid):
            name = os.getxattr(f"/proc/{standing(pid)}/fd/{fd}", "system.sockprotoname")
    except NoSuchProcess:
        raise
    except (OSError, PermissionDenied):
        return None
    return name.rstrip(b"\0").decode("ascii", "replace")


def limit(pid: int) -> int | None:
    """Return its soft RLIMIT_NOFILE, None where it is unlimited or may not be read.  Raises NoSuchProcess."""
    try:
        for line in read(f"/proc/{pid}/limits", pid).splitlines():
            if line.startswith("Max open files"):
                word = line[len("Max open files") :].split()[0]
                return int(word) if word.isdigit() else None
    except PermissionDenied:
        pass
    return None


def command(pid: int) -> str | None:
    """Return its command line, None for a kernel thread or a process that hides it.  Raises NoSuchProcess."""
    try:
        return read(f"/proc/{standing(pid)}/cmdline", pid).replace("\0", " ").strip() or None
    except PermissionDenied:
        return None


def program(pid: int) -> str | None:
    """Return the file that it runs, None where that may not be read.  Raises NoSuchProcess."""
    try:
        with _of(pid):
            return os.readlink(f"/proc/{standing(pid)}/exe")
    except PermissionDenied:
        return None


def fdinfo(pid: int, fd: int) -> str:
    """Return what /proc/PID/fdinfo/FD says (proc_pid_fdinfo(5)).  Raises NoSuchProcess, PermissionDenied."""
    try:
        return read(f"/proc/{pid}/fdinfo/{fd}", pid)
    except NoSuchProcess:
        if (other := standing(pid)) == pid:
            raise
        return read(f"/proc/{other}/fdinfo/{fd}", pid)


def read(path: str, pid: int) -> str:
    """Return a file about a process.  Raises NoSuchProcess, PermissionDenied."""
    with _of(pid), open(path, "rb") as stream:
        return stream.read().decode("utf-8", "replace")


@contextmanager
def _of(pid: int) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, ProcessLookupError) as error:
        raise NoSuchProcess(f"process {pid} has ended") from error
    except PermissionError as error:
        raise PermissionDenied(f"{error.filename or f'/proc/{pid}'} may not be read") from error


def _boot() -> float:
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
