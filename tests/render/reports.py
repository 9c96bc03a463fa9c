"""Reports for the tests of renderers: one leaking redis, and changes to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import networkx as nx

from tracecorr.verdicts.explanations import advice
from tracecorr.verdicts.report import Evidence, GapView, Holder, Party, Report, Sockets, SocketView, Source, Verdict

BEGIN = 1763882092.0
LOG = "trace.log"


def evidence(text: str, line: int, after: float | None, pid: int | None = 30505, call: str | None = None) -> Evidence:
    at = None if after is None else BEGIN + after
    return Evidence(text=text, source=LOG, line=line, at=at, pid=pid, call=call)


def socket(port: int = 47374, **changes: Any) -> SocketView:
    peer = f"127.0.0.1:{port}"
    plain = SocketView(local="127.0.0.1:6379", peer=peer, inode=2402168, role="accepted", state="CLOSE_WAIT")
    return replace(plain, **changes)


def verdict(fd: int = 7, port: int = 47374, **changes: Any) -> Verdict:
    plain = Verdict(
        cause="inherited-copy",
        detail="forked-worker",
        fault=True,
        confidence="certain",
        socket=socket(port),
        eof_at=BEGIN + 0.884,
        stuck_for=18.6,
        released_at=None,
        released_by=None,
        holders=(Holder(pid=30516, comm="redis-server", fd=fd, how="fork", since=BEGIN + 0.31, used=False),),
        culprit=Party(pid=30516, comm="redis-server", fd=fd),
        owner=Party(pid=30505, comm="redis-server", fd=fd, closed_at=BEGIN + 0.885),
        missing=f"close({fd}) in process 30516, or shutdown() by 30505 before its close",
        summary=(
            f"redis-server[30516] holds 127.0.0.1:6379 ← 127.0.0.1:{port} as fd {fd}. It was copied there when "
            "redis-server[30505] forked at 07:14:52.310, 0.6 s before 30505 read the end of file and closed its own "
            "copy. 30516 never used it."
        ),
        advice=advice("inherited-copy", "forked-worker"),
        evidence=(
            evidence("accepted", 311, 0.101, call=f"accept4(6) = {fd}"),
            evidence("fd 7 and 8 are copied", 402, 0.310, call="fork() = 30516"),
            evidence("the peer has closed", 517, 0.884, call=f"read({fd}) = 0"),
            evidence("not the last copy: no FIN goes out", 518, 0.885, call=f"close({fd})"),
            Evidence(text=f"fd {fd} stays open to the end of the log", source=None, line=None, at=None, pid=30516),
        ),
    )
    return replace(plain, **changes)


def graph() -> nx.MultiDiGraph:
    made = nx.MultiDiGraph()
    for pid in (30505, 30516):
        made.add_node(f"p{pid}", kind="process", label=f"redis-server[{pid}]")
        made.add_node(f"p{pid}fd7", kind="descriptor", label="fd 7")
    made.add_node("d1", kind="description", label="127.0.0.1:6379 ← 127.0.0.1:47374")
    for tail, head, kind, at, line in (
        ("p30505", "p30516", "fork", BEGIN + 0.31, 402),
        ("p30505", "p30505fd7", "accepted", BEGIN + 0.101, 311),
        ("p30505", "p30505fd7", "closed", BEGIN + 0.885, 518),
        ("p30516", "p30516fd7", "holds", None, None),
        ("p30505fd7", "p30516fd7", "fork", BEGIN + 0.31, 402),
        ("p30516fd7", "d1", "refers", None, None),
    ):
        made.add_edge(tail, head, kind=kind, at=at, source=None if line is None else LOG, line=line)
    return made


def source(**changes: Any) -> Source:
    plain = Source(
        name=LOG,
        format="strace",
        lines=5120,
        calls=4801,
        skipped=2,
        first=BEGIN - 10,
        last=BEGIN + 21.5,
        clock="epoch",
        unread=((17, "[pid 30505] read(7, <garbled>"), (901, "???")),
    )
    return replace(plain, **changes)


def report(**changes: Any) -> Report:
    plain = Report(
        tool="tracecorr 0.1.0",
        command="parse",
        sources=(source(),),
        sockets=Sockets(seen=412, stuck=2, released=0, by_cause={"inherited-copy": 2}),
        verdicts=(verdict(), verdict(8, 47376, stuck_for=12.2)),
        gaps=(
            GapView(
                what="origin unknown",
                why="3 descriptors were open before the log began",
                try_="tracecorr attach, or strace from the start",
                source=LOG,
                line=None,
            ),
        ),
        graph=graph(),
    )
    return replace(plain, **changes)


def hostile_report(text: str) -> Report:
    """Return a report in which every text that may come from a log or a file is `text`."""
    party = Party(pid=1, comm=text, fd=3)
    holder = Holder(pid=2, comm=text, fd=4, how=text, since=None, used=False)
    made = nx.MultiDiGraph()
    made.add_node(text, kind="process", label=text)
    made.add_node(1, kind=text, label=text)
    made.add_edge(text, 1, kind=text, at=None, source=text, line=1)
    bad = Verdict(
        cause=text,
        detail=text,
        fault=True,
        confidence=text,
        socket=SocketView(local=text, peer=text, inode=None, role=text, state=text),
        eof_at=None,
        stuck_for=None,
        released_at=None,
        holders=(holder,),
        culprit=party,
        owner=party,
        missing=text,
        summary=text,
        advice=(text, text),
        evidence=(Evidence(text=text, source=text, line=3, at=None, pid=None, call=text),),
    )
    return report(
        tool=text,
        command=text,
        sources=(source(name=text, format=text, clock=None, unread=((1, text),)),),
        verdicts=(bad, bad, replace(bad, released_by=text), replace(bad, fault=False)),
        gaps=(GapView(what=text, why=text, try_=text, source=text, line=1),),
        graph=made,
    )
