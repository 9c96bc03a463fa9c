"""Work grows with the log, not with its square, and memory with what is open.

Work is counted in lines of Python that run, not in time.
"""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import tracecorr

HEAD = [
    '4100  10:00:00.000100 execve("/srv/app/httpd", ["httpd"], 0x7f /* 12 vars */) = 0 <0.000400>',
    "4100  10:00:00.000200 brk(NULL) = 0x1",
    "4100  10:00:00.000300 getpid() = 4100",
    '4100  10:00:00.000400 uname({sysname="Linux"}) = 0',
    "4100  10:00:00.000500 socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = 3 <0.000004>",
    "4100  10:00:00.000600 close(9) = -1 EBADF (Bad file descriptor)",
]
END = ["4100  10:10:00.000000 close(9) = -1 EBADF (Bad file descriptor)"]
PEER = '{sa_family=AF_INET, sin_port=htons(%d), sin_addr=inet_addr("192.0.2.20")}'


def accept(n: int) -> str:
    return f"4100  10:00:01.{n:06d} accept4(3, {PEER % (10000 + n)}, [16], 0) = {n + 10} <0.000004>"


def ignored(n: int) -> list[str]:
    return [accept(n), f'4100  10:00:02.{n:06d} read({n + 10}, "", 512) = 0 <0.000004>']


def pooled(n: int) -> list[str]:
    fd = n + 10
    return [
        f"4100  10:00:01.{n:06d} socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = {fd}",
        f"4100  10:00:01.{n:06d} connect({fd}, {PEER % 9000}, 16) = 0",
        f'4100  10:00:01.{n:06d} write({fd}, "x", 1) = 1',
        f'4100  10:00:01.{n:06d} read({fd}, "x", 512) = 1',
        f"4100  10:00:02.{n:06d} poll([{{fd={fd}, events=POLLRDHUP}}], 1, 0) = 1 ([{{fd={fd}, revents=POLLRDHUP}}])",
    ]


def passed(n: int) -> list[str]:
    control = f"msg_control=[{{cmsg_len=20, cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS, cmsg_data=[{n + 10}]}}]"
    return [
        accept(n),
        f"4100  10:00:02.{n:06d} sendmsg(8, {{msg_name=NULL, msg_iov=[], {control}, msg_flags=0}}, 0) = 1",
    ]


KINDS: dict[str, Callable[[int], list[str]]] = {
    "connections that are ignored": ignored,
    "connections in a pool": pooled,
    "connections that are passed on": passed,
    "connections that stay open": lambda n: [accept(n)],
    "connections on one number": lambda n: [accept(0)],
    "children that end": lambda n: [
        f"4100  10:00:01.0 fork() = {5000 + n}",
        f"{5000 + n}  10:00:01.0 +++ exited with 0 +++",
    ],
    "children that stay": lambda n: [f"4100  10:00:01.0 fork() = {5000 + n}", f"{5000 + n}  10:00:01.0 close(2) = 0"],
    "tasks older than the log": lambda n: [f'{5000 + n}  10:00:01.0 read(5, "x", 512) = 1'],
    "forks that do not return": lambda n: [f"{5000 + n}  10:00:01.0 fork( <unfinished ...>"],
    "numbers from before the log": lambda n: [f'4100  10:00:01.0 read({n + 10}, "x", 512) = 1'],
    "registrations with the same data": lambda n: [
        f"4100  10:00:01.0 epoll_ctl(4, EPOLL_CTL_ADD, {n + 10}, {{events=EPOLLIN, data={{u32=7, u64=7}}}}) = 0"
    ],
}


def log_of(folder: Path, lines: list[str]) -> Path:
    path = folder / "trace.log"
    path.write_text("".join(f"{line}\n" for line in [*HEAD, *lines, *END]))
    return path


def work(path: Path) -> int:
    """Return how many lines of the package a parse runs: a loop counts with each of its turns."""
    count = 0

    def local(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        count += event == "line"
        return local

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        return local if "tracecorr" in frame.f_code.co_filename else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        tracecorr.parse([path])
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("kind", KINDS)
def test_twice_the_log_is_twice_the_work(kind: str, tmp_path: Path) -> None:
    amounts = [
        work(log_of(tmp_path, [line for n in range(count) for line in KINDS[kind](n)])) for count in (300, 600, 1200)
    ]
    first, second = amounts[1] - amounts[0], amounts[2] - amounts[1]
    assert second < 2.5 * first, amounts


def peak(path: Path) -> int:
    tracemalloc.start()
    tracecorr.parse([path])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def test_a_range_of_numbers_takes_no_more_memory_than_its_bounds(tmp_path: Path) -> None:
    lines = [
        "4100  10:00:01.0 close_range(9, 65535, 0) = 0",
        *(f"4100  10:00:01.0 fork() = {5000 + n}" for n in range(20)),
    ]
    assert peak(log_of(tmp_path, lines)) < 20 << 20


def test_memory_does_not_grow_with_what_was_closed(tmp_path: Path) -> None:
    lines = [line for n in range(3000) for line in (*ignored(n % 5), f"4100  10:00:03.0 close({n % 5 + 10}) = 0")]
    assert peak(log_of(tmp_path, lines)) < 20 << 20
