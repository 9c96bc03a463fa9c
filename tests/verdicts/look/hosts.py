"""Hosts as a look may have found them, in few words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tracecorr.events import Endpoint
from tracecorr.kernel import TcpState
from tracecorr.scanning import report_on
from tracecorr.snapshot import DescriptorRow, ProcessRow, Snapshot, SocketRow, TcpInfo, ThreadRow, Watch
from tracecorr.verdicts.look.view import Look
from tracecorr.verdicts.report import Report, Verdict

AT = 1_700_000_000
INODE = 4711
LISTENER = 100
PORT = 80
EDGE = 1 << 31


def info(**given: int) -> TcpInfo:
    """A request and an answer, an hour ago; the FIN came a minute ago."""
    usual: dict[str, int] = {
        "last_data_sent": 3_600_000, "last_data_received": 3_600_000, "last_ack_received": 60_000,
        "bytes_sent": 500, "bytes_received": 101,
    }  # fmt: skip
    return TcpInfo(**usual | given)


def stuck(**given: Any) -> SocketRow:
    """A connection in CLOSE_WAIT whose end of file nobody has read."""
    usual: dict[str, Any] = {
        "state": TcpState.CLOSE_WAIT, "local": Endpoint("192.0.2.1", PORT), "peer": Endpoint("192.0.2.9", 40000),
        "receive_queue": 1, "send_queue": 0, "inode": INODE, "namespace": 1, "info": info(),
    }  # fmt: skip
    return SocketRow(**usual | given)


def listener(**given: Any) -> SocketRow:
    usual: dict[str, Any] = {
        "state": TcpState.LISTEN, "local": Endpoint("0.0.0.0", PORT), "receive_queue": 0, "send_queue": 128,
        "inode": LISTENER, "namespace": 1,
    }  # fmt: skip
    return SocketRow(**usual | given)


def client(**given: Any) -> SocketRow:
    """A connection that was made from here."""
    ends = {"local": Endpoint("192.0.2.1", 40001), "peer": Endpoint("192.0.2.9", 443)}
    return stuck(**ends | given)


def thread(call: str | None = "epoll_wait", fd: int | None = None, *, state: str = "S", **given: Any) -> ThreadRow:
    return ThreadRow(given.pop("tid", 0), "t", state, call, fd, **given)


def process(
    pid: int = 10,
    *threads: ThreadRow,
    sockets: dict[int, int] | None = None,
    others: dict[int, str] | None = None,
    watches: dict[int, list[Watch]] | None = None,
    **given: Any,
) -> ProcessRow:
    """A process that runs for two hours; 0, 1 and 2 are open, `sockets` are descriptor to inode."""
    targets = {0: "/dev/null", 1: "/dev/null", 2: "/dev/null", **(others or {})}
    targets |= {fd: f"socket:[{inode}]" for fd, inode in (sockets or {}).items()}
    targets |= dict.fromkeys(watches or {}, "anon_inode:[eventpoll]")
    usual: dict[str, Any] = {
        "comm": "server", "program": "/usr/sbin/server", "started": AT - 7200.0, "parent": 1, "forked": False,
        "limit": 1024, "namespace": 1,
    }  # fmt: skip
    rows = tuple(one._replace(tid=pid + index) for index, one in enumerate(threads or (thread("pause"),)))
    return ProcessRow(
        pid=pid, threads=rows, descriptors={fd: DescriptorRow(fd, target, False) for fd, target in targets.items()},
        watches={epfd: tuple(entries) for epfd, entries in (watches or {}).items()}, **usual | given,
    )  # fmt: skip


def server(*threads: ThreadRow, **given: Any) -> ProcessRow:
    """A process that accepts the listener's connections and holds the stuck one as fd 4."""
    given["sockets"] = {3: LISTENER, 4: INODE} | given.pop("sockets", {})
    return process(10, *(threads or (thread("accept4", 3),)), **given)


def look(sockets: Iterable[SocketRow], *processes: ProcessRow, stuck_after: float = 1.0, **given: Any) -> Report:
    """What the rules say of this host."""
    snapshot = Snapshot(
        source="host", at=AT * 10**9, sockets=tuple(sockets), processes={one.pid: one for one in processes},
        complete=given.pop("complete", True), **given,
    )  # fmt: skip
    return report_on(Look(snapshot, stuck_after))


def only(report: Report) -> Verdict:
    (verdict,) = report.verdicts
    return verdict


def in_short(report: Report) -> tuple[str, str | None, str, bool]:
    """Cause, sub-case, confidence and whether it is a fault, of the only verdict."""
    verdict = only(report)
    return verdict.cause, verdict.detail, verdict.confidence, verdict.fault
