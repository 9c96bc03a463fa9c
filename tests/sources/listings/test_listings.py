"""Each format of listings: what it shows, line by line, and that no other format claims it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracecorr.snapshot import Snapshot
from tracecorr.sources.all import LOG_FORMATS
from tracecorr.sources.base import Tally
from tracecorr.sources.listings.all import LISTINGS
from tracecorr.sources.listings.base import numbered

FIXTURES = Path(__file__).parents[3] / "fixtures" / "listings"
CASES = sorted(FIXTURES.glob("*/*/listing.txt"))


def read(path: Path, name: str | None = None) -> tuple[Snapshot, Tally]:
    format_ = LISTINGS[name or path.parts[-3]]
    # ss writes what was asked of it nowhere: a file that is named after its filter says so.
    tally = Tally("close-wait.txt" if "filtered" in path.parts[-2] else "listing.txt", format_.NAME)
    return format_.read(numbered(path.read_bytes()), tally), tally


def as_text(snapshot: Snapshot, tally: Tally) -> list[str]:
    """Return one line for each socket, each descriptor, and what was not understood."""
    lines = []
    for row in snapshot.sockets:
        queues = f"{'?' if row.receive_queue is None else row.receive_queue}/"
        queues += f"{'?' if row.send_queue is None else row.send_queue}"
        more = [f"inode {row.inode}"] if row.inode is not None and row.inode >= 0 else []
        more += [f"cookie {row.cookie:x}"] if row.cookie is not None else []
        more += [f"shut {row.shutdown.name}"] if row.shutdown is not None else []
        more += [f"timer {row.timer} {row.timer_expires}"] if row.timer is not None else []
        more += [f"heard {row.info.last_ack_received} sent {row.info.bytes_sent}"] if row.info is not None else []
        assert row.origin is not None
        lines.append(f"{row.origin.line}: {row.state.value} {row.local} {row.peer} {queues} {' '.join(more)}".rstrip())
    for inode, ends in snapshot.ends.items():
        lines.append(f"state unknown: {ends.local} {ends.peer} inode {inode}")
    for process in snapshot.processes.values():
        held = [
            f"{fd if fd >= 0 else '?'}={'?' if row.target.startswith('socket:[-') else row.target}"
            + (" cloexec" if row.close_on_exec else "")
            for fd, row in process.descriptors.items()
        ]
        lines.append(f"process {process.pid} {process.comm} holds {', '.join(held) or 'nothing'}")
    lines += [f"port {port}: {pids}" for port, pids in snapshot.users.items()]
    lines += [f"gap: {gap.what}" for gap in snapshot.gaps]
    lines.append(f"{tally.skipped} of {tally.lines} lines not understood")
    return lines


@pytest.mark.parametrize("path", CASES, ids=lambda path: "-".join(path.parts[-3:-1]))
def test_a_listing_reads_as_the_rows_beside_it(path: Path) -> None:
    golden = path.with_name("rows.txt")
    actual = "\n".join(as_text(*read(path))) + "\n"
    beside = golden.with_name("rows.txt.actual")
    if golden.exists() and golden.read_text() == actual:
        beside.unlink(missing_ok=True)
        return
    beside.write_text(actual)
    pytest.fail(f"not what is in {golden}: see {beside}")


@pytest.mark.parametrize("path", CASES, ids=lambda path: "-".join(path.parts[-3:-1]))
def test_one_format_alone_claims_a_listing(path: Path) -> None:
    lines = path.read_bytes().split(b"\n")
    claims = [name for name, format_ in {**LISTINGS, **LOG_FORMATS}.items() if format_.recognises(lines)]
    assert claims == [path.parts[-3]]


@pytest.mark.parametrize("name", LISTINGS)
def test_every_format_has_three_samples(name: str) -> None:
    assert sum(path.parts[-3] == name for path in CASES) >= 3


@pytest.mark.parametrize("path", CASES, ids=lambda path: "-".join(path.parts[-3:-1]))
def test_a_listing_that_is_cut_anywhere_is_read_as_far_as_it_goes(path: Path) -> None:
    data = path.read_bytes()
    whole = len(read(path)[0].sockets)
    format_ = LISTINGS[path.parts[-3]]
    for end in range(0, len(data), max(1, len(data) // 40)):
        found = format_.read(numbered(data[:end]), Tally("listing.txt", format_.NAME))
        assert len(found.sockets) <= whole


@pytest.mark.parametrize("name", LISTINGS)
def test_whatever_is_in_a_listing_is_counted_and_no_traceback(name: str) -> None:
    hostile = (
        b"\x1b[2J tcp \xff\xfe 1 2 : . -> ((( ino:99999999999999999999999 \0\n" * 20 + b"tcp 0 0 " + b"1" * 100_000
    )
    tally = Tally("listing.txt", name)
    LISTINGS[name].read(numbered(hostile), tally)
    assert tally.lines >= 20


def test_what_windows_writes_in_utf_16_is_read() -> None:
    path = FIXTURES / "netstat" / "windows" / "listing.txt"
    data = path.read_text().replace("\n", "\r\n").encode("utf-16")
    lines = data.split(b"\n")
    assert LISTINGS["netstat"].recognises(lines)
    found = LISTINGS["netstat"].read(numbered(data), Tally("listing.txt", "netstat"))
    assert [str(row.peer) for row in found.sockets] == [str(row.peer) for row in read(path)[0].sockets]


def test_an_address_that_bsd_has_cut_is_no_address() -> None:
    snapshot, _ = read(FIXTURES / "netstat" / "bsd_cut_addresses" / "listing.txt")
    assert [str(row.peer) for row in snapshot.sockets if row.peer is not None and row.peer.port == 0] == [
        "2001:db8:0:1:2:3.5152…"
    ]


def test_a_filter_of_ss_that_nothing_names_leaves_the_state_open(tmp_path: Path) -> None:
    path = FIXTURES / "ss" / "filtered_without_state" / "listing.txt"
    format_ = LISTINGS["ss"]
    found = format_.read(numbered(path.read_bytes()), Tally("ss.txt", "ss"))
    assert not found.sockets and len(found.ends) == 9
    assert [gap.what for gap in found.gaps] == ["states unknown"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("lsof", "COMMAND PID,TID USER FD-4 TYPE NAME\njava 9012 root 3u IPv4 1 0t0 TCP 192.0.2.10:80 (LISTEN)\n"),
        ("netstat", "tcp 1 0 192.0.2.10:80 192.0.2.20:7 CLOSE_WAIT 9/srv on (..58.52/0/0)\n"),
        (
            "Get-NetTCPConnection",
            '"LocalAddress","LocalPort","RemoteAddress","RemotePort","State"\n"a","b\rc",d"e,",,,\n',
        ),
    ],
)
def test_what_is_damaged_is_no_traceback(name: str, text: str) -> None:
    tally = Tally("listing.txt", name)
    LISTINGS[name].read(numbered(text.encode()), tally)
    assert tally.lines == text.count("\n")
