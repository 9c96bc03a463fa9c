"""What is passed over, held back and put in its place: the engine `tracefs` without a kernel, event by event."""

from __future__ import annotations

import itertools
import struct
from typing import Any

import pytest

from tracecorr.events import Endpoint, Origin, TaskId
from tracecorr.kernel import CLONE_FILES, CLONE_THREAD, TCP_STATES, TcpState
from tracecorr.sources.ring_buffer import TraceEvent
from tracecorr.sources.trace_ends import Ends, ends_of
from tracecorr.sources.trace_look import Looks
from tracecorr.sources.trace_reader import Ordered
from tracecorr.sources.trace_records import FOUND, Translator
from tracecorr.sources.trace_rows import Row
from tracecorr.sources.trace_sieve import Sieve
from tracecorr.sources.trace_waits import STAY, Waits
from tracecorr.sources.trace_window import Window
from tracecorr.syscalls.record import DescriptorFound, Record, StateRecord, SyscallRecord, TransferRecord

PARTS = struct.Struct("=HHH2x4s4s16s16s")
HERE, THERE = Endpoint("127.0.0.1", 80), Endpoint("127.0.0.1", 4000)
SERVER, THREAD, CHILD = 100, 101, 200
MS = 1_000_000
FOREVER = 10**12


def address(local: Endpoint, peer: Endpoint) -> bytes:
    octets = [bytes(map(int, end.address.split("."))) for end in (local, peer)]
    return PARTS.pack(local.port, peer.port, 2, *octets, bytes(16), bytes(16))


def state(
    at: int, tid: int, old: TcpState, new: TcpState, *, sk: int = 7, ends: tuple[Endpoint, Endpoint] = (HERE, THERE)
) -> TraceEvent:
    numbers = (TCP_STATES.index(old), TCP_STATES.index(new))
    return TraceEvent(at, "inet_sock_set_state", (tid, sk, *numbers, address(*ends)))


def call(at: int, name: str, *values: int) -> TraceEvent:
    return TraceEvent(at, name, values)


def accepted(at: int, fd: int, tid: int = SERVER) -> list[TraceEvent]:
    return [call(at, "sys_enter_accept4", tid, 3, 0, 0, 0), call(at + 1, "sys_exit_accept4", tid, fd)]


class Engine:
    """The parts between the kernel's buffers and the records."""

    def __init__(self, *, older: tuple[Ends, ...] = (), ports: frozenset[int] = frozenset()) -> None:
        numbers = itertools.count(1)
        threads = {SERVER: SERVER, THREAD: SERVER}
        self.waits = Waits(PARTS, older)
        self.sieve = Sieve(self.waits, PARTS, threads, {3}, set(ports))
        self.translator = Translator(dict(threads), self.waits, PARTS, lambda: Origin("tracefs", next(numbers)), 0)
        self.looks = Looks(self.waits, self.sieve.found, lambda: Origin("look", next(numbers)), 0)
        self.ordered = Ordered()
        self.emitted = 0

    def take(self, *events: TraceEvent) -> None:
        self.ordered.add(self.sieve.sift(events, self.emitted))

    def told(self, until: int = FOREVER) -> list[Record]:
        self.emitted = until
        told = []
        for event in self.ordered.ripe(until):
            if id(event) in self.sieve.void:
                self.sieve.void.discard(id(event))
            else:
                told += self.translator.records(event)
        return told


def names(records: list[Record]) -> list[str]:
    return [record.name if isinstance(record, SyscallRecord) else type(record).__name__ for record in records]


# Connections that are accepted and closed at once.


def test_a_connection_is_passed_over_when_its_fin_went_out_inside_the_close() -> None:
    engine = Engine()
    engine.take(*accepted(1, 5), call(10, "sys_enter_close", SERVER, 5),
                state(11, SERVER, TcpState.ESTABLISHED, TcpState.FIN_WAIT1))  # fmt: skip

    assert engine.told() == []
    assert engine.sieve.passed_over == 1


@pytest.mark.parametrize(
    "between",
    [
        [],  # no FIN at all: somebody else holds it
        [state(11, CHILD, TcpState.ESTABLISHED, TcpState.FIN_WAIT1)],  # another task's
        [call(11, "sys_enter_close", SERVER, 3), state(12, SERVER, TcpState.ESTABLISHED, TcpState.FIN_WAIT1)],
        [call(11, "sys_enter_shutdown", SERVER, 6, 1), state(12, SERVER, TcpState.ESTABLISHED, TcpState.FIN_WAIT1)],
        [state(11, SERVER, TcpState.ESTABLISHED, TcpState.CLOSE)],  # a reset, perhaps of another connection
    ],
    ids=["no-fin", "of-another-task", "of-another-close", "of-a-shutdown", "reset"],
)
def test_a_connection_whose_close_was_not_seen_to_be_the_last_is_told(between: list[TraceEvent]) -> None:
    engine = Engine()
    engine.take(*accepted(1, 5), call(10, "sys_enter_close", SERVER, 5), *between)

    assert names(engine.told())[:2] == ["accept4", "close"]
    assert engine.sieve.passed_over == 0


@pytest.mark.parametrize(
    "between",
    [
        TraceEvent(5, "task_newtask", (SERVER, CHILD, b"", 0)),
        call(5, "sys_enter_dup2", SERVER, 5, 9),
        call(5, "sys_enter_shutdown", THREAD, 5, 1),
    ],
    ids=["fork", "dup2", "shutdown"],
)
def test_a_connection_that_may_have_been_copied_is_told(between: TraceEvent) -> None:
    engine = Engine()
    engine.take(*accepted(1, 5), between, call(10, "sys_enter_close", SERVER, 5),
                state(11, SERVER, TcpState.ESTABLISHED, TcpState.FIN_WAIT1))  # fmt: skip

    assert {"accept4", "close"} <= set(names(engine.told()))


def test_what_has_been_told_is_not_taken_back() -> None:
    engine = Engine()
    engine.take(*accepted(1, 5))
    assert names(engine.told(until=5)) == ["accept4"]

    engine.take(call(10, "sys_enter_close", SERVER, 5), state(11, SERVER, TcpState.ESTABLISHED, TcpState.FIN_WAIT1))

    assert names(engine.told()) == ["close"]


def test_connections_of_traced_clients_are_told_and_so_are_their_ends() -> None:
    engine = Engine(ports=frozenset({80}))
    assert engine.sieve.unconcerned == {80}

    engine.take(state(0, CHILD, TcpState.CLOSE, TcpState.SYN_SENT, sk=8, ends=(THERE, HERE)), *accepted(1, 5),
                call(10, "sys_enter_close", SERVER, 5), state(11, SERVER, TcpState.ESTABLISHED, TcpState.FIN_WAIT1))  # fmt: skip

    assert names(engine.told()) == ["accept4", "close"]
    assert engine.sieve.unconcerned == set()


# Closes of files.


def test_a_close_of_what_was_never_a_socket_is_passed_over_until_it_is_one() -> None:
    engine = Engine()
    engine.take(call(1, "sys_enter_close", SERVER, 5), *accepted(2, 5), call(9, "sys_enter_close", SERVER, 5),
                call(10, "sys_enter_close", SERVER, 5))  # fmt: skip
    assert names(engine.told()) == ["accept4", "close"]

    engine.sieve.found(SERVER, 5)
    engine.take(call(20, "sys_enter_close", SERVER, 5))
    assert names(engine.told()) == ["close"]


@pytest.mark.parametrize(("flags", "closes"), [(0, 2), (CLONE_FILES, 1), (CLONE_FILES | CLONE_THREAD, 1)])
def test_a_child_has_numbers_of_its_own_unless_it_shares_the_table(flags: int, closes: int) -> None:
    engine = Engine()
    engine.take(*accepted(1, 5), TraceEvent(3, "task_newtask", (SERVER, CHILD, b"", flags)),
                call(4, "sys_enter_close", SERVER, 5), call(5, "sys_enter_close", CHILD, 5))  # fmt: skip

    assert names(engine.told()).count("close") == closes


def test_a_table_that_was_split_hides_no_close() -> None:
    engine = Engine()
    engine.take(*accepted(1, 5), call(3, "sys_enter_unshare", THREAD, CLONE_FILES),
                call(4, "sys_enter_close", SERVER, 5), call(5, "sys_enter_close", THREAD, 5))  # fmt: skip

    assert names(engine.told()).count("close") == 2


def row(*numbers: int, tid: int = SERVER) -> Row:
    return Row(b"", 0, 0, 0, 0, frozenset([tid]), frozenset(numbers))


def concerned(engine: Engine, of: Row, *newer: TraceEvent) -> bool:
    return list(engine.sieve.concerned([of], newer)) == [of]


def test_a_row_of_closes_is_looked_into_when_one_of_them_would_be_kept() -> None:
    engine = Engine()
    engine.take(*accepted(1, 5), *accepted(3, 6), call(9, "sys_enter_close", SERVER, 6))

    assert not concerned(engine, row(7, 8))
    assert not concerned(engine, row(6, 7))
    assert not concerned(engine, row(6, 7, tid=THREAD))
    assert concerned(engine, row(5, 7))
    assert concerned(engine, row(6, 7, tid=CHILD))
    assert concerned(engine, row(6, 7), *accepted(11, 6))
    assert concerned(engine, row(7, 8, tid=CHILD), TraceEvent(11, "task_newtask", (SERVER, CHILD, b"", 0)))

    engine.take(call(12, "sys_enter_unshare", THREAD, CLONE_FILES))
    assert concerned(engine, row(6, 7))


# Stays in CLOSE_WAIT.

WAITS = (TcpState.ESTABLISHED, TcpState.CLOSE_WAIT)
LEAVES = (TcpState.CLOSE_WAIT, TcpState.LAST_ACK)


@pytest.mark.parametrize(("stay", "told"), [(STAY - 1, 0), (STAY, 2)])
def test_a_stay_is_told_when_it_lasts(stay: int, told: int) -> None:
    engine = Engine()
    engine.take(state(1, 0, *WAITS), state(1 + stay, 0, *LEAVES))

    records = engine.told()

    assert [type(record) for record in records] == [StateRecord] * told


def test_an_end_of_file_is_told_of_a_connection_that_stays_and_of_no_other() -> None:
    engine = Engine()
    read = [TraceEvent(at, "sock_recv_length", (SERVER, sk, 0, 0)) for at, sk in ((2, 7), (3, 8), (4, 9))]
    engine.take(state(1, 0, *WAITS), state(1, 0, *WAITS, sk=8), *read, state(5, 0, *LEAVES, sk=8))

    transfers = [record for record in engine.told() if isinstance(record, TransferRecord)]

    assert [(record.task, record.local, record.size) for record in transfers] == [(TaskId(SERVER), HERE, 0)]


def test_one_that_no_traced_process_holds_is_not_told() -> None:
    engine = Engine()
    engine.take(state(1, 0, *WAITS))
    assert engine.waits.unknown(STAY) == set()
    assert engine.waits.unknown(STAY + 1) == {Ends(HERE, THERE)}

    engine.waits.answer(Ends(HERE, THERE), ours=False)

    assert engine.told() == []


def test_one_that_a_traced_task_has_read_is_told_whatever_a_look_says() -> None:
    engine = Engine()
    engine.take(state(1, 0, *WAITS), TraceEvent(2, "sock_recv_length", (SERVER, 7, 0, 0)))
    assert engine.waits.unknown(STAY + 1)

    engine.waits.answer(Ends(HERE, THERE), ours=False)

    assert len(engine.told()) == 2


@pytest.mark.parametrize(("older", "told"), [((Ends(HERE, THERE),), 1), ((), 0)])
def test_the_end_of_a_stay_is_told_if_it_began_before_our_time(older: tuple[Ends, ...], told: int) -> None:
    engine = Engine(older=older)
    engine.take(state(1, SERVER, *LEAVES))

    assert len(engine.told()) == told


# What looks find.


def found(at: int, fd: int = 5, pid: int = SERVER) -> DescriptorFound:
    return DescriptorFound(
        TaskId(pid), at, Origin("look", 1), fd, "socket:[9]", True, TcpState.CLOSE_WAIT, HERE, THERE, 0
    )


def placed(engine: Engine, *, whole: int = FOREVER, emitted: int = 0) -> list[tuple[int, TcpState | None]]:
    events = engine.looks.placed(engine.ordered.waiting(), emitted, whole, {SERVER: SERVER, THREAD: SERVER})
    assert all(event.name == FOUND for event in events)
    return sorted((event.at, event.values[0].state) for event in events)


def test_whose_a_connection_is_comes_before_its_fin() -> None:
    engine = Engine()
    engine.take(state(1 * MS, 0, *WAITS))
    engine.waits.unknown(FOREVER)
    engine.looks.place([found(90 * MS)])

    assert engine.looks.oldest() == 1 * MS
    assert placed(engine) == [(1 * MS - 1, TcpState.ESTABLISHED), (90 * MS, TcpState.CLOSE_WAIT)]


@pytest.mark.parametrize(
    "event",
    [
        call(30 * MS, "sys_enter_close", THREAD, 5),
        call(30 * MS, "sys_exit_accept4", SERVER, 5),
        call(30 * MS, "sys_enter_dup2", SERVER, 1, 5),
        call(30 * MS, "sys_enter_close_range", SERVER, 4, 0x7FFFFFFF, 0),
    ],
    ids=["close", "accept", "dup2", "close_range"],
)
def test_a_number_that_was_touched_since_the_fin_tells_nothing_of_before(event: TraceEvent) -> None:
    engine = Engine()
    engine.take(*accepted(0, 5), state(10 * MS, 0, *WAITS), event)
    engine.waits.unknown(FOREVER)
    engine.looks.place([found(90 * MS)])

    assert placed(engine) == [(90 * MS, TcpState.CLOSE_WAIT)]


def test_a_number_that_was_touched_at_the_time_of_the_look_is_asked_for_again() -> None:
    engine = Engine()
    engine.take(*accepted(0, 5), state(10 * MS, 0, *WAITS), call(95 * MS, "sys_enter_close", SERVER, 5))
    engine.waits.unknown(FOREVER)
    engine.waits.answer(Ends(HERE, THERE), ours=True)
    engine.looks.place([found(90 * MS)])

    assert placed(engine) == []
    assert engine.waits.unknown(FOREVER) == {Ends(HERE, THERE)}


def test_what_was_found_waits_until_the_events_around_it_are_known() -> None:
    engine = Engine()
    engine.looks.place([found(90 * MS)])

    assert placed(engine, whole=100 * MS) == []
    assert placed(engine, whole=120 * MS) == [(90 * MS, TcpState.CLOSE_WAIT)]


def test_a_child_made_since_the_fin_held_nothing_before() -> None:
    engine = Engine()
    engine.take(state(10 * MS, 0, *WAITS), TraceEvent(20 * MS, "task_newtask", (SERVER, CHILD, b"", 0)))
    engine.waits.unknown(FOREVER)
    engine.looks.place([found(90 * MS, pid=CHILD)])

    assert placed(engine) == [(90 * MS, TcpState.CLOSE_WAIT)]


def test_a_window_knows_threads_that_share_a_table() -> None:
    window = Window([call(1, "sys_enter_close", THREAD, 5 | 1 << 32)], {SERVER: SERVER, THREAD: SERVER})

    assert not window.untouched(found(2))
    assert window.untouched(found(2, fd=6))
    assert window.untouched(found(2, pid=CHILD))


def test_a_window_knows_threads_that_were_made_in_it_or_just_before() -> None:
    made = TraceEvent(5 * MS, "task_newtask", (SERVER, 77, b"", CLONE_FILES | CLONE_THREAD))
    closed = call(30 * MS, "sys_enter_close", 77, 5)
    assert not Window([made, closed], {SERVER: SERVER}).untouched(found(40))

    engine = Engine()
    engine.take(made, *accepted(6 * MS, 5), state(10 * MS, 0, *WAITS), closed)
    engine.waits.unknown(FOREVER)
    engine.looks.place([found(90 * MS)])
    assert placed(engine) == [(90 * MS, TcpState.CLOSE_WAIT)]


# Records.


def test_a_return_without_its_entry_and_an_entry_without_return_are_no_call() -> None:
    engine = Engine()
    engine.take(call(1, "sys_exit_connect", SERVER, 0), call(2, "sys_enter_connect", THREAD, 5),
                call(3, "sys_exit_accept4", THREAD, 6))  # fmt: skip

    assert engine.told() == []


@pytest.mark.parametrize(("result", "errno"), [(-115, "EINPROGRESS"), (-512, "ERESTARTSYS"), (-4000, "errno 4000")])
def test_an_error_has_its_name(result: int, errno: str) -> None:
    engine = Engine()
    engine.take(call(1, "sys_enter_connect", SERVER, 5), call(2, "sys_exit_connect", SERVER, result))
    (record,) = engine.told()

    assert isinstance(record, SyscallRecord)
    assert (record.result, record.errno, record.entered, record.returned) == (-1, errno, 1, 2)


@pytest.mark.parametrize(
    ("family", "local", "printed"),
    [
        (2, bytes([192, 0, 2, 1]), "192.0.2.1"),
        (10, bytes.fromhex("20010db8" + "0" * 23 + "1"), "2001:db8::1"),
        (10, bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 1]), "::ffff:192.0.2.1"),
    ],
)
def test_addresses_are_written_as_the_kernels_tables_have_them(family: int, local: bytes, printed: str) -> None:
    four, six = (local, bytes(16)) if family == 2 else (bytes(4), local)
    data = PARTS.pack(80, 4000, family, four, four, six, six)

    assert ends_of(PARTS, data) == Ends(Endpoint(printed, 80), Endpoint(printed, 4000))


def test_an_unknown_family_has_no_ends() -> None:
    data: Any = PARTS.pack(80, 4000, 1, bytes(4), bytes(4), bytes(16), bytes(16))
    assert ends_of(PARTS, data) is None
