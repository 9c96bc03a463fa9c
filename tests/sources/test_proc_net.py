"""The text of /proc/net/tcp, also where it is damaged."""

from __future__ import annotations

import sys

import pytest

from tracecorr.events import Endpoint
from tracecorr.kernel import TcpState
from tracecorr.sources.proc_net import read_table

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
LINE = "   1: 0100007F:1F90 0100007F:B90E 08 00000005:00000008 01:00000014 00000002  1000        0 4711 1 0 20 4 30 10 -1\n"

pytestmark = pytest.mark.skipif(sys.byteorder != "little", reason="the samples come from a little-endian machine")


def test_a_line_is_read() -> None:
    (row,) = read_table([HEADER, LINE], "tcp", 7)

    assert row.state is TcpState.CLOSE_WAIT
    assert (row.local, row.peer) == (Endpoint("127.0.0.1", 8080), Endpoint("127.0.0.1", 47374))
    assert (row.send_queue, row.receive_queue, row.inode, row.uid, row.namespace) == (5, 8, 4711, 1000, 7)
    assert (row.timer, row.timer_expires) == ("retransmit", 200)
    assert row.origin is not None and str(row.origin) == "tcp:2"


def test_ipv6_and_mapped_addresses_are_written_as_usual() -> None:
    six = LINE.replace("0100007F:1F90", "B80D0120000000000000000001000000:0050")
    six = six.replace("0100007F:B90E", "0000000000000000FFFF00000A0200C0:B90E")
    (row,) = read_table([six], "tcp6")

    assert (str(row.local), str(row.peer)) == ("[2001:db8::1]:80", "[::ffff:192.0.2.10]:47374")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "\n",
        LINE[:40],
        LINE.replace(" 08 ", " FF "),
        LINE.replace("1F90", "zz"),
        LINE.replace("0100007F", "0100007F00000000"),
    ],
)
def test_a_damaged_line_is_passed_over(line: str) -> None:
    assert len(list(read_table([HEADER, line, LINE], "tcp"))) == 1
