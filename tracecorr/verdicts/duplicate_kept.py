"""The same process closed one number and holds another, from dup or F_DUPFD.

That may be the same number in the table of a thread that has one of its own: unshare(CLONE_FILES) copies the table.
"""

from __future__ import annotations

from tracecorr.model.fd_table import FileDescriptor
from tracecorr.verdicts.base import Case, Cause, Confidence, Finding, ancestry, maturity

CAUSE = Cause.DUPLICATE_KEPT


def diagnose(case: Case) -> Finding | None:
    """Look for a sibling of the owner's remaining descriptor that was closed as if it were the connection."""
    socket = case.socket
    if socket.fin is None or not case.owner_holds:
        return None
    closed = _closed_sibling(case)
    if closed is None or closed.closed is None:
        return None
    since = max(socket.fin, closed.closed, key=lambda fact: fact.step)
    sure = maturity(case, since, closed.closed.task)
    if sure is None:
        return None
    kept = case.owner_holds[0]
    because = f"it closed fd {closed.number} and kept fd {kept.number}, {_what_it_is(kept, closed)}"
    finding = Finding(CAUSE, None, sure, kept, case.owner, f"close({kept.number})", because, socket.fin)
    finding.facts.append((closed.closed, f"not the last copy: fd {kept.number} refers to it, too"))
    for step in ancestry(kept):
        if step.how == "dup" and step.fact is not None:
            finding.facts.append((step.fact, f"fd {step.number} is a duplicate"))
        elif _is_of_own_table(step) and step.fact is not None:
            finding.facts.append((step.fact, f"the table is copied, and fd {step.number} with it"))
    if not socket.fin_sure:
        finding.doubt(Confidence.LIKELY, "the peer's end was matched by order of arrival")
    return finding


# One that was closed before the FIN, with the rest in use, had only been moved to another number (dup2 to 0 and 1).
def _closed_sibling(case: Case) -> FileDescriptor | None:
    owner = case.owner
    assert owner is not None and case.socket.fin is not None
    related = [d for d in case.socket.past if d.process is owner.process and d.closed is not None]
    unused = all(d.used is None for d in case.owner_holds)
    # A thread that closes what it got with its table has let go of nothing that the others do not use.
    duplicates = any(d.how == "dup" or (unused and _is_of_own_table(d)) for d in [*related, *case.owner_holds])
    for past in reversed(related):
        assert past.closed is not None
        if duplicates and past.closed.what == "closed" and (past.closed.step > case.socket.fin.step or unused):
            return past
    return None


def _is_of_own_table(descriptor: FileDescriptor) -> bool:
    source = descriptor.source
    return source is not None and source.process is descriptor.process and source.table is not descriptor.table


def _what_it_is(kept: FileDescriptor, closed: FileDescriptor) -> str:
    if kept.table is closed.table:
        return "a duplicate of it"
    return "which another thread has in a table of its own, from unshare(CLONE_FILES)"
