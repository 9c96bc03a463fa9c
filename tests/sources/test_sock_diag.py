"""Sockets from the kernel, compared with what the sockets themselves say."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from tests.live import as_ordinary_user, connection, inode, line_of, program, wait_for
from tracecorr.errors import NoSuchProcess
from tracecorr.kernel import Shutdown, TcpState
from tracecorr.snapshot import SocketRow
from tracecorr.sources import sock_diag
from tracecorr.sources.namespace import inside, namespace_of
from tracecorr.sources.sock_diag import sockets

HOSTS = ["127.0.0.1", "::1"] if socket.has_ipv6 else ["127.0.0.1"]


def with_inode(rows: list[SocketRow], number: int) -> SocketRow | None:
    return next((row for row in rows if row.inode == number), None)


@pytest.mark.parametrize("host", HOSTS)
def test_an_unread_end_of_file_is_seen_with_its_queue_ends_and_times(host: str) -> None:
    with connection(host) as pair:
        pair.theirs.sendall(b"seven b")
        pair.theirs.shutdown(socket.SHUT_WR)
        wait_for(lambda: with_inode(sockets([TcpState.CLOSE_WAIT]), inode(pair.ours)), "CLOSE_WAIT")

        row = with_inode(sockets([TcpState.CLOSE_WAIT]), inode(pair.ours))

        assert row is not None and row.info is not None
        assert (row.local, row.peer) == (pair.ours.getsockname()[:2], pair.theirs.getsockname()[:2])
        assert (row.receive_queue, row.send_queue, row.shutdown) == (8, 0, Shutdown.RD)
        assert (row.uid, row.namespace) == (os.getuid(), namespace_of())
        assert row.info.bytes_received == 8 and row.info.bytes_sent == 0
        assert 0 <= (row.info.last_ack_received or 0) <= (row.info.last_data_received or 0) < 60_000


def test_only_the_states_asked_for_are_told() -> None:
    with connection() as pair:
        rows = sockets([TcpState.LISTEN])

        assert with_inode(rows, inode(pair.listener)) is not None
        assert {row.state for row in rows} == {TcpState.LISTEN}
        assert with_inode(sockets(), inode(pair.ours)) is not None
        assert sockets([]) == []


def test_a_listener_tells_its_queue_and_its_limit() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=7) as listener:
        with socket.create_connection(listener.getsockname()):
            row = with_inode(sockets([TcpState.LISTEN]), inode(listener))

        assert row is not None
        assert (row.receive_queue, row.send_queue) == (1, 7)


def test_many_sockets_come_in_more_than_one_message() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=600) as listener:
        clients = [socket.create_connection(listener.getsockname()) for _ in range(500)]
        numbers = {inode(client) for client in clients}
        found = {row.inode for row in sockets([TcpState.ESTABLISHED])}
        for client in clients:
            client.close()

    assert numbers <= found


@pytest.mark.parametrize("host", HOSTS)
def test_proc_net_tells_the_same_where_netlink_is_refused(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> socket.socket:
        raise PermissionError(1, "Operation not permitted")

    with connection(host) as pair:
        pair.theirs.sendall(b"seven b")
        pair.theirs.shutdown(socket.SHUT_WR)
        wait_for(lambda: with_inode(sockets([TcpState.CLOSE_WAIT]), inode(pair.ours)), "CLOSE_WAIT")
        told = with_inode(sockets([TcpState.CLOSE_WAIT]), inode(pair.ours))
        monkeypatch.setattr(sock_diag, "_open", refused)
        read = with_inode(sockets([TcpState.CLOSE_WAIT]), inode(pair.ours))

    assert told is not None and read is not None
    same = ("state", "local", "peer", "receive_queue", "send_queue", "inode", "namespace", "uid")
    assert [getattr(read, name) for name in same] == [getattr(told, name) for name in same]
    assert read.info is None and read.origin is not None and read.origin.source.startswith("/proc/self/net/tcp")


# In a network namespace of its own: its loopback is up, it listens, prints its port, and waits.
ELSEWHERE = """
import ctypes, fcntl, os, socket, struct
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(0x40000000):
    print(os.strerror(ctypes.get_errno()), flush=True)
    raise SystemExit
with socket.socket() as s:
    fcntl.ioctl(s, 0x8914, struct.pack("16sH14x", b"lo", 0x49))
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
input()
"""


@pytest.fixture
def elsewhere() -> Iterator[tuple[int, int]]:
    """A process in another network namespace, and the port on which it listens there."""
    with program(ELSEWHERE) as process:
        said = line_of(process)
        if not said.isdigit():
            pytest.skip(f"no network namespace can be made: {said}")
        yield process.pid, int(said)


def test_another_network_namespace_is_looked_at_and_ours_is_never_left(elsewhere: tuple[int, int]) -> None:
    pid, port = elsewhere
    home = namespace_of()

    rows = sockets([TcpState.LISTEN], pid)

    assert [row.local.port for row in rows if row.local] == [port]
    assert {row.namespace for row in rows} == {namespace_of(pid)} != {home}
    assert namespace_of() == home
    assert all(row.namespace == home for row in sockets([TcpState.LISTEN]))


def test_what_fails_inside_a_namespace_is_raised_outside(elsewhere: tuple[int, int]) -> None:
    def fails() -> None:
        raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        inside(elsewhere[0], fails)
    assert namespace_of() != namespace_of(elsewhere[0])


def test_a_namespace_that_may_not_be_entered_is_read_through_proc(elsewhere: tuple[int, int]) -> None:
    pid, port = elsewhere

    rows = as_ordinary_user(lambda: sockets([TcpState.LISTEN], pid))

    assert [row.local.port for row in rows if row.local] == [port]
    assert all(row.origin and row.origin.source.startswith(f"/proc/{pid}/net/tcp") for row in rows)


def test_a_process_that_has_ended_is_named() -> None:
    with program("") as process:
        process.wait()
        with pytest.raises(NoSuchProcess, match=str(process.pid)):
            sockets([TcpState.LISTEN], process.pid)
