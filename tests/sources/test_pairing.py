from __future__ import annotations

from tracecorr.events import Origin, TaskId
from tracecorr.sources.base import Tally
from tracecorr.sources.pairing import Pairing, Result
from tracecorr.syscalls.record import SyscallRecord

TASK, OTHER = TaskId(1), TaskId(2)


def origin(line: int) -> Origin:
    return Origin("log", line)


def test_a_return_gets_the_arguments_and_the_line_of_its_entry() -> None:
    tally = Tally("log", "x")
    calls = Pairing(tally)
    began = calls.enter(TASK, "read", [4], 10, origin(1))
    calls.enter(OTHER, "close", [5], 11, origin(2))
    (record,) = calls.leave(TASK, "read", Result(0), 12, origin(3))
    assert began.args is record.args  # type: ignore[union-attr]
    assert isinstance(record, SyscallRecord)
    assert (record.args, record.entered, record.returned) == ([4], 10, 12)
    assert (record.began.line, record.origin.line) == (1, 3)
    assert (tally.calls, tally.names, tally.headless) == (2, {"read", "close"}, 0)


def test_a_return_without_its_entry_has_no_arguments_and_is_counted() -> None:
    tally = Tally("log", "x")
    (record,) = Pairing(tally).leave(TASK, "read", Result(0), 12, origin(3))
    assert isinstance(record, SyscallRecord) and list(record.args) == [] and tally.headless == 1


def test_a_return_of_another_call_does_not_take_the_arguments_of_the_one_that_was_entered() -> None:
    calls = Pairing(Tally("log", "x"))
    calls.enter(TASK, "read", [4], None, origin(1))
    (record,) = calls.leave(TASK, "close", Result(0), None, origin(2))
    assert isinstance(record, SyscallRecord) and list(record.args) == []


def test_the_return_of_fork_in_the_child_and_of_exec_in_the_new_program_tell_nothing() -> None:
    tally = Tally("log", "x")
    calls = Pairing(tally)
    assert list(calls.leave(OTHER, "fork", Result(0), None, origin(1))) == []
    assert list(calls.leave(OTHER, "execve", Result(0), None, origin(2))) == []
    assert tally.headless == 0


def test_any_number_of_tasks_takes_bounded_memory() -> None:
    calls = Pairing(Tally("log", "x"))
    for number in range(200_000):
        calls.enter(TaskId(number), "read", [], None, origin(number))
    assert len(calls._inside) <= 1 << 16
