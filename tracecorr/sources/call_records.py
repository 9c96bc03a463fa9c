"""Entries and returns of traced threads as records, in an order in which each effect comes before what builds on it."""

from __future__ import annotations

import os
from typing import Final

from tracecorr.events import Gap, Origin, TaskId
from tracecorr.sources.register_arguments import NOTHING, PLANS, Plan, error_name, means_something
from tracecorr.sources.stacks import Stacks
from tracecorr.sources.syscall_info import ARGUMENTS, IS_ERROR, RESULT, WORDS
from tracecorr.sources.system_calls import CALLS, call_name
from tracecorr.sources.tracee import PAST, Tracee
from tracecorr.syscalls.record import (
    ExitRecord,
    NameRecord,
    Record,
    SignalRecord,
    StackRecord,
    SupersededRecord,
    SyscallRecord,
    UnfinishedRecord,
    Value,
)

# By number: what the hot loop looks a call up in.
LIMIT: Final = 512
PLAN_OF: Final[list[Plan | None]] = [PLANS.get(CALLS.get(number, "")) for number in range(LIMIT)]

# Calls that never return.
_LAST: Final = frozenset(["exit", "exit_group"])

# Calls whose result or siginfo names a process, in the pid namespace of the caller.
_NAMES_A_PROCESS: Final = frozenset(["wait4", "waitid"])

# include/uapi/linux/sched.h, asm/unistd.h: the bit of calls of the x32 ABI
_X32: Final = 0x40000000


class CallRecords:
    """Makes the records of one tracing, with `stacks` those too; `ready` holds what nobody has taken yet."""

    def __init__(self, source: str, stacks: Stacks | None = None) -> None:
        self.ready: list[Record] = []
        self._source = source
        self._stacks = stacks
        self._number = 0
        # Threads in a call whose entry must be told before other threads' returns.
        self._early: dict[int, Tracee] = {}

    def taken(self) -> list[Record]:
        """Return what is ready, and forget it."""
        if self._stacks is not None:
            self._stacks.settle()
        ready, self.ready = self.ready, []
        return ready

    def origin(self) -> Origin:
        """Return the origin of the next record."""
        self._number += 1
        return Origin(self._source, self._number)

    def entered(self, tracee: Tracee, plan: Plan, now: int) -> None:
        """The thread, whose entry is in WORDS, is about to make a call of which there is a plan."""
        registers = tuple(WORDS[ARGUMENTS])
        if not plan.wants(registers):
            return
        tracee.plan, tracee.registers = plan, registers
        tracee.values = plan.enter(tracee.tid, registers)
        if plan.early:
            self._early[tracee.tid] = tracee
        elif plan.name in _LAST:
            self._finish(tracee, None, None, now)

    def returned(self, tracee: Tracee, now: int) -> None:
        """The thread, whose result is in WORDS, has made its call."""
        result = WORDS[RESULT]
        if WORDS[IS_ERROR] & 0xFF:
            self._failed(tracee, (1 << 64) - result, now)
        else:
            self._succeeded(tracee, result - (1 << 64) if result >> 63 else result, now)
        tracee.leave()

    def _failed(self, tracee: Tracee, number: int, now: int) -> None:
        plan = tracee.plan
        if tracee.told is not None or (plan is not None and means_something(plan, number)):
            self._finish(tracee, -1, error_name(number), now)
        else:
            self._early.pop(tracee.tid, None)

    def _succeeded(self, tracee: Tracee, result: int, now: int) -> None:
        plan, note, path = tracee.plan, None, None
        if plan is not None:
            note = plan.leave(tracee.tid, tracee.registers, tracee.values, result)
            if plan.makes_socket:
                path = _socket(tracee.tid, result)
            if tracee.local is not None and plan.name in _NAMES_A_PROCESS:
                result, note = _translated(tracee, result, note)
        if note is not NOTHING:
            self._finish(tracee, result, None, now, note, path)
        elif tracee.told is not None:
            self._finish(tracee, 0, None, now)

    def _finish(
        self, tracee: Tracee, result: int | None, error: str | None, now: int, note: Value = None,
        path: str | None = None,
    ) -> None:  # fmt: skip
        early = self._early
        if early:
            early.pop(tracee.tid, None)
            for other in early.values():
                self._tell(other)
            early.clear()
        origin = self.origin()
        name = tracee.plan.name if tracee.plan is not None else call_name(tracee.call or 0)
        self.ready.append(
            SyscallRecord(
                tracee.task, name, tuple(tracee.values), result, error, tracee.entered, now, origin,
                tracee.told or origin, path, False, note,
            )
        )  # fmt: skip
        if self._stacks is not None and (frames := self._stacks.take(tracee, name, result)) is not None:
            self.ready.append(StackRecord(tracee.task, self.origin(), frames))
        self._past(tracee)

    # What the thread is in has been told: its return, if any, tells nothing more.
    def _past(self, tracee: Tracee) -> None:
        tracee.plan = tracee.told = None
        tracee.entered = PAST

    def _tell(self, tracee: Tracee) -> None:
        tracee.told = origin = self.origin()
        name = tracee.plan.name if tracee.plan is not None else call_name(tracee.call or 0)
        values = tuple(tracee.values) if tracee.plan is not None else ()
        self.ready.append(UnfinishedRecord(tracee.task, name, values, tracee.entered, origin))

    def still_inside(self, tracee: Tracee) -> None:
        """Tell of the call that the thread has been in for a while, unless that was told."""
        if tracee.call is not None and tracee.told is None and tracee.entered != PAST:
            if tracee.plan is None:
                tracee.values = []
            self._early.pop(tracee.tid, None)
            self._tell(tracee)

    def forked(self, tracee: Tracee, child: int, now: int) -> None:
        """The kernel has made the child that the thread's call asks for: its descriptors are what it starts with."""
        if tracee.plan is not None:
            self._finish(tracee, child, None, now)

    def meaningless(self, tracee: Tracee, number: int) -> None:
        """The thread, whose entry is in WORDS, is about to make a call of which there is no plan."""
        if self._stacks is not None and number in self._stacks.mapping:
            self._stacks.remapped(tracee)

    def executed(self, tracee: Tracee, now: int) -> None:
        """The thread runs another program."""
        if self._stacks is not None:
            self._stacks.forget(tracee)
        if tracee.plan is not None:
            self._finish(tracee, 0, None, now)
        try:
            with open(f"/proc/{tracee.tid}/comm", "rb") as stream:
                comm = stream.read().decode("utf-8", "replace").rstrip("\n")
        except OSError:
            return
        self.ready.append(NameRecord(tracee.task, now, self.origin(), comm))

    def superseded(self, leader: TaskId, tracee: Tracee, now: int) -> None:
        """The thread goes on under the number of its leader."""
        early = self._early.pop(tracee.tid, None)
        self.ready.append(SupersededRecord(leader, now, self.origin(), tracee.task))
        if early is not None:
            self._early[leader.tid] = early

    def signalled(self, tracee: Tracee, name: str, code: str | None, sender: int | None, now: int) -> None:
        """A signal is delivered to the thread."""
        self.ready.append(SignalRecord(tracee.task, now, self.origin(), name, code, sender))

    def exited(self, tracee: Tracee, how: str, now: int) -> None:
        """The thread is no more."""
        self._early.pop(tracee.tid, None)
        if self._stacks is not None and tracee.process == tracee.tid:
            self._stacks.forget(tracee)
        self.ready.append(ExitRecord(tracee.task, now, self.origin(), how))

    def foreign(self, tracee: Tracee) -> None:
        """The thread makes calls of another architecture, whose numbers and structures we do not read."""
        if not tracee.foreign:
            tracee.foreign = True
            why = f"thread {tracee.tid} makes 32-bit calls, whose numbers and structures are others"
            self.ready.append(Gap("calls not understood", why, "tracecorr attach --engine strace", *self.origin()))


def plan_of(number: int) -> Plan | None:
    """Return how to read a call of the native architecture."""
    return PLAN_OF[number] if number < LIMIT else None


def is_foreign(number: int) -> bool:
    """Say whether a number is of the x32 ABI."""
    return bool(_X32 <= number < 2 * _X32)


def _socket(tid: int, fd: int) -> str | None:
    try:
        target = os.readlink(f"/proc/{tid}/fd/{fd}")
    except OSError:
        return None
    return target if target.startswith("socket:[") else None


# A number that we cannot translate could be mistaken for that of another process.
def _translated(tracee: Tracee, result: int, note: Value) -> tuple[int, Value]:
    local = tracee.local or {}
    if tracee.plan is not None and tracee.plan.name == "waitid":
        info = tracee.values[2]
        child = local.get(info["si_pid"]) if isinstance(info, dict) else None
        if child is None:
            return 0, NOTHING
        tracee.values[2] = {**info, "si_pid": child}
        return result, note
    return (local[result], note) if result in local else (0, NOTHING)
