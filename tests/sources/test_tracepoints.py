from __future__ import annotations

import pytest

from tracecorr.events import Endpoint, Origin, TaskId
from tracecorr.kernel import TcpState
from tracecorr.sources.base import Tally
from tracecorr.sources.tracepoints import X86_64, Tracepoints, arguments, machine, result
from tracecorr.syscalls.record import ExitRecord, Record, StateRecord, SyscallRecord

TASK = TaskId(7)


def events(*told: tuple[str, str]) -> list[Record]:
    points = Tracepoints(Tally("log", "x"))
    points.raw = X86_64
    return [
        record
        for line, (event, text) in enumerate(told)
        for record in points.event(TASK, event, text, line, Origin("log", line))
    ]


@pytest.mark.parametrize(
    ("text", "value", "error"),
    [
        ("0x3", 3, None), ("0", 0, None), ("-11", -1, "EAGAIN"), ("0xfffffffffffffff5", -1, "EAGAIN"),
        ("0xfffffffffffffe00", None, "ERESTARTSYS"), ("0x7f61a53ac478", 0x7F61A53AC478, None),
        ("-514", None, "ERESTARTNOHAND"), ("-4095", -1, "errno 4095"), ("-4096", -4096, None),
    ],
)  # fmt: skip
def test_results_and_errors(text: str, value: int | None, error: str | None) -> None:
    assert result(text)[:2] == (value, error)


def test_arguments_stand_in_their_order_whatever_they_are() -> None:
    assert arguments("dfd: 0xffffff9c, filename: 0x7ffe, flags: 0x00080000") == [0xFFFFFF9C, 0x7FFE, 0x80000]
    assert arguments("fd: 3, how: SHUT_WR, flags: O_CLOEXEC|0x800")[1:] == [1, 0o2000000 | 0x800]
    assert arguments("") == []


def test_a_task_made_within_a_call_tells_the_flags_of_that_call() -> None:
    record = events(
        ("sys_enter_clone3", "uargs: 0x7ffe, size: 0x58"),
        ("task_newtask", "pid=9 comm=x y clone_flags=3d0f00 oom_score_adj=0"),
        ("sys_exit_clone3", "0x9"),
    )[-1]
    assert isinstance(record, SyscallRecord) and record.args[0] == {"flags": 0x3D0F00}


def test_a_task_made_by_a_call_that_is_not_recorded_is_made_all_the_same() -> None:
    (record,) = events(("task:task_newtask", "pid=9 comm=x clone_flags=1200000 oom_score_adj=0"))
    assert isinstance(record, SyscallRecord)
    assert (record.name, record.args, record.result) == ("clone", [0x1200000], 9)


def test_the_end_of_a_task_and_the_state_of_a_connection() -> None:
    ended, changed = events(
        ("sched_process_exit", "comm=x pid=7 prio=120"),
        (
            "sock:inet_sock_set_state",
            "family=AF_INET protocol=IPPROTO_TCP sport=80 dport=41007 saddr=192.0.2.10 daddr=192.0.2.20 "
            "saddrv6=::ffff:192.0.2.10 daddrv6=::ffff:192.0.2.20 oldstate=TCP_ESTABLISHED newstate=TCP_CLOSE_WAIT",
        ),
    )
    assert isinstance(ended, ExitRecord) and isinstance(changed, StateRecord)
    assert changed[2:] == (
        TcpState.ESTABLISHED, TcpState.CLOSE_WAIT, Endpoint("192.0.2.10", 80), Endpoint("192.0.2.20", 41007),
    )  # fmt: skip


def test_registers_behind_the_last_argument_are_no_flags() -> None:
    (record,) = events(("raw_syscalls:sys_enter".rpartition(":")[2], "NR 288 (3, 0, 0, 0, 80000, 80000)"))
    assert record.args == [3, 0, 0, 0]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("numbers", "known"),
    [([0, 1, 3, 9, 232], True), ([63, 64, 57, 222], False), ([3, 4, 6, 5, 3, 4], False), ([], False)],
)
def test_numbers_are_names_only_where_the_machine_shows_itself(numbers: list[int], known: bool) -> None:
    lines = [b"x 7 [000] 1.000001: raw_syscalls:sys_enter: NR %d (0, 0, 0, 0, 0, 0)" % number for number in numbers]
    assert (machine(lines) is not None) is known


def test_calls_of_an_unknown_machine_are_a_gap_and_not_a_guess() -> None:
    points = Tracepoints(Tally("log", "x"))
    assert list(points.event(TASK, "sys_enter", "NR 57 (3, 0, 0, 0, 0, 0)", 1, Origin("log", 1))) == []
    assert [gap.what for gap in points.unnamed(points.tally)] == ["calls without names"]
