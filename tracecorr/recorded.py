"""What a log can have recorded, told from the names of calls that occur in it and from the tracer that it is of."""

from __future__ import annotations

from collections.abc import Sequence

from tracecorr.sources import ftrace_log, perf_script
from tracecorr.sources.base import Tally
from tracecorr.sources.recording import NAME as RECORDING
from tracecorr.sources.strace_log import NAME as STRACE
from tracecorr.syscalls.table import CLOSE_FAMILY, FORK_FAMILY, READ_FAMILY, SYSCALLS, WRITE_FAMILY
from tracecorr.verdicts.base import Recorded

# Calls of %desc that are not in %network: where several occur, close was recorded, too.
_DESC = frozenset(
    [
        "read",
        "write",
        "readv",
        "writev",
        "dup",
        "dup2",
        "dup3",
        "fcntl",
        "openat",
        "open",
        "fstat",
        "newfstatat",
        "ioctl",
        "epoll_wait",
        "epoll_ctl",
        "epoll_create1",
        "epoll_pwait",
        "poll",
        "ppoll",
        "select",
        "pselect6",
        "pipe2",
        "lseek",
        "getdents64",
        "eventfd2",
        "timerfd_create",
        "pread64",
        "pwrite64",
    ]
)

# Calls that libraries make by themselves, or the kernel: nobody asks a tracer for one of these by name.
_INCIDENTAL = frozenset(
    [
        "restart_syscall", "set_robust_list", "rseq", "getrandom", "prlimit64", "sched_yield",
        "lwp_sigmask", "setcontext", "sigreturn", "issetugid", "_umtx_op", "sysarch",
    ]
)  # fmt: skip

# Nothing is recorded with these but what was named; the other tracers record every call unless they are told otherwise.
_BY_NAME = frozenset([perf_script.NAME, ftrace_log.NAME])

# Nobody names so many calls that do nothing to descriptors, one by one.
_MANY = 8


def recorded(tallies: Sequence[Tally]) -> Recorded:
    """Return which families of calls the logs of one recording have, or would have if there were any."""
    names = {name for tally in tallies for name in tally.names}
    strangers = names - SYSCALLS.keys() - _DESC
    by_class = all(tally.format == STRACE for tally in tallies)
    by_name = any(tally.format in _BY_NAME for tally in tallies)
    whole = _is_whole(tallies, names, strangers)
    desc = whole or (by_class and len(names & _DESC) >= 3)
    # One call that has nothing to do with descriptors, from a tracer that records every call unless told otherwise.
    unasked = bool(strangers) and not by_name
    return Recorded(
        close=desc or bool(names & CLOSE_FAMILY.keys()),
        read=desc or bool(names & READ_FAMILY.keys()),
        write=desc or bool(names & WRITE_FAMILY.keys()),
        flags=desc or bool(names & {"fcntl", "ioctl"}),
        fork=whole or bool(names & FORK_FAMILY.keys()),
        shutdown=whole or by_class or unasked or "shutdown" in names,
        polled=not any(tally.blind & tally.names for tally in tallies),
        uses=all(tally.uses for tally in tallies),
        ranges=whole or not by_class or "close_range" in names,
    )


# What `--record` keeps is what our own engines saw, raw tracepoints are of every call.  Any other tracer may have been
# told to record a part of them: strace by class (%desc, %net), the others name by name.
def _is_whole(tallies: Sequence[Tally], names: set[str], strangers: set[str]) -> bool:
    if any(tally.whole or tally.format == RECORDING for tally in tallies):
        return True
    if any(tally.format in _BY_NAME for tally in tallies):
        return len(strangers) >= _MANY or len(names & _INCIDENTAL) >= 2
    return len(strangers) >= 3 or bool(names & _INCIDENTAL)
