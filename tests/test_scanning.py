"""scan() and watch() on real processes, compared with what the kernel says of them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

import tracecorr
from tests.live import Pair, as_ordinary_user, connection, inode, line_of, program, wait_for
from tracecorr.errors import NoSuchProcess
from tracecorr.kernel import TcpState
from tracecorr.scanning import watch
from tracecorr.sources import procfs
from tracecorr.sources.sock_diag import sockets
from tracecorr.verdicts.report import Report, Verdict, from_json

SOON = 0.2

# Accepts one connection, says so, and waits; what it does then comes from its argument.
SERVER = """
import os, select, signal, socket, subprocess, sys, time
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
{work}
"""
KEEP = "end, _ = listener.accept(); print(end.fileno(), flush=True); listener.accept()"


def to(port: int | str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(port)))


def about(report: Report, pid: int) -> list[Verdict]:
    return [v for v in report.verdicts if pid in [h.pid for h in v.holders] or (v.culprit and v.culprit.pid == pid)]


def only(report: Report, pid: int) -> Verdict:
    (verdict,) = about(report, pid)
    return verdict


def is_close_wait(port: int | str) -> bool:
    return any(row.local is not None and row.local.port == int(port) for row in sockets([TcpState.CLOSE_WAIT]))


@pytest.fixture
def keeper() -> Iterator[tuple[int, int, int]]:
    """A server that never reads a connection whose client has gone: its pid, port, descriptor."""
    with program(SERVER.format(work=KEEP)) as process:
        port = line_of(process)
        client = to(port)
        fd = line_of(process)
        client.close()
        wait_for(lambda: is_close_wait(port), "CLOSE_WAIT")
        yield process.pid, int(port), int(fd)


def test_an_unread_end_of_file_is_explained(keeper: tuple[int, int, int]) -> None:
    pid, port, fd = keeper
    verdict = only(tracecorr.scan([pid], stuck_after=SOON), pid)

    assert (verdict.cause, verdict.detail, verdict.confidence) == ("never-reads-eof", "forgotten", "certain")
    assert verdict.culprit is not None and (verdict.culprit.pid, verdict.culprit.fd) == (pid, fd)
    assert verdict.socket.local == f"127.0.0.1:{port}" and verdict.socket.state == "CLOSE_WAIT"
    assert verdict.socket.inode == procfs_inode(pid, fd)
    assert {line.source for line in verdict.evidence} >= {"sock_diag", f"/proc/{pid}/fd/{fd}"}
    assert verdict.stuck_for is not None and verdict.stuck_for >= SOON


def procfs_inode(pid: int, fd: int) -> int:
    return int(os.readlink(f"/proc/{pid}/fd/{fd}")[8:-1])


def test_the_report_survives_json_with_its_graph(keeper: tuple[int, int, int]) -> None:
    report = tracecorr.scan([keeper[0]], stuck_after=SOON)
    again = from_json(json.dumps(report.to_json()))

    assert again.verdicts == report.verdicts and again.command == "scan"
    assert {about["kind"] for _, about in again.graph.nodes(data=True)} == {"process", "descriptor", "description"}
    assert list(again.graph.edges(data=True)) == list(report.graph.edges(data=True))


def test_a_young_connection_is_looked_at_again_and_spared_when_it_is_closed_in_time() -> None:
    late = "end, _ = listener.accept(); print(flush=True); select.select([end], [], []); time.sleep(0.3); end.close(); input()"
    with program(SERVER.format(work=late)) as process:
        port = line_of(process)
        client = to(port)
        line_of(process)
        client.close()
        wait_for(lambda: is_close_wait(port), "CLOSE_WAIT")

        assert about(tracecorr.scan([process.pid], stuck_after=2.0), process.pid) == []


def test_all_tells_of_what_is_unsure_without_blame(keeper: tuple[int, int, int]) -> None:
    report = tracecorr.scan([keeper[0]], stuck_after=3600.0, everything=True, patience=0.0)

    assert [(v.cause, v.confidence, v.fault) for v in about(report, keeper[0])] == [
        ("never-reads-eof", "possible", False)
    ]
    assert "too young to tell" in only(report, keeper[0]).summary
    assert tracecorr.scan([keeper[0]], stuck_after=3600.0, patience=0.0).verdicts == ()


def test_our_own_sockets_are_explained_like_others() -> None:
    with connection() as pair:
        stick(pair)
        report = tracecorr.scan(stuck_after=0.0)
        (verdict,) = [v for v in report.verdicts if v.socket.inode == inode(pair.ours)]

    assert [holder.pid for holder in verdict.holders] == [os.getpid()]


def stick(pair: Pair) -> None:
    pair.theirs.shutdown(socket.SHUT_WR)
    wait_for(lambda: is_close_wait(pair.ours.getsockname()[1]), "CLOSE_WAIT")


def test_a_connection_in_a_queue_is_the_listeners_owners() -> None:
    with program(SERVER.format(work="input()")) as process:
        port = line_of(process)
        to(port).close()
        wait_for(lambda: is_close_wait(port), "CLOSE_WAIT")
        verdict = only(tracecorr.scan([process.pid], stuck_after=SOON), process.pid)

    assert (verdict.cause, verdict.confidence, verdict.socket.inode) == ("never-accepted", "certain", None)
    assert "its only thread waits in read(0), a pipe" in verdict.summary


def test_a_program_started_with_a_copy_is_found_by_its_parent() -> None:
    work = (
        "end, _ = listener.accept(); os.set_inheritable(end.fileno(), True)\n"
        "helper = subprocess.Popen(['sleep', '1000'], close_fds=False); print(helper.pid, flush=True)\n"
        "end.recv(9); end.close(); listener.accept()"
    )
    with program(SERVER.format(work=work)) as process:
        port = line_of(process)
        client = to(port)
        helper = int(line_of(process))
        client.close()
        wait_for(lambda: is_close_wait(port) and holders(helper, port) == [helper], "the server closes its copy")
        verdict = only(tracecorr.scan(stuck_after=SOON), helper)

    assert (verdict.cause, verdict.detail, verdict.confidence) == ("inherited-copy", "no-cloexec", "likely")
    assert verdict.owner is not None and verdict.owner.pid == process.pid


def holders(pid: int, port: str) -> list[int]:
    numbers = {row.inode for row in sockets([TcpState.CLOSE_WAIT]) if row.local and row.local.port == int(port)}
    pids = [pid, procfs.stat(pid).parent]
    return [one for one in pids if any(f"socket:[{n}]" in procfs.targets(one).values() for n in numbers)]


def test_only_what_has_to_do_with_the_processes_given_is_told(keeper: tuple[int, int, int]) -> None:
    with program("input()") as other:
        assert tracecorr.scan([other.pid], stuck_after=SOON).verdicts == ()


def test_who_forked_the_holder_is_told_of_it(keeper: tuple[int, int, int]) -> None:
    assert about(tracecorr.scan([os.getpid()], stuck_after=SOON), keeper[0]) != []


def test_a_process_that_is_not_there_is_an_error() -> None:
    with program("") as process:
        process.wait()
        with pytest.raises(NoSuchProcess, match=str(process.pid)):
            tracecorr.scan([process.pid])


def test_an_ordinary_user_explains_his_own_and_is_told_what_he_cannot_see(keeper: tuple[int, int, int]) -> None:
    pid, _, _ = keeper

    def seen() -> tuple[list[str], list[str], bool]:
        report = tracecorr.scan(stuck_after=SOON)
        named = any(holder.pid == pid for verdict in report.verdicts for holder in verdict.holders)
        stuck = [verdict.cause for verdict in report.verdicts if verdict.socket.local == f"127.0.0.1:{keeper[1]}"]
        return stuck, [gap.what for gap in report.gaps], named

    causes, gaps, named = as_ordinary_user(seen)

    assert (causes, named) == (["unexplained"], False)
    assert "processes unseen" in gaps


def test_processes_that_die_during_the_look_do_no_harm(keeper: tuple[int, int, int]) -> None:
    churn = """
import os, socket
listener = socket.create_server(("127.0.0.1", 0))
print(flush=True)
while True:
    child = os.fork()
    if not child:
        os._exit(0)
    a = socket.create_connection(listener.getsockname())
    b, _ = listener.accept()
    a.close()
    os.waitpid(child, 0)
    b.close()
"""
    with program(churn) as process:
        line_of(process)
        for _ in range(5):
            report = tracecorr.scan(stuck_after=SOON)
            assert only(report, keeper[0]).cause == "never-reads-eof"
            assert about(report, process.pid) == []


ELSEWHERE = """
import ctypes, fcntl, os, socket, struct
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(0x40000000):
    print(os.strerror(ctypes.get_errno()), flush=True)
    raise SystemExit
with socket.socket() as s:
    fcntl.ioctl(s, 0x8914, struct.pack("16sH14x", b"lo", 0x49))
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
end, _ = listener.accept()
client.close()
print("ready", flush=True)
input()
"""


def test_a_connection_in_another_network_namespace_is_explained() -> None:
    with program(ELSEWHERE) as process:
        said = line_of(process)
        if said != "ready":
            pytest.skip(f"no network namespace can be made: {said}")
        verdict = only(tracecorr.scan(stuck_after=SOON), process.pid)

    assert verdict.cause == "never-reads-eof"


def test_watching_tells_what_is_new_and_gone() -> None:
    with program(SERVER.format(work=KEEP)) as process:
        port = line_of(process)
        looks = watch(interval=0.05, stuck_after=0.0)

        def moved() -> tuple[int, int]:
            _, changed = next(looks)
            mine = [change for change in changed.changes if change.pid == process.pid]
            return sum(change.new for change in mine), sum(change.gone for change in mine)

        assert moved() == (0, 0)
        client = to(port)
        line_of(process)
        client.close()
        wait_for(lambda: is_close_wait(port), "CLOSE_WAIT")
        assert moved() == (1, 0)
        assert moved() == (0, 0)
        process.kill()
        process.wait()
        wait_for(lambda: not is_close_wait(port), "gone")
        assert moved() == (0, 1)


def command(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tracecorr", "scan", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_command_explains_and_ends_with_1(keeper: tuple[int, int, int]) -> None:
    run = command(str(keeper[0]), "--stuck-after", "0.2")
    text, errors = run.communicate()

    assert (run.returncode, errors) == (1, "")
    assert "stuck in CLOSE_WAIT" in text.splitlines()[0]
    assert f"PID {keeper[0]}" in text and "not understood" not in text


def test_the_command_ends_with_0_where_nothing_is_stuck_and_2_without_the_process() -> None:
    with program("input()") as process:
        run = command(str(process.pid), "--format", "json")
        assert json.loads(run.communicate()[0])["verdicts"] == [] and run.returncode == 0
    assert "Traceback" not in command(str(process.pid)).communicate()[1]
    gone = command(str(process.pid))
    assert str(process.pid) in gone.communicate()[1] and gone.returncode == 2


def test_the_command_watches_until_it_is_interrupted(keeper: tuple[int, int, int]) -> None:
    run = command(str(keeper[0]), "--watch", "0.1", "--stuck-after", "0", "--format", "json")
    assert run.stdout is not None
    first, second = json.loads(run.stdout.readline()), json.loads(run.stdout.readline())
    run.send_signal(signal.SIGINT)
    run.communicate()

    assert [change["new"] for change in first["changes"]] == [1]
    assert [(change["new"], change["gone"], change["stuck"]) for change in second["changes"]] == [(0, 0, 1)]
    assert first["new"][0]["cause"] == "never-reads-eof" and second["new"] == []
    assert run.returncode == 1


OWN_TABLE = """
import ctypes, threading
def work():
    ctypes.CDLL(None).unshare(0x400)  # CLONE_FILES
    end, _ = listener.accept()
    print(end.fileno(), flush=True)
    sys.stdin.readline()
threading.Thread(target=work).start()
"""


def test_a_descriptor_in_a_table_of_one_thread_alone_is_found() -> None:
    with program(SERVER.format(work=OWN_TABLE)) as process:
        port = line_of(process)
        with to(port) as client:
            fd = int(line_of(process))
            client.shutdown(socket.SHUT_WR)
            wait_for(lambda: is_close_wait(port), "the FIN has come")
            assert fd not in procfs.targets(process.pid)
            verdict = only(tracecorr.scan([process.pid], stuck_after=0), process.pid)

    assert [(holder.pid, holder.fd) for holder in verdict.holders] == [(process.pid, fd)]
