"""Socket addresses and the words by which a log says what a descriptor refers to."""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import Any, Final, NamedTuple

from tracecorr.events import Endpoint
from tracecorr.kernel import AF_INET, AF_INET6, AF_UNIX, Domain


class Target(NamedTuple):
    """What `3<TCP:[192.0.2.10:80->192.0.2.20:41007]>` tells of a descriptor."""

    kind: str | None
    inode: int | None = None
    local: Endpoint | None = None
    peer: Endpoint | None = None


_INET: Final = re.compile(r"(TCP|TCPv6):\[(.*)\]\Z")
_ENDPOINT: Final = re.compile(r"(?:\[([^\]]*)\]|([^:\[\]]*)):(\d+)\Z")
_INODE: Final = re.compile(r"(\w[\w-]*):\[(\d+)\]\Z")
_ANONYMOUS: Final = {
    "[eventpoll]": "epoll",
    "[eventfd]": "eventfd",
    "[io_uring]": "io_uring",
    "[pidfd]": "pidfd",
    "[timerfd]": "timerfd",
    "[signalfd]": "signalfd",
}


def domain_of(family: Any) -> Domain:
    """Return the domain that an AF_ value stands for."""
    if family in (AF_INET, AF_INET6):
        return Domain.INET
    if family == AF_UNIX:
        return Domain.UNIX
    return Domain.OTHER if isinstance(family, int) else Domain.UNKNOWN


def address_of(value: Any) -> tuple[Domain, Endpoint | None]:
    """Return what a printed struct sockaddr says: its family and, of the internet, its end point."""
    if not isinstance(value, dict):
        return Domain.UNKNOWN, None
    family = value.get("sa_family")
    domain = domain_of(family)
    if domain is not Domain.INET:
        return domain, None
    version = "6" if family == AF_INET6 else ""
    port = _port(value.get(f"sin{version}_port"))
    address = value.get(f"sin{version}_addr") or _nested(value)
    if port is None or not isinstance(address, str):
        return domain, None
    return domain, Endpoint(_dotted(address, family), port)


# strace -X raw prints the two bytes of the port in network order.
def _port(value: Any) -> int | None:
    if isinstance(value, str) and len(value) == 2:
        return ord(value[0]) * 256 + ord(value[1]) if max(value) <= "\xff" else None
    return value if isinstance(value, int) else None


def _nested(value: dict[Any, Any]) -> Any:
    return next(
        (inner["sin6_addr"] for inner in value.values() if isinstance(inner, dict) and "sin6_addr" in inner), None
    )


# strace -X raw prints the bytes of the address.
def _dotted(address: str, family: Any) -> str:
    if "." in address or ":" in address or max(address, default="\u0100") > "\xff":
        return address
    packed = address.encode("latin-1")
    if family == AF_INET6 and len(packed) == 16:
        return str(IPv6Address(packed))
    return ".".join(map(str, packed)) if len(packed) == 4 else address


def endpoint(text: str) -> Endpoint | None:
    """Return "127.0.0.1:80" or "[::1]:80" as an end point, None for anything else."""
    match = _ENDPOINT.match(text)
    if match is None or int(match[3]) > 0xFFFF:
        return None
    return Endpoint(match[1] if match[1] is not None else match[2], int(match[3]))


def target_of(path: str) -> Target:
    """Return what the text inside <…> after a descriptor says (strace -y, -yy)."""
    if inet := _INET.match(path):
        inside = inet[2]
        if inside.isdigit():
            return Target("tcp", inode=int(inside))
        local, _, peer = inside.partition("->")
        return Target("tcp", local=endpoint(local), peer=endpoint(peer))
    if match := _INODE.match(path):
        kind = {"socket": None, "pipe": "pipe"}.get(match[1], match[1].lower())
        return Target(kind, inode=int(match[2]))
    if path.startswith("anon_inode:"):
        return Target(_ANONYMOUS.get(path.removeprefix("anon_inode:"), "anon_inode"))
    if path.startswith("UNIX"):
        return Target("unix")
    return Target("file" if path.startswith("/") else path.partition(":")[0].lower() or None)
