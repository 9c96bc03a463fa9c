"""End points as keys: an IPv4 address mapped into IPv6 is the same end point (RFC 4291, 2.5.5.2)."""

from __future__ import annotations

from tracecorr.events import Endpoint

_WILDCARDS = {"0.0.0.0", "::", "*", "::0"}


def key(endpoint: Endpoint) -> Endpoint:
    address = endpoint.address.lower()
    return Endpoint(address.removeprefix("::ffff:") if "." in address else address, endpoint.port)


def is_wildcard(endpoint: Endpoint) -> bool:
    return key(endpoint).address in _WILDCARDS


def may_reach(target: Endpoint, listener: Endpoint) -> bool:
    """Say whether a connect() to `target` may have reached a socket that is bound to `listener`."""
    return target.port == listener.port and (is_wildcard(listener) or key(target) == key(listener))


def calls_from(target: Endpoint, source: Endpoint) -> bool:
    """Say whether a socket that was not bound may have called `target` from `source`, both on one host.

    Linux takes the target's own address as the source, or the loopback's for a target there (ip-route(8), local table).
    """
    if is_wildcard(target) or _is_loopback(target):
        return _is_loopback(source)
    return key(target).address == key(source).address


def _is_loopback(endpoint: Endpoint) -> bool:
    address = key(endpoint).address
    return address == "::1" or address.startswith("127.")
