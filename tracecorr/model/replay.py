"""The table of what each kind of event does to a System: nothing else changes one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tracecorr import events
from tracecorr.model import calls, connections, exits, forks, looks, passing, slots, tasks, traffic, uses, watching
from tracecorr.model.system import System


def _gap(system: System, event: events.Gap) -> None:
    system.gap(event)


# Each function takes the event kind of its row; mypy cannot say that of a dict, hence Any.
REPLAY: Final[dict[type, Callable[[System, Any], None]]] = {
    events.CallBegan: calls.call_began,
    events.CallReturned: calls.call_returned,
    events.ForkBegan: forks.fork_began,
    events.TaskCreated: forks.task_created,
    events.ProgramExecuted: exits.program_executed,
    events.TaskNamed: exits.task_named,
    events.TaskSuperseded: exits.task_superseded,
    events.TaskExited: exits.task_exited,
    events.ProcessExited: exits.process_exited,
    events.ChildEnded: exits.child_ended,
    events.TracingEnded: tasks.tracing_ended,
    events.TableUnshared: exits.table_unshared,
    events.DescriptorOpened: slots.descriptor_opened,
    events.DescriptorDuplicated: slots.descriptor_duplicated,
    events.DescriptorClosed: slots.descriptor_closed,
    events.DescriptorRangeClosed: slots.range_closed,
    events.DescriptorFlagsSet: slots.flags_set,
    events.DescriptorsSent: passing.descriptors_sent,
    events.DescriptorsReceived: passing.descriptors_received,
    events.DescriptorFetched: passing.descriptor_fetched,
    events.SocketOpened: connections.socket_opened,
    events.SocketBound: connections.socket_bound,
    events.SocketListening: connections.socket_listening,
    events.ConnectionStarted: connections.connection_started,
    events.ConnectionEstablished: connections.connection_established,
    events.ConnectionFailed: connections.connection_failed,
    events.ConnectionConfirmed: connections.connection_confirmed,
    events.ConnectionAccepted: connections.connection_accepted,
    events.AcceptFailed: connections.accept_failed,
    events.DescriptorMissing: connections.descriptor_missing,
    events.LingerSet: connections.linger_set,
    events.SocketSeen: connections.socket_seen,
    events.UnixSocketNamed: passing.unix_socket_named,
    events.SocketShutDown: connections.socket_shut_down,
    events.EndOfFileRead: traffic.end_of_file_read,
    events.BytesReceived: traffic.bytes_received,
    events.BytesSent: traffic.bytes_sent,
    events.ResetSeen: traffic.reset_seen,
    events.DescriptorsPolled: watching.descriptors_polled,
    events.HangupReported: watching.hangup_reported,
    events.EpollChanged: watching.epoll_changed,
    events.EpollReported: watching.epoll_reported,
    events.TaskSeen: looks.task_seen,
    events.DescriptorSeen: looks.descriptor_seen,
    events.DescriptorGone: looks.descriptor_gone,
    events.StateChanged: looks.state_changed,
    events.ConnectionUsed: uses.connection_used,
    events.LookConcluded: looks.look_concluded,
    events.StackSeen: calls.stack_seen,
    events.IoUringUsed: calls.io_uring_used,
    events.Gap: _gap,
}


def replay(system: System, event: events.Event) -> None:
    """Apply one event.

    `step` orders facts.  Lines of one log order it by themselves, and a reader may hold back what belongs together;
    several logs are in order only as they come.
    """
    if system.by_line and not isinstance(event, events.Gap):
        line = event.origin.line << 8
        system.step = system.step + 1 if line <= system.step < line + 255 else line
    else:
        system.step += 1
    REPLAY[type(event)](system, event)
