from __future__ import annotations

import pytest

from tracecorr.events import TaskId
from tracecorr.kernel import AF_INET, AF_INET6, F_DUPFD_CLOEXEC, POLLIN, POLLRDHUP, SOCK_CLOEXEC
from tracecorr.sources import truss_freebsd
from tracecorr.sources.base import LogFormat, Tally
from tracecorr.syscalls.record import DetachedRecord, ExitRecord, Record, SignalRecord, SyscallRecord

FORMAT: LogFormat = truss_freebsd


def read(text: str) -> tuple[list[Record], Tally]:
    tally = Tally("log", truss_freebsd.NAME)
    return [record for record in FORMAT.read([text.encode()], tally) if "what" not in record._fields], tally


def call(text: str) -> SyscallRecord:
    (record,) = read(text + "\n")[0]
    assert isinstance(record, SyscallRecord)
    return record


@pytest.mark.parametrize(
    ("prefix", "task", "at"),
    [
        ("", TaskId(0), None), (" 8561: ", TaskId(1, 8561), None), (" 8561 100171: ", TaskId(1, 8561), None),
        ("100171: ", TaskId(100171, 0), None), (" 8561: 1.000000005 ", TaskId(1, 8561), 1_000_000_005),
        ("1.000000005 0.000000001 ", TaskId(0), 1_000_000_005),
    ],
)  # fmt: skip
def test_prefixes(prefix: str, task: TaskId, at: int | None) -> None:
    record = call(f"{prefix}close(3)\t\t\t\t = 0 (0x0)")
    assert (record.task, record.returned, record.args, record.result) == (task, at, [3], 0)


@pytest.mark.parametrize(
    ("text", "args"),
    [
        ("accept(3,{ AF_INET 192.0.2.20:26522 },0x7fff) = 5 (0x5)",
         [3, {"sa_family": AF_INET, "sin_port": 26522, "sin_addr": "192.0.2.20"}, 0x7FFF]),
        ("accept4(3,{ AF_INET6 [2001:db8::20]:4411 },0x7fff,SOCK_CLOEXEC) = 5 (0x5)",
         [3, {"sa_family": AF_INET6, "sin6_port": 4411, "sin6_addr": "2001:db8::20"}, 0x7FFF, SOCK_CLOEXEC]),
        ("shutdown(0x5,0x1,0x0,0x0,0x0,0x0) = 0 (0x0)", [5, 1, 0, 0, 0, 0]),
        ("socket(PF_INET6,SOCK_STREAM|SOCK_CLOEXEC,0) = 3 (0x3)", [AF_INET6, 1 | SOCK_CLOEXEC, 0]),
        ("socket(28,0x10000001,0) = 3 (0x3)", [AF_INET6, 1 | SOCK_CLOEXEC, 0]),
        ("fcntl(3,17,0xa) = 10 (0xa)", [3, F_DUPFD_CLOEXEC, 10]),
        ('write(4,"a,b) = 3 (0x3)\\"{",14) = 14 (0xe)', [4, 'a,b) = 3 (0x3)\\', 14]),
        ("pipe2({ 4, 5 },0) = 0 (0x0)", [[4, 5], 0]),
        ("poll({ 3/POLLIN/POLLIN|POLLRDHUP 4/POLLOUT/0 },2,-1) = 1 (0x1)",
         [[{"fd": 3, "events": POLLIN, "revents": POLLRDHUP}, {"fd": 4, "events": 4, "revents": 0}], 2, -1]),
        ("kevent(4,0x0,0,{ 5,EVFILT_READ,EV_EOF,0,0,0x0 },64,0x0) = 1 (0x1)",
         [[{"fd": 5, "events": POLLIN, "revents": POLLRDHUP}]]),
        ("kevent(4,0x0,0,{ 5,EVFILT_READ,EV_EOF,54,0,0x0 },64,0x0) = 1 (0x1)",
         [[{"fd": 5, "events": POLLIN, "revents": 0}]]),
    ],
)  # fmt: skip
def test_arguments_are_linux_values(text: str, args: list[object]) -> None:
    assert list(call(text).args) == args


@pytest.mark.parametrize(
    ("text", "result", "errno"),
    [
        ("read(4,0x7ff,9) ERR#35 'Resource temporarily unavailable'", -1, "EAGAIN"),
        ("write(4,0x7ff,9) ERR#54 'Connection reset by peer'", -1, "ECONNRESET"),
        ("sigreturn(0x7ff) EJUSTRETURN", 0, None),
        ("mmap(0x0,4096) = -1081090048 (0xbf8fe000)", -1081090048, None),
    ],
)
def test_results(text: str, result: int, errno: str | None) -> None:
    assert call(text)[3:5] == (result, errno)


def test_deltas_alone_are_summed_for_each_thread() -> None:
    lines = ["0.500000000 ", "0.100000000 ", "0.400000000 ", "0.100000000 "]
    records, _ = read("".join(f"  7: {time}close({fd}) = 0 (0x0)\n" for fd, time in enumerate(lines)))
    times = [record.returned for record in records if isinstance(record, SyscallRecord)]
    assert times == [500_000_000, 600_000_000, 1_000_000_000, 1_100_000_000]


def test_a_new_process_that_forks_what_never_shows_itself_is_left_unread() -> None:
    records, tally = read(
        "  10: fork() = 11 (0xb)\n  11: getpid() = 11 (0xb)\n  11: fork() = 59 (0x3b)\n"
        "  11: accept(12,{ sa_len = 50, sa_family = 99, sa_data = { 0x6f } },0x20) = 1 (0x1)\n  10: close(3) = 0 (0x0)\n"
    )
    assert [type(record).__name__ for record in records] == [
        "SyscallRecord", "SyscallRecord", "DetachedRecord", "SyscallRecord",
    ]  # fmt: skip
    assert isinstance(records[2], DetachedRecord) and records[2].task == TaskId(1, 11)
    assert tally.skipped == 1


def test_forks_of_processes_older_than_the_log_are_believed() -> None:
    records, _ = read("  10: fork() = 59 (0x3b)\n  10: close(3) = 0 (0x0)\n")
    assert [record.name for record in records if isinstance(record, SyscallRecord)] == ["fork", "close"]


def test_signals_and_ends() -> None:
    records, tally = read(
        "  10: SIGNAL 20 (SIGCHLD) code=CLD_EXITED pid=11 uid=0 status=0\n"
        "  10: process killed, signal = 15 (core dumped)\nprocess exit, rval = 1\n"
    )
    signal, ended = records
    assert isinstance(signal, SignalRecord) and (signal.signal, signal.code, signal.sender) == (
        "SIGCHLD",
        "CLD_EXITED",
        11,
    )
    assert isinstance(ended, ExitRecord) and ended.how == "killed by signal 15"
    assert tally.skipped == 1  # who it was that exited is not said
