"""Listings of one host, each at its time: those that belong together are one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from tracecorr.joining.actions import Shown
from tracecorr.joining.hosts import Traits, one_host, traits
from tracecorr.joining.times import Given
from tracecorr.snapshot import Snapshot
from tracecorr.sources.listings.fuse import differ, fuse, pair
from tracecorr.sources.material import Listed
from tracecorr.verdicts.look.view import Before, Earlier, Look, key
from tracecorr.verdicts.report import Verdict

# People call one tool after another; what has changed within a second has changed under their hands.
_AT_ONCE: Final = 10**9  # ns


@dataclass(slots=True)
class Taken:
    """What listings show at one time.

    `at` is nanoseconds since the epoch, `of_day` those of a day instead; `sure` if somebody said so, and it is not just
    the time of a file.  `host` numbers the hosts that listings are of.  `shown` is what came of it in each log,
    `listed` what it alone has told.
    """

    listings: list[Listed]
    snapshot: Snapshot
    at: int | None
    of_day: int | None = None
    sure: bool = False
    host: int = 0
    shown: list[Shown] = field(default_factory=list)
    listed: list[Verdict] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.snapshot.source


def taken_of(listings: Sequence[Listed], given: Given) -> list[Taken]:
    """Return the listings as they were taken, host by host and time by time.

    Those of one host that were taken one after another are of one time, as long as they do not differ.
    """
    dated = sorted(listings, key=lambda one: _time(one, given))
    return [taken for number, host in enumerate(_hosts(dated)) for taken in _of_host(host, given, number)]


def _hosts(dated: Sequence[Listed]) -> list[list[Listed]]:
    hosts: list[tuple[Traits, list[Listed]]] = []
    for one in dated:
        own = traits(one.snapshot, one.tally.format)
        place = next((place for place, (known, _) in enumerate(hosts) if one_host(known, own)), None)
        if place is None:
            hosts.append((own, [one]))
        else:
            known, members = hosts[place]
            hosts[place] = known.with_(own), [*members, one]
    return [members for _, members in hosts]


def _of_host(dated: Sequence[Listed], given: Given, host: int) -> list[Taken]:
    times: list[list[Listed]] = []
    for one in dated:
        if (
            times
            and one.tally.format not in {other.tally.format for other in times[-1]}
            and not any(
                _time(one, given) - _time(other, given) >= _AT_ONCE and differ(other.snapshot, one.snapshot)
                for other in times[-1]
            )
        ):
            times[-1].append(one)
        else:
            times.append([one])
    return [_taken(listings, given, host) for listings in times]


def _time(listed: Listed, given: Given) -> int:
    said = given.moment(listed.tally.name)
    return said.at if said is not None else listed.at or 0


def _taken(listings: list[Listed], given: Given, host: int) -> Taken:
    said = next((moment for one in listings if (moment := given.moment(one.tally.name)) is not None), None)
    times = [one.at for one in listings if one.at is not None]
    at = said.at if said is not None and not said.of_day else max(times, default=None)
    snapshot = fuse([replace(one.snapshot, at=at if said is not None else one.at) for one in listings])
    snapshot = replace(snapshot, at=at)
    of_day = said.at if said is not None and said.of_day else None
    return Taken(listings, snapshot, at, of_day, said is not None, host)


def look_of(taken: Sequence[Taken], stuck_after: float) -> Look:
    """Return the latest of one host's as the rules for a look want it: of each format, with what was before."""
    snapshot = taken[-1].snapshot
    if len(taken) > 1:
        latest = {listed.tally.format: (listed, one.at) for one in taken for listed in one.listings}
        ordered = sorted(latest.values(), key=lambda each: each[1] or 0)
        snapshot = replace(fuse([replace(listed.snapshot, at=at) for listed, at in ordered]), at=taken[-1].at)
    return Look(snapshot, stuck_after, _earlier(taken, snapshot))


# Who is in CLOSE_WAIT in two listings was so all the time between them, if it is the same connection.
def _earlier(taken: Sequence[Taken], last: Snapshot) -> Earlier | None:
    if len(taken) < 2 or last.at is None:
        return None
    now = {ends: row for row in last.sockets if (ends := pair(row)) is not None}
    found: dict[object, Before] = {}
    for one in taken[:-1]:
        for row in one.snapshot.sockets:
            ends = pair(row)
            same = now.get(ends) if ends is not None else None
            if same is not None and one.at is not None and _may_be_one(row.inode, same.inode):
                found.setdefault(key(same), Before(row, one.at))
    return found


def _may_be_one(one: int | None, other: int | None) -> bool:
    return one == other or min(one or 0, other or 0) <= 0
