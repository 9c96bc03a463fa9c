"""What works on this host and what does not: the words of `tracecorr doctor`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from tracecorr.render.escape import visible

WIDTH: Final = 9


class Ability(NamedTuple):
    """One way to look at this host: `lacking` are (what, why, what would make it work); `traces` is a live engine."""

    name: str
    about: str
    lacking: tuple[tuple[str, str, str], ...]
    traces: bool = True


def abilities(found: Iterable[Ability]) -> Iterator[str]:
    """Yield a paragraph for each."""
    for ability in found:
        state = "does not work here" if ability.lacking else "works"
        yield f"{ability.name:<{WIDTH}} {state}: {ability.about}\n"
        for what, why, remedy in ability.lacking:
            yield f"{'':<{WIDTH}} - {visible(what)}: {visible(why)}\n"
            yield f"{'':<{WIDTH}}   try: {visible(remedy)}\n"
