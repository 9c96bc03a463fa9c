"""The two ends of a connection as the kernel's events have them."""

from __future__ import annotations

import socket
import struct
from typing import Any, Final, NamedTuple

from tracecorr.events import Endpoint
from tracecorr.kernel import AF_INET, AF_INET6


class Ends(NamedTuple):
    """Both ends of a connection."""

    local: Endpoint
    peer: Endpoint


# The fields of sock:inet_sock_set_state that ends_of() takes; most events are of no interest before they are read.
FIELDS: Final = ("sport", "dport", "family", "saddr", "daddr", "saddr_v6", "daddr_v6")


def ends_of(parts: struct.Struct, data: bytes) -> Ends | None:
    """Return the ends in FIELDS, as the kernel's tables print them."""
    sport, dport, family, saddr, daddr, saddr6, daddr6 = parts.unpack(data)
    if family == AF_INET:
        return Ends(Endpoint(socket.inet_ntoa(saddr), sport), Endpoint(socket.inet_ntoa(daddr), dport))
    if family == AF_INET6:
        return Ends(Endpoint(_ipv6(saddr6), sport), Endpoint(_ipv6(daddr6), dport))
    return None


def _ipv6(packed: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET6, packed)


def sockaddr(end: Endpoint) -> dict[str, Any]:
    """Return an end point as the argument of bind(2) and connect(2), in the form of a record."""
    if ":" in end.address:
        return {"sa_family": AF_INET6, "sin6_port": end.port, "sin6_addr": end.address}
    return {"sa_family": AF_INET, "sin_port": end.port, "sin_addr": end.address}
