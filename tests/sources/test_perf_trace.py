from __future__ import annotations

import pytest

from tracecorr.events import TaskId
from tracecorr.kernel import AF_INET, F_SETFD, MSG_PEEK, O_CLOEXEC, SOCK_CLOEXEC
from tracecorr.sources import perf_trace
from tracecorr.sources.base import LogFormat, Tally
from tracecorr.syscalls.record import NameRecord, Record, SyscallRecord, UnfinishedRecord

FORMAT: LogFormat = perf_trace


def read(text: str) -> tuple[list[Record], Tally]:
    tally = Tally("log", perf_trace.NAME)
    return [record for record in FORMAT.read([text.encode()], tally) if "what" not in record._fields], tally


def call(text: str) -> SyscallRecord:
    return next(r for r in read(f"   1.000 ( 0.500 ms): srv/7 {text}\n")[0] if isinstance(r, SyscallRecord))


@pytest.mark.parametrize(
    ("text", "args"),
    [
        ("close() = 0", [0]),
        ("close(fd: 4<socket:[71]>) = 0", [4]),
        ("dup2(oldfd: 5</tmp/a, b: c>) = 0", [5, 0]),
        ("socket(family: INET, type: STREAM|CLOEXEC|NONBLOCK) = 3", [AF_INET, 1 | SOCK_CLOEXEC | 0o4000, 0]),
        ("accept4(fd: 3, upeer_sockaddr: 0x7ffe, upeer_addrlen: 0x7fff, flags: 524288) = 4", [3, 0x7FFE, "", SOCK_CLOEXEC]),
        ("recvfrom(fd: 4, ubuf: 0x7ffe, size: 1, flags: PEEK|DONTWAIT) = 0", [4, "", 1, MSG_PEEK | 0x40]),
        ("fcntl(fd: 4, cmd: SETFD, arg: CLOEXEC) = 0", [4, F_SETFD, 1]),
        ("shutdown(fd: 4, how: 1) = 0", [4, 1]),
        ("close_range(fd: 3, max_fd: -1) = 0", [3, -1, 0]),
        ("clone(clone_flags: VM|FILES|THREAD|0x11, newsp: 0x7f) = 9", [0x100 | 0x400 | 0x10000 | 0x11]),
        ("epoll_ctl(epfd: 5, op: ADD, fd: 4, event: 0x7ffe) = 0", [5, 1, 4]),
        ("openat(dfd: CWD, filename: 0x7ffe, flags: RDONLY|CLOEXEC) = 4", [0, 0x7FFE, O_CLOEXEC]),
        ("connect(fd: 4, uservaddr: { .family: INET, port: 80, addr: 192.0.2.9 }, addrlen: 16) = 0",
         [4, {"sa_family": AF_INET, "sin_port": 80, "sin_addr": "192.0.2.9"}]),
    ],
)  # fmt: skip
def test_arguments_stand_where_decoders_look_and_what_is_left_out_is_0(text: str, args: list[object]) -> None:
    assert list(call(text).args) == args


@pytest.mark.parametrize(
    ("result", "value", "errno"),
    [
        ("0", 0, None), ("44 (srv)", 44, None), ("10</dev/null>", 10, None), ("0x7f00", 0x7F00, None), ("", 0, None),
        ("?", None, None), ("CLOEXEC", 1, None), ("-1 EAGAIN (Resource temporarily unavailable)", -1, "EAGAIN"),
        ("-1 (unknown) (INTERNAL ERROR: strerror_r(514, [buf], 128)=22)", None, "ERESTARTNOHAND"),
    ],
)  # fmt: skip
def test_results(result: str, value: int | None, errno: str | None) -> None:
    assert call(f"fcntl(fd: 4, cmd: GETFD) = {result}")[3:5] == (value, errno)


def test_times_are_those_of_the_entry_and_lengths_lead_to_the_return() -> None:
    record = call("read(fd: 4, buf: 0x7ffe, count: 9) = 1")
    assert (record.task, record.entered, record.returned) == (TaskId(7), 1_000_000, 1_500_000)


def test_a_call_that_is_cut_is_joined() -> None:
    records, tally = read(
        "   1.000 (         ): srv/7 read(fd: 4, buf: 0x7ffe, count: 9) ...\n"
        "   2.000 ( 0.100 ms): srv/8 close(fd: 9) = 0\n"
        "   1.000 ( 9.000 ms): srv/7  ... [continued]: read()) = 0\n"
    )
    began, _, ended = [record for record in records if not isinstance(record, NameRecord)]
    assert isinstance(began, UnfinishedRecord) and isinstance(ended, SyscallRecord)
    assert (ended.args, ended.result, ended.began.line, ended.returned) == ([4, "", 9], 0, 1, 10_000_000)
    assert tally.calls == 2


def test_a_child_does_not_show_itself_by_the_return_of_its_fork() -> None:
    records, _ = read("         ? (         ): srv/9  ... [continued]: clone()) = 0\n")
    assert records == []


def test_lines_without_a_task_are_those_of_one() -> None:
    records, tally = read("   1.000 ( 0.500 ms): close(fd: 3) = 0\n")
    assert [record.task for record in records if isinstance(record, SyscallRecord)] == [TaskId(0)]
    assert not tally.columns
