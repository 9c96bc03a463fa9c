"""A beat that ends a blocking call now and then, by a signal to this thread that nobody else is told of."""

from __future__ import annotations

import ctypes
import platform
import signal
import threading
from typing import Final

# arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h: the C library had no timers of its own
# before glibc 2.34.
_NUMBERS: Final = {"x86_64": (222, 223, 226), "aarch64": (107, 110, 111)}

_CLOCK_MONOTONIC: Final = 1
_SIGEV_THREAD_ID: Final = 4
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class _Sigaction(ctypes.Structure):
    _fields_ = (
        ("handler", ctypes.c_void_p), ("mask", ctypes.c_ubyte * 128), ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )  # fmt: skip


class _Sigevent(ctypes.Structure):
    _fields_ = (
        ("value", ctypes.c_void_p), ("signo", ctypes.c_int), ("notify", ctypes.c_int), ("thread", ctypes.c_int),
        ("rest", ctypes.c_ubyte * 44),
    )  # fmt: skip


class _Itimerspec(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_long) for name in ("interval_s", "interval_ns", "first_s", "first_ns"))


class Metronome:
    """A timer_create(2) timer for the thread that starts it: blocking calls of that thread fail with EINTR at a beat.

    The handler is a function of the C library that does nothing; Python never hears of the signal.
    """

    def __init__(self) -> None:
        self._timer: int | None = None

    def start(self, seconds: float) -> None:
        """Beat every so many seconds from now on.  Raises OSError."""
        self.stop()
        number = _free_signal()
        # No SA_RESTART.  It stays in place when the timer is gone: a late beat must not end the program.
        action = _Sigaction(handler=ctypes.cast(_LIBC.abs, ctypes.c_void_p).value)
        _check(_LIBC.sigaction(number, ctypes.byref(action), None))
        event = _Sigevent(signo=number, notify=_SIGEV_THREAD_ID, thread=threading.get_native_id())
        timer = ctypes.c_int()
        create, settime, _ = _NUMBERS[platform.machine()]
        _check(_LIBC.syscall(create, _CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(timer)))
        self._timer = timer.value
        whole, nanoseconds = divmod(max(1, round(seconds * 1e9)), 10**9)
        beat = _Itimerspec(whole, nanoseconds, whole, nanoseconds)
        _check(_LIBC.syscall(settime, self._timer, 0, ctypes.byref(beat), None))

    def stop(self) -> None:
        """Beat no more."""
        if self._timer is not None:
            _LIBC.syscall(_NUMBERS[platform.machine()][2], self._timer)
            self._timer = None


# The highest real-time signal that the program around us has no use for.
def _free_signal() -> int:
    for number in range(signal.SIGRTMAX, signal.SIGRTMIN, -1):
        if signal.getsignal(number) is signal.SIG_DFL or number in _OURS:
            _OURS.add(number)
            return number
    raise OSError("every real-time signal is in use")


_OURS: Final[set[int]] = set()


def _check(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, "timer_create(2)")
