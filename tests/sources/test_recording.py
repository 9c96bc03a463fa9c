"""The file of a live session: whatever is written is read back, nothing of the payload is in it, any bytes are survived."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tracecorr.events import Endpoint, Gap, Origin, TaskId
from tracecorr.kernel import TcpState
from tracecorr.sources import recording
from tracecorr.sources.base import Tally
from tracecorr.sources.recording import KINDS, Writer
from tracecorr.syscalls.record import (
    DescriptorFound,
    DetachedRecord,
    ExitRecord,
    LookRecord,
    NameRecord,
    Record,
    SignalRecord,
    StackRecord,
    StateRecord,
    SupersededRecord,
    SyscallRecord,
    TaskFound,
    TransferRecord,
    UnfinishedRecord,
)

FILE = "seen.jsonl"
TASK = TaskId(7)
HERE, THERE = Endpoint("192.0.2.10", 80), Endpoint("2001:db8::20", 41007)


def at_line(number: int) -> Origin:
    return Origin(FILE, number)


# Lines are counted from the header, which is the first.
def records() -> list[Record]:
    began, lines = at_line(2), iter(map(at_line, range(3, 30)))
    here = next(lines)
    call = next(lines)
    flags = {"sa_family": 2, "sin_port": 80, 0: "first"}
    return [
        UnfinishedRecord(TASK, "accept4", [3, None], 100, began),
        SyscallRecord(TASK, "accept4", [3, flags, [16], 524288], 5, None, 100, 200, here, began),
        SyscallRecord(TASK, "poll", [[{"fd": 3, "events": 1}], 1], 1, None, 200, 300, call, call, None, False, [{"x": 1}]),
        SyscallRecord(TASK, "read", [5], -1, "EAGAIN", None, None, (one := next(lines)), one, "pipe:[5]", True),
        ExitRecord(TASK, 400, next(lines), "killed by SIGKILL"),
        SupersededRecord(TASK, 400, next(lines), TaskId(8)),
        SignalRecord(TASK, 400, next(lines), "SIGCHLD", "CLD_EXITED", 9),
        NameRecord(TASK, None, next(lines), "wörker\x1b"),
        DetachedRecord(TASK, None, next(lines)),
        StackRecord(TASK, next(lines), ["/usr/bin/server(serve+0x10) [0x1]"]),
        TaskFound(TASK, 1, next(lines), 7, 1, None, TASK),
        DescriptorFound(TASK, 1, next(lines), 5, "socket:[9]", True, TcpState.CLOSE_WAIT, HERE, THERE, 1, "accepted"),
        DescriptorFound(TASK, 1, next(lines), 6, "anon_inode:[eventpoll]", watches=((5, 0x2019, 31), (6, 1, None))),
        DescriptorFound(TASK, 1, next(lines), 7, None),
        StateRecord(1, next(lines), TcpState.ESTABLISHED, TcpState.CLOSE_WAIT, HERE, THERE),
        TransferRecord(TASK, 1, next(lines), HERE, THERE, False, 0, True),
        TransferRecord(TASK, 1, next(lines), HERE, THERE, True, 12),
        LookRecord(1, next(lines), [{"cause": "never-accepted", "stuck_for": 1.5, "evidence": []}]),
        Gap("events lost", "12 of them", "a larger buffer", FILE, None),
    ]  # fmt: skip


def written(things: list[Record]) -> bytes:
    stream = io.StringIO()
    writer = Writer(stream, "ptrace", 1)
    for thing in things:
        writer.write(thing)
    return stream.getvalue().encode()


def read(text: bytes) -> tuple[list[Record], Tally]:
    tally = Tally(FILE, recording.NAME)
    return list(recording.read([text], tally)), tally


def test_every_kind_of_record_is_read_back_as_it_was() -> None:
    before = records()
    after, tally = read(written(before))

    assert after == before
    assert {type(record) for record in before} == set(KINDS.values())
    assert (tally.skipped, tally.lines, tally.first, tally.last) == (0, len(before) + 1, 1, 400)


def test_a_call_in_one_line_and_one_in_two_are_told_apart() -> None:
    after, _ = read(written(records()))
    halves = [record for record in after if isinstance(record, SyscallRecord)]

    assert [record.began is record.origin for record in halves] == [False, True, True]


def test_what_was_read_and_written_is_left_out() -> None:
    origin = at_line(2)
    message = {"msg_name": None, "msg_iov": [{"iov_base": "secret", "iov_len": 6}], "msg_control": "secret"}
    calls: list[Record] = [
        SyscallRecord(TASK, "write", [5, "secret", 6], 6, None, 1, 2, origin, origin),
        SyscallRecord(TASK, "recvmsg", [5, message, 0], 6, None, 1, 2, origin, origin),
        UnfinishedRecord(TASK, "sendto", [5, "secret"], 1, origin),
    ]
    text = written(calls)

    assert b"secret" not in text
    assert json.loads(text.splitlines()[2])[3][1]["msg_iov"] == [{"iov_base": None, "iov_len": 6}]


@pytest.mark.parametrize(
    "line",
    [
        b"", b"null", b"[]", b"{}", b'["call"]', b'["call",1]', b'["no such kind",1]', b'[["call"],1]', b'["call","7","read"]',
        b'["fd",7,1]', b'["fd",7,1,"5","socket:[1]"]', b'["state",1,"ESTABLISHED","NO_STATE",["a",1],["b",2]]',
        b'["task",7,1,null]', b'["exit",7]', b'["state",1,"CLOSE","CLOSE",["a"],["b",2]]', b"\xff\xfe", b'["call",7,"re',
        b"[" * 5000, b'["call",7,"read",' + b"[" * 2000 + b"]" * 2000 + b"]", b"[1e999]",
    ],
    ids=lambda line: line[:20],
)  # fmt: skip
def test_a_line_that_is_no_record_is_counted_and_told(line: bytes) -> None:
    good = written(records()[:1])
    after, tally = read(good + line + b"\n" + good.splitlines()[1] + b"\n")

    assert len(after) == 2
    assert (tally.skipped, [number for number, _ in tally.samples]) == (1, [3])


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_after_the_header_end_without_an_error(noise: bytes) -> None:
    _, tally = read(b'{"tracecorr":1}\n' + noise)

    assert tally.lines == 1 + len(noise.removesuffix(b"\n").split(b"\n")) * bool(noise)


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.lists(JSON, max_size=9)), max_size=12))
def test_any_arrays_are_replayed_without_an_error(lines: list[tuple[str, list[Any]]]) -> None:
    from tracecorr.model.replay import replay
    from tracecorr.model.system import System
    from tracecorr.syscalls.decode import decode

    text = b"\n".join(json.dumps([kind, *fields]).encode() for kind, fields in lines)
    after, _ = read(b'{"tracecorr":1}\n' + text)
    system = System(by_line=True)

    for event in decode(after):
        replay(system, event)
