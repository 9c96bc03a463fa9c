"""Whether a process was given a connection on purpose: then it is the owner's heir, and not the keeper of a copy.

A server that reads a request, starts a program (or forks a child, or tells a worker by SCM_RIGHTS) to answer it and
closes its own descriptor has not forgotten anything: who got the connection ends it.  What tells this from a copy by
accident is what the giver did afterwards: nothing with the connection but close it, and that at once.
"""

from __future__ import annotations

from tracecorr.model.fact import Fact
from tracecorr.model.fd_table import FileDescriptor
from tracecorr.verdicts.base import Case, ancestry

# Between fork and close: a child that must execute its program first delays both under a tracer, but not for long.
_AT_ONCE = 500_000_000  # ns


def handed_over(case: Case, owner: FileDescriptor, holder: FileDescriptor) -> bool:
    """Say whether the owner let go of the connection because `holder` was to go on with it."""
    given = _given(owner, holder)
    closed = owner.closed
    if given is None or closed is None or closed.what != "closed" or owner.used_step > given.step:
        return False
    if any(step.how == "passed" and step.process is holder.process for step in ancestry(holder)):
        return True
    if any(d.how == "dup" and d.process is holder.process for d in case.everybody):
        return True  # it was made the standard input or output of a program
    return holder.survived is None and closed.task is given.task and _at_once(given, closed)


# What gave the process of the holder its first reference, where that came from the owner's process itself.
def _given(owner: FileDescriptor, holder: FileDescriptor) -> Fact | None:
    if holder.process is owner.process:
        return None
    steps = [step for step in ancestry(holder) if step.process is not owner.process]
    source = steps[-1].source if steps else None
    if source is None or source.process is not owner.process:
        return None
    return steps[-1].fact


def _at_once(given: Fact, closed: Fact) -> bool:
    if given.at is None or closed.at is None:
        return closed.step > given.step
    return 0 <= closed.at - given.at <= _AT_ONCE
