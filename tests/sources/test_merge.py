"""The logs of one `strace -ff` as one stream, with times, with coarse ones and without."""

from __future__ import annotations

from pathlib import Path

import pytest

import tracecorr
from tracecorr.sources.inputs import traces_of
from tracecorr.syscalls.record import ExitRecord, Record, SyscallRecord, UnfinishedRecord

LISTEN = (
    'execve("/srv/app/httpd", ["httpd"], 0x7ffd0c1e5a10 /* 12 vars */) = 0',
    "brk(NULL) = 0x55c1f0a2b000",
    "getpid() = 4100",
    "rt_sigaction(SIGPIPE, {sa_handler=SIG_IGN, sa_mask=[], sa_flags=0}, NULL, 8) = 0",
    "socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_TCP) = 3",
    'bind(3, {sa_family=AF_INET, sin_port=htons(8080), sin_addr=inet_addr("192.0.2.10")}, 16) = 0',
    "listen(3, 128) = 0",
)
ACCEPT = (
    'accept4(3, {sa_family=AF_INET, sin_port=htons(41007), sin_addr=inet_addr("192.0.2.20")}, [128 => 16], '
    "SOCK_CLOEXEC) = 4"
)
FORK = "clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD, child_tidptr=0x7f1c2b7ff9d0) = 4102"
THREAD = (
    "clone3({flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD, exit_signal=0, stack=0x7f1c2afff000,"
    " stack_size=0x7fff00} => {parent_tid=[4102]}, 88) = 4102"
)
EOF = 'read(4, "", 512) = 0'

Lines = list[tuple[float, str]]


def clock(at: float) -> str:
    seconds, microseconds = divmod(round(at * 1e6), 10**6)
    hours = seconds // 3600 % 24
    return f"{hours:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{microseconds:06d} "


def write(folder: Path, style: str, files: dict[int, Lines]) -> str:
    """Write a set; `style` is tt, t (whole seconds) or none."""
    for pid, lines in files.items():
        stamps = [{"tt": clock(at), "t": clock(at)[:8] + " ", "none": ""}[style] for at, _ in lines]
        text = "".join(f"{stamp}{body}\n" for stamp, (_, body) in zip(stamps, lines, strict=True))
        (folder / f"t.{pid}").write_text(text)
    return str(folder / "t")


def server(*lines: tuple[float, str]) -> Lines:
    return [(36000 + n / 1000, body) for n, body in enumerate(LISTEN)] + [(36000 + at, body) for at, body in lines]


def task(*lines: tuple[float, str]) -> Lines:
    return [(36000 + at, body) for at, body in lines]


def records(prefix: str) -> list[Record]:
    return list(traces_of([prefix])[0].records())


def order(prefix: str) -> list[tuple[int, str]]:
    done = [r for r in records(prefix) if isinstance(r, (SyscallRecord, ExitRecord))]
    return [(r.task.tid, r.name if isinstance(r, SyscallRecord) else "exit") for r in done]


def verdicts(prefix: str) -> list[tuple[str, str | None, str, int | None]]:
    return [
        (v.cause, v.detail, v.confidence, v.culprit.pid if v.culprit else None)
        for v in tracecorr.parse([prefix]).verdicts
    ]


def test_records_come_in_the_order_of_their_times(tmp_path: Path) -> None:
    files = {
        4100: task((0.1, "close(3) = 0"), (0.3, "close(5) = 0"), (0.5, "close(7) = 0")),
        4102: task((0.2, "close(4) = 0"), (0.4, "close(6) = 0")),
    }
    closed = [record for record in records(write(tmp_path, "tt", files)) if isinstance(record, SyscallRecord)]
    assert [record.args[0] for record in closed] == [3, 4, 5, 6, 7]
    assert [record.task.tid for record in closed] == [4100, 4102, 4100, 4102, 4100]


def test_a_call_stands_where_it_returned_and_a_close_where_it_was_entered(tmp_path: Path) -> None:
    files = {
        4100: task((0.1, "accept(3, NULL, NULL) = 5 <0.500000>"), (0.7, "close(5) = 0 <0.200000>")),
        4102: task((0.2, "close(4) = 0 <0.000004>"), (0.8, "close(6) = 0 <0.000004>")),
    }
    closed = [record for record in records(write(tmp_path, "tt", files)) if isinstance(record, SyscallRecord)]
    assert [record.args[0] for record in closed] == [4, 3, 5, 6]


FORKED_WORKER = {
    4100: server((0.1, ACCEPT), (0.2, FORK), (0.3, EOF), (0.4, "close(4) = 0"), (0.5, "pause() = ?")),
    4102: task((0.201, "close(3) = 0"), (9.0, "getppid() = 4100"), (9.1, "pause() = ?")),
}


@pytest.mark.parametrize("style", ["tt", "t"])
def test_a_worker_that_kept_a_copy_is_named_with_times(style: str, tmp_path: Path) -> None:
    assert verdicts(write(tmp_path, style, FORKED_WORKER)) == [("inherited-copy", "forked-worker", "certain", 4102)]


def test_a_worker_that_kept_a_copy_is_named_without_times(tmp_path: Path) -> None:
    (verdict,) = verdicts(write(tmp_path, "none", FORKED_WORKER))
    assert (verdict[0], verdict[3]) == ("inherited-copy", 4102) and verdict[2] != "certain"


@pytest.mark.parametrize("style", ["tt", "t", "none"])
def test_a_child_runs_after_its_fork_was_entered(style: str, tmp_path: Path) -> None:
    files = {
        4100: server((0.1, ACCEPT), (0.2, FORK), (0.3, "close(4) = 0"), (0.4, "pause() = ?")),
        4102: task((0.2001, EOF), (0.2002, "shutdown(4, SHUT_RDWR) = 0"), (9.0, "pause() = ?")),
    }
    prefix = write(tmp_path, style, files)
    names = order(prefix)
    assert names.index((4102, "read")) > names.index((4100, "accept4"))
    assert verdicts(prefix) == []
    began = [r.origin.source for r in records(prefix) if isinstance(r, UnfinishedRecord)]
    assert len(began) == 1


def test_durations_do_not_make_whole_seconds_exact(tmp_path: Path) -> None:
    files = {
        4100: server((0.1, f"{ACCEPT} <0.300000>"), (0.45, f"{FORK} <0.000100>"), (0.5, f"{EOF} <0.000004>")),
        4102: task((0.46, "shutdown(4, SHUT_RDWR) = 0 <0.000004>"), (9.0, "pause() = ? <0.000004>")),
    }
    files[4100] += task((0.6, "close(7) = 0 <0.000004>"), (9.0, "pause() = ? <0.000004>"))
    assert verdicts(write(tmp_path, "t", files)) == []


@pytest.mark.parametrize("style", ["tt", "t", "none"])
def test_threads_share_one_table(style: str, tmp_path: Path) -> None:
    files = {
        4100: server((0.1, THREAD), (0.2, ACCEPT), (0.9, "pause() = ?")),
        4102: task((0.3, EOF), (0.4, "close(4) = 0"), (9.0, "pause() = ?")),
    }
    assert verdicts(write(tmp_path, style, files)) == []


@pytest.mark.parametrize("style", ["tt", "t", "none"])
def test_a_wait_returns_after_the_end_of_the_child(style: str, tmp_path: Path) -> None:
    files = {
        4100: server((0.1, FORK), (0.2, "wait4(-1, NULL, 0, NULL) = 4102"), (0.3, ACCEPT)),
        4102: task((0.15, "close(3) = 0"), (0.16, "exit_group(0) = ?"), (0.17, "+++ exited with 0 +++")),
    }
    names = order(write(tmp_path, style, files))
    assert names.index((4102, "exit")) < names.index((4100, "wait4"))


@pytest.mark.parametrize("style", ["tt", "t", "none"])
def test_a_passed_descriptor_is_received_after_it_was_sent(style: str, tmp_path: Path) -> None:
    message = (
        '{msg_name=NULL, msg_namelen=0, msg_iov=[{iov_base="F", iov_len=1}], msg_iovlen=1, msg_control=[{cmsg_len=20,'
        " cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS, cmsg_data=[%d]}], msg_controllen=24, msg_flags=0}, 0) = 1"
    )
    files = {
        4100: server((0.1, "socketpair(AF_UNIX, SOCK_STREAM, 0, [5, 6]) = 0"), (0.15, FORK), (0.2, ACCEPT))
        + task((0.3, f"sendmsg(5, {message % 4}"), (0.4, "close(4) = 0"), (9, "pause() = ?")),
        4102: task((0.3001, f"recvmsg(6, {message % 7}"), (0.5, 'read(7, "", 16) = 0'), (0.6, "close(7) = 0")),
    }
    names = order(write(tmp_path, style, files))
    assert names.index((4100, "sendmsg")) < names.index((4102, "recvmsg"))
    assert verdicts(str(tmp_path / "t")) == []


def test_a_number_is_returned_only_when_it_is_free(tmp_path: Path) -> None:
    files = {
        4100: server((0.1, THREAD), (0.2, ACCEPT), (0.4, ACCEPT), (9, "pause() = ?")),
        4102: task((0.3, EOF), (0.4, "close(4) = 0"), (9.0, "pause() = ?")),
    }
    names = order(write(tmp_path, "none", files))
    assert [name for _, name in names if name in ("accept4", "close")] == ["accept4", "close", "accept4"]


def test_order_that_decides_is_told_as_a_gap_where_there_is_none(tmp_path: Path) -> None:
    files = {
        4100: server((0.1, THREAD), (0.2, ACCEPT), (0.3, EOF), (0.4, "close(4) = 0"), (9, "pause() = ?")),
        4102: task((0.25, FORK.replace("4102", "4103")), (9.0, "pause() = ?")),
        4103: task((0.26, "close(3) = 0"), (9.0, "pause() = ?")),
    }
    report = tracecorr.parse([write(tmp_path, "none", files)])
    assert not [verdict for verdict in report.verdicts if verdict.confidence == "certain"]
    assert "order unknown" in {gap.what for gap in report.gaps} or report.verdicts == ()


def test_a_child_born_after_midnight_follows_its_parent(tmp_path: Path) -> None:
    midnight = 24 * 3600
    files = {
        4100: [(midnight - 1 + n / 1000, body) for n, body in enumerate(LISTEN)]
        + [
            (midnight + 0.1, ACCEPT),
            (midnight + 0.2, FORK),
            (midnight + 0.3, "close(4) = 0"),
            (midnight + 9, "pause() = ?"),
        ],
        4102: [(midnight + 0.21, EOF), (midnight + 0.22, "close(4) = 0"), (midnight + 9, "pause() = ?")],
    }
    names = order(write(tmp_path, "tt", files))
    assert names.index((4102, "read")) > names.index((4100, "clone"))


def test_exec_frees_the_numbers_that_close_on_exec(tmp_path: Path) -> None:
    again = 'execve("/srv/app/tool", ["tool"], 0x7ffd0c1e5a10 /* 12 vars */) = 0'
    copy = THREAD.replace("4102", "4103")
    files = {
        4100: server((0.1, ACCEPT), (0.2, again), (0.3, THREAD), (0.4, copy), (9, "pause() = ?")),
        4102: task((0.5, ACCEPT), (0.5001, "close(4) = 0"), (9, "pause() = ?")),
        4103: task((0.5002, ACCEPT), (0.5003, 'read(4, "x", 1) = 1'), (9, "pause() = ?")),
    }
    names = [entry for entry in order(write(tmp_path, "tt", files)) if entry[1] in ("accept4", "close")]
    assert names == [(4100, "accept4"), (4102, "accept4"), (4102, "close"), (4103, "accept4")]


def test_a_task_that_made_no_call_is_known_to_be_there(tmp_path: Path) -> None:
    files = {4100: FORKED_WORKER[4100] + task((9.0, "pause() = ?")), 4102: []}
    report = tracecorr.parse([write(tmp_path, "tt", files)])
    assert [(v.cause, v.culprit and v.culprit.pid) for v in report.verdicts] == [("inherited-copy", 4102)]
    assert "children unseen" not in {gap.what for gap in report.gaps}


def test_a_child_without_a_file_is_unseen(tmp_path: Path) -> None:
    report = tracecorr.parse([write(tmp_path, "tt", {4100: FORKED_WORKER[4100] + task((9.0, "pause() = ?"))})])
    assert report.verdicts == ()
    assert "children unseen" in {gap.what for gap in report.gaps}
