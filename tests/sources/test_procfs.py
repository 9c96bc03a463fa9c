"""Processes as /proc shows them: real ones, compared with what they know of themselves."""

from __future__ import annotations

import os
import resource
import select
import socket
import time
from pathlib import Path

import pytest

from tests.live import connection, headless, inode, line_of, program, wait_for
from tracecorr.errors import NoSuchProcess
from tracecorr.sources import procfs
from tracecorr.sources.namespace import namespace_of


def test_a_process_is_told_with_its_parent_and_start() -> None:
    before = time.time()
    with program("print(flush=True); input()") as process:
        line_of(process)
        about = procfs.stat(process.pid)

    assert (about.pid, about.parent) == (process.pid, os.getpid())
    assert before - 1 <= about.started <= time.time() + 1


def test_a_name_with_spaces_and_parentheses_is_read_whole() -> None:
    text = "open('/proc/self/comm', 'w').write('a) R 1 (b'); print(flush=True); input()"
    with program(text) as process:
        line_of(process)
        assert procfs.stat(process.pid).comm == "a) R 1 (b"
        assert procfs.stat(process.pid).parent == os.getpid()


def test_descriptors_are_told_with_their_flags() -> None:
    with connection() as pair:
        os.set_inheritable(pair.theirs.fileno(), True)
        found = procfs.descriptors(os.getpid())

        assert found[pair.ours.fileno()][:3] == (pair.ours.fileno(), f"socket:[{inode(pair.ours)}]", True)
        assert found[pair.theirs.fileno()].close_on_exec is False
        assert found[pair.ours.fileno()].inode == inode(pair.ours)
        assert set(procfs.targets(os.getpid())) >= set(found) - {max(found)}


def test_an_epoll_set_is_told_with_the_inodes_that_it_watches() -> None:
    with connection() as pair, select.epoll() as poller:
        poller.register(pair.ours, select.EPOLLIN | select.EPOLLRDHUP)
        poller.register(pair.theirs, 0)
        found = {watch.fd: watch for watch in procfs.watches(os.getpid(), poller.fileno())}

        assert found[pair.ours.fileno()].events & (select.EPOLLIN | select.EPOLLRDHUP) == 0x2001
        assert not found[pair.theirs.fileno()].events & select.EPOLLIN
        assert found[pair.ours.fileno()].inode in (inode(pair.ours), None)


def test_limit_command_program_and_status_are_told() -> None:
    pid = os.getpid()

    assert procfs.limit(pid) == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert Path(procfs.program(pid) or "").samefile("/proc/self/exe")
    assert "pytest" in (procfs.command(pid) or "") or "python" in (procfs.command(pid) or "")
    assert procfs.status(pid).uid == os.geteuid()


def test_whatever_is_asked_of_a_process_that_has_ended_it_is_named() -> None:
    with program("") as process:
        process.wait()
        for ask in (
            procfs.stat,
            procfs.tids,
            procfs.targets,
            procfs.descriptors,
            procfs.status,
            procfs.limit,
            procfs.command,
            procfs.program,
        ):
            with pytest.raises(NoSuchProcess, match=str(process.pid)):
                ask(process.pid)


def test_a_zombie_has_no_descriptors_and_no_name_is_lost() -> None:
    child = os.fork()
    if not child:
        os._exit(0)
    try:
        wait_for(lambda: procfs.stat(child).state == "Z", "a zombie")
        assert procfs.targets(child) == {}
    finally:
        os.waitpid(child, 0)


def test_processes_that_come_and_go_during_the_look_do_no_harm() -> None:
    churn = "import os\nwhile True:\n p = os.fork()\n if not p: os._exit(0)\n os.waitpid(p, 0)"
    with program(churn), socket.socket():
        for _ in range(20):
            for pid in procfs.pids():
                try:
                    procfs.targets(pid)
                    procfs.stat(pid)
                except (NoSuchProcess, procfs.PermissionDenied):
                    continue


def test_start_times_and_parents_are_those_that_psutil_tells() -> None:
    psutil = pytest.importorskip("psutil", reason="psutil is not installed: the extra `dev`")
    ours, theirs = procfs.stat(os.getpid()), psutil.Process()

    # psutil counts from the boot time in whole seconds.
    assert abs(ours.started - theirs.create_time()) <= 1
    assert (ours.parent, ours.comm) == (theirs.ppid(), theirs.name())


def test_a_process_whose_first_thread_has_ended_is_told_as_its_other_threads_have_it() -> None:
    with headless() as (process, fd):
        pid = process.pid
        other = procfs.standing(pid)

        assert other != pid and other in procfs.tids(pid)
        assert procfs.targets(pid)[fd].startswith("socket:[")
        assert procfs.descriptors(pid)[fd].close_on_exec is True
        assert procfs.protocol(pid, fd) == "TCP"
        assert procfs.program(pid) == procfs.program(os.getpid())
        assert namespace_of(pid) == namespace_of()
    assert procfs.standing(os.getpid()) == os.getpid()
