"""How connections come about and end: the sockets' side of a replay."""

from __future__ import annotations

from collections import deque

from tracecorr.events import (
    AcceptFailed,
    ConnectionAccepted,
    ConnectionConfirmed,
    ConnectionEstablished,
    ConnectionFailed,
    ConnectionStarted,
    DescriptorMissing,
    Endpoint,
    LingerSet,
    SocketBound,
    SocketListening,
    SocketOpened,
    SocketSeen,
    SocketShutDown,
)
from tracecorr.kernel import Domain, Shutdown
from tracecorr.model.address import calls_from, is_wildcard, key, may_reach
from tracecorr.model.descriptors import forget, found, install, new_description, tell_other_end
from tracecorr.model.fact import Fact
from tracecorr.model.fd_table import FileDescriptor
from tracecorr.model.open_file import OpenFileDescription
from tracecorr.model.passing import unix_socket_accepted
from tracecorr.model.sharing import is_no_connection, shared_with
from tracecorr.model.system import System
from tracecorr.model.tasks import task_of

# Connections in the making that are remembered for each port.
_WAITING = 4096


def _begin(system: System, description: OpenFileDescription, fact: Fact) -> None:
    description.note(fact)
    system.connections[description.number] = description
    if system.observer is not None:
        system.observer(fact, description)


def socket_opened(system: System, event: SocketOpened) -> None:
    task = task_of(system, event.task)
    call = f"{event.call}() = {event.fd}"
    fact = Fact("socket", event.at, task, event.fd, call, event.origin, system.step)
    description = new_description(system, "socket", fact, event.domain)
    install(system, task, event.fd, description, fact, "socket", event.close_on_exec)


def socket_bound(system: System, event: SocketBound) -> None:
    description = found(system, task_of(system, event.task), event.fd).description
    description.local = event.local or description.local


def socket_listening(system: System, event: SocketListening) -> None:
    task = task_of(system, event.task)
    description = found(system, task, event.fd).description
    if description.kind in ("socket", "unknown"):
        description.kind = "listener"
        system.listeners.add(description)


_KIND = {Domain.INET: "tcp", Domain.UNIX: "unix", Domain.OTHER: "socket", Domain.UNKNOWN: "stream"}


def connection_accepted(system: System, event: ConnectionAccepted) -> None:
    task = task_of(system, event.task)
    listener = found(system, task, event.listener).description
    domain = event.domain if event.domain is not Domain.UNKNOWN else listener.domain
    if listener.kind not in ("socket", "unknown", "listener"):
        domain = Domain.UNIX if listener.kind == "unix" else Domain.OTHER
    elif listener.kind in ("socket", "unknown"):
        listener.kind, listener.domain = "listener", domain
        system.listeners.add(listener)
    call = f"{event.call}({event.listener}) = {event.fd}"
    fact = Fact("accepted", event.at, task, event.fd, call, event.origin, system.step, event.entered)
    description = new_description(system, _KIND[domain], fact, domain)
    description.role, description.established = "accepted", True
    # bind() to port 0 leaves the choice to the kernel: the port is not known until getsockname tells.
    description.local = listener.local if listener.local is not None and listener.local.port else None
    description.peer = event.peer
    system.exhausted.pop(listener, None)
    install(system, task, event.fd, description, fact, "accept", event.close_on_exec)
    if description.is_connection:
        _begin(system, description, fact)
        _pair_with_client(system, description, listener)
    elif description.kind == "unix":
        unix_socket_accepted(system, listener, description)


# The queue of a listener is first in, first out: the client that came first is the one that is accepted.
def _pair_with_client(system: System, description: OpenFileDescription, listener: OpenFileDescription) -> None:
    listener.accepts += 1
    if listener.local is None or system.unordered:
        return
    waiting = system.connecting.get(listener.local.port, deque())
    for client in waiting:
        if client.peer is not None and may_reach(client.peer, listener.local) and _may_be(client, description):
            waiting.remove(client)
            _pair(client, description, sure=_named(client))
            return
    system.unmatched.append(description)


# accept may have returned before connect did: such a client finds its connection already accepted.
def _pair_with_accepted(system: System, client: OpenFileDescription, connected: Fact) -> bool:
    for description in system.unmatched:
        same = description.local is None or client.peer is None or may_reach(client.peer, description.local)
        if same and _returned_after(description.opened, connected) and _may_be(client, description):
            system.unmatched.remove(description)
            _pair(client, description, sure=_named(client))
            return True
    return False


# The accept of a connection returns after its connect was entered.
def _returned_after(accepted: Fact | None, connected: Fact) -> bool:
    if accepted is None:
        return False
    if accepted.at is not None and connected.entered is not None:
        return accepted.at >= connected.entered
    left = connected.task.left
    return left is not None and left.name == "connect" and accepted.step > left.since.step


def _named(client: OpenFileDescription) -> bool:
    return client.local is not None and not is_wildcard(client.local) and client.local.port != 0


def _may_be(client: OpenFileDescription, accepted: OpenFileDescription) -> bool:
    if accepted.other_end is not None:
        return False
    if accepted.peer is None:
        return True
    if not _named(client) or client.local is None:
        return client.peer is None or calls_from(client.peer, accepted.peer)
    return key(client.local) == key(accepted.peer)


def _pair(client: OpenFileDescription, server: OpenFileDescription, *, sure: bool) -> None:
    client.other_end, server.other_end = server, client
    client.other_end_sure = server.other_end_sure = sure
    client.local = client.local or server.peer
    server.peer = server.peer or client.local
    if client.peer is not None and (server.local is None or is_wildcard(server.local)):
        server.local = client.peer
    if client.released is not None:
        # The client had closed before it was accepted: its FIN waited in the queue with the connection.
        tell_other_end(client, client.released)
    elif client.shut & Shutdown.WR and client.shut_by is not None:
        tell_other_end(client, client.shut_by)


def accept_failed(system: System, event: AcceptFailed) -> None:
    task = task_of(system, event.task)
    listener = found(system, task, event.listener).description
    fact = Fact("accept-failed", event.at, task, event.listener, f"accept({event.listener}) = -1 {event.error}",
                event.origin, system.step)  # fmt: skip
    first, count = system.exhausted.get(listener, (fact, 0))
    system.exhausted[listener] = (first, count + 1)


def _connecting(
    system: System, event: ConnectionStarted | ConnectionEstablished, call: str, how: str
) -> tuple[FileDescriptor, Fact] | None:
    task = task_of(system, event.task)
    descriptor = found(system, task, event.fd)
    description = descriptor.description
    if description.kind not in ("socket", "unknown", "tcp", "stream"):
        return None
    fact = Fact(
        "connected", event.at, task, event.fd, f"{call}({event.fd}){how}", event.origin, system.step, event.entered
    )
    if description.closed_by_reset is not None and description.role != "accepted":
        description.begin_anew()
    if description.kind in ("socket", "unknown"):
        sure = description.kind == "socket" and event.domain is Domain.INET
        description.kind = "tcp" if sure or description.domain is Domain.INET else "stream"
        description.domain = event.domain if event.domain is not Domain.UNKNOWN else description.domain
        description.role, description.opened = "connected", description.opened or fact
        description.peer = event.peer or description.peer
        descriptor.how = "connect" if descriptor.how == "socket" else descriptor.how
        _begin(system, description, fact)
        _enqueue(system, description, fact)
    return descriptor, fact


def _enqueue(system: System, client: OpenFileDescription, connected: Fact) -> None:
    peer = client.peer
    if peer is None:
        return
    if not any(listener.local is not None and may_reach(peer, listener.local) for listener in system.listeners):
        return
    if not system.unordered and _pair_with_accepted(system, client, connected):
        return
    system.connecting.setdefault(peer.port, deque(maxlen=_WAITING)).append(client)


def connection_started(system: System, event: ConnectionStarted) -> None:
    _connecting(system, event, "connect", " = -1 EINPROGRESS")


def connection_established(system: System, event: ConnectionEstablished) -> None:
    made = _connecting(system, event, event.call, " = 0")
    if made is not None:
        established(system, made[0].description)


def established(system: System, description: OpenFileDescription) -> None:
    """The handshake is known to have succeeded."""
    if not description.established:
        description.established = True
        system.seen += 1


def connection_confirmed(system: System, event: ConnectionConfirmed) -> None:
    description = found(system, task_of(system, event.task), event.fd).description
    if description.is_connection and description.role == "connected":
        established(system, description)


def connection_failed(system: System, event: ConnectionFailed) -> None:
    task = task_of(system, event.task)
    description = found(system, task, event.fd).description
    if description.is_connection or description.kind == "socket":
        description.closed_by_reset = Fact(
            "reset", event.at, task, event.fd, f"({event.error})", event.origin, system.step
        )
        queue = system.connecting.get(description.peer.port) if description.peer else None
        if queue and description in queue:
            queue.remove(description)


def descriptor_missing(system: System, event: DescriptorMissing) -> None:
    """EBADF: whatever the number referred to has been closed, and the log did not tell."""
    task = task_of(system, event.task)
    slot = task.table.slots.get(event.fd)
    if slot is not None:
        forget(system, slot, Fact("missing", event.at, task, event.fd, "EBADF", event.origin, system.step))


def linger_set(system: System, event: LingerSet) -> None:
    found(system, task_of(system, event.task), event.fd).description.resets_peer = True


def socket_shut_down(system: System, event: SocketShutDown) -> None:
    task = task_of(system, event.task)
    descriptor = found(system, task, event.fd)
    description = descriptor.description
    if not description.is_connection:
        return
    call = f"shutdown({event.fd}, SHUT_{event.how.name})"
    fact = Fact("shutdown", event.at, task, event.fd, call, event.origin, system.step)
    if event.error is not None:
        # Before a FIN of ours it means that the peer has reset the connection; after one it means nothing (trap 15).
        if event.error == "ENOTCONN" and not description.shut & Shutdown.WR:
            description.closed_by_reset = description.closed_by_reset or fact
        return
    if event.how & Shutdown.WR and not description.shut & Shutdown.WR:
        if system.released is not None:
            system.released(description, fact)
        description.shut_by = fact
    description.shut |= event.how
    description.note(fact)
    if system.observer is not None:
        system.observer(fact, description)
    if event.how & Shutdown.WR:
        tell_other_end(description, fact)
        _passed_on(system, description, fact)


# A relay hands the end of file of one leg on to the other: link the two.
def _passed_on(system: System, description: OpenFileDescription, fact: Fact) -> None:
    fact.task.shut.append(description)
    leg = fact.task.last_eof
    if leg is not None and leg is not description and leg.released is None and leg.passed_on is None:
        leg.passed_on = description
        fact.task.last_eof = None


def socket_seen(system: System, event: SocketSeen) -> None:
    """The log says what a descriptor refers to: take what is news, and notice what contradicts the replay."""
    task = task_of(system, event.task)
    if task.closed_inside(event.fd):
        return
    descriptor = task.table.slots.get(event.fd)
    if descriptor is not None and _is_another(descriptor.description, event):
        forget(system, descriptor, Fact("replaced", event.at, task, event.fd, "", event.origin, system.step))
        descriptor = None
    other = is_no_connection(event.kind, event.local, event.peer)
    named = event.peer is not None or event.inode is not None
    # A number that was open before, but refers to what was opened since, was opened by a thread that shares the table.
    if task.older and not other and (descriptor is None or (named and _is_from_before(descriptor))):
        descriptor = shared_with(system, task, event.fd, event.inode, event.peer) or descriptor
    if descriptor is None:
        descriptor = found(system, task, event.fd, alone=other or named)
    if descriptor.may_be_gone:
        descriptor.close_on_exec = False  # there it is
    description = descriptor.description
    same = _known(system, event)
    nameless = description.kind in ("unknown", "stream", "tcp") and description.opened is None
    if same is not None and same is not description and nameless:
        _refer(system, descriptor, same)
        description = same
    _learn(system, description, event, descriptor)


def _is_from_before(descriptor: FileDescriptor) -> bool:
    return descriptor.fact is None and descriptor.description.opened is None


def _is_another(description: OpenFileDescription, event: SocketSeen) -> bool:
    if not description.is_connection:
        return False
    if description.peer is not None and event.peer is not None and event.local is not None:
        return key(description.peer) != key(event.peer)
    return description.inode is not None and event.inode is not None and description.inode != event.inode


def _known(system: System, event: SocketSeen) -> OpenFileDescription | None:
    found_ = system.by_inode.get(event.inode) if event.inode is not None else None
    if found_ is None and event.local is not None and event.peer is not None:
        found_ = system.by_address.get((key(event.local), key(event.peer)))
    return found_ if found_ is not None and found_.references else None


def _refer(system: System, descriptor: FileDescriptor, description: OpenFileDescription) -> None:
    # Every copy of the nameless description is the same socket.
    old = descriptor.description
    for reference in old.references:
        reference.description = description
        description.references.add(reference)
    old.references = set()
    system.connections.pop(old.number, None)


def _learn(system: System, description: OpenFileDescription, event: SocketSeen, descriptor: FileDescriptor) -> None:
    _learn_kind(system, description, event, descriptor)
    if event.inode is not None:
        if (
            event.kind == "tcp"
            and description.peer is not None
            and description.established
            and description.inode != event.inode
        ):
            _gone(system, description, event, descriptor)
        description.inode = description.inode or event.inode
        system.by_inode[event.inode] = description
    if not description.is_connection and description.kind != "listener":
        description.local = event.local or description.local
        return
    description.peer = event.peer or description.peer
    if event.local is not None and event.local.port:
        description.local = event.local
    if description.local is not None and description.peer is not None:
        _index(system, description, description.local, description.peer)


# strace -yy prints the inode alone when the kernel no longer knows the addresses: the connection is gone.
def _gone(system: System, description: OpenFileDescription, event: SocketSeen, descriptor: FileDescriptor) -> None:
    # One that is gone when accept returns has never had its own end printed: then the log may print inodes alone.
    if description.local is None or description.peer is None or description.closed_by_reset is not None:
        return
    if system.by_address.get((key(description.local), key(description.peer))) is description:
        task = task_of(system, event.task)
        description.closed_by_reset = Fact("gone", event.at, task, descriptor.number, "", event.origin, system.step)


def _learn_kind(
    system: System, description: OpenFileDescription, event: SocketSeen, descriptor: FileDescriptor
) -> None:
    old = description.kind
    if event.kind == "tcp" and old in ("unknown", "stream"):
        if event.peer is not None or old == "stream" or (event.inode is None and event.local is None):
            description.kind, description.domain = "tcp", Domain.INET
            description.established = True
            if old == "unknown":
                system.seen += 1
                system.connections[description.number] = description
        elif event.local is not None:
            description.domain = Domain.INET
    elif event.kind is None and event.peer is not None and old == "unknown":
        description.kind, description.domain, description.established = "stream", Domain.INET, True
        system.seen += 1
        system.connections[description.number] = description
    elif event.kind is not None and event.kind != "tcp" and old in ("unknown", "stream", "socket"):
        description.kind = event.kind
        system.connections.pop(description.number, None)
        system.listeners.discard(description)


def _index(system: System, description: OpenFileDescription, local: Endpoint, peer: Endpoint) -> None:
    ends = key(local), key(peer)
    if system.by_address.get(ends) is description:
        return
    system.by_address[ends] = description
    other = system.by_address.get((ends[1], ends[0]))
    if other is not None and description.other_end is None and other.released is None:
        client, server = (other, description) if description.role == "accepted" else (description, other)
        for queue in system.connecting.values():
            if client in queue:
                queue.remove(client)
        _pair(client, server, sure=True)
