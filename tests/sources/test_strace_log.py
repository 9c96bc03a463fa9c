"""Every form of line that strace writes, version by version, and the records that it must become."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import tracecorr
from tracecorr.events import TaskId
from tracecorr.kernel import AF_INET, AF_INET6, CLONE_FILES, CLONE_THREAD, MSG_PEEK, POLLIN, POLLRDHUP, SOCK_STREAM
from tracecorr.sources import strace_log
from tracecorr.sources.base import LogFormat, Tally
from tracecorr.syscalls.record import (
    DetachedRecord,
    ExitRecord,
    NamedDescriptor,
    NameRecord,
    Record,
    SignalRecord,
    StackRecord,
    SupersededRecord,
    SyscallRecord,
    UnfinishedRecord,
)

CASES = Path(__file__).parents[2] / "fixtures" / "cases"
FORMAT: LogFormat = strace_log
SECOND = 10**9
ELEVEN = (11 * 3600 + 5 * 60 + 7) * SECOND
PEER = '{sa_family=AF_INET, sin_port=htons(41007), sin_addr=inet_addr("192.0.2.20")}'


def read(text: str | bytes, **about: Any) -> tuple[list[Record], Tally]:
    data = text if isinstance(text, bytes) else text.encode()
    tally = Tally("trace.log", strace_log.NAME, **about)
    return list(FORMAT.read([data], tally)), tally


def call(line: str) -> SyscallRecord:
    (record,) = read(line + "\n")[0]
    assert isinstance(record, SyscallRecord)
    return record


def calls(text: str) -> list[SyscallRecord]:
    return [record for record in read(text)[0] if isinstance(record, SyscallRecord)]


def kinds(text: str) -> list[type]:
    return [type(record) for record in read(text)[0]]


# -- the prefix

EPOCH = 1795417117_356481000


@pytest.mark.parametrize(
    ("prefix", "tid", "at"),
    [
        ("", 0, None),
        ("7429  ", 7429, None),
        ("28700 ", 28700, None),
        ("1234567 ", 1234567, None),
        ("[pid   874] ", 874, None),
        ("[pid 28700] ", 28700, None),
        ("7429  11:05:07 ", 7429, ELEVEN),
        ("7429  11:05:07.356481 ", 7429, ELEVEN + 356481000),
        ("[pid   874] 11:05:07.356481 ", 874, ELEVEN + 356481000),
        ("11:05:07.356481 ", 0, ELEVEN + 356481000),
        ("7429  1795417117.356481 ", 7429, EPOCH),
        ("7429  1795417117 ", 7429, 1795417117 * SECOND),
        ("7429  1795417117.356 ", 7429, 1795417117_356000000),
        ("7429  1795417117.606431333 ", 7429, 1795417117_606431333),
        ("     0.000022 ", 0, 22000),
        ("7429       0.000022 ", 7429, 22000),
        ("7429  11:05:07.356481 (+     0.000076) ", 7429, ELEVEN + 356481000),
        ("7429  1795417117.356481 (+ 0.000) ", 7429, EPOCH),
        ("7429  11:05:07.356481 [  43] ", 7429, ELEVEN + 356481000),
        ("[   3] ", 0, None),
        ("7429  11:05:07.356481 [000000000043a250] ", 7429, ELEVEN + 356481000),
        ("7429  11:05:07.356481 [????????????????] ", 7429, ELEVEN + 356481000),
        ("7429  11:05:07.356481 [   3] [000000000043a250] ", 7429, ELEVEN + 356481000),
        ("[000000000043a250] ", 0, None),
    ],
)
def test_prefix_in_every_style_gives_task_and_time(prefix: str, tid: int, at: int | None) -> None:
    record = call(f"{prefix}close(4)          = 0")
    assert (record.name, list(record.args), record.result) == ("close", [4], 0)
    assert (record.task, record.entered, record.returned) == (TaskId(tid), at, at)
    assert (record.origin.source, record.origin.line, record.began) == ("trace.log", 1, record.origin)


@pytest.mark.parametrize("prefix", ["29090<srv> 06:56:51.051733 ", "[pid 29090<srv>] ", "29090<srv> "])
def test_command_names_of_y_are_told_once_and_again_when_they_change(prefix: str) -> None:
    renamed = prefix.replace("<srv>", "<sleep>")
    records, _ = read(f"{prefix}close(4) = 0\n{prefix}close(5) = 0\n{renamed}close(6) = 0\n")
    names = [record.comm for record in records if isinstance(record, NameRecord)]
    assert names == ["srv", "sleep"]
    assert [type(record).__name__ for record in records].count("SyscallRecord") == 3
    assert all(record.task == TaskId(29090) for record in records if not isinstance(record, StackRecord))


def test_command_names_with_blanks_and_brackets_belong_to_the_pid_column() -> None:
    records, _ = read("29090<tmux: server> close(4) = 0\n29091<a)b (c> close(5) = 0\n")
    assert [record.comm for record in records if isinstance(record, NameRecord)] == ["tmux: server", "a)b (c"]
    assert [record.args[0] for record in records if isinstance(record, SyscallRecord)] == [4, 5]


def test_the_kind_of_clock_is_told() -> None:
    line = "close(4) = 0\n"
    for prefix, kind in (("11:05:07 ", "day"), ("1795417117.35 ", "epoch"), ("     0.000022 ", "relative"), ("", None)):
        assert read(prefix + line)[1].clock == kind


def test_deltas_of_r_are_summed_over_the_lines_of_all_tasks() -> None:
    text = (
        "7429       0.000000 close(3) = 0\n7430       0.500000 brk(NULL) = 0x55\n7429       0.250000 close(4) = 0\n"
        "7429       0.000000 --- SIGCHLD {si_signo=SIGCHLD} ---\n7429       1.000000 close(5) = 0\n"
    )
    records = calls(text)
    assert [(record.args[0], record.entered) for record in records if record.name == "close"] == [
        (3, 0),
        (4, 750_000_000),
        (5, 1_750_000_000),
    ]
    assert read(text)[1].last == 1_750_000_000


def test_deltas_beside_a_time_are_not_added_to_it() -> None:
    records = calls("7429  11:05:07 (+     0.000000) close(3) = 0\n7429  11:05:07 (+     0.000076) close(4) = 0\n")
    assert [record.entered for record in records] == [ELEVEN, ELEVEN]


def test_time_of_day_goes_on_after_midnight() -> None:
    records = calls(
        "1  23:59:59.999900 close(3) = 0\n1  00:00:00.000100 close(4) = 0\n1  00:00:01.000000 close(5) = 0\n"
    )
    times = [record.entered for record in records]
    assert [after - before for before, after in pairwise(times)] == [200_000, 999_900_000]


def test_time_of_day_goes_on_when_summer_time_ends() -> None:
    records = calls(
        "1  02:59:59.900000 close(3) = 0\n1  02:00:00.100000 close(4) = 0\n1  02:00:01.100000 close(5) = 0\n"
    )
    times = [record.entered for record in records]
    assert [after - before for before, after in pairwise(times)] == [200_000_000, SECOND]


def test_tasks_that_overlap_by_microseconds_do_not_look_like_midnight() -> None:
    records = calls(
        "1  11:05:07.000100 close(3) = 0\n2  11:05:07.000099 close(4) = 0\n1  11:05:07.000101 close(5) = 0\n"
    )
    assert [record.entered for record in records] == [ELEVEN + 100_000, ELEVEN + 99_000, ELEVEN + 101_000]


# -- durations

DURATIONS = [
    ("<0.104072>", 104_072_000),
    ("<0.000007>", 7000),
    ("<0.104072123>", 104_072_123),
    ("<12.5>", 12_500_000_000),
]


@pytest.mark.parametrize(("text", "length"), DURATIONS)
def test_duration_gives_the_time_of_the_return(text: str, length: int) -> None:
    record = call(f'11:05:07 read(4, "", 512) = 0 {text}')
    assert (record.entered, record.returned) == (ELEVEN, ELEVEN + length)


def test_duration_of_a_resumed_call_counts_from_its_entry() -> None:
    records = calls(
        '7 11:05:07.000000 read(4,  <unfinished ...>\n7 11:05:09.100000 <... read resumed>"", 8) = 0 <2.000000>\n'
    )
    assert [(record.entered, record.returned) for record in records] == [(ELEVEN, ELEVEN + 2 * SECOND)]
    assert (records[0].began.line, records[0].origin.line) == (1, 2)


def test_a_resumed_call_without_duration_returned_when_it_was_resumed() -> None:
    (record,) = calls('7 11:05:07 read(4,  <unfinished ...>\n7 11:05:09 <... read resumed>"", 8) = 0\n')
    assert (record.entered, record.returned) == (ELEVEN, ELEVEN + 2 * SECOND)


# -- results


@pytest.mark.parametrize(
    ("result", "value", "errno"),
    [
        ("4", 4, None),
        ("0x4", 4, None),
        ("0x7f1c2b7ff000", 0x7F1C2B7FF000, None),
        ("-1 EAGAIN (Resource temporarily unavailable)", -1, "EAGAIN"),
        ("-1 EBADF (Bad file descriptor) <0.000004>", -1, "EBADF"),
        ("?", None, None),
        ("? <unavailable>", None, None),
        ("? ERESTARTSYS (To be restarted if SA_RESTART is set)", None, "ERESTARTSYS"),
        ("? ERESTARTNOHAND (To be restarted if no handler) <0.834773>", None, "ERESTARTNOHAND"),
        ("? ERESTARTNOINTR (To be restarted)", None, "ERESTARTNOINTR"),
        ("? ERESTART_RESTARTBLOCK (Interrupted by signal)", None, "ERESTART_RESTARTBLOCK"),
        ("0x2 (flags O_RDWR)", 2, None),
        ("2 (in [3 4])", 2, None),
        ("0 (Timeout)", 0, None),
        ("3<misc>", 3, None),
        ("14964<srv>", 14964, None),
        ("0 (DELAYED)", 0, None),
    ],
)
def test_result_in_every_form(result: str, value: int | None, errno: str | None) -> None:
    record = call(f"11:05:07 dup(4) = {result}")
    assert (record.result, record.errno) == (value, errno)


def test_an_injected_result_is_no_result_of_the_kernel() -> None:
    assert call("close(4) = 0 (INJECTED)").result == -1
    for error in ("ENOSYS (Function not implemented)", "EIO (Input/output error)", "EBADF (Bad file descriptor)"):
        assert call(f"close(4) = -1 {error} (INJECTED)").errno == "EINJECTED"


def test_the_pid_of_straces_own_namespace_counts() -> None:
    assert call("fork() = 5 /* 20859 in strace's PID NS */").result == 20859
    assert call("fork() = 3<misc> /* 20868 in strace's PID NS */").result == 20868


def test_a_returned_descriptor_says_what_it_refers_to() -> None:
    record = call(f"accept(3, {PEER}, [16]) = 4<TCP:[192.0.2.10:8080->192.0.2.20:41007]> <0.000100>")
    assert (record.result, record.result_path) == (4, "TCP:[192.0.2.10:8080->192.0.2.20:41007]")
    assert call("socket(AF_INET, SOCK_STREAM, 0) = 3<TCP:[2414810]>").result_path == "TCP:[2414810]"
    assert call('openat(AT_FDCWD, "/dev/null", O_RDWR) = 3</dev/null<char 1:3>>').result_path == "/dev/null<char 1:3>"


def test_revents_of_poll_come_as_a_note() -> None:
    record = call("poll([{fd=4, events=POLLIN}], 1, -1) = 1 ([{fd=4, revents=POLLIN|POLLRDHUP}])")
    assert record.note == [{"fd": 4, "revents": POLLIN | POLLRDHUP}]
    assert record.args[0] == [{"fd": 4, "events": POLLIN}]


@pytest.mark.parametrize("rest", ["00 poll([{", "([{", "x ([", "([[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[{"])
def test_what_is_no_note_of_poll_does_no_harm(rest: str) -> None:
    assert call(f"poll([{{fd=4, events=POLLIN}}], 1, -1) = 3 {rest}").result == 3


@pytest.mark.parametrize("padding", [" ", "          ", "\t"])
def test_the_result_is_found_behind_any_padding(padding: str) -> None:
    assert call(f"close(4){padding}= 0").result == 0


def test_what_looks_like_a_result_within_a_string_is_none() -> None:
    record = call('write(4, "close(5) = 0", 12) = 12')
    assert (record.name, record.result, record.args[1]) == ("write", 12, "close(5) = 0")
    record = call(r'write(4, "\") = 7", 6) = 6')
    assert (record.result, record.args[1]) == (6, '") = 7')


# -- halves

REST = '"x", 512, 0, NULL, NULL'


@pytest.mark.parametrize(
    ("version", "end"),
    [
        ("4.5 to 4.26", f"<... recvfrom resumed> {REST}) = 1"),
        ("5.3 to 6.8", f"<... recvfrom resumed>{REST}) = 1"),
        ("7.2", f"<... recvfrom resumed>, {REST}) = 1"),
    ],
)
def test_halves_of_every_version_are_joined(version: str, end: str) -> None:
    start = "recvfrom(4 <unfinished ...>" if version == "7.2" else "recvfrom(4,  <unfinished ...>"
    first, record = read(f"7 {start}\n8 close(9) = 0\n7 {end}\n")[0][::2]
    assert isinstance(first, UnfinishedRecord) and (first.name, first.args[0], first.task) == ("recvfrom", 4, TaskId(7))
    assert isinstance(record, SyscallRecord)
    assert (record.name, list(record.args), record.result) == ("recvfrom", [4, "x", 512, 0, None, None], 1)
    assert (record.began.line, record.origin.line) == (1, 3)


@pytest.mark.parametrize("end", ["<... close resumed> )       = 0", "<... close resumed>) = 0"])
def test_a_half_without_a_rest_is_joined(end: str) -> None:
    (record,) = calls(f"7 close(4 <unfinished ...>\n7 {end}\n")
    assert (list(record.args), record.result) == ([4], 0)


def test_a_call_cut_before_its_first_argument_is_joined() -> None:
    (record,) = calls("7 vfork( <unfinished ...>\n8 close(4) = 0\n7 <... vfork resumed>) = 20730\n")[1:]
    assert (record.name, list(record.args), record.result) == ("vfork", [], 20730)


def test_halves_belong_to_their_own_task() -> None:
    text = (
        "7 accept(3,  <unfinished ...>\n8 accept(3,  <unfinished ...>\n"
        f"7 <... accept resumed>{PEER}, [16]) = 4\n8 <... accept resumed>{PEER}, [16]) = 5\n"
    )
    assert [(record.task.tid, record.result, record.began.line) for record in calls(text)] == [(7, 4, 1), (8, 5, 2)]


def test_halves_of_clone3_are_joined_around_what_the_kernel_wrote() -> None:
    text = (
        "7 clone3({flags=CLONE_VM|CLONE_FILES|CLONE_THREAD, exit_signal=0, stack=0x7f1c2afff000} <unfinished ...>\n"
        "7 <... clone3 resumed> => {parent_tid=[7453]}, 88) = 7453\n"
    )
    (record,) = calls(text)
    assert record.result == 7453
    assert record.args[0]["flags"] & (CLONE_FILES | CLONE_THREAD) == CLONE_FILES | CLONE_THREAD


def test_a_name_that_an_old_strace_did_not_know_may_differ_between_its_halves() -> None:
    records = calls("7 syscall_334(0x7f66, 0x20 <unfinished ...>\n7 <... syscall_334 resumed> ) = 0\n7 close(4) = 0\n")
    assert [record.name for record in records] == ["syscall_334", "close"]


def test_an_end_without_its_beginning_has_no_entry_and_is_counted() -> None:
    records, tally = read('7 11:05:07 <... read resumed>"", 8) = 0\n7 11:05:08 close(4) = 0\n')
    first = records[0]
    assert isinstance(first, SyscallRecord) and (first.name, first.entered, first.result) == ("read", None, 0)
    assert tally.headless == 1


def test_a_beginning_of_another_call_is_not_joined() -> None:
    (record, _) = calls("7 read(4,  <unfinished ...>\n7 <... close resumed>) = 0\n7 close(5) = 0\n")
    assert (record.name, len(record.args), record.result) == ("close", 0, 0)


def test_a_half_that_never_returned_stays_unfinished() -> None:
    assert kinds("7 accept(3,  <unfinished ...>\n") == [UnfinishedRecord]
    assert kinds("7 accept(3,  <detached ...>\n")[0] is UnfinishedRecord
    assert kinds("7 accept(3, ") == [UnfinishedRecord]


def test_a_killed_task_drops_its_half() -> None:
    text = "7 accept(3,  <unfinished ...>\n7 +++ killed by SIGKILL +++\n7 <... accept resumed>NULL, NULL) = 4\n"
    records = calls(text)
    assert [(record.name, record.entered, len(record.args)) for record in records] == [("accept", None, 2)]


def test_exit_group_has_no_result() -> None:
    records = calls("7 exit_group(0) = ?\n8 exit_group(1 <unfinished ...>\n8 <... exit_group resumed>) = ?\n")
    assert [(record.name, record.result) for record in records] == [("exit_group", None)] * 2


# -- lines that notices and other output cut

NOTICES = ["strace: Process 29765 attached", "Process 29765 attached", "/usr/bin/strace: Process 29765 attached"]


@pytest.mark.parametrize("notice", NOTICES)
def test_a_call_that_a_notice_cuts_in_two_is_joined(notice: str) -> None:
    text = (
        f"clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD{notice}\n, child_tidptr=0x2dded690) = 29765\n"
        "[pid 29765] close(4) = 0\n"
    )
    first, second = calls(text)
    assert (first.name, first.result, first.origin.line) == ("clone", 29765, 1)
    assert (second.task, second.args[0]) == (TaskId(29765), 4)


@pytest.mark.parametrize("notice", NOTICES)
def test_a_read_that_a_notice_cuts_in_two_is_joined(notice: str) -> None:
    (record,) = calls(f'recvfrom(4, {notice}\n"GET / HTTP/1.0\\r\\n\\r\\n", 512, 0, NULL, NULL) = 18\n')
    assert (record.args[1], record.result, record.began.line) == ("GET / HTTP/1.0\r\n\r\n", 18, 1)


def test_a_call_that_detaching_cuts_in_two_stays_unfinished() -> None:
    records, tally = read("pause(strace: Process 15435 detached\n <detached ...>\n")
    assert type(records[0]) is UnfinishedRecord
    assert tally.skipped == 0


def test_a_call_that_a_notice_cut_before_its_unfinished_mark_is_joined() -> None:
    text = (
        "[pid   7] accept(3, strace: Process 8 attached\n <unfinished ...>\n[pid   8] close(3) = 0\n"
        "[pid   7] <... accept resumed>NULL, NULL) = 4\n"
    )
    last = calls(text)[-1]
    assert (last.name, last.args[0], last.result) == ("accept", 3, 4)


def test_output_of_the_program_itself_may_cut_a_line() -> None:
    text = 'write(2, "app: starting\\n", 14app: starting\n) = 14\nclose(4) = 0\n'
    first, second = calls(text)
    assert (first.name, first.result, second.name) == ("write", 14, "close")


@pytest.mark.parametrize(
    "notice",
    [
        "strace: Process 5 attached with 4 threads",
        "strace: Process 5 attached",
        "strace: Process 5 detached",
        "Process 5 detached",
        "Process 5 suspended",
        "Process 5 resumed",
        "[ Process PID=5 runs in 32 bit mode. ]",
        "strace: System call limit has been reached, detaching tracees",
    ],
)
def test_notices_are_no_lines_of_the_log(notice: str) -> None:
    records, tally = read(f"{notice}\nclose(4) = 0\n")
    assert [type(record) for record in records] == [SyscallRecord]
    assert tally.skipped == 0


def test_what_is_not_understood_is_counted_and_shown() -> None:
    records, tally = read("close(4) = 0\nsegmentation fault, as always\nread(4, )\n\nclose(5) = 0\n")
    assert len(records) >= 2
    assert tally.skipped >= 1 and tally.samples[0] == (2, "segmentation fault, as always")


def test_lines_are_counted_with_what_is_in_them() -> None:
    _, tally = read("7 brk(NULL) = 0x1\n7 close(4) = 0\n7 --- SIGHUP {si_signo=SIGHUP} ---\n7 +++ exited with 0 +++\n")
    assert (tally.lines, tally.calls, tally.skipped) == (4, 2, 0)
    assert {"brk", "close"} <= tally.names


# -- who is who where only some lines say so


def test_a_line_without_a_task_belongs_to_the_only_one_there_is() -> None:
    text = (
        "accept(3, NULL, NULL) = 4\n"
        "clone(child_stack=NULL, flags=SIGCHLD) = 8\n"
        "strace: Process 8 attached\n"
        "[pid     7] close(4) = 0\n[pid     8] close(3) = 0\n[pid     8] +++ exited with 0 +++\n"
        "close(5) = 0\n+++ exited with 0 +++\n"
    )
    records, tally = read(text)
    tasks = [record.task.tid for record in records if isinstance(record, SyscallRecord)]
    assert tasks == [7, 7, 7, 8, 7]
    assert tally.columns


def test_a_file_of_ff_gives_its_lines_its_own_task() -> None:
    records, tally = read("close(4) = 0\n+++ exited with 0 +++\n", pid=4711)
    assert [record.task for record in records if not isinstance(record, StackRecord)] == [TaskId(4711)] * 2
    assert tally.columns


def test_a_log_without_tasks_says_so() -> None:
    assert not read("close(4) = 0\n")[1].columns


# -- signals and ends


def test_signals_tell_who_died() -> None:
    text = (
        "7429  06:56:51.05 --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=8424, si_uid=0, si_status=0,"
        " si_utime=0, si_stime=0} ---\n"
    )
    (record,) = read(text)[0]
    assert isinstance(record, SignalRecord)
    assert (record.task, record.signal, record.code, record.sender) == (TaskId(7429), "SIGCHLD", "CLD_EXITED", 8424)


@pytest.mark.parametrize(
    "text", ["--- SIGTERM (Terminated) @ 0 (0) ---", "--- stopped by SIGSTOP ---", "--- SIGTERM {si_signo=SIGTERM} ---"]
)
def test_signals_of_every_version_are_understood(text: str) -> None:
    records, tally = read(f"7 close(4) = 0\n7 {text}\n")
    assert [type(record) for record in records] == [SyscallRecord, SignalRecord]
    assert tally.skipped == 0


@pytest.mark.parametrize("how", ["exited with 0", "killed by SIGKILL", "killed by SIGSEGV (core dumped)"])
def test_ends_say_how(how: str) -> None:
    (record,) = read(f"7 11:05:07 +++ {how} +++\n")[0]
    assert record == ExitRecord(TaskId(7), ELEVEN, record.origin, how)


def test_a_thread_that_calls_execve_goes_on_as_its_leader() -> None:
    text = (
        "20709 futex(0x7f, FUTEX_WAIT, 2, NULL <unfinished ...>\n"
        '20710 execve("/bin/true", ["true"], 0x7 <unfinished ...>\n'
        "20709 <... futex resumed>) = ?\n20709 +++ superseded by execve in pid 20710 +++\n"
        "20709 <... execve resumed>) = 0\n20709 close(4) = 0\n"
    )
    records, _ = read(text)
    assert [record for record in records if isinstance(record, SupersededRecord)] == [
        SupersededRecord(TaskId(20709), None, records[3].origin, TaskId(20710))
    ]
    executed = [record for record in records if isinstance(record, SyscallRecord) and record.name == "execve"]
    assert [(record.task, record.args[0], record.result) for record in executed] == [(TaskId(20709), "/bin/true", 0)]


def test_detaching_is_told() -> None:
    records, _ = read("7 accept(3, <unfinished ...>\n7  <detached ...>\n")
    assert DetachedRecord in [type(record) for record in records]


# -- names, decorations and strings


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("4<socket:[1436408]>", "socket:[1436408]"),
        ("4<TCP:[127.0.0.1:7213->127.0.0.1:44302]>", "TCP:[127.0.0.1:7213->127.0.0.1:44302]"),
        ("4<TCPv6:[[::ffff:192.0.2.10]:8095->[::ffff:192.0.2.20]:39709]>", None),
        ("4<UNIX-STREAM:[1->2]>", "UNIX-STREAM:[1->2]"),
        ("4</dev/null<char 1:3>>", "/dev/null<char 1:3>"),
        ('4</srv/a (b), "c" = 1>', None),
        ("4</srv/x>(deleted)", "/srv/x"),
        ("4<anon_inode:[eventpoll]>", "anon_inode:[eventpoll]"),
    ],
)
def test_what_a_descriptor_refers_to_is_kept_with_it(text: str, path: str | None) -> None:
    descriptor = call(f"close({text}) = 0").args[0]
    assert descriptor == 4
    assert isinstance(descriptor, NamedDescriptor)
    assert path is None or descriptor.path == path


def test_strings_in_hex_are_undone() -> None:
    address = "".join(rf"\x{ord(character):02x}" for character in "127.0.0.1")
    record = call(rf'accept(3, {{sa_family=AF_INET, sin_port=htons(7110), sin_addr=inet_addr("{address}")}}, [16]) = 4')
    assert record.args[1] == {"sa_family": AF_INET, "sin_port": 7110, "sin_addr": "127.0.0.1"}


def test_constants_printed_raw_verbose_or_by_name_are_the_same() -> None:
    for family in ("AF_INET", "0x2", "0x2 /* AF_INET */", "2"):
        assert call(f"socket({family}, SOCK_STREAM, IPPROTO_IP) = 3").args[0] == AF_INET
    raw = call(r'accept(3, {sa_family=0x2, sin_port="\xd2\x70", sin_addr="\x7f\x00\x00\x01"}, [16]) = 4').args[1]
    assert (raw["sa_family"], raw["sin_port"], raw["sin_addr"]) == (AF_INET, "\xd2\x70", "\x7f\x00\x00\x01")


def test_raw_arguments_of_e_raw_are_numbers() -> None:
    record = call("close(0x4) = 0")
    assert list(record.args) == [4]
    assert list(call("close_range(0x3, 0xffffffff, 0) = 0").args) == [3, 0xFFFFFFFF, 0]


def test_pids_in_hex_of_e_raw_are_results() -> None:
    assert call("fork() = 0x1d5b").result == 0x1D5B


def test_arguments_named_by_a_newer_strace_are_in_their_place() -> None:
    record = call(f"accept(sockfd=3, addr={PEER}, addrlen=[128 => 16]) = 4")
    assert (record.args[0], record.args[1]["sin_port"]) == (3, 41007)


def test_addresses_of_both_spellings_of_ipv6() -> None:
    new = 'sin6_port=htons(80), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "::1", &sin6_addr), sin6_scope_id=0'
    old = 'sin6_port=htons(80), inet_pton(AF_INET6, "::1", &sin6_addr), sin6_flowinfo=0, sin6_scope_id=0'
    for inside in (new, old):
        value = call(f"connect(3, {{sa_family=AF_INET6, {inside}}}, 28) = 0").args[1]
        assert (value["sa_family"], value["sin6_port"]) == (AF_INET6, 80)
        assert {"sin6_addr": "::1"} in value.values()


def test_flags_are_put_together() -> None:
    assert call("socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK, 0) = 3").args[1] & SOCK_STREAM
    assert call('recvfrom(4, "", 1, MSG_PEEK|MSG_DONTWAIT, NULL, NULL) = 0').args[3] & MSG_PEEK


def test_shutdown_of_strace_4_5_has_its_word_in_a_comment() -> None:
    assert list(call("shutdown(5, 1 /* send */)  = 0").args) == [5, 1]


# -- lines beside the calls


def test_stacks_of_k_belong_to_the_call_before() -> None:
    text = (
        "close(4) = 0\n > /lib/libc.so.6(__close+0x10) [0x10a6f0]\n > /srv/app/httpd(serve_client+0x5) [0x401678]\n"
        "close(5) = 0\n"
    )
    records, tally = read(text)
    (stack,) = [record for record in records if isinstance(record, StackRecord)]
    assert [frame.split("(")[1].split("+")[0] for frame in stack.frames] == ["__close", "serve_client"]
    assert tally.skipped == 0


def test_dumps_of_e_read_are_passed_over() -> None:
    text = (
        'read(4, "GET", 512) = 3\n | 00000  47 45 54                                          GET              |\n'
        "close(4) = 0\n"
    )
    records, tally = read(text)
    assert [record.name for record in records if isinstance(record, SyscallRecord)] == ["read", "close"]
    assert tally.skipped == 0


def test_stacks_between_halves_do_not_part_them() -> None:
    text = (
        "7 read(4,  <unfinished ...>\n > /lib/libc.so.6(__read+0x10) [0x10a6f0]\n"
        '7 <... read resumed>"", 8) = 0\n > /lib/libc.so.6(__read+0x10) [0x10a6f0]\n'
    )
    (record,) = calls(text)
    assert (record.args[0], record.result) == (4, 0)


def test_colour_is_taken_off() -> None:
    text = "\x1b[1;34m7\x1b[0m \x1b[32mclose\x1b[0m(\x1b[33m4\x1b[0m) = \x1b[31m0\x1b[0m\n"
    (record,) = calls(text)
    assert (record.task, record.name, list(record.args), record.result) == (TaskId(7), "close", [4], 0)


def test_crlf_is_a_line_end() -> None:
    records, tally = read('7 11:05:07 read(4, "", 8) = 0 <0.000002>\r\n7 11:05:08 close(4) = 0\r\n')
    assert [(record.name, record.result) for record in records if isinstance(record, SyscallRecord)] == [
        ("read", 0),
        ("close", 0),
    ]
    assert tally.skipped == 0


def test_a_first_line_without_its_head_is_skipped() -> None:
    records, tally = read('_addr("127.0.0.1")}, [16]) = 4\n7 close(4) = 0\n')
    assert [record.name for record in records if isinstance(record, SyscallRecord)][-1] == "close"
    assert tally.skipped <= 1


def test_a_last_line_without_its_tail_is_a_call_that_began() -> None:
    assert kinds("7 close(5) = 0\n7 close(4") == [SyscallRecord, UnfinishedRecord]


def test_a_last_line_without_line_end_is_read() -> None:
    assert [record.args[0] for record in calls("7 close(5) = 0\n7 close(4) = 0")] == [5, 4]


def test_blocks_may_end_between_any_lines() -> None:
    text = "7 close(4 <unfinished ...>\n8 close(5) = 0\n7 <... close resumed>) = 0\n7 +++ exited with 0 +++\n"
    whole, _ = read(text)
    pieces = [line.encode() for line in text.splitlines(keepends=True)]
    tally = Tally("trace.log", strace_log.NAME)
    assert [repr(record)[:60] for record in FORMAT.read(pieces, tally)] == [repr(record)[:60] for record in whole]
    assert tally.lines == 4


# -- what is a log of strace at all


@pytest.mark.parametrize(
    "line",
    [
        "close(4) = 0",
        "7429  06:56:51 close(4)          = 0 <0.000004>",
        "[pid   874] accept(3,  <unfinished ...>",
        "7429  +++ exited with 0 +++",
        "7429  --- SIGCHLD {si_signo=SIGCHLD} ---",
        "<... close resumed>) = 0",
        "29090<srv> 06:56:51.05 close(4) = 0",
        "\x1b[32mclose\x1b[0m(4) = 0",
    ],
)
def test_one_line_is_enough_to_recognise_a_log(line: str) -> None:
    assert FORMAT.recognises([line.encode()])


@pytest.mark.parametrize(
    "line",
    [
        "",
        "2303:\tclose(4)\t\t\t\t\t= 0",
        " 8561: close(4)\t\t\t\t\t = 0 (0x0)",
        '2303:\topen("/x", 0)\t\t\t\tErr#2 ENOENT',
        "tcp        0      0 127.0.0.1:80            0.0.0.0:*               LISTEN",
        "the quick brown fox (jumps) over",
        "close(4)",
        '{"version": 1}',
    ],
)
def test_lines_of_others_are_not_recognised(line: str) -> None:
    assert not FORMAT.recognises([line.encode()])


@pytest.mark.parametrize(
    "line", [b'read(4, "", 10) = 0', b"close(4) = 0", b'read(4, "", 10 <unfinished ...>', b"accept(3) = 9"]
)
def test_what_a_program_prints_is_no_call_where_every_line_has_a_task_and_a_time(line: bytes, tmp_path: Path) -> None:
    log = CASES / "inherited-copy" / "spares_handed_to_a_program_as_its_input" / "trace.log"
    lines = log.read_bytes().splitlines()
    path = tmp_path / "trace.log"
    for at in range(1, len(lines)):
        path.write_bytes(b"\n".join([*lines[:at], line, *lines[at:], b""]))
        report = tracecorr.parse([path])
        assert not report.verdicts and report.sources[0].skipped == 1


@pytest.mark.parametrize(
    "line", ["--- stopped by SIGSTOP ---", "--- SIGSTOP {si_signo=SIGSTOP} ---", "+++ exited with 0 +++"]
)
def test_a_log_of_a_process_that_made_no_call_is_one_of_strace(line: str) -> None:
    assert strace_log.recognises([f"4100  10:00:00.710266 {line}".encode(), b""])
