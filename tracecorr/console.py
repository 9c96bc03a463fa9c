"""Standard output, standard error and the files that reports go to: only here is anything written."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic, time
from typing import IO, TYPE_CHECKING, Final

import click

from tracecorr.render.base import Style
from tracecorr.render.escape import visible

if TYPE_CHECKING:
    from rich.progress import Progress

    from tracecorr.live import Standing
    from tracecorr.verdicts.report import Report

PROGRESS_AFTER: Final = 0.5
NARROWEST: Final = 80
WIDEST: Final = 120
MESSAGE_LIMIT: Final = 2000
BESIDES: Final = 5  # lines of a terminal that the board of a live session leaves to others

Tell = Callable[[int, "int | None"], None]


def write(pieces: Iterable[str], file: str | None) -> None:
    """Write to the file, or to standard output where there is none or it is "-"."""
    if file is None or file == "-":
        _write_out(pieces)
        return
    try:
        # A lone surrogate (a byte of the log that is no UTF-8) has no encoding; it is written as \udc80.
        with open(file, "w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.writelines(pieces)
    except OSError as error:
        raise click.BadParameter(f"cannot write {file}: {error.strerror}", param_hint="'-o'") from error


def flush() -> None:
    """Let whoever reads standard output have what was written so far."""
    with suppress(BrokenPipeError):
        sys.stdout.flush()


def style(color: str, file: str | None, *, everything: bool) -> Style:
    """Return what the text is to look like: colour for a terminal, unless NO_COLOR (https://no-color.org) is set."""
    out = file is None or file == "-"
    terminal = out and sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")
    width = shutil.get_terminal_size((Style().width, 24)).columns if out else Style().width
    return Style(
        colour=color == "always" or (color == "auto" and terminal),
        width=min(max(width, NARROWEST), WIDEST),
        everything=everything,
    )


@contextmanager
def progress(quiet: bool) -> Iterator[Tell | None]:
    """Give a function that draws how much was read on stderr, if that is a terminal and reading takes a while."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    bar, started = _bar(), monotonic()

    def tell(done: int, total: int | None) -> None:
        if monotonic() - started > PROGRESS_AFTER:
            bar.start()
            bar.update(bar.task_ids[0], completed=done, total=total)

    try:
        yield tell
    finally:
        bar.stop()


@contextmanager
def recording(file: str | None) -> Iterator[tuple[str, IO[str]] | None]:
    """Open the file that a live session is recorded in; compressed where its name says so (.gz, .xz)."""
    if file is None:
        yield None
        return
    try:
        stream = _opened(file)
    except OSError as error:
        raise click.BadParameter(f"cannot write {file}: {error.strerror}", param_hint="'--record'") from error
    with stream:
        yield file, stream


def _opened(file: str) -> IO[str]:
    if file.endswith(".gz"):
        return gzip.open(file, "wt", encoding="ascii")
    return lzma.open(file, "wt", encoding="ascii") if file.endswith(".xz") else open(file, "w", encoding="ascii")


@contextmanager
def live(what: str, *, quiet: bool, jsonl: bool) -> Iterator[Callable[[Standing], None]]:
    """Give a function that shows what is stuck now: a board on a terminal, else a line for each change."""
    from tracecorr.live import Changes

    changes = Changes()
    if not jsonl and not quiet and sys.stderr.isatty():
        with _board(what) as tell:
            yield tell
        return

    def tell_changes(standing: Standing) -> None:
        from tracecorr.render.live import json_line, line

        at = time()
        for change, verdict in changes.since_last(standing):
            if jsonl:
                _write_out([json_line(change, verdict, at)])
            elif not quiet:
                click.echo(line(change, verdict, at), err=True, nl=False)

    yield tell_changes


@contextmanager
def _board(what: str) -> Iterator[Callable[[Standing], None]]:
    from rich.console import Console
    from rich.live import Live

    from tracecorr.render.live import board, heading

    terminal = Console(stderr=True, markup=False, highlight=False, emoji=False)
    with Live(board(f"{what} · Ctrl-C ends", [], 0), console=terminal, auto_refresh=False, transient=True) as view:

        def tell(standing: Standing) -> None:
            verdicts = list(standing.verdicts.values())
            title = heading(what, standing.elapsed, standing.records, verdicts)
            view.update(board(title, verdicts, max(terminal.height - BESIDES, 1)), refresh=True)

        yield tell


def write_last(report: Report) -> None:
    """Write the report as the last line of JSON Lines."""
    from tracecorr.render.live import last_line

    _write_out([last_line(report, time())])


def complain(message: str, help_text: str = "") -> None:
    """Say on standard error what went wrong, and what to try."""
    click.echo(f"tracecorr: {visible(message, MESSAGE_LIMIT)}", err=True)
    if help_text:
        click.echo(help_text, err=True)


def confess(error: Exception, *, verbose: bool) -> None:
    """Say that this is our fault, and where to report it."""
    if verbose:
        trace = "".join(traceback.format_exception(error))
        click.echo("\n".join(visible(line, MESSAGE_LIMIT) for line in trace.splitlines()), err=True)
    complain(f"this is a bug of tracecorr: {type(error).__name__}: {error}")
    advice = "with the traceback above" if verbose else "with the output of the same command and -v"
    click.echo(f"Please report it at {_tracker()}, {advice}.", err=True)


def _write_out(pieces: Iterable[str]) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        sys.stdout.writelines(pieces)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (head, less) has seen enough.  Python flushes once more at exit, which must not fail then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    columns = ("reading", BarColumn(), DownloadColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    bar.add_task("reading", total=None)
    return bar


def _tracker() -> str:
    from importlib.metadata import PackageNotFoundError, metadata

    try:
        urls = metadata("tracecorr").get_all("Project-URL") or []
    except PackageNotFoundError:
        urls = []
    known: dict[str, str] = dict(url.split(", ", 1) for url in urls)
    return known.get("Issues", "the issue tracker that README.md names")
