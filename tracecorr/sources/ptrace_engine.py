"""The engine that needs nothing but Python: ptrace(2), by PTRACE_SEIZE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tracecorr.errors import EngineUnavailable
from tracecorr.sources import seccomp_filter
from tracecorr.sources.engine import Requirement
from tracecorr.sources.launch import held
from tracecorr.sources.ptrace_calls import (
    MACHINE,
    OPTIONS,
    PTRACE_CONT,
    PTRACE_O_EXITKILL,
    PTRACE_O_TRACESECCOMP,
    PTRACE_SYSCALL,
    refused,
)
from tracecorr.sources.ptrace_seize import seize, yama_scope
from tracecorr.sources.ptrace_tracing import PtraceTracing
from tracecorr.sources.register_arguments import PLANS
from tracecorr.sources.stacks import Stacks
from tracecorr.sources.syscall_info import NATIVE, by_syscall_info, reader
from tracecorr.sources.system_calls import CALLS

NAME: Final = "ptrace"
COST: Final = (
    "every system call of the traced threads stops them twice: a busy server keeps a tenth of its throughput, or less; "
    "a call that a thread sleeps in when tracing begins or ends is begun again, or fails with EINTR as after SIGCONT"
)


STACKS: Final = True


def missing(*, stacks: bool = False) -> list[Requirement]:
    """Return what this host lacks."""
    if not NATIVE:
        why = f"this machine is {MACHINE}, and its system calls are not known to us"
        return [Requirement("x86-64 or aarch64", why, "trace with strace: --engine strace")]
    if yama_scope() == 3:
        why = "kernel.yama.ptrace_scope is 3: nobody may trace until the next boot"
        return [Requirement("ptrace", why, "an engine that does not use ptrace, or a boot with a lower ptrace_scope")]
    answer = refused()
    if answer is not None:
        why = f"the kernel refuses it to everybody here ({answer}), as in a container without the capability"
        return [Requirement("ptrace", why, "allow it: --cap-add=SYS_PTRACE, or a seccomp profile that has ptrace")]
    return []


def attach(pids: Sequence[int], *, stacks: bool = False) -> PtraceTracing:
    """Seize the threads of the processes.  They run on until records() is asked for the first one."""
    return PtraceTracing(NAME, seize(pids), PTRACE_SYSCALL, reader(), stacks=Stacks() if stacks else None)


def launch(command: Sequence[str], *, stacks: bool = False) -> PtraceTracing:
    """Start the command, held back until its first call can be seen."""
    child = held(command)
    try:
        seized = seize([child.pid])
    except BaseException:
        child.abandon()
        raise
    taken = Stacks() if stacks else None
    return PtraceTracing(NAME, seized, PTRACE_SYSCALL, reader(), [child.pid], child.release, stacks=taken)


def launch_filtered(command: Sequence[str]) -> PtraceTracing:
    """Start the command under a seccomp filter: only calls that have a meaning stop it, all others run at full speed.

    Not for a program that must live: it cannot outlive us (see seccomp_filter), so close() ends it, and the kernel ends
    it when we are killed.  Without CAP_SYS_ADMIN it also runs with no_new_privs.  Raises EngineUnavailable before
    Linux 5.3, UnreadableInput.
    """
    if reader() is not by_syscall_info:
        raise EngineUnavailable(
            "PTRACE_GET_SYSCALL_INFO is missing: it came with Linux 5.3", "Launch without a filter."
        )
    numbers = [number for number, name in CALLS.items() if name in PLANS]
    code = seccomp_filter.program(numbers)
    child = held(command, lambda: seccomp_filter.install(code))
    try:
        seized = seize([child.pid], options=OPTIONS | PTRACE_O_TRACESECCOMP | PTRACE_O_EXITKILL)
    except BaseException:
        child.abandon()
        raise
    return PtraceTracing(NAME, seized, PTRACE_CONT, by_syscall_info, [child.pid], child.release)
