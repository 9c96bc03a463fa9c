"""Reads and writes that are told by the connection's ends, before and after it is known whose they are."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tracecorr.events import Endpoint, Origin, TaskId
from tracecorr.kernel import TcpState
from tracecorr.model.open_file import OpenFileDescription
from tracecorr.model.replay import replay
from tracecorr.model.system import System
from tracecorr.syscalls.decode import decode
from tracecorr.syscalls.record import DescriptorFound, Record, StateRecord, SyscallRecord, TaskFound, TransferRecord

OWNER, OTHER = TaskId(10), TaskId(20)
HERE, THERE = Endpoint("192.0.2.10", 80), Endpoint("192.0.2.20", 41007)
AT = Origin("trace", 1)
TASKS = [TaskFound(name, 1, AT, name.tid, 1, "server", name) for name in (OWNER, OTHER)]
FIN = StateRecord(20, AT, TcpState.ESTABLISHED, TcpState.CLOSE_WAIT, HERE, THERE)
CLOSE = SyscallRecord(OWNER, "close", [5], 0, None, 40, 40, AT, AT)


def found(at: int, state: TcpState, unread: int | None = None) -> DescriptorFound:
    return DescriptorFound(OWNER, at, AT, 5, "socket:[9]", True, state, HERE, THERE, unread, "accepted")


KNOWN = found(10, TcpState.ESTABLISHED)


def moved(at: int, size: int, *, sent: bool = False, peeked: bool = False, task: TaskId = OWNER) -> TransferRecord:
    return TransferRecord(task, at, AT, HERE, THERE, sent, size, peeked)


def replayed(records: Iterable[Record]) -> System:
    system = System()
    for event in decode([*TASKS, *records]):
        replay(system, event)
    return system


def connection(records: Iterable[Record]) -> OpenFileDescription:
    (one,) = replayed(records).connections.values()
    return one


LATE = found(100, TcpState.CLOSE_WAIT, 0)


@pytest.mark.parametrize("records", [[KNOWN, FIN, moved(30, 0)], [FIN, moved(30, 0), LATE]], ids=["known", "late"])
def test_an_end_of_file_is_the_owners_with_its_time_and_number(records: list[Record]) -> None:
    one = connection(records)

    assert one.fin is not None and one.fin.at == 20
    assert one.eof is not None
    assert (one.eof.at, one.eof.task.id, one.eof.fd, one.eof_seen) == (30, OWNER, 5, True)


def test_a_peek_consumes_nothing() -> None:
    one = connection([KNOWN, FIN, moved(30, 0, peeked=True)])

    assert one.eof is None
    assert one.fin is not None


def test_writes_after_the_fin_are_counted_and_reads_of_data_are_no_end() -> None:
    one = connection([KNOWN, FIN, moved(30, 7), moved(31, 5, sent=True), moved(35, 5, sent=True)])

    assert one.eof is None and one.read_after is not None and one.read_after.at == 30
    assert (one.sends_after, one.sent) == (2, 10)
    assert one.sent_after is not None and one.sent_after.at == 35


def test_a_reader_that_holds_it_under_no_known_number_is_named_without_one() -> None:
    one = connection([KNOWN, FIN, moved(30, 0, task=OTHER)])

    assert one.eof is not None
    assert (one.eof.task.id, one.eof.fd) == (OTHER, None)


def test_uses_of_other_connections_change_nothing() -> None:
    elsewhere = moved(30, 0)._replace(peer=Endpoint("192.0.2.99", 1))

    assert connection([KNOWN, FIN, elsewhere]).eof is None


def test_uses_of_a_connection_that_ended_are_not_those_of_the_next_with_its_ends() -> None:
    left = StateRecord(50, AT, TcpState.CLOSE_WAIT, TcpState.LAST_ACK, HERE, THERE)

    one = connection([FIN, moved(30, 0), left, KNOWN])

    assert one.eof is None
