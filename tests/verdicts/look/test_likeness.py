"""Connections that are taken to be alike get the answer that each would have got by itself."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verdicts.look.hosts import AT, LISTENER, info, listener, process, stuck, thread
from tracecorr.events import Endpoint
from tracecorr.kernel import TcpState
from tracecorr.scanning import report_on
from tracecorr.snapshot import ProcessRow, Snapshot, SocketRow, Watch
from tracecorr.verdicts.look.all import judged
from tracecorr.verdicts.look.base import Case
from tracecorr.verdicts.look.conclude import conclude
from tracecorr.verdicts.look.view import Look

AGES = st.sampled_from([60_000, 130_000, 3_599_900, 3_600_000, 9_000_000])
CALLS = st.sampled_from(
    [thread("accept4", 3), thread("pause"), thread("read", 9), thread("epoll_wait", 8), thread(None, state="R")]
)
PEERS = st.integers(min_value=1, max_value=3).map(lambda last: Endpoint(f"192.0.2.{last}", 443))


@st.composite
def rows(draw: st.DrawFn, inode: int) -> SocketRow:
    accepted = draw(st.booleans())
    given: dict[str, Any] = {
        "state": draw(st.sampled_from([TcpState.CLOSE_WAIT] * 4 + [TcpState.LAST_ACK, TcpState.FIN_WAIT2])),
        "receive_queue": draw(st.sampled_from([0, 1, 900, None])),
        "send_queue": draw(st.sampled_from([0, 0, 0, 7])),
        "inode": draw(st.sampled_from([inode] * 5 + [0])),
        "local": Endpoint("192.0.2.9", 80 if accepted else 40_000 + inode),
        "peer": Endpoint("192.0.2.9", 50_000 + inode) if accepted else draw(PEERS),
    }
    times = {"last_data_sent": draw(AGES), "last_data_received": draw(AGES), "last_ack_received": draw(AGES)}
    counts = {"bytes_sent": draw(st.sampled_from([0, 500])), "bytes_received": draw(st.sampled_from([1, 101]))}
    return stuck(**given, info=draw(st.sampled_from([None, info(**times, **counts)])))


@st.composite
def processes(draw: st.DrawFn, pid: int, inodes: list[int]) -> ProcessRow:
    held = {fd: inode for fd, inode in enumerate(inodes, draw(st.sampled_from([0, 4, 5]))) if draw(st.booleans())}
    watched = [Watch(fd, 0x2001, inode) for fd, inode in held.items() if draw(st.integers(0, 5)) == 0]
    return process(
        pid, draw(CALLS),
        sockets={**held, **({3: LISTENER} if draw(st.booleans()) else {})},
        watches={8: watched} if watched else None,
        parent=draw(st.sampled_from([1, 10])), started=AT - draw(AGES) / 1000, forked=draw(st.booleans()),
        program=draw(st.sampled_from(["/usr/sbin/server", "/usr/bin/other", None])),
    )  # fmt: skip


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    numbers = list(range(1000, 1000 + draw(st.integers(1, 7))))
    sockets = [draw(rows(number)) for number in numbers]
    everybody = [draw(processes(pid, numbers)) for pid in range(10, 10 + draw(st.integers(1, 3)))]
    return Snapshot(
        source="host", at=AT * 10**9, sockets=(*sockets, listener(receive_queue=draw(st.integers(0, 2)))),
        processes={one.pid: one for one in everybody}, complete=draw(st.booleans()),
    )  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(snapshots())
def test_every_connection_is_judged_as_if_it_were_alone(snapshot: Snapshot) -> None:
    together = report_on(Look(snapshot, 1.0)).verdicts
    look = Look(snapshot, 1.0)
    cases = [Case(look, row) for row in snapshot.sockets if row.state in (TcpState.CLOSE_WAIT, TcpState.LAST_ACK)]
    found = [(case, judged(case)) for case in cases if case.is_old]
    alone = [conclude(case, finding) for case, finding in found if finding is not None]

    assert [(v.cause, v.detail, v.fault, v.confidence, v.culprit) for v in together] == [
        (v.cause, v.detail, v.fault, v.confidence, v.culprit) for v in alone
    ]
    assert [v.summary for v in together] == [v.summary for v in alone]
