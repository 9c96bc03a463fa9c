"""What of a connection the rules look at: two that have the same likeness get the same answer, but for their numbers.

A program that leaks leaks the same way thousands of times; then the rules need not be asked thousands of times.
"""

from __future__ import annotations

from bisect import bisect_right

from tracecorr.snapshot import ProcessRow
from tracecorr.verdicts.look.base import SLACK, Case
from tracecorr.verdicts.look.ownership import FOR_IT
from tracecorr.verdicts.look.view import Look


class Likenesses:
    """The connections of one look."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._special: set[int] = set()
        for process in look.snapshot.processes.values():
            doing = look.doing(process)
            self._special.update(doing.registered, doing.asleep_on, doing.polled, process.registered)
        self._lowest: dict[int, int] = {}

    def of(self, case: Case) -> object | None:
        """Return what the connection is like; None for one that is like no other."""
        row = case.row
        if row.inode in self._special or row.send_queue or case.before is not None or (row.inode and not case.holders):
            return None
        if any(self._look.legs(process).half_closed for process in case.processes):
            return None
        queue = min(row.receive_queue, 2) if row.receive_queue is not None else None
        listeners = tuple(listener.inode for listener in case.listeners)
        holders = tuple((hold.process.pid, self._number(hold.process, hold.fd)) for hold in case.holders)
        pool = len(self._look.legs(case.processes[0]).ports[row.peer]) if case.role == "connected" and holders else 0
        same = len({hold.fd for hold in case.holders}) == 1
        told = row.info is not None and bool(row.info.bytes_sent) and (row.info.bytes_received or 0) > 1
        return (
            row.state, bool(row.inode), queue, row.info is None, told, case.role, listeners, holders, pool, same,
            case.sent_since, case.is_old, self._ages(case),
        )  # fmt: skip

    # Standard input and output, numbers below which one is free, others.
    def _number(self, process: ProcessRow, fd: int) -> int:
        if fd <= 2:
            return 0
        lowest = self._lowest.get(process.pid)
        if lowest is None:
            free = (number for number in range(3, len(process.descriptors) + 4) if number not in process.descriptors)
            lowest = self._lowest[process.pid] = next(free)
        return 1 if fd < lowest else 2

    # How many of its holders and their parents are younger than the connection.
    def _ages(self, case: Case) -> tuple[int, int, int]:
        ages = self._look.ages
        least, most = case.connected_for
        youngest = len(ages) if most is None else bisect_right(ages, most + SLACK)
        return bisect_right(ages, least - SLACK), bisect_right(ages, least - FOR_IT), youngest
