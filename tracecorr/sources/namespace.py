"""Doing one thing in another network namespace, without ever being there with the thread that goes on."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from threading import Thread
from typing import Final, TypeVar

from tracecorr.errors import NoSuchProcess, PermissionDenied
from tracecorr.sources import procfs

CLONE_NEWNET: Final = 0x40000000  # include/uapi/linux/sched.h

T = TypeVar("T")


def inside(pid: int, act: Callable[[], T]) -> T:
    """Return what `act` returns in the network namespace of that process.

    setns(2) moves the calling thread alone.  It is one of our own that ends with the act, so nothing can be left
    behind in the wrong namespace.  Sockets stay in the namespace in which they were made.

    Raises NoSuchProcess, PermissionDenied, and what `act` raises.
    """
    done: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            _enter(pid)
            done.append(act())
        except BaseException as error:
            failed.append(error)

    thread = Thread(target=run, name="namespace", daemon=True)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]


def namespace_of(pid: int | None = None) -> int:
    """Return the inode of the network namespace of a process, or of our own.

    Raises NoSuchProcess, PermissionDenied.
    """
    link = f"/proc/{pid or 'self'}/ns/net"
    try:
        return int(os.readlink(link).partition("[")[2].rstrip("]"))
    except (FileNotFoundError, ProcessLookupError) as error:
        if pid is not None and (other := procfs.standing(pid)) != pid:
            return namespace_of(other)
        raise NoSuchProcess(f"process {pid} has ended") from error
    except PermissionError as error:
        raise PermissionDenied(f"{link} may not be read") from error


def _enter(pid: int) -> None:
    path = f"/proc/{procfs.standing(pid)}/ns/net"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError as error:
        raise PermissionDenied(f"{path} may not be opened") from error
    except (FileNotFoundError, ProcessLookupError) as error:
        raise NoSuchProcess(f"process {pid} has ended") from error
    try:
        _setns(descriptor)
    except PermissionError as error:
        raise PermissionDenied(
            f"the network namespace of process {pid} may not be entered",
            "setns(2) needs CAP_SYS_ADMIN: run it as root.",
        ) from error
    finally:
        os.close(descriptor)


# os.setns came with Python 3.12.
def _setns(descriptor: int) -> None:
    if hasattr(os, "setns"):
        os.setns(descriptor, CLONE_NEWNET)
        return
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET):
        number = ctypes.get_errno() or errno.EINVAL
        raise OSError(number, os.strerror(number))
