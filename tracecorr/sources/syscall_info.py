"""What a thread that stopped at a system call is about to do, or has got: PTRACE_GET_SYSCALL_INFO, or its registers."""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Sequence
from typing import Final, Protocol

from tracecorr.sources.ptrace_calls import MACHINE, PTRACE_GET_SYSCALL_INFO, PTRACE_GETREGSET, ptrace

# struct ptrace_syscall_info (include/uapi/linux/ptrace.h) as words of 64 bits.  The first holds `op` and above it the
# AUDIT_ARCH of the call, then come the instruction and stack pointers; of an entry the number and six arguments
# follow, of an exit the result and whether it is an error.
SIZE: Final = 88
FIRST, NUMBER, RESULT, ARGUMENTS, IS_ERROR = 0, 3, 3, slice(4, 10), 4

ENTRY, EXIT, SECCOMP = 1, 2, 3

# include/uapi/linux/audit.h
_ARCHITECTURES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_I386: Final = 0x40000003
_ARM: Final = 0x40000028
NATIVE: Final = _ARCHITECTURES.get(MACHINE, 0) << 32
NATIVE_ENTRY: Final = NATIVE | ENTRY
NATIVE_SECCOMP: Final = NATIVE | SECCOMP

WORDS: Final = memoryview(bytearray(SIZE)).cast("Q")
_WORDS_AT: Final = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(WORDS)))


class Reader(Protocol):
    """Fills WORDS for a thread in a syscall-stop; False when it is no more.  `leaving` says that it had entered."""

    def __call__(self, tid: int, leaving: bool) -> bool: ...


def by_syscall_info(tid: int, leaving: bool) -> bool:
    """Ask the kernel (since Linux 5.3), which knows an entry from an exit by itself."""
    return bool(ptrace(PTRACE_GET_SYSCALL_INFO, tid, SIZE, _WORDS_AT) > 0)


# struct user_regs_struct of x86-64 (arch/x86/include/asm/user_64.h), struct user_pt_regs of arm64
# (arch/arm64/include/uapi/asm/ptrace.h).
_NT_PRSTATUS: Final = 1
_REGISTERS: Final = memoryview(bytearray(8 * 64)).cast("Q")
_IOVEC: Final = (ctypes.c_size_t * 2)(ctypes.addressof(ctypes.c_char.from_buffer(_REGISTERS)), 0)
_IOVEC_AT: Final = ctypes.c_void_p(ctypes.addressof(_IOVEC))
_X86_ARGUMENTS: Final = (14, 13, 12, 7, 9, 8)  # rdi rsi rdx r10 r8 r9
_X86_RAX, _X86_ORIG_RAX, _X86_RIP, _X86_CS, _X86_RSP = 10, 15, 16, 17, 19
_X86_LONG_MODE: Final = 0x33  # __USER_CS
_ARM_NUMBER, _ARM_SP, _ARM_PC = 8, 31, 32
_LOWEST_ERROR: Final = (1 << 64) - 4095  # IS_ERR_VALUE, include/linux/err.h


def registers(tid: int) -> Sequence[int] | None:
    """Return the registers of a stopped thread until the next call of this; None when it is no more."""
    _IOVEC[1] = 8 * 64
    return _REGISTERS if ptrace(PTRACE_GETREGSET, tid, _NT_PRSTATUS, _IOVEC_AT) >= 0 else None


def by_registers(tid: int, leaving: bool) -> bool:
    """Read the registers.  They do not tell an entry from an exit: only the order of stops does."""
    if registers(tid) is None:
        return False
    arm = MACHINE == "aarch64"
    _fill_arm(leaving) if arm else _fill_x86(leaving)
    return True


def _fill_x86(leaving: bool) -> None:
    registers = _REGISTERS
    native = registers[_X86_CS] == _X86_LONG_MODE
    WORDS[0] = (NATIVE if native else _I386 << 32) | (EXIT if leaving else ENTRY)
    WORDS[1], WORDS[2] = registers[_X86_RIP], registers[_X86_RSP]
    if leaving:
        _fill_result(registers[_X86_RAX])
        return
    WORDS[NUMBER] = registers[_X86_ORIG_RAX]
    for place, register in enumerate(_X86_ARGUMENTS, 4):
        WORDS[place] = registers[register]


def _fill_arm(leaving: bool) -> None:
    registers = _REGISTERS
    native = _IOVEC[1] > 18 * 4  # 32-bit threads have the 18 registers of ARM
    WORDS[0] = (NATIVE if native else _ARM << 32) | (EXIT if leaving else ENTRY)
    WORDS[1], WORDS[2] = registers[_ARM_PC], registers[_ARM_SP]
    if leaving:
        _fill_result(registers[0])
        return
    WORDS[NUMBER] = registers[_ARM_NUMBER]
    WORDS[ARGUMENTS] = registers[0:6]


def _fill_result(result: int) -> None:
    WORDS[RESULT] = result
    WORDS[IS_ERROR] = int(result >= _LOWEST_ERROR)


def reader() -> Reader:
    """Return how syscall-stops are read on this kernel."""
    # Of a thread that is not ours an old kernel says EIO, one that knows the request ESRCH.
    known = ptrace(PTRACE_GET_SYSCALL_INFO, 0x7FFFFFFF, SIZE, _WORDS_AT) < 0 and ctypes.get_errno() == errno.ESRCH
    return by_syscall_info if known else by_registers
