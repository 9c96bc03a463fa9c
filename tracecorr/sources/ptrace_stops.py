"""What each stop of a traced thread that is no plain system call means, and how it is answered (ptrace(2)).

The thread goes on as if nobody had stopped it: a signal is delivered as it came, a stopped process stays stopped.
"""

from __future__ import annotations

import os
import signal
from typing import Final

from tracecorr.events import TaskId
from tracecorr.sources import syscall_info
from tracecorr.sources.call_records import CallRecords, plan_of
from tracecorr.sources.process_numbers import ProcessNumbers
from tracecorr.sources.ptrace_calls import (
    PTRACE_EVENT_CLONE,
    PTRACE_EVENT_EXEC,
    PTRACE_EVENT_EXIT,
    PTRACE_EVENT_FORK,
    PTRACE_EVENT_SECCOMP,
    PTRACE_EVENT_STOP,
    PTRACE_EVENT_VFORK,
    PTRACE_LISTEN,
    PTRACE_SYSCALL,
    ended,
    event_message,
    resume,
    signal_info,
)
from tracecorr.sources.syscall_info import FIRST, NATIVE_SECCOMP, NUMBER, WORDS
from tracecorr.sources.tracee import Tracee

# si_code of SIGCHLD (sigaction(2)).
_CLD: Final = {1: "CLD_EXITED", 2: "CLD_KILLED", 3: "CLD_DUMPED"}
_CORE_DUMPED: Final = 0x80


class Stops:
    """Answers stops.  `tracees` are the threads that are traced, `dying` those whose end has begun.

    `strangers` are threads that the kernel seized for us whose maker has not told of them yet: they wait for that.
    """

    def __init__(self, calls: CallRecords, numbers: ProcessNumbers) -> None:
        self.tracees: dict[int, Tracee] = {}
        self.dying: set[int] = set()
        self.strangers: dict[int, int] = {}
        self.children: set[int] = set()  # of the program around us, which waits for them by itself
        self._calls = calls
        self._numbers = numbers
        self._events = {
            PTRACE_EVENT_FORK: self._process_made,
            PTRACE_EVENT_VFORK: self._process_made,
            PTRACE_EVENT_CLONE: self._process_made,
            PTRACE_EVENT_EXEC: self._executed,
            PTRACE_EVENT_EXIT: self._exiting,
            PTRACE_EVENT_SECCOMP: self._filtered,
        }

    def answer(self, tid: int, status: int, now: int) -> None:
        """Answer any stop but a syscall-stop."""
        tracee = self.tracees.get(tid)
        event, number = status >> 8, status & 0xFF
        if tracee is None:
            self.strangers[tid] = status
        elif event == PTRACE_EVENT_STOP:
            # SIGTRAP: by PTRACE_INTERRUPT, at the start of a child, or by SIGCONT.  Else the process has been stopped.
            resume(_onward(tracee) if number == signal.SIGTRAP else PTRACE_LISTEN, tid)
        elif event:
            handle = self._events.get(event)
            if handle is not None:
                handle(tracee, now)
            resume(_onward(tracee), tracee.tid)
        else:
            self._signalled(tracee, number, now)
            resume(_onward(tracee), tid, number)

    def _signalled(self, tracee: Tracee, number: int, now: int) -> None:
        code, sender = None, None
        if number == signal.SIGCHLD and (info := signal_info(tracee.tid)) is not None:
            code, sender = _CLD.get(info[1]), self._numbers.ours(tracee.local, info[2])
        self._calls.signalled(tracee, signal_name(number), code, sender, now)

    def _process_made(self, tracee: Tracee, now: int) -> None:
        child = event_message(tracee.tid)
        if not child:
            return
        self._calls.forked(tracee, child, now)
        if tracee.go != PTRACE_SYSCALL:
            tracee.leave()
        self.adopt(child, tracee)
        self.claim(child, now)

    def adopt(self, tid: int, maker: Tracee) -> None:
        """Trace a thread that the kernel has seized for us."""
        if tid not in self.tracees:
            child = Tracee(tid, maker.go, self._numbers.of_child(tid, maker.local))
            child.foreign = maker.foreign
            self.tracees[tid] = child
        self.dying.discard(tid)

    def claim(self, tid: int, now: int) -> None:
        """Answer the stop in which a thread has waited to be known."""
        status = self.strangers.pop(tid, None)
        if status is not None:
            self.answer(tid, status, now)

    # The kernel has ended the other threads, and the one that called goes on as the leader (execve(2)).
    def _executed(self, leader: Tracee, now: int) -> None:
        tracee = leader
        former = event_message(leader.tid)
        if former and former != leader.tid and former in self.tracees:
            tracee = self.tracees.pop(former)
            self.dying.discard(former)
            self._calls.superseded(TaskId(leader.tid), tracee, now)
            tracee.rename(leader.tid)
            self.tracees[leader.tid] = tracee
        self.dying.discard(leader.tid)
        tracee.ending = None
        self._calls.executed(tracee, now)
        if tracee.go != PTRACE_SYSCALL:
            tracee.leave()

    def _exiting(self, tracee: Tracee, _: int) -> None:
        status = event_message(tracee.tid)
        if status is not None:
            tracee.ending = words_of(status)
        self.dying.add(tracee.tid)

    # Only what the filter lets through to us stops here; the return is seen by PTRACE_SYSCALL.
    def _filtered(self, tracee: Tracee, now: int) -> None:
        if not syscall_info.by_syscall_info(tracee.tid, False):
            return
        if WORDS[FIRST] != NATIVE_SECCOMP:
            self._calls.foreign(tracee)
            return
        tracee.call, tracee.entered = WORDS[NUMBER], now
        plan = plan_of(tracee.call)
        if plan is not None:
            self._calls.entered(tracee, plan, now)
        if tracee.plan is None:
            tracee.leave()

    def bury(self, now: int) -> None:
        """Tell of the threads whose end has come; only then their parents are told (ptrace(2))."""
        for tid in list(self.dying):
            status = ended(tid, reap=tid not in self.children)
            if status is None:
                continue
            self.dying.discard(tid)
            tracee = self.tracees.pop(tid, None)
            if tracee is not None:
                how = tracee.ending or (words_of(status) if status >= 0 else "gone")
                self._calls.exited(tracee, how, now)


def _onward(tracee: Tracee) -> int:
    return PTRACE_SYSCALL if tracee.call is not None else tracee.go


def signal_name(number: int) -> str:
    """Return SIGTERM for 15, SIGRT_5 for 37 as strace has it."""
    if number >= 32:
        return f"SIGRT_{number - 32}"
    return signal.Signals(number).name if number else "SIG_0"


def words_of(status: int) -> str:
    """Return how a thread ended, from its wait status, in the words of strace."""
    if os.WIFEXITED(status):
        return f"exited with {os.WEXITSTATUS(status)}"
    return f"killed by {signal_name(status & 0x7F)}" + (" (core dumped)" if status & _CORE_DUMPED else "")
