"""Records of calls into events: the one place where a call's name gets its meaning."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from tracecorr.events import (
    CallBegan,
    CallReturned,
    ChildEnded,
    ConnectionUsed,
    DescriptorGone,
    DescriptorSeen,
    DescriptorsSent,
    Event,
    ForkBegan,
    Gap,
    LookConcluded,
    SocketSeen,
    StackSeen,
    StateChanged,
    TaskExited,
    TaskId,
    TaskNamed,
    TaskSeen,
    TaskSuperseded,
    TracingEnded,
)
from tracecorr.kernel import CLONE_FILES, CLONE_THREAD, TcpState
from tracecorr.syscalls.address import target_of
from tracecorr.syscalls.descriptors import descriptor
from tracecorr.syscalls.processes import clone_flags
from tracecorr.syscalls.record import (
    DescriptorFound,
    DetachedRecord,
    ExitRecord,
    LookRecord,
    NamedDescriptor,
    NameRecord,
    Record,
    SignalRecord,
    StackRecord,
    StateRecord,
    SupersededRecord,
    SyscallRecord,
    TaskFound,
    TransferRecord,
    UnfinishedRecord,
)
from tracecorr.syscalls.table import FORK_FAMILY, READ_FAMILY, SYSCALLS, WRITE_FAMILY
from tracecorr.syscalls.transfers import passed_descriptors

# Calls that take effect at their entry: close frees the number there, and an exit never returns.
_AT_ENTRY = {"close", "exit_group", "exit", "_exit", "lwp_exit"}

# They return, and truss prints no result of them.
_NO_RESULT = {"setcontext", "getcontext", "setustack", "getustack"}

# Calls that may block and whose first argument is a descriptor (that of select is a count, that of wait4 a process).
_ON_DESCRIPTOR = {*READ_FAMILY, *WRITE_FAMILY, "accept", "accept4", "connect", "fcntl", "flock", "ioctl", "shutdown"}
_ON_DESCRIPTOR |= {"epoll_wait", "epoll_pwait", "epoll_pwait2", "port_get", "port_getn"}

# Of most calls the first argument is the descriptor; these take two, and both are used.
_DESCRIPTORS = {"epoll_ctl": (0, 2), "sendfile": (0, 1), "sendfile64": (0, 1), "splice": (0, 2), "tee": (0, 1)}

# How many descriptors' names are remembered, so that each is told once.
_SAID = 1 << 16

# si_code of SIGCHLD when a child has ended (sigaction(2)); the others tell of stops.
_ENDED = {"CLD_EXITED", "CLD_KILLED", "CLD_DUMPED"}


def decode(records: Iterable[Record]) -> Iterator[Event]:
    """Yield what each record means, in order."""
    said: dict[tuple[int, int], str] = {}
    last: SyscallRecord | None = None
    for record in records:
        if type(record) is SyscallRecord:
            # "= ?": interrupted; the thread is still inside, or was until a signal ended it.
            still_inside = record.result is None and record.name not in _AT_ENTRY and record.name not in _NO_RESULT
            last = record
            if record.began is not record.origin:
                if still_inside:
                    continue
                yield CallReturned(record.returned, record.task, record.origin, record.name)
                if record.name in _AT_ENTRY:
                    continue
            if still_inside:
                yield from _began(record)
                continue
            decoder = SYSCALLS.get(record.name)
            if decoder is not None:
                events = decoder(record)
                if record.began is not record.origin:
                    events = [event for event in events if type(event) is not DescriptorsSent]
                yield from _decorated(record, events, said)
        elif type(record) is StackRecord:
            yield from _stack(record, last)
        else:
            yield from _OTHERS[type(record)](record)


def _decorated(record: SyscallRecord, events: Iterable[Event], said: dict[tuple[int, int], str]) -> Iterator[Event]:
    # What a log says a descriptor refers to (-y) is news only when it was not said of that number before.
    for place in _DESCRIPTORS.get(record.name, (0,)):
        try:
            named = record.args[place]
        except IndexError:
            break
        if type(named) is NamedDescriptor and said.get((record.task.tid, named)) != named.path:
            if len(said) >= _SAID:
                said.clear()
            said[record.task.tid, int(named)] = named.path
            target = target_of(named.path)
            yield SocketSeen(record.entered, record.task, record.origin, int(named), *target)
    yield from events
    if record.result_path is not None and record.result is not None and record.result >= 0:
        said[record.task.tid, record.result] = record.result_path
        target = target_of(record.result_path)
        yield SocketSeen(record.returned, record.task, record.origin, record.result, *target)


# What is printed of a call that was cut in two may be told by the line of its entry, too.
def _stack(record: StackRecord, call: SyscallRecord | None) -> Iterator[Event]:
    if call is not None and call.task == record.task:
        for place in dict.fromkeys((call.began, call.origin)):
            yield StackSeen(None, record.task, record.origin, record.frames, place)


def _ended(record: SignalRecord) -> Iterator[Event]:
    if record.signal in ("SIGCHLD", "SIGCLD") and record.code in _ENDED and record.sender:
        yield ChildEnded(record.at, record.task, record.origin, record.sender)


def _found(record: DescriptorFound) -> Iterator[Event]:
    if record.target is None:
        yield DescriptorGone(record.at, record.task, record.origin, record.fd)
        return
    target = target_of(record.target)
    kind = target.kind or "socket"
    if record.state is not None:
        kind = "listener" if record.state is TcpState.LISTEN else "tcp"
    yield DescriptorSeen(
        record.at, record.task, record.origin, record.fd, kind, target.inode, record.close_on_exec, record.state,
        record.local, record.peer, record.unread, record.role, record.watches, record.about,
    )  # fmt: skip


def _began(record: UnfinishedRecord | SyscallRecord) -> Iterator[Event]:
    whole = SyscallRecord(
        record.task, record.name, record.args, None, None, record.entered, None, record.origin, record.origin
    )
    if record.name in _AT_ENTRY:
        yield from SYSCALLS[record.name](whole)
        return
    yield CallBegan(
        record.entered,
        record.task,
        record.origin,
        record.name,
        descriptor(whole) if record.name in _ON_DESCRIPTOR else None,
    )
    if record.name in ("sendmsg", "sendmmsg") and (fds := passed_descriptors(whole)):
        # The receiver may have it before this call returns.
        yield DescriptorsSent(record.entered, record.task, record.origin, descriptor(whole) or 0, fds)
    if record.name in FORK_FAMILY:
        flags = clone_flags(whole)
        shares, thread = bool(flags & CLONE_FILES), bool(flags & CLONE_THREAD)
        yield ForkBegan(record.entered, record.task, record.origin, shares, thread, record.name)


# What is no finished call: mypy cannot say that each row takes the kind of record that it is for, hence Any.
_OTHERS: Final[dict[type, Callable[[Any], Iterable[Event]]]] = {
    UnfinishedRecord: _began,
    ExitRecord: lambda record: (TaskExited(record.at, record.task, record.origin, record.how),),
    SupersededRecord: lambda record: (TaskSuperseded(record.at, record.task, record.origin, record.by),),
    NameRecord: lambda record: (TaskNamed(record.at, record.task, record.origin, record.comm),),
    DetachedRecord: lambda record: (TracingEnded(record.at, record.task, record.origin),),
    SignalRecord: _ended,
    TaskFound: lambda it: (TaskSeen(it.at, it.task, it.origin, it.pid, it.parent, it.comm, it.table),),
    DescriptorFound: _found,
    StateRecord: lambda it: (StateChanged(it.at, TaskId(0), it.origin, it.old, it.new, it.local, it.peer),),
    TransferRecord: lambda it: (
        ConnectionUsed(it.at, it.task, it.origin, it.local, it.peer, it.sent, it.size, it.peeked),
    ),
    LookRecord: lambda it: (LookConcluded(it.at, TaskId(0), it.origin, it.verdicts),),
    Gap: lambda gap: (gap,),
}
