"""Times that people write: `--at` of a listing, `--clock-offset` of an input."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePath
from typing import Final

from tracecorr.errors import BadTime

_CLOCK: Final = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?")
_EPOCH: Final = re.compile(r"\d{9,10}(?:\.\d{1,9})?")
_NUMBER: Final = re.compile(r"[+-]?\d{1,12}(?:\.\d{1,9})?")


@dataclass(frozen=True, slots=True)
class Moment:
    """A time that was given: nanoseconds since the epoch, or of the day (`of_day`) where no date stands with it."""

    at: int
    of_day: bool = False


@dataclass(frozen=True, slots=True)
class Given:
    """What somebody said of times: `at` of all listings or of one by its name, offsets of clocks by name."""

    at: Moment | None = None
    at_of: Mapping[str, Moment] = field(default_factory=dict)
    offsets: Mapping[str, int] = field(default_factory=dict)

    def moment(self, name: str) -> Moment | None:
        """Return when a listing was taken, None where nobody said."""
        return self.at_of.get(name) or self.at_of.get(PurePath(name).name) or self.at

    def offset(self, name: str) -> int | None:
        """Return how many nanoseconds the clock of an input is ahead of the first log's, None where nobody said."""
        known = self.offsets.get(name)
        return known if known is not None else self.offsets.get(PurePath(name).name)


def given(at: Sequence[str] = (), offsets: Sequence[str] = ()) -> Given:
    """Return what the words mean: TIME or NAME=TIME, and NAME=SECONDS.  Raises BadTime."""
    everywhere: Moment | None = None
    of_one: dict[str, Moment] = {}
    for text in at:
        name, found, time = text.rpartition("=")
        if found:
            of_one[name] = moment(time)
        else:
            everywhere = moment(text)
    return Given(everywhere, of_one, dict(_offset(text) for text in offsets))


def _offset(text: str) -> tuple[str, int]:
    name, found, number = text.rpartition("=")
    if not found or not name or not _NUMBER.fullmatch(number):
        raise BadTime(f"no offset of a clock: {text!r}; write NAME=SECONDS, as in capture.pcap=-3.25")
    return name, round(float(number) * 1e9)


def moment(text: str) -> Moment:
    """Return the time that "14:03:00", "2026-11-25 14:03:00" or seconds since the epoch mean.  Raises BadTime."""
    clock = _CLOCK.fullmatch(text)
    if clock is not None:
        hours, minutes, seconds = int(clock[1]), int(clock[2]), int(clock[3] or 0)
        if hours < 24 and minutes < 60 and seconds <= 60:
            whole = ((hours * 60 + minutes) * 60 + seconds) * 10**9
            return Moment(whole + int((clock[4] or "0").ljust(9, "0")), of_day=True)
    elif _EPOCH.fullmatch(text):
        return Moment(round(float(text) * 1e9))
    else:
        try:
            return Moment(round(datetime.fromisoformat(text).timestamp() * 1e9))
        except (ValueError, OverflowError, OSError):
            pass
    raise BadTime(f"no time: {text!r}; write 14:03:00, '2026-11-25 14:03:00' or seconds since the epoch")
