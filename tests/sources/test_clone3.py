from __future__ import annotations

from tracecorr.events import Origin, TaskId
from tracecorr.kernel import CLONE_FILES
from tracecorr.sources.clone3 import told
from tracecorr.syscalls.processes import clone_flags
from tracecorr.syscalls.record import Record, SyscallRecord, UnfinishedRecord, Value

PARENT, CHILD = TaskId(10), TaskId(11)
ORIGIN = Origin("log", 1)


def enter(task: TaskId, name: str, args: list[Value] | None = None) -> UnfinishedRecord:
    return UnfinishedRecord(task, name, [0x7FFE0000] if args is None else args, None, ORIGIN)


def leave(began: UnfinishedRecord, result: int) -> SyscallRecord:
    return SyscallRecord(began.task, began.name, began.args, result, None, None, None, Origin("log", 2), began.origin)


def shares(records: list[Record]) -> list[bool]:
    found = [record for record in told(records) if isinstance(record, SyscallRecord) and record.name == "clone3"]
    return [bool(clone_flags(record) & CLONE_FILES) for record in found]


def test_a_child_that_executes_before_its_caller_returns_shares_nothing() -> None:
    call = enter(PARENT, "clone3")
    assert shares([call, enter(CHILD, "close", [3]), enter(CHILD, "execve"), leave(call, 11)]) == [False]


def test_a_child_whose_exec_is_printed_after_its_caller_returned_shares_nothing() -> None:
    call = enter(PARENT, "clone3")
    assert shares([call, enter(CHILD, "close", [3]), leave(call, 11), enter(CHILD, "execve")]) == [False]


def test_a_child_that_makes_any_other_call_after_its_caller_returned_is_a_thread() -> None:
    call = enter(PARENT, "clone3")
    assert shares([call, leave(call, 11), enter(CHILD, "read", [4])]) == [True]


def test_a_child_that_begins_as_threads_do_is_one_at_once() -> None:
    call = enter(PARENT, "clone3")
    records = told([call, enter(CHILD, "rseq"), leave(call, 11), enter(PARENT, "read", [4])])
    assert len(list(records)) == 4
    assert shares([enter(PARENT, "clone3")]) == []


def test_a_child_that_never_shows_itself_is_taken_for_a_thread() -> None:
    call = enter(PARENT, "clone3")
    assert shares([call, leave(call, 11), enter(PARENT, "read", [4])]) == [True]


def test_flags_that_are_known_are_left_alone() -> None:
    call = enter(PARENT, "clone3", [{"flags": 0}])
    assert shares([call, leave(call, 11)]) == [False]


def test_records_keep_their_order_and_none_is_held_back_for_ever() -> None:
    call = enter(PARENT, "clone3")
    records: list[Record] = [call, *(enter(TaskId(99), f"call{number}") for number in range(30_000))]
    stream = told(iter(records))
    assert next(stream) is call
    assert [call, *stream] == records


def test_a_failed_call_makes_nothing_and_waits_for_nobody() -> None:
    call = enter(PARENT, "clone3")
    failed = leave(call, -1)._replace(errno="EAGAIN")
    later = enter(PARENT, "read", [4])
    assert list(told([call, failed, later])) == [call, failed, later]
