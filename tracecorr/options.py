"""The options that commands have in common, and the values that they become.

Names of formats and engines are read only when they are needed: they bring rich and networkx.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    NameType = click.ParamType[str]
else:
    # Generic for type checkers only since click 8.4.
    NameType = click.ParamType

Command = Callable[..., int]


@dataclass(slots=True)
class Session:
    """What the handler of errors must know of the command line."""

    verbose: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Where the report goes and what it looks like: the options that commands have in common."""

    format: str
    file: str | None
    everything: bool
    color: str
    quiet: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How to trace, and for how long."""

    engine: str
    duration: float | None
    events: int | None
    record: str | None
    stuck_after: float
    stacks: bool


class FormatName(NameType):
    """A key of RENDERERS, which is read only when it is needed: it brings rich and networkx; or one of `more`."""

    name = "format"

    def __init__(self, *more: str) -> None:
        self._more = more

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Return the choices for --help."""
        return "|".join([*_formats(), *self._more])

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name if there is such a renderer."""
        choices = [*_formats(), *self._more]
        if value not in choices:
            self.fail(f"{value!r} is not one of {', '.join(choices)}.", param, ctx)
        return value


class EngineName(NameType):
    """A key of ENGINES, or auto."""

    name = "engine"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Return the choices for --help."""
        return "|".join(_engines())

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name if there is such an engine."""
        if value not in _engines():
            self.fail(f"{value!r} is not one of {', '.join(_engines())}.", param, ctx)
        return value


def _engines() -> list[str]:
    from tracecorr.sources.engines import ENGINES

    return ["auto", *ENGINES]


def _formats() -> list[str]:
    from tracecorr.render.all import RENDERERS

    return list(RENDERERS)


def show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from tracecorr import __version__

        click.echo(f"tracecorr {__version__}")
        ctx.exit()


def _verbose(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    ctx.ensure_object(Session).verbose |= wanted


def _seconds(ctx: click.Context, param: click.Parameter, value: float) -> float:
    if not math.isfinite(value) or value < 0:
        raise click.BadParameter("must be a number of seconds, 0 or more.", ctx, param)
    return value


def seconds_or_none(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    return None if value is None else _seconds(ctx, param, value)


def cause_named(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    from tracecorr.render.explanation import words

    # "inherited copy" is what the text output calls it.
    word = None if value is None else value.lower().replace(" ", "-").replace("_", "-")
    if word is None or word in words():
        return word
    close = get_close_matches(word, words())
    hint = f"Did you mean {' or '.join(close)}?" if close else "`tracecorr explain` lists them."
    raise click.BadParameter(f"no such cause: {value!r}. {hint}", ctx, param)


QUIET = click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
VERBOSE = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,
    callback=_verbose,
    help="Show the traceback of an internal error.",
)
FILE = click.option("-o", "--output", "file", metavar="FILE", help="Write there instead of to stdout.")
STUCK_AFTER = click.option(
    "--stuck-after",
    type=float,
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    callback=_seconds,
    help="How old an end of file must be to count.",
)


def report_options(command: Command, *more_formats: str) -> Command:
    """Give a command the options of every report, and hand them on as one `output`."""

    @wraps(command)
    def with_output(*, format: str, file: str | None, everything: bool, color: str, quiet: bool, **rest: Any) -> int:
        output = Output(format=format, file=file, everything=everything, color=color, quiet=quiet)
        return command(output=output, **rest)

    options = [
        click.option(
            "--format", type=FormatName(*more_formats), default="text", show_default=True, help="What to write."
        ),
        FILE,
        click.option("--all", "everything", is_flag=True, help="Also what is healthy or too young; fold nothing."),
        click.option("--color", type=click.Choice(["auto", "always", "never"]), default="auto", show_default=True),
        QUIET,
        VERBOSE,
    ]
    for option in reversed(options):
        with_output = option(with_output)
    return with_output


def tracing_options(command: Command) -> Command:
    """Give a command the options of live tracing, and hand them on as `how`."""

    @wraps(command)
    def with_tracing(
        *, engine: str, duration: float | None, max_events: int | None, record: str | None, stuck_after: float,
        stacks: bool, **rest: Any,
    ) -> int:  # fmt: skip
        how = How(
            engine=engine, duration=duration, events=max_events, record=record, stuck_after=stuck_after, stacks=stacks
        )
        return command(how=how, **rest)

    options = [
        click.option(
            "--engine", type=EngineName(), default="auto", show_default=True,
            help="How to trace; auto takes the least intrusive that works here.",
        ),
        click.option("--duration", type=float, callback=seconds_or_none, metavar="SECONDS", help="Stop after that."),
        click.option("--max-events", type=click.IntRange(min=1), metavar="N", help="Stop after so many calls."),
        click.option("--record", metavar="FILE", help="Keep what is seen, for parse."),
        click.option("--stacks", is_flag=True, help="Tell the function that accepted, forked, closed; costs more."),
        STUCK_AFTER,
    ]  # fmt: skip
    for option in reversed(options):
        with_tracing = option(with_tracing)
    return report_options(with_tracing, "jsonl")
