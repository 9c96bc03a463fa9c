"""clone3(2) in logs that print the address of its flags: what it made is told by what the child does first.

The C library makes threads by clone3, and with CLONE_VM|CLONE_VFORK the children of posix_spawn(3) and system(3).
These flags suspend the caller until the child has executed a program or ended (clone(2)), and a thread does neither: so
all records wait from the entry of such a call until the child has betrayed itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

from tracecorr.events import TaskId
from tracecorr.kernel import CLONE_FILES, CLONE_THREAD, CONSTANTS
from tracecorr.syscalls.record import Record, SyscallRecord, UnfinishedRecord, Value

# How many records wait at most: a caller whose return was lost must not hold back the whole log.
_PATIENCE: Final = 20_000

# The same for the return of a clone: other tasks go on meanwhile.
_FAR: Final = 2_000
_CLONES: Final = frozenset(["clone", "clone3"])

_THREAD: Final = {"flags": CLONE_FILES | CLONE_THREAD}
_SPAWNED: Final = {"flags": CONSTANTS["CLONE_VM"] | CONSTANTS["CLONE_VFORK"]}
_NO_THREAD: Final = frozenset(["execve", "execveat", "exit_group"])
# How the C library's threads begin (start_thread() in nptl/pthread_create.c of glibc).
_BEGINS_THREAD: Final = frozenset(["rseq", "set_robust_list"])


def told(records: Iterable[Record]) -> Iterator[Record]:
    """Yield the records, each clone3 of unknown flags with those that its child betrays."""
    wait = _Wait()
    for record in records:
        yield from wait.next(record)
    yield from wait.release()


def foretold(records: Iterable[Record]) -> Iterator[Record]:
    """Yield the records, each entry of a clone without arguments with those that its return shows.

    strace before 5 prints none of them at the entry, and a child may show itself before the clone has returned.
    """
    stream, ahead = iter(records), deque[Record]()
    while (record := ahead.popleft() if ahead else next(stream, None)) is not None:
        if isinstance(record, UnfinishedRecord) and record.name in _CLONES and not len(record.args):
            record = _with_arguments(record, stream, ahead)
        yield record


def _with_arguments(entry: UnfinishedRecord, stream: Iterator[Record], ahead: deque[Record]) -> UnfinishedRecord:
    at = 0
    while at < _FAR:
        if at == len(ahead):
            record = next(stream, None)
            if record is None:
                break
            ahead.append(record)
        record = ahead[at]
        if isinstance(record, SyscallRecord) and record.task == entry.task:
            return entry._replace(args=record.args) if record.name == entry.name else entry
        at += 1
    return entry


class _Wait:
    """Records held back; `callers` are inside clone3, `children` are new and have betrayed nothing so far."""

    def __init__(self) -> None:
        self.held: list[Record] = []
        self.callers: dict[TaskId, UnfinishedRecord] = {}
        self.children: dict[int, UnfinishedRecord] = {}
        self.executed: set[int] = set()
        self.threads: set[int] = set()

    def next(self, record: Record) -> Iterator[Record]:
        if isinstance(record, UnfinishedRecord) and _is_unknown(record.name, record.args):
            self.callers[record.task] = record
        elif not self.callers and not self.children:
            yield record
            return
        self.held.append(record)
        if isinstance(record, (UnfinishedRecord, SyscallRecord)):
            self._betrayed(record.task.tid, record.name)
            if isinstance(record, SyscallRecord) and record.name == "clone3":
                self._returned(self.callers.pop(record.task, None), record.result or 0)
        if (not self.callers and not self.children) or len(self.held) >= _PATIENCE:
            yield from self.release()

    def _betrayed(self, tid: int, name: str) -> None:
        if name in _NO_THREAD:
            self.executed.add(tid)
        elif name in _BEGINS_THREAD:
            self.threads.add(tid)
        # perf trace may print the return of the caller before the exec that it waited for.
        if caller := self.children.pop(tid, None):
            _settle(caller, spawned=name in _NO_THREAD)

    def _returned(self, caller: UnfinishedRecord | None, child: int) -> None:
        if caller is None:
            return
        if child <= 0 or child in self.executed or child in self.threads or not _is_unknown(caller.name, caller.args):
            _settle(caller, spawned=child in self.executed)
        else:
            self.children[child] = caller

    def release(self) -> Iterator[Record]:
        # Callers that are inside to the end: a child that is new here and executed a program is theirs.
        for caller in self.callers.values():
            _settle(caller, spawned=bool(self.executed - {task.tid for task in self.callers}))
        for caller in self.children.values():
            _settle(caller, spawned=False)
        yield from self.held
        self.held, self.callers, self.children = [], {}, {}
        self.executed.clear()
        self.threads.clear()


def _is_unknown(name: str, args: object) -> bool:
    return name == "clone3" and isinstance(args, list) and not (args and isinstance(args[0], dict))


# The list of arguments is shared by the records of entry and return.
def _settle(caller: UnfinishedRecord, *, spawned: bool) -> None:
    if _is_unknown(caller.name, caller.args):
        args: list[Value] = caller.args  # type: ignore[assignment]  # _is_unknown() has seen that it is a list
        args[:1] = [dict(_SPAWNED if spawned else _THREAD)]
