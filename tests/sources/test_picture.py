"""What a real process has open and does, as records, compared with what the process itself knows."""

from __future__ import annotations

import itertools
import os
import select
import socket
import threading
import time
from collections.abc import Callable

from tracecorr.events import Origin, TaskId
from tracecorr.kernel import POLLIN, TcpState
from tracecorr.sources import procfs
from tracecorr.sources.picture import picture
from tracecorr.syscalls.record import DescriptorFound, Record, TaskFound, UnfinishedRecord


def numbered() -> Callable[[], Origin]:
    numbers = itertools.count(1)
    return lambda: Origin("look", next(numbers))


def look() -> list[Record]:
    pid = os.getpid()
    return list(picture({pid: procfs.tids(pid)}, numbered()))


def descriptors() -> dict[int, DescriptorFound]:
    return {record.fd: record for record in look() if isinstance(record, DescriptorFound)}


def test_a_connection_its_listener_and_the_set_that_watches_it_are_found() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        select.epoll() as epoll,
        socket.create_connection(listener.getsockname()) as client,
        listener.accept()[0] as accepted,
    ):
        epoll.register(accepted, select.EPOLLIN)
        client.sendall(b"four")
        select.select([accepted], [], [], 10)
        found = descriptors()
        order = list(found)

        server, here = found[accepted.fileno()], found[client.fileno()]
        assert (server.state, server.role, server.unread) == (TcpState.ESTABLISHED, "accepted", 4)
        assert (here.role, here.local, here.peer) == ("connected", server.peer, server.local)
        assert found[listener.fileno()].state is TcpState.LISTEN
        assert server.close_on_exec is True
        ((fd, events, data),) = found[epoll.fileno()].watches
        # Python sets the lower half of epoll_event's data alone.
        assert (fd, events & POLLIN, (data or 0) & 0xFFFFFFFF) == (accepted.fileno(), POLLIN, accepted.fileno())
        assert order.index(epoll.fileno()) > order.index(accepted.fileno())


def test_a_watch_is_of_the_file_whatever_its_number_means_by_now() -> None:
    one, other = socket.socketpair()
    with one, other, select.epoll() as epoll:
        moved = os.dup(one.fileno())
        number = one.fileno()
        epoll.register(number, select.EPOLLIN)
        os.dup2(other.fileno(), number)
        try:
            assert [fd for fd, _, _ in descriptors()[epoll.fileno()].watches] == [moved]
        finally:
            os.close(moved)


def test_every_thread_is_found_with_the_call_that_it_sleeps_in() -> None:
    one, other = socket.socketpair()
    reader = threading.Thread(target=one.recv, args=(1,))
    with one, other:
        reader.start()
        try:
            assert reader.native_id is not None
            deadline = time.monotonic() + 10
            while procfs.stat(os.getpid(), reader.native_id).state != "S" and time.monotonic() < deadline:
                time.sleep(0.01)
            records = look()
        finally:
            other.send(b"!")
            reader.join()
        fd = one.fileno()

    tasks = {record.task: record for record in records if isinstance(record, TaskFound)}
    calls = {record.task: record for record in records if isinstance(record, UnfinishedRecord)}
    leader = TaskId(os.getpid())
    assert tasks[TaskId(reader.native_id)].table == leader
    assert tasks[leader].parent == os.getppid()
    assert (calls[TaskId(reader.native_id)].name, calls[TaskId(reader.native_id)].args) == ("recvfrom", [fd])


def test_a_process_that_has_ended_is_left_out() -> None:
    gone = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(gone, 0)

    assert list(picture({gone: [gone]}, numbered())) == []
