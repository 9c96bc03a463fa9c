"""Whether two inputs are of one host: by the addresses that are its own, and by what one tool calls its processes.

A pid or an inode means something on its host alone.  What is of another host, or of a container with addresses of its
own, must not tell who holds a connection of this one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Final, NamedTuple

from tracecorr.events import Endpoint
from tracecorr.model.address import key
from tracecorr.snapshot import Snapshot
from tracecorr.sources.listings.words import is_whole

# One process may have ended and another one have its id.
_ACCIDENT: Final = 2


class Traits(NamedTuple):
    """What tells a host from others: addresses of its own (no loopback), and which process has which name.

    Names are those of one tool: others look elsewhere (/proc/PID/comm, its command line), and may not say the same.
    """

    addresses: frozenset[str]
    names: Mapping[tuple[str, int], str]

    def with_(self, other: Traits) -> Traits:
        """Return the traits of both: they are of one host."""
        return Traits(self.addresses | other.addresses, {**self.names, **other.names})


def own_addresses(ends: Iterable[Endpoint]) -> frozenset[str]:
    """Return the addresses that only one host has, of these local ends."""
    whole = {key(end).address.partition("%")[0] for end in ends if is_whole(end)}
    return frozenset(text for text in whole if not _is_everywhere(text))


def _is_everywhere(text: str) -> bool:
    address = ip_address(text)
    return address.is_loopback or address.is_unspecified


def traits(snapshot: Snapshot, tool: str = "") -> Traits:
    """Return what a listing of this tool tells of its host."""
    rows = [row.local for row in snapshot.sockets] + [ends.local for ends in snapshot.ends.values()]
    names = {(tool, pid): process.comm for pid, process in snapshot.processes.items() if process.comm}
    return Traits(own_addresses(end for end in rows if end is not None), names)


def one_host(one: Traits, other: Traits) -> bool:
    """Say whether two inputs may be of one host.

    A host with several addresses may show one here and another there: then the two have no connection in common, and
    nothing is lost if they are kept apart.
    """
    if one.addresses and other.addresses and not one.addresses & other.addresses:
        return False
    common = one.names.keys() & other.names.keys()
    differ = sum(one.names[process] != other.names[process] for process in common)
    return differ < _ACCIDENT or differ * 2 <= len(common)
