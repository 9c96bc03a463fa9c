"""Where the kernel's tracefs is: mounted, or by a mount of our own that no path leads to and that ends with us."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from typing import Final

from tracecorr.sources.engine import Requirement

# include/uapi/linux/magic.h
TRACEFS_MAGIC: Final = 0x74726163

# include/uapi/asm-generic/unistd.h; the same on every architecture (but alpha) since all of them are newer than 5.1.
NR_FSOPEN: Final = 430
NR_FSCONFIG: Final = 431
NR_FSMOUNT: Final = 432

# include/uapi/linux/mount.h
FSOPEN_CLOEXEC: Final = 1
FSMOUNT_CLOEXEC: Final = 1
FSCONFIG_CMD_CREATE: Final = 6

# include/linux/proc_ns.h: the process ids in events are those of the first pid namespace.
PROC_PID_INIT_INO: Final = 0xEFFFFFFC

_PLACES: Final = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")


class Tracefs:
    """An open tracefs: `path` leads to it until close()."""

    def __init__(self, path: str, mount: int | None = None) -> None:
        self.path = path
        self._mount = mount

    def close(self) -> None:
        """Let go of a mount of our own."""
        if self._mount is not None:
            os.close(self._mount)
            self._mount = None


def locate() -> Tracefs:
    """Return tracefs where it is mounted, else mount it for ourselves alone.  Raises OSError."""
    for place in [*_PLACES, *_mounted()]:
        if os.path.isdir(f"{place}/instances"):
            return Tracefs(place)
    mount = _detached_mount()
    return Tracefs(f"/proc/self/fd/{mount}", mount)


def _mounted() -> list[str]:
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
            words = [line.split() for line in lines]
    except OSError:
        return []
    return [line[4] for line in words if line[line.index("-") + 1] == "tracefs"]


# fsopen(2), fsmount(2): the mount is in no namespace, and goes when its descriptor is closed, however we end.
def _detached_mount() -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    context = _checked(libc.syscall(NR_FSOPEN, b"tracefs", FSOPEN_CLOEXEC))
    try:
        _checked(libc.syscall(NR_FSCONFIG, context, FSCONFIG_CMD_CREATE, None, None, 0))
        return _checked(libc.syscall(NR_FSMOUNT, context, FSMOUNT_CLOEXEC, 0))
    finally:
        os.close(context)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def missing() -> list[Requirement]:
    """Return what this host lacks for the events that we need; nothing of it is changed."""
    if platform.system() != "Linux":
        return [Requirement("Linux", f"this is {platform.system()}", "Record a log there, and use tracecorr parse.")]
    if not _sees_every_process():
        why = "events name processes as the first pid namespace does, and this is another one"
        return [Requirement("the host's pid namespace", why, "Run it on the host, or in a container with --pid=host.")]
    try:
        tracefs = locate()
    except OSError as error:
        return [_refused(error)]
    try:
        return lacking(tracefs.path)
    finally:
        tracefs.close()


def _sees_every_process() -> bool:
    try:
        return os.stat("/proc/self/ns/pid").st_ino == PROC_PID_INIT_INO
    except OSError:
        return True


def _refused(error: OSError) -> Requirement:
    if error.errno in (errno.ENODEV, errno.ENOENT):
        why, remedy = "this kernel has no tracefs", "Use a kernel with CONFIG_FTRACE and CONFIG_FTRACE_SYSCALLS."
        return Requirement("tracefs", why, remedy)
    if error.errno in (errno.EPERM, errno.EACCES):
        what = "root" if os.geteuid() else "CAP_SYS_ADMIN"
        return Requirement(what, "tracefs is not mounted, and only root may mount it", _AS_ROOT)
    remedy = "mount -t tracefs tracefs /sys/kernel/tracing"
    return Requirement("tracefs", f"it is not mounted, and mounting it failed: {error.strerror}", remedy)


_AS_ROOT: Final = "Run it as root on the host (in a container: --privileged --pid=host)."

# What the engine cannot do without.
NEEDED: Final = {
    "events/syscalls/sys_enter_close": ("CONFIG_FTRACE_SYSCALLS", "the kernel has no events for system calls"),
    "events/sock/inet_sock_set_state": ("Linux 4.16", "the kernel does not tell when a TCP connection changes state"),
    "events/sock/sock_recv_length": ("Linux 6.3", "the kernel does not tell which connection was read to its end"),
    "events/sock/sock_send_length": (
        "Linux 6.3",
        "the kernel does not tell who still sends after an end of file",
    ),
    "events/task/task_newtask": ("CONFIG_EVENT_TRACING", "the kernel does not tell of new tasks"),
    "set_event_pid": ("Linux 4.4", "the kernel cannot keep the events of other processes out"),
    "options/event-fork": ("Linux 4.7", "the kernel cannot follow what a process forks"),
}


def lacking(path: str) -> list[Requirement]:
    """Return what the tracefs that is mounted there lacks of what the engine cannot do without."""
    try:
        os.listdir(f"{path}/events")
    except PermissionError:
        return [Requirement("root", "tracefs may be read and written by root alone", _AS_ROOT)]
    if lockdown := _locked_down():
        return [lockdown]
    remedy = "Use such a kernel, or another engine."
    found = [Requirement(*row, remedy) for name, row in NEEDED.items() if not os.path.exists(f"{path}/{name}")]
    if not found and not os.access(f"{path}/instances", os.W_OK, effective_ids=True):
        found.append(Requirement("root", "only root may make a trace instance", _AS_ROOT))
    return found


# kernel_lockdown(7): LOCKDOWN_TRACEFS is among what "confidentiality" forbids.
def _locked_down() -> Requirement | None:
    try:
        with open("/sys/kernel/security/lockdown", encoding="ascii", errors="replace") as file:
            locked = "[confidentiality]" in file.read()
    except OSError:
        return None
    if not locked:
        return None
    why = "the kernel is locked down (confidentiality): nobody may read tracefs"
    return Requirement("no kernel lockdown", why, "Boot with lockdown=integrity or none, or use another engine.")
