"""How far two clocks are apart: estimated from what must have happened in a certain order.

Whatever a clock shows, a read returns data after the segment that brought it, and a segment leaves after its write
began.  Each such pair bounds the offset from one side.  The estimate is the middle of the interval that the most bounds
allow; one that contradicts them (ports that were used again, a clock that was set) is outvoted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Offset(NamedTuple):
    """`ahead` nanoseconds is the one clock ahead of the other, give or take half of `width`.

    `width` is None where all bounds are of one side: the truth then lies beyond.  `pairs` counts the bounds, `against`
    those that the estimate contradicts.
    """

    ahead: int
    width: int | None
    pairs: int
    against: int = 0


@dataclass(slots=True)
class Bounds:
    """Bounds of an offset, in nanoseconds: it is at least each of `lower`, and at most each of `upper`."""

    lower: list[int] = field(default_factory=list)
    upper: list[int] = field(default_factory=list)

    def after(self, late: int | None, early: int | None) -> None:
        """What the log has at `late` came after what the other clock shows at `early`."""
        if late is not None and early is not None:
            self.lower.append(early - late)

    def before(self, early: int | None, late: int | None) -> None:
        """What the log has at `early` came before what the other clock shows at `late`."""
        if late is not None and early is not None:
            self.upper.append(late - early)

    def estimate(self) -> Offset | None:
        """Return the estimate, None where nothing bounds it."""
        number = len(self.lower) + len(self.upper)
        if not number:
            return None
        if not self.upper or not self.lower:
            ahead = max(self.lower) if self.lower else min(self.upper)
            return Offset(ahead, None, number)
        low, high, kept = _most(sorted(self.lower), sorted(self.upper))
        return Offset((low + high) // 2, high - low, number, number - kept)


# Lower bounds that are below a point hold there, and upper bounds that are above it.
def _most(lower: Sequence[int], upper: Sequence[int]) -> tuple[int, int, int]:
    best, found = -1, (lower[0], lower[0])
    above = 0
    for index, point in enumerate(lower, 1):
        while above < len(upper) and upper[above] < point:
            above += 1
        kept = index + len(upper) - above
        if kept > best and above < len(upper):
            best, found = kept, (point, upper[above])
    if best < 0:  # every upper bound lies below every lower one: the nearest two
        return upper[-1], lower[0], max(len(lower), len(upper))
    return (*found, best)


def combined(parts: Iterable[Bounds]) -> Bounds:
    """Return the bounds of several connections as one."""
    whole = Bounds()
    for part in parts:
        whole.lower += part.lower
        whole.upper += part.upper
    return whole
