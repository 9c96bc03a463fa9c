"""What a cause means, as text: for `tracecorr explain`."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap
from typing import TYPE_CHECKING, Final

from tracecorr.verdicts.explanations import EXPLANATIONS, advice, label

if TYPE_CHECKING:
    from tracecorr.verdicts.explanations import Explanation

WIDTH: Final = 100
NAME_WIDTH: Final = 17


def words() -> list[str]:
    """Return every cause and sub-case that can be explained."""
    return [*EXPLANATIONS, *dict.fromkeys(detail for each in EXPLANATIONS.values() for detail in each.details)]


def listing() -> Iterator[str]:
    """Yield the causes, a line each, with their sub-cases."""
    yield "Why a connection stays in CLOSE_WAIT. `tracecorr explain CAUSE` tells more of each; sub-cases work too.\n\n"
    for each in EXPLANATIONS.values():
        yield f"{each.cause:<{NAME_WIDTH}}{each.title}\n"
        if each.details:
            yield f"{'':<{NAME_WIDTH}}{', '.join(each.details)}\n"


def explain(word: str) -> Iterator[str]:
    """Yield the explanation of a cause, or of each sub-case of this name; nothing for a word that is neither."""
    if word in EXPLANATIONS:
        yield from _cause(EXPLANATIONS[word])
        return
    for index, each in enumerate(each for each in EXPLANATIONS.values() if word in each.details):
        yield "\n" if index else ""
        yield from _detail(each, word)


def _cause(each: Explanation) -> Iterator[str]:
    yield f"{each.cause}: {each.title}\n"
    yield from _section("What it means", each.meaning)
    yield from _section("How it is recognised", each.recognise)
    yield from _section("How to fix it", each.fix)
    if each.details:
        yield "\nSub-cases\n"
    for name, meaning in each.details.items():
        yield from _beside(name, meaning)
        yield from _beside("", f"Fix: {' '.join(advice(each.cause, name))}")
    yield from _section("References", ", ".join(each.references))


def _detail(each: Explanation, name: str) -> Iterator[str]:
    yield f"{name}: {label(each.cause)}, {label(name)}\n"
    yield from _section("What it means", f"{each.meaning} {each.details[name]}")
    yield from _section("How to fix it", " ".join(advice(each.cause, name)))
    yield f"\n`tracecorr explain {each.cause}` tells the rest.\n"


def _section(heading: str, text: str) -> Iterator[str]:
    yield f"\n{heading}\n"
    yield from (f"  {line}\n" for line in wrap(text, WIDTH - 2, break_on_hyphens=False))


def _beside(name: str, text: str) -> Iterator[str]:
    for index, line in enumerate(wrap(text, WIDTH - NAME_WIDTH - 2, break_on_hyphens=False)):
        yield f"  {name if index == 0 else '':<{NAME_WIDTH}}{line}\n"
