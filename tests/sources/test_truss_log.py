from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracecorr.events import TaskId
from tracecorr.kernel import AF_INET, AF_INET6, AF_UNIX, F_DUP2FD, POLLHUP, POLLIN
from tracecorr.sources import truss_log
from tracecorr.sources.base import LogFormat, Tally
from tracecorr.syscalls.record import (
    DetachedRecord,
    ExitRecord,
    Record,
    SignalRecord,
    SupersededRecord,
    SyscallRecord,
    UnfinishedRecord,
)

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "fixtures" / "logs" / "truss-solaris"
CORPUS = ROOT.parent / "shared" / "corpus"
FORMAT: LogFormat = truss_log


def read(text: str | bytes) -> tuple[list[Record], Tally]:
    data = text if isinstance(text, bytes) else text.encode()
    tally = Tally("log", truss_log.NAME)
    return list(FORMAT.read([data], tally)), tally


def fixture(case: str) -> tuple[list[Record], Tally]:
    return read((FIXTURES / case / "trace.log").read_bytes())


def calls(records: list[Record]) -> list[SyscallRecord]:
    return [record for record in records if isinstance(record, SyscallRecord)]


def call(text: str) -> SyscallRecord:
    (record,) = read(text)[0]
    assert isinstance(record, SyscallRecord)
    return record


def test_the_child_keeps_the_descriptor_that_its_parent_closes() -> None:
    records, tally = fixture("accept_fork1_parent_closes")
    finished = calls(records)
    parent, child = TaskId(1, 880), TaskId(1, 884)
    accepted = next(record for record in finished if record.name == "accept")
    assert (accepted.task, accepted.result, accepted.errno) == (parent, 6, None)
    assert accepted.args[1] == {"sa_family": AF_INET, "sin_port": 40112, "sin_addr": "192.0.2.77"}
    assert (accepted.began.line, accepted.origin.line) == (6, 7)
    forks = [(record.task, record.result, record.as_child) for record in finished if record.name == "fork1"]
    assert forks == [(parent, 884, False), (child, 880, True)]
    assert [(record.task, record.args[0]) for record in finished if record.name == "close"] == [(parent, 6), (child, 5)]
    end = next(record for record in finished if record.name == "read" and record.result == 0)
    assert (end.task, end.args[0], end.began.line) == (child, 6, 18)
    assert finished[0].args[0] == "./echod" and finished[0].result == 0
    assert (tally.lines, tally.calls, tally.skipped) == (21, 16, 0)
    assert tally.clock is None and tally.columns
    assert {"accept", "fork1", "nanosleep"} <= tally.names


def test_times_of_d_are_those_of_the_return_and_count_from_the_base_line() -> None:
    records, tally = fixture("illumos_forkx_with_times")
    finished = calls(records)
    accepted, forked = finished[0], finished[1]
    assert accepted.returned == 1760000001_750000000 and accepted.entered is None
    assert accepted.args[1] == {"sa_family": AF_INET6, "sin6_port": 50123, "sin6_addr": "::ffff:192.0.2.77"}
    assert forked.entered == forked.returned == 1760000001_750400000
    assert forked.began is forked.origin
    assert (tally.clock, tally.first, tally.last) == ("epoch", 1760000001_750000000, 1760000004_501600000)
    assert next(record.args for record in finished if record.name == "pipe")[0] == [9, 10]
    assert next(record.args for record in finished if record.name == "fcntl")[:3] == [9, F_DUP2FD, 0]
    vforks = [(record.task.pid, record.result, record.as_child) for record in finished if record.name == "vforkx"]
    assert vforks == [(3311, 3307, True), (3307, 3311, False)]
    assert [record.name for record in records if isinstance(record, UnfinishedRecord)] == [
        "accept", "recv", "accept", "vforkx", "waitid",
    ]  # fmt: skip
    assert tally.calls == 11 and tally.skipped == 0


def test_threads_are_told_apart_and_the_last_one_needs_no_number() -> None:
    records, tally = fixture("lwp_threads")
    finished = calls(records)
    assert {record.task for record in finished} == {TaskId(1, 52), TaskId(3, 52), TaskId(7, 52)}
    born = [record for record in finished if record.name == "lwp_create" and record.as_child]
    assert [(record.task.tid, record.result) for record in born] == [(3, 0), (7, 0)]
    polled = next(record for record in finished if record.name == "pollsys")
    assert polled.args[0] == [
        {"fd": 20, "events": POLLIN | 0x40, "revents": POLLIN | POLLHUP},
        {"fd": -1, "events": 0, "revents": 0},
    ]
    asleep = next(record for record in records if isinstance(record, UnfinishedRecord))
    assert asleep.args[0][0] == {"fd": 11, "events": POLLIN, "revents": 0}
    assert records[-1].task == TaskId(7, 52)  # type: ignore[union-attr]
    assert tally.calls == 15 and tally.skipped == 0


def test_signals_and_the_process_that_one_of_them_ends() -> None:
    records, tally = fixture("sleeping_and_signals")
    signals = [record for record in records if isinstance(record, SignalRecord)]
    assert [(record.signal, record.code, record.sender) for record in signals] == [
        ("SIGUSR1", None, 640), ("SIGCLD", "CLD_EXITED", 977), ("SIGSEGV", "SEGV_MAPERR", None),
    ]  # fmt: skip
    interrupted = next(record for record in calls(records) if record.errno == "EINTR")
    assert (interrupted.result, interrupted.began.line, interrupted.origin.line) == (-1, 9, 15)
    assert sum(isinstance(record, UnfinishedRecord) for record in records) == 2
    end = records[-1]
    assert isinstance(end, ExitRecord) and (end.task, end.how) == (TaskId(0), "killed by SIGSEGV")
    assert not tally.columns and tally.calls == 9 and tally.skipped == 0


def test_half_close() -> None:
    records, tally = fixture("half_close_shutdown")
    finished = calls(records)
    halves = [(record.args[1], record.errno) for record in finished if record.name == "shutdown"]
    assert halves == [(1, None), (2, "ENOTCONN")]
    started = next(record for record in finished if record.name == "connect")
    assert (started.result, started.errno) == (-1, "EINPROGRESS")
    assert started.args[1] == {"sa_family": AF_INET, "sin_port": 7005, "sin_addr": "192.0.2.25"}
    assert next(record.errno for record in finished if record.name == "open") == "EACCES"
    assert (finished[-1].name, finished[-1].result, finished[-1].errno) == ("_exit", None, None)
    assert tally.skipped == 0


@pytest.mark.parametrize(
    ("line", "task"),
    [
        ("close(3)\t\t\t\t\t= 0", TaskId(0)),
        ("/2:\tclose(3)\t\t\t\t\t= 0", TaskId(2)),
        ("/1:\tclose(3)\t\t\t\t\t= 0", TaskId(1)),
        ("41:\tclose(3)\t\t\t\t\t= 0", TaskId(1, 41)),
        ("41/6:\t\tclose(3)\t\t\t\t\t= 0", TaskId(6, 41)),
        ("123456/6:\tclose(3)\t\t\t\t\t= 0", TaskId(6, 123456)),
        ("41/6@2:\t\tclose(3)\t\t\t\t\t= 0", TaskId(6, 41)),
        ("41/6@2:\t\t 0.1000\tclose(3)\t\t\t\t\t= 0", TaskId(6, 41)),
        ("41/6:           close(3)                                        = 0", TaskId(6, 41)),
    ],
)
def test_prefixes(line: str, task: TaskId) -> None:
    record = call(line)
    assert (record.task, record.name, record.args, record.result) == (task, "close", [3], 0)


def test_the_prefix_changes_within_a_log() -> None:
    records, _ = read(
        "close(1)\t= 0\n"
        "/1:\tclose(2)\t= 0\n/2:\tclose(3)\t= 0\n/2:\tlwp_exit()\n"
        "close(4)\t= 0\n"
        "9:\tclose(5)\t= 0\n9/1:\t\tclose(6)\t= 0\n9/2:\t\tclose(7)\t= 0\n9/1:\t\tlwp_exit()\n"
        "9:\tclose(8)\t= 0\n"
    )
    assert [(record.args[0], record.task) for record in calls(records) if record.name == "close"] == [
        (1, TaskId(0)), (2, TaskId(0)), (3, TaskId(2)), (4, TaskId(0)),
        (5, TaskId(1, 9)), (6, TaskId(1, 9)), (7, TaskId(2, 9)), (8, TaskId(2, 9)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "result", "errno", "note"),
    [
        ("pipe()\t\t\t\t\t\t= 3 [4]", 3, None, 4),
        ("mmap(0x00000000, 32)\t\t\t= 0xD1F70000", 0xD1F70000, None, None),
        ("lwp_sigmask(SIG_SETMASK, 0x1, 0x0) = 0xFFBFFEFF [0x0000FFFF]", 0xFFBFFEFF, None, 0xFFFF),
        ("umask(077)\t\t\t\t\t= 022", 0o22, None, None),
        ("close(9)\t\t\t\t\tErr#9 EBADF", -1, "EBADF", None),
        ("bind(3, 0x1, 16, SOV_DEFAULT)\t\t\tErr#13 EACCES [net_privaddr]", -1, "EACCES", None),
        ("close(9)\t\t\t\t\tErr#1070", -1, "Err#1070", None),
        ("sigtimedwait(0x1, 0x2, 0x0)\t\t= SIGRTMIN+2", 0, None, None),
        ('execve("/bin/x", 0x1, 0x2)  argc = 1', 0, None, None),
        ("lwp_exit()", None, None, None),
        ("setcontext(0x08046B40)", None, None, None),
        ("exit(0)", None, None, None),
    ],
)
def test_results(text: str, result: int | None, errno: str | None, note: int | None) -> None:
    record = call(f"7:\t{text}")
    assert (record.result, record.errno, record.note) == (result, errno, note)


def test_both_ends_of_a_pipe_are_an_argument_as_on_linux() -> None:
    assert call("pipe()\t\t\t\t\t\t= 3 [4]").args == [[3, 4]]
    assert call("pipe([5,6], 0)\t\t\t\t\t= 0").args == [[5, 6], 0]


@pytest.mark.parametrize(
    ("text", "args"),
    [
        ("fcntl(3, F_DUP2FD, 0x00000014)\t= 20", [3, F_DUP2FD, 20]),
        ('open("/tmp/a, (b", O_RDWR|O_CREAT, 0664)\t= 3', ["/tmp/a, (b", 2, 0o664]),
        ('write(4, " " q " ,", 4)\t= 4', [4, ' " q " ,', 4]),
        ('write(4, " ) \\\\0\\nFF..", 6)\t= 6', [4, " ) \\\\0\\nFF..", 6]),
        ('read(4, " G E T   / i n d e x . h".., 8192)\t= 78', [4, " G E T   / i n d e x . h", 8192]),
        ('so_socket(PF_INET, SOCK_STREAM, IPPROTO_IP, "", SOV_DEFAULT)\t= 3', [2, 1, 0, "", "SOV_DEFAULT"]),
        ("ioctl(3, DP_POLL, 0x08047CF0)\t= 1", [3, "DP_POLL", 0x08047CF0]),
        ("listen(-1, NULL, UNHEARD|OF)\t= 0", [-1, None, 0]),
        ("getpid()\t= 4 [3]", []),
    ],
)
def test_arguments(text: str, args: list[object]) -> None:
    assert list(call(text).args) == args


def test_a_nested_argument_does_not_move_the_ones_behind_it() -> None:
    record = call("ioctl(3, (('t'<<8)|23), 0x08047CF0)\t= 0")
    assert len(record.args) == 3 and record.args[0] == 3 and record.args[2] == 0x08047CF0


@pytest.mark.parametrize(
    ("line", "name", "at", "value"),
    [
        ("getsockname(3, 0x1, 0x2, SOV_DEFAULT) = 0", "name", 1, {"sa_family": AF_UNIX, "sun_path": "/run/a b"}),
        ("recvfrom(3, 0x1, 9, 0, 0x2, 0x3) = 9", "from", 4, {"sa_family": AF_UNIX, "sun_path": "/run/a b"}),
        ("recvmsg(3, 0x1, 0) = 9", "msg_name", 1, {"msg_name": {"sa_family": AF_UNIX, "sun_path": "/run/a b"}}),
    ],
)
def test_the_address_goes_where_the_call_has_it(line: str, name: str, at: int, value: object) -> None:
    record = call(f"5/2:\t\t{line}\n5/2:\t\t\tAF_UNIX  {name} = /run/a b\n")
    assert record.args[at] == value


def test_port_get_names_the_descriptor_in_a_second_line() -> None:
    record = call(
        "5:\tport_get(4, 0x08047C40, 0x00000000)\t\t= 0\n5:\t\tevents=0x11 source=4\n5:\t\tobject=0x1f user=0x8063210\n"
    )
    assert record.args[0] == 4
    assert record.args[1] == [{"fd": 31, "events": 0, "revents": 0x11}]


def test_an_explanation_is_found_behind_lines_of_others_and_nothing_overtakes_its_call() -> None:
    accept = "5:\taccept(3, 0x1, 0x2, SOV_DEFAULT)\t= 4\n"
    others = "".join(f"6:\tclose({fd})\t= 0\n" for fd in range(10))
    records, _ = read(accept + others + "5:\t\tAF_INET  name = 192.0.2.1  port = 99\n")
    assert [record.origin.line for record in calls(records)] == list(range(1, 12))
    assert calls(records)[0].args[1] == {"sa_family": AF_INET, "sin_port": 99, "sin_addr": "192.0.2.1"}


def test_a_call_waits_for_its_explanation_no_longer_than_64_lines() -> None:
    def lines() -> list[bytes]:
        accept = b"5:\taccept(3, 0x1, 0x2, SOV_DEFAULT)\t= 4\n"
        return [accept, *(b"6:\tclose(1)\t= 0\n" for _ in range(70)), b"5:\t\tAF_INET  name = 192.0.2.1  port = 99\n"]

    tally = Tally("log", truss_log.NAME)
    stream = truss_log.read(iter(lines()), tally)
    first = next(stream)
    assert isinstance(first, SyscallRecord) and first.args[1] == 1
    assert tally.lines == 66
    assert len(list(stream)) == 70 and first.args[1] == 1


def test_a_call_that_sleeps_twice_is_one_call() -> None:
    text = "pause()\t\t\t\t(sleeping...)\n" * 3 + "pause()\t\t\t\t\t\tErr#4 EINTR\n"
    records, tally = read(text)
    assert [type(record) for record in records] == [UnfinishedRecord, SyscallRecord]
    assert (calls(records)[0].began.line, calls(records)[0].origin.line, tally.calls) == (1, 4, 1)


def test_deltas_are_summed_for_each_lwp() -> None:
    records, tally = read(
        "7/1:\t\t 0.0100\tclose(1)\t= 0\n7/1:\t\t 0.5000\tclose(2)\t= 0\n7/2:\t\t 0.4000\tclose(3)\t= 0\n"
        "7/1:\t\t 0.0001\tclose(4)\t= 0\n7/2:\t\t 0.1001\tclose(5)\t= 0\n7/1:\t\t 0.0000\tclose(6)\t= 0\n"
    )
    assert [record.returned for record in calls(records)] == [
        10_000_000, 510_000_000, 400_000_000, 510_100_000, 500_100_000, 510_100_000,
    ]  # fmt: skip
    assert tally.clock == "relative"


def test_times_without_their_base_line_are_relative() -> None:
    records, tally = read("7:\t10.5000\tclose(1)\t= 0\n7:\t11.5000\tclose(1)\t= 0\n")
    assert [record.returned for record in calls(records)] == [10_500_000_000, 11_500_000_000]
    assert (tally.clock, tally.first, tally.last) == ("relative", 10_500_000_000, 11_500_000_000)


def test_d_D_and_E_together_are_three_columns() -> None:
    record = read(
        "Base time stamp:  1760000000.0001  [ Thu Oct  9 08:53:20 UTC 2025 ]\n"
        " 3.0002\t 1.0000\t 0.0003\tclose(1)\t\t\t\t\t= 0\n"
    )[0][0]
    assert isinstance(record, SyscallRecord) and record.returned == 1760000003_000300000


def test_exec_in_another_lwp_goes_on_as_the_first() -> None:
    records, _ = read('7/3:\t\texecve("/bin/x", 0x1, 0x2)  argc = 1\n7:\tclose(4)\t= 0\n')
    superseded, executed, closed = records
    assert isinstance(superseded, SupersededRecord)
    assert (superseded.task, superseded.by) == (TaskId(1, 7), TaskId(3, 7))
    assert [record.task for record in calls([executed, closed])] == [TaskId(1, 7)] * 2


def test_the_only_lwp_of_a_forked_child_is_its_first_whatever_its_number() -> None:
    records, _ = read(
        "7/5:\t\tfork1()\t\t\t\t\t\t= 8\n8/5:\t\tfork1()\t\t(returning as child ...)\t= 7\n8/5:\t\tclose(3)\t= 0\n"
    )
    assert [record.task for record in calls(records)] == [TaskId(5, 7), TaskId(1, 8), TaskId(1, 8)]


def test_what_is_reported_of_lwps_after_the_exit_of_their_process_is_no_life() -> None:
    records, tally = read(
        "7/1:\t\t_exit(0)\n7:\taccept(3, 0x1, 0x2, SOV_DEFAULT) (sleeping...)\n7/2:\t\tpause()\tErr#4 EINTR\n"
    )
    assert [record.name for record in calls(records)] == ["_exit"]
    assert len(records) == 1 and tally.skipped == 0


def test_a_signal_that_was_waited_for_ends_nothing() -> None:
    signal = "    Received signal #15, SIGTERM, in sigtimedwait() [default]\n"
    assert not any(isinstance(record, ExitRecord) for record in read(signal)[0])
    went_on = "    Received signal #15, SIGTERM [default]\nclose(3)\t\t\t\t\t= 0\n"
    assert not any(isinstance(record, ExitRecord) for record in read(went_on)[0])
    returned = "    Received signal #2, SIGINT, in pollsys() [default]\npollsys(0x1, 1, 0x0, 0x0)\t\tErr#4 EINTR\n"
    assert isinstance(read(returned)[0][-1], ExitRecord)


def test_every_lwp_of_a_killed_process_ends_and_of_a_lost_one_is_let_go() -> None:
    lwps = "7/1:\t\tclose(3)\t= 0\n7/2:\t\tclose(4)\t= 0\n"
    killed = read(lwps + "7:\t*** process killed ***\n")[0][2:]
    assert [(type(record), record.task) for record in killed] == [  # type: ignore[union-attr]
        (ExitRecord, TaskId(1, 7)), (ExitRecord, TaskId(2, 7)),
    ]  # fmt: skip
    lost = read(lwps + "7:\t*** process otherwise traced, releasing ...\n")[0][2:]
    assert [type(record) for record in lost] == [DetachedRecord, DetachedRecord]


def test_lines_of_libraries_buffers_arguments_and_truss_itself_are_understood() -> None:
    records, tally = read(
        "7:\t-> libc:read(0x6, 0x8047a10, 0x400)\n7:\t  <- libc:read() = 40\n7:\t argv: ./x close(3)\n"
        "7:\t  envp with a f(1) = 2\n7:\t   G E T   / H\\n\n7:\tpsargs: ./x -p 1\ntruss: cannot trace 8: no process\n"
        "7:\t*** SUID: ruid/euid/suid = 1 / 0 / 0  ***\n\t\tFWRITE|FNONBLOCK\n\n7:\t\n"
    )
    assert (records, tally.skipped, tally.lines) == ([], 0, 11)


def test_what_is_not_understood_is_counted_and_kept() -> None:
    text = b'7:\tread(12, " H E L\nhello, world\n7:\tclose(3)\nclose(3\xff\n'
    records, tally = read(text)
    assert records == [] and tally.skipped == 4
    assert [line for line, _ in tally.samples] == [1, 2, 3, 4]


def test_line_ends_of_windows_and_a_last_line_without_any() -> None:
    records, tally = read(b"7:\tclose(3)\t\t\t\t\t= 0\r\n7:\tclose(4)\t\t\t\t\tErr#9 EBADF\r\n7:\tclose(5)\t= 0")
    assert [record.args[0] for record in calls(records)] == [3, 4, 5]
    assert (tally.lines, tally.skipped) == (3, 0)


def test_lines_are_numbered_across_blocks() -> None:
    tally = Tally("log", truss_log.NAME)
    records = list(truss_log.read([b"close(1)\t= 0\nclose(2)\t= 0\n", b"close(3)\t= 0\n"], tally))
    assert [record.origin.line for record in calls(records)] == [1, 2, 3]
    assert tally.lines == 3


@pytest.mark.parametrize("case", sorted(path.name for path in FIXTURES.iterdir()))
def test_recognises_its_own(case: str) -> None:
    assert truss_log.recognises((FIXTURES / case / "trace.log").read_bytes().split(b"\n"))


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"close(3)                                = 0\n",
        b"1234  close(3)                          = 0\n",
        b"1234  accept(3,  <unfinished ...>\n",
        b"7209104: 27000883: kread(4, 0x20, 41)\t\t= 41\n7209104: kfork()\t\t\t\t\t= 9306256\n",
        b"socket(2, 1, 0)\t\t\t\t= 4\nkread(4, 0x2000A4C8, 4096)\t\t\t= 0\nclose(4)\t\t\t\t\t= 0\n",
        b" 1021: close(5)\t\t\t\t = 0 (0x0)\n",
        b"socket(PF_INET,SOCK_STREAM,0)\t\t\t = 3 (0x3)\nclose(5)\t\t\t\t ERR#9 'Bad file descriptor'\n",
        b"30115/0x1a4c2:      2718     131     70 socket(0x2, 0x1, 0x0)\t\t = 5 0\n",
        b"  2210 inetd    CALL  accept(0x5,0x7fff,0x7ffe)\n",
        b"4120:\t/usr/bin/fserv -p 80\n  Current rlimit: 256 file descriptors\n",
        b"\x7fELF\x02\x01\x01\x00\x00",
    ],
)
def test_does_not_recognise(head: bytes) -> None:
    assert not truss_log.recognises(head.split(b"\n"))


corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason="the shared corpus is not on this machine")


def is_ours(path: Path) -> bool:
    return path.name.startswith(("truss-solaris", "truss-illumos"))


@corpus
def test_recognises_of_the_corpus_every_solaris_and_illumos_log_and_nothing_else() -> None:
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    found = {path for path in files if truss_log.recognises(path.read_bytes()[: 1 << 16].split(b"\n"))}
    assert found == {path for path in files if is_ours(path)}
    assert len(found) >= 15


@corpus
def test_reads_the_corpus() -> None:
    for path in filter(is_ours, CORPUS.rglob("*")):
        records, tally = read(path.read_bytes())
        assert records and tally.calls > 0
        # The one line of these that has no sense is cut in the middle.
        assert tally.skipped <= (1 if "truncated" in path.name else 0), (path.name, tally.samples)


@corpus
def test_reads_what_is_of_another_kind_without_an_error() -> None:
    for path in CORPUS.rglob("*"):
        if path.is_file():
            read(path.read_bytes())


@given(st.lists(st.binary(max_size=60), max_size=8))
@settings(max_examples=150, deadline=None)
def test_no_bytes_are_an_error(lines: list[bytes]) -> None:
    data = b"\n".join(lines)
    truss_log.recognises(lines)
    assert read(data)[1].lines == data.count(b"\n") + 1 - (data.endswith(b"\n"))


@given(st.text('0123456789/:@\t .()"[]{}<>,|=-\\xAErN#closetaEI_F\n', max_size=200))
@settings(max_examples=300, deadline=None)
def test_no_text_is_an_error(text: str) -> None:
    read(text)
    truss_log.recognises(text.encode().split(b"\n"))


@pytest.mark.parametrize("unit", ['"', "(", ")", "[", '\\"', " ", "\t", ",", "|", "<a", "close(", '" a"', "= 3 ", "1:"])
def test_work_is_linear_in_the_length_of_a_line(unit: str) -> None:
    started = time.monotonic()
    read("7:\tread(4, " + unit * ((1 << 20) // len(unit)))
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("case", sorted(path.name for path in FIXTURES.iterdir()))
def test_blanks_for_tabs_change_nothing(case: str) -> None:
    text = (FIXTURES / case / "trace.log").read_text()
    records, tally = read(text.expandtabs())
    assert records == read(text)[0] and tally.skipped == 0
    assert truss_log.recognises(text.expandtabs().encode().split(b"\n"))


def test_a_notice_of_death_names_the_signal_before_it() -> None:
    records, _ = read("7:\t    Received signal #15, SIGTERM [default]\n7:\t*** process killed ***\n")
    assert [record.how for record in records if isinstance(record, ExitRecord)] == ["killed by SIGTERM"]


def test_a_child_that_execs_has_numbers_of_its_own() -> None:
    records, _ = read(
        "8/5:\t\tvforkx()\t(returning as child ...)\t= 7\n"
        '8/5:\t\texecve("/bin/x", 0x1, 0x2)  argc = 1\n8/1:\t\tclose(3)\t= 0\n8/5:\t\tclose(4)\t= 0\n'
    )
    assert [record.task for record in calls(records)] == [TaskId(1, 8)] * 3 + [TaskId(5, 8)]


def test_times_since_the_base_line_may_be_a_little_out_of_order() -> None:
    records, _ = read("7:\t10.5000\tclose(1)\t= 0\n7:\t11.5003\tclose(1)\t= 0\n7:\t11.5001\tclose(1)\t= 0\n")
    assert [record.returned for record in calls(records)] == [10_500_000_000, 11_500_300_000, 11_500_100_000]
