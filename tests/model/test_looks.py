"""What a look at the host adds to a replay, and what it sets right."""

from __future__ import annotations

from collections.abc import Iterable

from tracecorr.events import Endpoint, Origin, TaskId
from tracecorr.kernel import Shutdown, TcpState
from tracecorr.model.replay import replay
from tracecorr.model.system import System
from tracecorr.syscalls.decode import decode
from tracecorr.syscalls.record import DescriptorFound, Record, StateRecord, SyscallRecord, TaskFound

PARENT, THREAD, CHILD = TaskId(10), TaskId(11), TaskId(20)
HERE, THERE = Endpoint("192.0.2.10", 80), Endpoint("192.0.2.20", 41007)
SECOND = 10**9


def origin(line: int = 1) -> Origin:
    return Origin("trace", line)


def system_of(records: Iterable[Record]) -> System:
    system = System()
    for event in decode(records):
        replay(system, event)
    return system


def task(name: TaskId, *, pid: int | None = None, parent: int = 1, table: TaskId | None = None) -> TaskFound:
    return TaskFound(name, SECOND, origin(), pid or name.tid, parent, "server", table or name)


def found(
    name: TaskId,
    fd: int,
    state: TcpState = TcpState.ESTABLISHED,
    *,
    inode: int = 500,
    unread: int = 0,
    at: int = SECOND,
) -> DescriptorFound:
    return DescriptorFound(name, at, origin(), fd, f"socket:[{inode}]", True, state, HERE, THERE, unread, "accepted")


def call(name: TaskId, word: str, args: list[object], result: int, at: int = 2 * SECOND) -> SyscallRecord:
    return SyscallRecord(name, word, args, result, None, at, at, origin(9), origin(9))._replace(
        began=(o := origin(9)), origin=o
    )


def held(system: System) -> list[tuple[int | None, int, str]]:
    (connection,) = system.connections.values()
    return [(d.process.pid, d.number, d.how) for d in system.holders(connection)]


def test_threads_share_a_table_and_a_child_has_its_copy_by_fork() -> None:
    system = system_of([task(PARENT), task(THREAD, pid=10, table=PARENT), task(CHILD, parent=10),
                        found(PARENT, 5), found(CHILD, 5)])  # fmt: skip

    assert system.tasks[THREAD].table is system.tasks[PARENT].table
    assert held(system) == [(10, 5, "open-at-start"), (20, 5, "fork")]
    assert system.seen == 1


def test_a_close_by_a_thread_takes_the_descriptor_from_all() -> None:
    system = system_of([task(PARENT), task(THREAD, pid=10, table=PARENT), task(CHILD, parent=10),
                        found(PARENT, 5), found(CHILD, 5), call(THREAD, "close", [5], 0)])  # fmt: skip

    assert held(system) == [(20, 5, "fork")]


def test_an_end_of_file_that_nobody_consumed_is_known_and_unread() -> None:
    (connection,) = system_of([task(PARENT), found(PARENT, 5, TcpState.CLOSE_WAIT, unread=1)]).connections.values()

    assert connection.fin is not None and connection.eof is None


def test_one_that_was_consumed_unseen_is_told_apart_from_one_that_was_read() -> None:
    look = [task(PARENT), found(PARENT, 5, TcpState.CLOSE_WAIT)]
    (unseen,) = system_of(look).connections.values()
    (seen,) = system_of([*look, call(PARENT, "read", [5, None, 100], 0)]).connections.values()

    assert (unseen.eof is not None, unseen.eof_seen) == (True, False)
    assert (seen.eof is not None, seen.eof_seen) == (True, True)


def test_our_own_fin_is_known_from_the_state() -> None:
    (connection,) = system_of([task(PARENT), found(PARENT, 5, TcpState.FIN_WAIT2)]).connections.values()

    assert connection.shut & Shutdown.WR and connection.fin is None


def test_a_call_whose_effect_the_look_had_seen_already_makes_no_second_connection_a_gap() -> None:
    accepted = call(PARENT, "accept4", [3, None, None, 0], 5, SECOND - 1000)
    system = system_of([task(PARENT), found(PARENT, 3, TcpState.LISTEN, inode=400), found(PARENT, 5), accepted])

    assert held(system) == [(10, 5, "accept")]
    assert not system.gaps


def test_a_later_look_confirms_what_the_calls_tell_and_adds_the_inode() -> None:
    system = system_of([
        task(PARENT), found(PARENT, 3, TcpState.LISTEN, inode=400), call(PARENT, "accept4", [3, None, None, 0], 5),
        found(PARENT, 5, TcpState.CLOSE_WAIT, unread=1, at=3 * SECOND),
    ])  # fmt: skip
    (connection,) = system.connections.values()

    assert (connection.inode, connection.peer, held(system)) == (500, THERE, [(10, 5, "accept")])
    assert connection.fin is not None and not system.gaps


def test_the_kernel_has_the_last_word_on_what_is_open() -> None:
    accepted = call(PARENT, "accept4", [3, None, None, 0], 5)
    look = [task(PARENT), found(PARENT, 3, TcpState.LISTEN, inode=400), accepted]
    gone = system_of([*look, DescriptorFound(PARENT, 3 * SECOND, origin(), 5, None)])
    another = system_of([*look, found(PARENT, 5), found(PARENT, 5, inode=501)])

    assert not gone.connections
    assert [gap for gap, _ in gone.gaps] == ["the kernel contradicts the calls"]
    assert [each.inode for each in another.connections.values()] == [501]
    assert [gap for gap, _ in another.gaps] == ["the kernel contradicts the calls"]


def test_a_fin_whose_connection_is_known_only_later_keeps_its_time() -> None:
    fin = StateRecord(5 * SECOND, origin(4), TcpState.ESTABLISHED, TcpState.CLOSE_WAIT, HERE, THERE)
    (connection,) = system_of(
        [task(PARENT), fin, found(PARENT, 5, TcpState.CLOSE_WAIT, unread=1, at=9 * SECOND)]
    ).connections.values()

    assert connection.fin is not None and (connection.fin.at, connection.fin.origin) == (5 * SECOND, origin(4))


def test_a_fin_of_a_connection_that_has_gone_on_is_forgotten() -> None:
    moved = StateRecord(6 * SECOND, origin(5), TcpState.CLOSE_WAIT, TcpState.LAST_ACK, HERE, THERE)
    fin = StateRecord(5 * SECOND, origin(4), TcpState.ESTABLISHED, TcpState.CLOSE_WAIT, HERE, THERE)

    assert not system_of([task(PARENT), fin, moved]).arrivals


def test_an_epoll_set_that_was_there_is_known() -> None:
    epoll = DescriptorFound(PARENT, SECOND, origin(), 4, "anon_inode:[eventpoll]", watches=((5, 0x2001, 7),))
    (connection,) = system_of([task(PARENT), found(PARENT, 5), epoll]).connections.values()

    assert connection.watched is not None and connection.watched.events == 0x2001


def test_a_fork_that_returns_after_the_look_tells_where_the_copy_is_from() -> None:
    fork = call(PARENT, "fork", [], 20)
    system = system_of([task(PARENT), task(CHILD, parent=10), found(PARENT, 5), found(CHILD, 5), fork])
    (connection,) = system.connections.values()
    copy = system.holders(connection)[-1]

    assert (copy.how, copy.source is not None, copy.fact is not None) == ("fork", True, True)
    assert held(system) == [(10, 5, "open-at-start"), (20, 5, "fork")]


def test_what_the_kernels_events_tell_late_does_not_take_back_what_a_look_has_found() -> None:
    stale = found(PARENT, 5, TcpState.ESTABLISHED, at=3 * SECOND)
    system = system_of([task(PARENT), found(PARENT, 5, TcpState.CLOSE_WAIT, unread=1, at=4 * SECOND), stale])

    (connection,) = system.connections.values()
    assert connection.fin is not None and not system.gaps

    system = system_of([task(PARENT), found(PARENT, 5, TcpState.CLOSE_WAIT, unread=1, at=2 * SECOND), stale])

    (connection,) = system.connections.values()
    assert connection.fin is None and system.gaps


RESET = StateRecord(6 * SECOND, origin(5), TcpState.CLOSE_WAIT, TcpState.CLOSE, HERE, THERE)


def test_a_reset_that_the_kernel_tells_of_ends_a_connection_that_is_still_held() -> None:
    fin = StateRecord(5 * SECOND, origin(4), TcpState.ESTABLISHED, TcpState.CLOSE_WAIT, HERE, THERE)
    (connection,) = system_of([task(PARENT), found(PARENT, 5), fin, RESET]).connections.values()

    assert connection.closed_by_reset is not None
    assert (connection.closed_by_reset.at, connection.closed_by_reset.origin) == (6 * SECOND, origin(5))


def test_a_connection_that_was_closed_with_data_unread_was_not_reset_by_its_peer() -> None:
    system = system_of([task(PARENT), found(PARENT, 5, TcpState.CLOSE_WAIT, unread=9)])
    (connection,) = system.connections.values()
    for record in (call(PARENT, "close", [5], 0), RESET):
        for event in decode([record]):
            replay(system, event)

    assert connection.released is not None and connection.closed_by_reset is None


def test_a_connection_that_a_look_finds_in_no_state_was_reset_after_the_look_before() -> None:
    waiting = found(PARENT, 5, TcpState.CLOSE_WAIT, unread=1, at=3 * SECOND)
    unlisted = found(PARENT, 5, at=7 * SECOND)._replace(state=TcpState.CLOSE, local=None, peer=None, role=None)
    (connection,) = system_of([task(PARENT), waiting, unlisted]).connections.values()

    assert connection.closed_by_reset is not None and connection.closed_by_reset.at == 3 * SECOND
