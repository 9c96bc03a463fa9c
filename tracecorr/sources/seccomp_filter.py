"""A seccomp filter (seccomp(2)) by which only the calls that have a meaning stop a program that we start.

A filter is for life, and a call that it hands to a tracer fails with ENOSYS where there is none.  So a program under
it cannot outlive its tracer: it must end with it (PTRACE_O_EXITKILL).  Without CAP_SYS_ADMIN the kernel takes a filter
only with no_new_privs, which keeps set-user-ID programs from getting their privileges; a tracer without CAP_SYS_PTRACE
has that effect by itself (ptrace(2)), but no_new_privs stays.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable
from typing import Final

from tracecorr.sources.syscall_info import NATIVE

# include/uapi/linux/prctl.h, include/uapi/linux/seccomp.h
_PR_SET_SECCOMP: Final = 22
_PR_SET_NO_NEW_PRIVS: Final = 38
_SECCOMP_MODE_FILTER: Final = 2
_ALLOW: Final = 0x7FFF0000
_TRACE: Final = 0x7FF00000
_NUMBER, _ARCHITECTURE = 0, 4  # offsets in struct seccomp_data

# include/uapi/linux/bpf_common.h: a load of a word, a jump if equal, a return of a constant
_LOAD, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_FARTHEST: Final = 255  # instructions that a jump may pass over

_INSTRUCTION: Final = struct.Struct("=HBBI")


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def program(numbers: Iterable[int]) -> bytes:
    """Return a filter that hands these calls, and all of other architectures, to the tracer and lets others pass."""
    wanted = sorted(set(numbers))
    if len(wanted) >= _FARTHEST:
        raise ValueError(f"{len(wanted)} calls are more than a jump can pass over")
    count = len(wanted)
    instructions = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_IF_EQUAL, 1, 0, NATIVE >> 32),
        (_RETURN, 0, 0, _TRACE),
        (_LOAD, 0, 0, _NUMBER),
        *((_IF_EQUAL, count - place, 0, number) for place, number in enumerate(wanted)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _TRACE),
    ]
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in instructions)


def install(code: bytes) -> None:
    """Put this thread, and whatever it becomes and makes, under the filter.  Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(code, len(code))
    filter_ = _Program(len(code) // _INSTRUCTION.size, ctypes.addressof(buffer))
    mode, where = ctypes.c_ulong(_SECCOMP_MODE_FILTER), ctypes.byref(filter_)
    if libc.prctl(_PR_SET_SECCOMP, mode, where, 0, 0) == 0:
        return
    one, zero = ctypes.c_ulong(1), ctypes.c_ulong(0)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, one, zero, zero, zero) or libc.prctl(_PR_SET_SECCOMP, mode, where, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp: {os.strerror(number)}")
