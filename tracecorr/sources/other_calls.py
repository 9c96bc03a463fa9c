"""Names of system calls that no table of ours has: the one module that uses python-ptrace.

That is under the GNU GPL, version 2 only (see README, Licence), and an extra: without it such a call has its number.
"""

from __future__ import annotations

from functools import cache


@cache
def other_call_name(number: int) -> str | None:
    """Return the name of the call with this number on this machine, None where nobody here knows it."""
    try:
        from ptrace.syscall import SYSCALL_NAMES
    except (ImportError, NotImplementedError):  # not installed, or a machine that it does not know
        return None
    name = SYSCALL_NAMES.get(number)
    return str(name) if name is not None else None
