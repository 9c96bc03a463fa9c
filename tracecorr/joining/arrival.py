"""Whether a FIN that the other host sent has come: its log cannot tell, and what is between the two may lose it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tracecorr.captured import Capture, Conversation
from tracecorr.events import DescriptorsPolled, Endpoint, Gap
from tracecorr.joining.survey import Survey
from tracecorr.kernel import POLLIN, POLLRDHUP
from tracecorr.model.open_file import OpenFileDescription
from tracecorr.model.process import Task
from tracecorr.syscalls.descriptors import descriptor
from tracecorr.syscalls.polling import poll, select
from tracecorr.syscalls.record import SyscallRecord, UnfinishedRecord

# The FIN of a capture's peer comes again and again until it is acknowledged: this long is long enough to be sure.
_LONG = 1_000_000_000  # ns

_POLLS = {"poll": poll, "ppoll": poll, "pollsys": poll, "select": select, "pselect6": select, "_newselect": select}
_EPOLLS = frozenset(["epoll_wait", "epoll_pwait", "epoll_pwait2"])
_READS = frozenset(["read", "readv", "recv", "recvfrom", "recvmsg", "recvmmsg"])
# EPOLLET and EPOLLONESHOT (linux/eventpoll.h): told once, a program may wait for ever beside an end that it has not
# read.
_TOLD_ONCE = 1 << 31 | 1 << 30


def is_lost(end: Endpoint, conversation: Conversation, capture: Capture, sent: int) -> bool:
    """Say whether a capture shows that the FIN which the peer of `end` sent was never acknowledged, or never came.

    `sent` is when that was, on the capture's clock.
    """
    others = conversation.half(conversation.other(end))
    if capture.last is None or capture.last < sent + _LONG:
        return False
    return others.fin_acknowledged is None and conversation.half(end).fin is None and others.reset is None


def withdraw(survey: Survey) -> None:
    """Take back a FIN that only the other host's log tells of, where somebody still waits for it in vain.

    A call that waits for input on the connection returns when a FIN comes (poll(2), epoll(7), tcp(7)).
    """
    for record in survey.inside.values():
        task = survey.system.tasks.get(record.task)
        if task is None or task.ended is not None:
            continue
        for description in _waits_on(task, record):
            fin = description.fin
            if fin is None or fin.what != "peer" or description.eof is not None:
                continue
            description.fin = None
            why = (
                f"{description.local} – {description.peer}: the peer has closed ({fin.call}), and {record.task.tid} "
                f"waits for input on it in {record.name}() to the end of the log"
            )
            try_ = "capture on this host: the FIN was lost on the way, or came after the end of the log"
            survey.system.gap(Gap("a FIN did not arrive", why, try_, *record.origin))


def _waits_on(task: Task, record: UnfinishedRecord) -> Iterator[OpenFileDescription]:
    slots = task.table.slots
    for fd in _numbers(record):
        slot = slots.get(fd)
        if slot is None:
            continue
        if record.name in _EPOLLS:
            registrations: Iterable[tuple[int, OpenFileDescription]] = (
                (each.events, each.description) for each in slot.description.registrations.values()
            )
            yield from (
                one for events, one in registrations if events & (POLLIN | POLLRDHUP) and not events & _TOLD_ONCE
            )
        else:
            yield slot.description


def _numbers(record: UnfinishedRecord) -> Iterator[int]:
    whole = SyscallRecord(
        record.task, record.name, record.args, None, None, record.entered, None, record.origin, record.origin
    )
    if record.name in _POLLS:
        for event in _POLLS[record.name](whole):
            if isinstance(event, DescriptorsPolled):
                yield from event.fds
    elif record.name in _READS or record.name in _EPOLLS:
        fd = descriptor(whole)
        if fd is not None:
            yield fd
