"""What real threads sleep in, and what they wait for there."""

from __future__ import annotations

import os
import platform
import signal
from collections.abc import Callable
from subprocess import Popen

import pytest

from tests.live import line_of, program, wait_for
from tracecorr.errors import NoSuchProcess
from tracecorr.snapshot import ThreadRow
from tracecorr.sources import procfs
from tracecorr.sources.system_calls import CALLS, call_name, descriptors_in
from tracecorr.sources.threads import thread, threads

pytestmark = pytest.mark.skipif(not CALLS, reason="the numbers of this machine's system calls are not known")


def asleep(process: Popen[str], shows: Callable[[ThreadRow], bool]) -> ThreadRow:
    """The first thread that shows what is waited for."""
    found: list[ThreadRow] = []

    def look() -> bool:
        found[:] = [row for row in threads(process.pid) if shows(row)]
        return bool(found)

    line_of(process)
    wait_for(look, "a thread in that call")
    return found[0]


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("a, b = socket.socketpair(); say(a); a.recv(1)", "recvfrom"),
        ("r, w = os.pipe(); say(r); os.read(r, 1)", "read"),
        ("s = socket.create_server(('127.0.0.1', 0)); say(s); s.accept()", "accept4"),
        ("e = select.epoll(); say(e); e.poll()", "epoll_wait"),
    ],
)
def test_the_call_and_its_descriptor_are_told(text: str, call: str) -> None:
    begin = "import os, select, socket\ndef say(f): print(f if type(f) is int else f.fileno(), flush=True)\n"
    with program(begin + text) as process:
        number = int(line_of(process))
        wait_for(lambda: thread(process.pid, process.pid).call == call, call)

        row = thread(process.pid, process.pid)

        assert (row.fd, row.state, row.tid) == (number, "S", process.pid)
        assert row.wait_channel


POLLS = """
import os, select
r, w = os.pipe()
q, v = os.pipe()
print(flush=True)
{call}
"""


@pytest.mark.parametrize(
    "call",
    [
        "p = select.poll(); p.register(r, 1); p.register(q, 0x2002); p.poll()",
        "select.select([r], [], [q])",
    ],
)
def test_what_a_poll_waits_for_is_told(call: str) -> None:
    with program(POLLS.format(call=call)) as process:
        row = asleep(process, lambda row: row.polled is not None)
        fds = sorted(procfs.targets(process.pid))[3:]

        assert {watch.fd: bool(watch.events & 1) for watch in row.polled or ()} == {fds[0]: True, fds[2]: False}


def test_every_thread_is_told_with_its_own_call() -> None:
    text = "import threading, signal, time\nthreading.Thread(target=time.sleep, args=(999,)).start()\n"
    with program(text + "print(flush=True); signal.pause()") as process:
        row = asleep(process, lambda row: row.call == "clock_nanosleep")

        assert row.tid != process.pid
        assert [one.tid for one in threads(process.pid)] == sorted(procfs.tids(process.pid))


def test_a_stopped_process_is_told_as_stopped() -> None:
    with program("print(flush=True); input()") as process:
        line_of(process)
        os.kill(process.pid, signal.SIGSTOP)
        wait_for(lambda: thread(process.pid, process.pid).state == "T", "stopped")


def test_a_thread_that_has_ended_is_named() -> None:
    with program("") as process:
        process.wait()
        with pytest.raises(NoSuchProcess):
            threads(process.pid)
        with pytest.raises(NoSuchProcess):
            thread(process.pid, process.pid)


def test_calls_are_named_and_unknown_ones_numbered() -> None:
    assert call_name(99999) == "syscall_99999"
    assert descriptors_in("sendfile", [7, 8, 0, 0, 0, 0]) == (7, 8)
    assert descriptors_in("splice", [7, 0, 9, 0, 0, 0]) == (7, 9)
    assert descriptors_in("futex", [7, 0, 0, 0, 0, 0]) == ()
    assert descriptors_in("read", [(1 << 40) + 3]) == (3,)


def test_a_call_that_no_table_of_ours_has_is_named_all_the_same() -> None:
    pytest.importorskip("ptrace", reason="python-ptrace is not installed: the extra `live`")
    from tracecorr.sources.system_calls import CALLS, call_name

    if platform.machine() != "x86_64":
        pytest.skip("the number is that of x86-64")
    assert 37 not in CALLS
    assert (call_name(37), call_name(99999)) == ("alarm", "syscall_99999")
