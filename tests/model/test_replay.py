"""What each call does to tables, descriptions and tasks, seen through lines of a log."""

from __future__ import annotations

import pytest

from tracecorr.events import TaskId
from tracecorr.kernel import Shutdown
from tracecorr.model.fd_table import FdTable, FileDescriptor
from tracecorr.model.open_file import OpenFileDescription
from tracecorr.model.process import Task
from tracecorr.model.replay import REPLAY, replay
from tracecorr.model.system import System
from tracecorr.sources import strace_log
from tracecorr.sources.base import Tally
from tracecorr.syscalls.decode import decode

PEER = '{sa_family=AF_INET, sin_port=htons(%d), sin_addr=inet_addr("192.0.2.20")}'
THREAD = (
    "clone(child_stack=0x7f1c, flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD, parent_tid=[%d]) = %d"
)
SHARER = "clone(child_stack=0x7f1c, flags=CLONE_VM|CLONE_FILES|SIGCHLD) = %d"
MESSAGE = (
    '{msg_name=NULL, msg_namelen=0, msg_iov=[{iov_base="F", iov_len=1}], msg_iovlen=1, msg_control=[{cmsg_len=20,'
    " cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS, cmsg_data=[%s]}], msg_controllen=24, msg_flags=0}, 0) = 1"
)


def after(*lines: str) -> System:
    """Return the system after these lines, each "TASK call": a second of time lies between any two."""
    text = ""
    for second, line in enumerate(lines):
        task, _, body = line.partition(" ")
        text += f"{task} {1760000000 + second}.000000 {body}\n"
    system = System(by_line=True)
    for event in decode(strace_log.read([text.encode()], Tally("trace.log", "strace"))):
        replay(system, event)
    return system


def accept(fd: int, port: int = 41007, flags: str = "0") -> str:
    return f"accept4(3, {PEER % port}, [128 => 16], {flags}) = {fd}"


def task(system: System, tid: int) -> Task:
    return system.tasks[TaskId(tid)]


def table(system: System, tid: int) -> FdTable:
    return task(system, tid).table


def numbers(system: System, tid: int) -> list[int]:
    return sorted(table(system, tid).slots)


def slot(system: System, tid: int, fd: int) -> FileDescriptor:
    return table(system, tid).slots[fd]


def description(system: System, tid: int, fd: int) -> OpenFileDescription:
    return slot(system, tid, fd).description


def holders(system: System, port: int = 41007) -> list[tuple[int | None, int]]:
    found = [s for s in system.connections.values() if s.peer is not None and s.peer.port == port]
    return [(d.process.pid, d.number) for socket in found for d in system.holders(socket)]


LISTEN = (
    "1 socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_TCP) = 3",
    '1 bind(3, {sa_family=AF_INET, sin_port=htons(8080), sin_addr=inet_addr("192.0.2.10")}, 16) = 0',
    "1 listen(3, 128) = 0",
)


def test_every_event_has_its_row() -> None:
    from tracecorr import events

    assert set(REPLAY) == set(events.Event.__args__)  # type: ignore[attr-defined]


# -- numbers


def test_an_accepted_connection_is_in_the_table_with_both_ends() -> None:
    system = after(*LISTEN, f"1 {accept(4)}")
    socket = description(system, 1, 4)
    assert (socket.kind, socket.role, str(socket.local), str(socket.peer)) == (
        "tcp",
        "accepted",
        "192.0.2.10:8080",
        "192.0.2.20:41007",
    )
    assert (numbers(system, 1), holders(system), system.seen) == ([3, 4], [(1, 4)], 1)


def test_close_takes_the_number_away_and_the_last_one_the_connection() -> None:
    system = after(*LISTEN, f"1 {accept(4)}", "1 dup(4) = 5", "1 close(4) = 0")
    assert (numbers(system, 1), holders(system)) == ([3, 5], [(1, 5)])
    assert after(*LISTEN, f"1 {accept(4)}", "1 dup(4) = 5", "1 close(4) = 0", "1 close(5) = 0").connections == {}


@pytest.mark.parametrize(
    ("call", "left"),
    [
        ("close(4) = -1 EBADF (Bad file descriptor)", [3]),
        ("close(4) = -1 EINTR (Interrupted system call)", [3]),
        ("close(4) = -1 EIO (Input/output error)", [3]),
        ("close(4 <unfinished ...>", [3]),
        ("close(4) = 0 (INJECTED)", [3, 4]),
        ("dup2(4, 4) = 4", [3, 4]),
        ("dup2(3, 4) = 4", [3, 4]),
        ("dup3(4, 3, O_CLOEXEC) = 3", [3, 4]),
        ("dup2(4, 9) = -1 EBADF (Bad file descriptor)", [3, 4]),
        ("fcntl(4, F_DUPFD, 80) = 80", [3, 4, 80]),
        ("fcntl(4, F_DUPFD_CLOEXEC, 0) = 5", [3, 4, 5]),
        ("fcntl(4, F_GETFD) = 0", [3, 4]),
        ("close_range(4, 4, 0) = 0", [3]),
        ("close_range(3, 4294967295, 0) = 0", []),
        ("close_range(3, 4294967295, CLOSE_RANGE_CLOEXEC) = 0", [3, 4]),
        ("close_range(5, 4, 0) = -1 EINVAL (Invalid argument)", [3, 4]),
        ("closefrom(4) = 0", [3]),
    ],
)
def test_what_is_left_open_after_each_call(call: str, left: list[int]) -> None:
    assert [n for n in numbers(after(*LISTEN, f"1 {accept(4)}", f"1 {call}"), 1) if n != 9] == left


def test_dup2_closes_its_target_silently() -> None:
    system = after(*LISTEN, f"1 {accept(4)}", f"1 {accept(5, 41008)}", "1 dup2(5, 4) = 4")
    assert (holders(system), holders(system, 41008)) == ([], [(1, 5), (1, 4)])


@pytest.mark.parametrize(
    ("calls", "marked"),
    [
        ([accept(4)], False),
        ([accept(4, flags="SOCK_CLOEXEC|SOCK_NONBLOCK")], True),
        ([accept(4), "fcntl(4, F_SETFD, FD_CLOEXEC) = 0"], True),
        ([accept(4), "ioctl(4, FIOCLEX) = 0"], True),
        ([accept(4, flags="SOCK_CLOEXEC"), "fcntl(4, F_SETFD, 0) = 0"], False),
        ([accept(4, flags="SOCK_CLOEXEC"), "ioctl(4, FIONCLEX) = 0"], False),
        ([accept(4, flags="SOCK_CLOEXEC"), "fcntl(4, F_SETFD, 0) = -1 EBADF (Bad file descriptor)"], True),
        ([accept(4), "close_range(4, 4, CLOSE_RANGE_CLOEXEC) = 0"], True),
        ([accept(9, flags="SOCK_CLOEXEC"), "dup2(9, 4) = 4"], False),
        ([accept(9), "dup3(9, 4, O_CLOEXEC) = 4"], True),
        ([accept(9), "fcntl(9, F_DUPFD_CLOEXEC, 4) = 4"], True),
    ],
)
def test_close_on_exec_belongs_to_the_number(calls: list[str], marked: bool) -> None:
    system = after(*LISTEN, *(f"1 {call}" for call in calls))
    assert slot(system, 1, 4).close_on_exec is marked
    after_exec = after(*LISTEN, *(f"1 {call}" for call in calls), '1 execve("/bin/sh", ["sh"], 0x7f) = 0')
    assert (4 in numbers(after_exec, 1)) is not marked


def test_a_failed_exec_closes_nothing() -> None:
    failed = '1 execve("/bin/nothing", ["sh"], 0x7f) = -1 ENOENT (No such file or directory)'
    assert numbers(after(*LISTEN, f"1 {accept(4, flags='SOCK_CLOEXEC')}", failed), 1) == [3, 4]


def test_a_number_that_returns_without_a_close_is_a_gap() -> None:
    system = after(*LISTEN, f"1 {accept(4)}", f"1 {accept(4, 41008)}")
    assert (holders(system), holders(system, 41008)) == ([], [(1, 4)])
    assert "a close was not recorded" in {gap.what for gap in system.gaps.values()}


# -- sharing and copies


def test_threads_share_the_table_and_the_process() -> None:
    system = after(*LISTEN, f"1 {THREAD % (2, 2)}", f"2 {accept(4)}")
    assert table(system, 1) is table(system, 2) and task(system, 1).process is task(system, 2).process
    assert numbers(system, 1) == [3, 4]


def test_clone_files_alone_shares_the_table_between_processes() -> None:
    system = after(*LISTEN, f"1 {accept(4)}", f"1 {SHARER % 2}", "2 close(4) = 0")
    assert table(system, 1) is table(system, 2) and task(system, 1).process is not task(system, 2).process
    assert numbers(system, 1) == [3]


@pytest.mark.parametrize(
    "call",
    [
        "fork() = 2",
        "vfork() = 2",
        "clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7f) = 2",
        "clone(child_stack=0, flags=CLONE_CHILD_CLEARTID|SIGCHLD) = 2",
        "clone(child_stack=0x7f, flags=CLONE_VM|CLONE_VFORK|SIGCHLD) = 2",
        "clone3({flags=0, exit_signal=SIGCHLD, stack=NULL, stack_size=0}, 88) = 2",
        "clone3({flags=CLONE_VM|CLONE_VFORK, exit_signal=SIGCHLD, stack=0x7f, stack_size=0x9000}, 88) = 2",
    ],
)
def test_every_other_fork_copies_the_table(call: str) -> None:
    system = after(*LISTEN, f"1 {accept(4)}", f"1 {call}", "2 close(3) = 0", f"1 {accept(5, 41008)}")
    assert (numbers(system, 1), numbers(system, 2)) == ([3, 4, 5], [4])
    assert description(system, 1, 4) is description(system, 2, 4)
    assert (slot(system, 2, 4).how, slot(system, 2, 4).source) == ("fork", slot(system, 1, 4))
    assert task(system, 2).process.parent is task(system, 1).process


@pytest.mark.parametrize("call", ["fork() = -1 EAGAIN (Resource temporarily unavailable)", "fork() = ? ERESTARTNOINTR"])
def test_a_fork_that_failed_makes_no_task(call: str) -> None:
    assert len(after(*LISTEN, f"1 {call}").tasks) == 1


def test_a_child_that_is_seen_before_its_fork_returns_has_the_table() -> None:
    system = after(*LISTEN, f"1 {accept(4)}", "1 fork( <unfinished ...>", "2 close(3) = 0", "1 <... fork resumed>) = 2")
    assert (numbers(system, 1), numbers(system, 2)) == ([3, 4], [4])


def test_a_child_gets_what_it_has_not_touched_when_the_fork_is_told_late() -> None:
    system = after(*LISTEN, f"1 {accept(4)}", "2 close(3) = 0", "1 fork() = 2")
    assert (numbers(system, 2), holders(system)) == ([4], [(1, 4), (2, 4)])


def test_a_child_of_another_pid_namespace_is_the_task_that_shows_itself() -> None:
    system = after(
        '1 execve("/srv/app/httpd", ["httpd"], 0x7f) = 0', *LISTEN, f"1 {accept(4)}", "1 fork() = 2", "12 close(3) = 0"
    )
    assert holders(system) == [(1, 4), (12, 4)]


def test_unshare_copies_the_table() -> None:
    system = after(*LISTEN, f"1 {accept(4)}", f"1 {THREAD % (2, 2)}", "2 unshare(CLONE_FILES) = 0", "2 close(4) = 0")
    assert (numbers(system, 1), numbers(system, 2)) == ([3, 4], [3])


def test_exec_unshares_the_table() -> None:
    system = after(
        *LISTEN, f"1 {accept(4, flags='SOCK_CLOEXEC')}", f"1 {SHARER % 2}", '2 execve("/bin/sh", [], 0x7f) = 0'
    )
    assert (numbers(system, 1), numbers(system, 2)) == ([3, 4], [])


def test_exec_ends_the_other_threads() -> None:
    system = after(*LISTEN, f"1 {THREAD % (2, 2)}", '1 execve("/bin/sh", [], 0x7f) = 0')
    assert task(system, 2).ended is not None and task(system, 1).ended is None


def test_a_table_that_its_maker_has_left_belongs_to_who_is_left() -> None:
    system = after(
        *LISTEN, f"1 {accept(4, flags='SOCK_CLOEXEC')}", f"1 {SHARER % 2}", '1 execve("/bin/sh", [], 0x7f) = 0'
    )
    assert holders(system) == [(2, 4)]


def test_a_table_whose_maker_has_ended_belongs_to_who_is_left() -> None:
    system = after(*LISTEN, f"1 {accept(4)}", f"1 {SHARER % 2}", "1 exit_group(0) = ?", "1 +++ exited with 0 +++")
    assert holders(system) == [(2, 4)]


# -- ends


def test_what_a_process_was_in_when_it_exited_makes_no_new_task_of_it() -> None:
    system = after(
        '1 execve("/srv/app/httpd", ["httpd"], 0x7f) = 0', *LISTEN, f"1 {accept(4)}", "1 fork() = 2", "2 fork() = 3",
        "2 exit_group(0 <unfinished ...>", "2 <... exit_group resumed>) = ?", "2 +++ exited with 0 +++", "1 close(4) = 0",
    )  # fmt: skip
    assert holders(system) == [(3, 4)]


def test_calls_that_an_exit_cut_short_make_no_new_task() -> None:
    system = after(
        '1 execve("/srv/app/httpd", ["httpd"], 0x7f) = 0', *LISTEN, f"1 {accept(4)}", f"1 {THREAD % (2, 2)}",
        "2 read(4,  <unfinished ...>", "1 fork() = 3", "1 exit_group(0) = ?", "2 <... read resumed> <unfinished ...>) = ?",
        "2 +++ exited with 0 +++", "1 +++ exited with 0 +++",
    )  # fmt: skip
    assert holders(system) == [(3, 4)] and task(system, 2).ended is not None


def test_a_number_whose_end_was_told_may_be_used_again() -> None:
    system = after(
        *LISTEN, f"1 {accept(4)}", "1 fork() = 2", "2 exit_group(0) = ?", "2 +++ exited with 0 +++",
        "1 fork( <unfinished ...>", "2 close(3) = 0", "1 <... fork resumed>) = 2",
    )  # fmt: skip
    assert (numbers(system, 2), holders(system)) == ([4], [(1, 4), (2, 4)])


def test_the_last_task_of_a_table_closes_all_of_it() -> None:
    lines = (*LISTEN, f"1 {accept(4)}", f"1 {THREAD % (2, 2)}", "2 exit(0) = ?", "2 +++ exited with 0 +++")
    assert holders(after(*lines)) == [(1, 4)]
    assert holders(after(*lines, "1 +++ killed by SIGKILL +++")) == []


def test_exit_group_ends_every_thread() -> None:
    system = after(*LISTEN, f"1 {accept(4)}", f"1 {THREAD % (2, 2)}", "2 exit_group(0) = ?")
    assert holders(system) == []
    assert all(task(system, tid).ended for tid in (1, 2))


def test_exit_of_the_only_thread_of_a_traced_program_closes_all() -> None:
    program = '1 execve("/srv/app/httpd", ["httpd"], 0x7f) = 0'
    assert holders(after(program, *LISTEN, f"1 {accept(4)}", "1 exit(0) = ?", "1 +++ exited with 0 +++")) == []


@pytest.mark.parametrize(
    "line",
    [
        "1 wait4(2, [{WIFEXITED(s) && WEXITSTATUS(s) == 0}], 0, NULL) = 2",
        "1 wait4(-1, NULL, 0, NULL) = 2",
        "1 waitid(P_PID, 2, {si_signo=SIGCHLD, si_code=CLD_KILLED, si_pid=2, si_uid=0}, WEXITED, NULL) = 0",
        "1 --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=2, si_uid=0, si_status=0} ---",
    ],
)
def test_a_parent_that_is_told_of_its_childs_end_closes_what_the_child_had(line: str) -> None:
    assert holders(after(*LISTEN, f"1 {accept(4)}", "1 fork() = 2", "2 close(3) = 0", line)) == [(1, 4)]


@pytest.mark.parametrize(
    "line",
    [
        "1 wait4(2, [{WIFSTOPPED(s) && WSTOPSIG(s) == SIGSTOP}], WSTOPPED, NULL) = 2",
        "1 wait4(2, [{WIFCONTINUED(s)}], WCONTINUED, NULL) = 2",
        "1 wait4(-1, 0x7f, WNOHANG, NULL) = 0",
        "1 --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_STOPPED, si_pid=2, si_uid=0, si_status=SIGSTOP} ---",
        "1 --- SIGTERM {si_signo=SIGTERM, si_code=SI_USER, si_pid=2, si_uid=0} ---",
    ],
)
def test_a_child_that_was_stopped_keeps_what_it_has(line: str) -> None:
    assert holders(after(*LISTEN, f"1 {accept(4)}", "1 fork() = 2", "2 close(3) = 0", line)) == [(1, 4), (2, 4)]


def test_a_number_of_a_task_that_ended_may_return() -> None:
    system = after(
        *LISTEN,
        f"1 {accept(4)}",
        "1 fork() = 2",
        "2 +++ exited with 0 +++",
        "1 close(4) = 0",
        "1 fork() = 2",
        "2 getpid() = 2",
    )
    assert task(system, 2).ended is None and numbers(system, 2) == [3]


# -- open before the log began


def test_a_number_that_nobody_opened_was_open_before_and_in_every_child() -> None:
    system = after("1 fork() = 2", "2 fork() = 3", '1 read(7, "x", 8) = 1')
    assert [numbers(system, tid) for tid in (1, 2, 3)] == [[7], [7], [7]]
    assert slot(system, 1, 7).how == "open-at-start"
    assert {slot(system, tid, 7).how for tid in (2, 3)} == {"fork"}
    assert len({id(description(system, tid, 7)) for tid in (1, 2, 3)}) == 1


def test_what_a_child_shows_to_be_open_was_open_in_its_parent() -> None:
    system = after("1 fork() = 2", "2 fork() = 3", '3 read(7, "x", 8) = 1')
    assert [numbers(system, tid) for tid in (1, 2, 3)] == [[7], [7], [7]]
    assert slot(system, 1, 7).how == "open-at-start"


def test_what_was_closed_or_opened_since_does_not_spread() -> None:
    system = after(
        "1 fork() = 2", "2 close(7) = 0", "1 fork() = 3", '1 read(7, "x", 8) = 1', '2 openat(AT_FDCWD, "/x", 0) = 7'
    )
    assert description(system, 1, 7) is description(system, 3, 7)
    assert description(system, 2, 7) is not description(system, 1, 7)


def test_close_range_without_end_closes_what_was_open_before() -> None:
    system = after("1 fork() = 2", "2 close_range(3, 4294967295, 0) = 0", '1 read(7, "x", 8) = 1')
    assert (numbers(system, 1), numbers(system, 2)) == ([7], [])


def test_a_decoration_says_what_was_open_before() -> None:
    system = after("1 fork() = 2", '1 read(7<TCP:[192.0.2.10:8080->192.0.2.20:41007]>, "x", 8) = 1')
    assert (description(system, 2, 7).kind, holders(system)) == ("tcp", [(1, 7), (2, 7)])


def test_two_older_tasks_that_use_the_number_of_one_accepted_connection_share_a_table() -> None:
    system = after(f"1 {accept(7)}", '2 read(7, "", 8) = 0')
    assert table(system, 1) is table(system, 2)


def test_two_older_tasks_that_opened_the_same_number_do_not_share_a_table() -> None:
    system = after(f"1 {accept(6)}", f"2 {accept(6, 41008)}", f"1 {accept(7, 41009)}", '2 read(7, "", 8) = 0')
    assert table(system, 1) is not table(system, 2)
    assert holders(system, 41009) == [(1, 7)]


# -- descriptors in flight

PAIR = "1 socketpair(AF_UNIX, SOCK_STREAM, 0, [8, 9]) = 0"
SEND, RECEIVE = "1 sendmsg(8, " + MESSAGE % "4", "2 recvmsg(9, " + MESSAGE % "6"


def test_a_passed_descriptor_is_held_by_its_message_alone() -> None:
    system = after(*LISTEN, PAIR, "1 fork() = 2", f"1 {accept(4)}", SEND, "1 close(4) = 0")
    assert (holders(system), len(system.connections), len(system.flights)) == ([], 1, 1)


def test_a_received_descriptor_refers_to_what_was_sent() -> None:
    system = after(*LISTEN, PAIR, "1 fork() = 2", f"1 {accept(4)}", SEND, "1 close(4) = 0", RECEIVE)
    assert (holders(system), system.flights) == ([(2, 6)], [])
    assert slot(system, 2, 6).how == "passed"


def test_messages_arrive_in_order() -> None:
    system = after(
        *LISTEN, PAIR, "1 fork() = 2", f"1 {accept(4)}", f"1 {accept(5, 41008)}", SEND, "1 sendmsg(8, " + MESSAGE % "5",
        RECEIVE, "2 recvmsg(9, " + MESSAGE % "7",
    )  # fmt: skip
    assert str(description(system, 2, 6).peer) == "192.0.2.20:41007"
    assert str(description(system, 2, 7).peer) == "192.0.2.20:41008"


def test_one_message_may_hold_several() -> None:
    system = after(
        *LISTEN, PAIR, "1 fork() = 2", f"1 {accept(4)}", f"1 {accept(5, 41008)}", "1 sendmsg(8, " + MESSAGE % "4, 5",
        "2 recvmsg(9, " + MESSAGE % "6, 7",
    )  # fmt: skip
    assert (holders(system), holders(system, 41008)) == ([(1, 4), (2, 6)], [(1, 5), (2, 7)])


def test_a_message_that_was_not_sent_holds_nothing() -> None:
    failed = SEND.replace("= 1", "= -1 EAGAIN (Resource temporarily unavailable)")
    system = after(*LISTEN, PAIR, "1 fork() = 2", f"1 {accept(4)}", failed, "1 close(4) = 0")
    assert (system.connections, system.flights) == ({}, [])


def test_pidfd_getfd_takes_a_reference_from_another_process() -> None:
    system = after(
        *LISTEN,
        f"1 {accept(4)}",
        "1 fork() = 2",
        "2 close(4) = 0",
        "2 pidfd_open(1, 0) = 5",
        "2 pidfd_getfd(5, 4, 0) = 6",
    )
    assert holders(system) == [(1, 4), (2, 6)]
    assert (slot(system, 2, 6).how, slot(system, 2, 6).close_on_exec) == ("passed", True)


# -- the connection itself


def test_a_read_of_0_is_the_peers_fin_and_later_ones_are_counted() -> None:
    system = after(*LISTEN, f"1 {accept(4)}", '1 read(4, "", 8) = 0', '1 read(4, "", 8) = 0')
    socket = description(system, 1, 4)
    assert socket.fin is not None and socket.fin.origin.line == 5 and list(socket.eof_reads.values()) == [2]


def test_a_peek_shows_the_fin_and_takes_nothing() -> None:
    socket = description(after(*LISTEN, f"1 {accept(4)}", '1 recvfrom(4, "", 8, MSG_PEEK, NULL, NULL) = 0'), 1, 4)
    assert socket.fin is not None and socket.eof is None


@pytest.mark.parametrize(
    ("half", "shut"), [("SHUT_RD", Shutdown.RD), ("SHUT_WR", Shutdown.WR), ("SHUT_RDWR", Shutdown.RDWR)]
)
def test_shutdown_closes_halves_for_every_holder(half: str, shut: Shutdown) -> None:
    system = after(*LISTEN, f"1 {accept(4)}", "1 fork() = 2", f"2 shutdown(4, {half}) = 0")
    assert description(system, 1, 4).shut == shut


def test_halves_add_up() -> None:
    system = after(*LISTEN, f"1 {accept(4)}", "1 shutdown(4, SHUT_RD) = 0", "1 shutdown(4, SHUT_WR) = 0")
    assert description(system, 1, 4).shut == Shutdown.RDWR


def test_an_illegal_step_leaves_the_state_and_is_told() -> None:
    system = after(*LISTEN, f"1 {accept(4)}", '1 read(4, "", 8) = 0', '1 read(4, "later", 8) = 5')
    socket = description(system, 1, 4)
    assert socket.fin is None and "a connection was replaced unseen" in {gap.what for gap in system.gaps.values()}


def test_what_happens_to_a_number_that_is_unknown_is_no_error() -> None:
    calls = [
        "read(9, 0x7f, 8) = -1 EBADF (Bad file descriptor)",
        "shutdown(9, SHUT_WR) = 0",
        "dup(9) = 10",
        "close(9) = 0",
    ]
    system = after(*(f"1 {call}" for call in calls), "2 pidfd_getfd(77, 8, 0) = 5", "3 recvmsg(5, " + MESSAGE % "6")
    assert system.connections == {}


def test_both_ends_in_one_log_know_each_other() -> None:
    near = '{sa_family=AF_INET, sin_port=htons(8080), sin_addr=inet_addr("127.0.0.1")}'
    far = '{sa_family=AF_INET, sin_port=htons(41007), sin_addr=inet_addr("127.0.0.1")}'
    lines = (
        "1 socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = 3", f"1 bind(3, {near}, 16) = 0", "1 listen(3, 128) = 0",
        "2 socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = 5", f"2 connect(5, {near}, 16) = 0",
        f"1 accept(3, {far}, [16]) = 4",
    )  # fmt: skip
    system = after(*lines)
    assert description(system, 1, 4).other_end is description(system, 2, 5)
    assert str(description(system, 2, 5).local) == "127.0.0.1:41007"
    assert description(after(*lines, "2 close(5) = 0"), 1, 4).fin is not None
    assert description(after(*lines, "2 shutdown(5, SHUT_WR) = 0"), 1, 4).fin is not None
    assert description(after(*lines, "2 shutdown(5, SHUT_RD) = 0"), 1, 4).fin is None


def test_memory_does_not_grow_with_the_tasks_that_came_and_went() -> None:
    lines = [line for pid in range(2, 3000) for line in (f"1 fork() = {pid}", f"{pid} +++ exited with 0 +++")]
    system = after(*LISTEN, *lines)
    assert len(system.tasks) < 1100 and len(table(system, 1).copies) == 0


def test_a_fork_whose_child_was_seen_first_is_told_by_the_line_that_has_its_result() -> None:
    system = after(
        "10 socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = 3",
        f"10 {accept(5)}",
        "10 clone(child_stack=NULL, flags=CLONE_CHILD_SETTID|SIGCHLD <unfinished ...>",
        "20 getpid() = 20",
        "20 close(3) = 0",
        "10 <... clone resumed>, child_tidptr=0x7f) = 20",
    )
    fork = slot(system, 20, 5).fact

    assert fork is not None
    assert (fork.call, fork.origin.line) == ("clone() = 20", 6)
    assert fork is task(system, 20).process.forked


def test_the_stack_of_a_call_that_was_cut_in_two_is_told_of_both_its_lines() -> None:
    text = (
        f"10 1760000000.000000 {accept(5)}\n"
        "10 1760000001.000000 close(5 <unfinished ...>\n"
        "20 1760000002.000000 getpid() = 20\n"
        "10 1760000003.000000 <... close resumed>) = 0\n"
        " > /usr/bin/server(finish+0x10) [0x1160]\n"
    )
    system = System(by_line=True)
    for event in decode(strace_log.read([text.encode()], Tally("trace.log", "strace"))):
        replay(system, event)

    assert {origin.line: list(frames) for origin, frames in system.stacks.items()} == {
        2: ["/usr/bin/server(finish+0x10) [0x1160]"], 4: ["/usr/bin/server(finish+0x10) [0x1160]"],
    }  # fmt: skip
