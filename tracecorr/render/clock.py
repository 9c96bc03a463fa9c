"""Moments and spans as people write them.  A moment means nothing without the clock of the source it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tracecorr.verdicts.report import Report

DAY_US: Final = 86_400_000_000
LONGEST_LOG: Final = 1e10


@dataclass(frozen=True, slots=True)
class Clocks:
    """Which clock each source has, and whether a moment needs its date."""

    of_source: dict[str, str | None]
    usual: str | None
    dated: bool

    def moment(self, at: float | None, source: str | None) -> str:
        """Return the moment as the source's own clock shows it, or nothing where it has none."""
        return moment(at, self.of_source.get(source or "", self.usual), dated=self.dated)


def clocks(report: Report) -> Clocks:
    """Return the clocks of the report's sources; moments are dated if these span more than one day."""
    of_source = {source.name: source.clock for source in report.sources}
    ends = [at for s in report.sources if s.clock == "epoch" for at in (s.first, s.last) if at is not None]
    days = {moment(at, "epoch", dated=True)[:10] for at in ends}
    return Clocks(of_source, next(filter(None, of_source.values()), None), len(days) > 1)


def moment(at: float | None, clock: str | None, *, dated: bool = False) -> str:
    """Return one moment: local time for `epoch`, time of day for `day`, +seconds for `relative`."""
    if at is None or clock is None:
        return ""
    if clock == "relative":
        return f"+{at:.3f} s"
    return _time_of_day(at) if clock == "day" else _local_time(at, dated)


def _local_time(at: float, dated: bool) -> str:
    # A damaged log may hold any number; what no calendar knows is shown as it is.
    try:
        text = datetime.fromtimestamp(at).isoformat(sep=" ", timespec="milliseconds")
    except (OverflowError, ValueError, OSError):
        return f"{at:.3f}"
    return text if dated else text[11:]


def _time_of_day(at: float) -> str:
    if abs(at) > LONGEST_LOG:
        return f"{at:.3f}"
    days, within = divmod(round(at * 1e6), DAY_US)
    minutes, microseconds = divmod(within, 60_000_000)
    text = f"{minutes // 60:02}:{minutes % 60:02}:{microseconds // 1_000_000:02}.{microseconds // 1000 % 1000:03}"
    return f"+{days}d {text}" if days else text


def span(seconds: float) -> str:
    """Return how long: 0.4 ms, 310 ms, 18.6 s, 4 min 12 s, 3 h 05 min, 2 d 7 h."""
    if seconds < 0.0995:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86400:,} d {whole % 86400 // 3600} h"


def spans(seconds: list[float]) -> str:
    """Return the range of several spans, as 3.1 to 18.6 s; one where they read the same."""
    shortest, longest = span(min(seconds)), span(max(seconds))
    if shortest == longest:
        return longest
    one, unit = shortest.split(" ", 1)
    return f"{one} to {longest}" if longest.split(" ", 1)[1] == unit else f"{shortest} to {longest}"
