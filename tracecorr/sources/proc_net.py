"""The lines of /proc/net/tcp and tcp6 (proc_net_tcp.txt in the kernel's Documentation/networking)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator
from typing import Final

from tracecorr.events import Endpoint, Origin
from tracecorr.kernel import TCP_STATES
from tracecorr.snapshot import SocketRow

# tr: 2 is "another timer", which is the keep-alive's (net/ipv4/tcp_ipv4.c, get_tcp4_sock()).
_TIMERS: Final = (None, "retransmit", "keepalive", "timewait", "persist")
# Times of timers are in USER_HZ.
_TICK: Final = 10


def read_table(lines: Iterable[str], source: str, namespace: int | None = None) -> Iterator[SocketRow]:
    """Yield a row for each line that is one; the header, and what is damaged or cut off, is passed over."""
    for number, line in enumerate(lines, 1):
        row = _row(line.split(), namespace, Origin(source, number))
        if row is not None:
            yield row


def _row(words: list[str], namespace: int | None, origin: Origin) -> SocketRow | None:
    try:
        state = TCP_STATES[int(words[3], 16)]
        send, receive = (int(queue, 16) for queue in words[4].split(":"))
        timer, expires = (int(part, 16) for part in words[5].split(":"))
        if state is None:
            return None
        return SocketRow(
            state=state, local=endpoint(words[1]), peer=endpoint(words[2]), receive_queue=receive, send_queue=send,
            inode=int(words[9]), namespace=namespace, uid=int(words[7]), origin=origin,
            timer=_TIMERS[timer] if timer < len(_TIMERS) else None, timer_expires=expires * _TICK,
        )  # fmt: skip
    except (ValueError, IndexError, OSError, struct.error):
        return None


def endpoint(text: str) -> Endpoint:
    """Return what "0100007F:1F90" stands for: words of the address in the machine's byte order, and the port.

    Raises ValueError for anything else.
    """
    address, _, port = text.partition(":")
    words = [int(address[i : i + 8], 16) for i in range(0, len(address), 8)]
    if len(words) not in (1, 4):
        raise ValueError(f"no address: {text!r}")
    family = socket.AF_INET if len(words) == 1 else socket.AF_INET6
    return Endpoint(socket.inet_ntop(family, struct.pack(f"={len(words)}I", *words)), int(port, 16))
