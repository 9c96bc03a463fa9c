"""The commands, each a few lines that call the library; the one place that maps errors to exit codes.

Heavy modules are imported where they are used, so that --version and usage errors answer at once.
"""

from __future__ import annotations

import gc
import io
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import click

from tracecorr import console
from tracecorr.errors import TracecorrError
from tracecorr.options import (
    FILE,
    QUIET,
    STUCK_AFTER,
    VERBOSE,
    How,
    Output,
    Session,
    cause_named,
    report_options,
    seconds_or_none,
    show_version,
    tracing_options,
)

if TYPE_CHECKING:
    from tracecorr.verdicts.changes import Changes
    from tracecorr.verdicts.report import Report

BUG: Final = 4
INTERRUPTED: Final = 130
WRONG_USE: Final = 2
NOT_PERMITTED: Final = 3


@click.group(
    invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=show_version, help="Show the version."
)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Name the process that holds a TCP connection in CLOSE_WAIT, how it came by it, and what to change.

    Exit codes: 0 no fault, 1 stuck by a fault or unexplained, 2 wrong use or unreadable input, 3 not permitted,
    4 a bug of tracecorr, 130 interrupted.
    """
    # click shows the help by itself, but ends with 0 before 8.2 and with 2 since.
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(WRONG_USE)


@cli.command(short_help="Say what is stuck, and why, from logs.")
@click.argument("logs", nargs=-1, required=True, metavar="LOG…")
@STUCK_AFTER
@click.option(
    "--at",
    multiple=True,
    metavar="[NAME=]TIME",
    help="When listings (or the one of that name) were taken: HH:MM:SS, 'YYYY-MM-DD HH:MM:SS', or seconds since the"
    " epoch; else when their files were written.",
)
@click.option(
    "--clock-offset",
    "clock_offsets",
    multiple=True,
    metavar="NAME=SECONDS",
    help="How far the clock of an input is ahead of the first log's; else that is estimated.",
)
@report_options
def parse(
    logs: tuple[str, ...], stuck_after: float, at: tuple[str, ...], clock_offsets: tuple[str, ...], output: Output
) -> int:
    """Say which connections are stuck, and why, from logs, captures and listings, all together.

    LOG is a log of strace or truss, a capture (pcap, pcapng, snoop), or a listing (netstat, ss, lsof, lsfd, pfiles,
    fuser, /proc/net/tcp): a file (also .gz, .xz, .zst), a directory, the prefix of a `strace -ff` set, or - for
    standard input.  Logs are replayed; what the others show of the same connections confirms, adds and contradicts.
    """
    from tracecorr.api import parse as parse_logs

    with console.progress(output.quiet) as tell:
        report = parse_logs(
            logs, stuck_after=stuck_after, everything=output.everything, progress=tell, at=at,
            clock_offsets=clock_offsets,
        )  # fmt: skip
    return _show(report, output)


@cli.command(short_help="Trace live processes, and say what is stuck, and why.")
@click.argument("pids", nargs=-1, required=True, type=click.IntRange(min=1), metavar="PID…")
@tracing_options
def attach(pids: tuple[int, ...], how: How, output: Output) -> int:
    """Trace live processes and what they fork, until Ctrl-C, --duration, or their end.

    They run on untouched, whatever happens to tracecorr.
    """
    from tracecorr.live import attach as trace

    what = f"tracing PID {', '.join(map(str, pids))}"
    return _traced(lambda **given: trace(pids, **given), what, how, output)


@cli.command(short_help="Start a command, trace it, and say what is stuck, and why.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD…")
@tracing_options
def run(command: tuple[str, ...], how: How, output: Output) -> int:
    """Start a command and trace it from its first call, until Ctrl-C, --duration, or its end."""
    from tracecorr.live import run as trace

    return _traced(lambda **given: trace(command, **given), f"tracing {' '.join(command)}", how, output)


@cli.command(short_help="Explain what is stuck on this host now, without tracing.")
@click.argument("pids", nargs=-1, type=click.IntRange(min=1), metavar="[PID]…")
@STUCK_AFTER
@click.option(
    "--watch", "interval", type=float, callback=seconds_or_none, metavar="SECONDS",
    help="Look again and again, and tell what is new and gone; with --format json a line for each look.",
)  # fmt: skip
@report_options
def scan(pids: tuple[int, ...], stuck_after: float, interval: float | None, output: Output) -> int:
    """Look at the kernel once, and explain what is stuck on this host, or in these processes and what they forked."""
    from tracecorr.scanning import scan as look
    from tracecorr.scanning import watch

    if interval is not None:
        looks = watch(pids, interval=interval, stuck_after=stuck_after, everything=output.everything)
        return _watched(looks, output)
    # The process ends soon: what of it is garbage need not be looked for among a hundred thousand values.
    gc.disable()
    try:
        return _show(look(pids, stuck_after=stuck_after, everything=output.everything), output)
    finally:
        gc.enable()


@cli.command(short_help="Say what works on this host, and what would make the rest work.")
def doctor() -> int:
    """Say which engines and looks work on this host, which do not, why, and what would make them work."""
    from tracecorr.doctor import examine
    from tracecorr.render.abilities import abilities

    found = examine()
    console.write(abilities(found), None)
    return 0 if any(ability.traces and not ability.lacking for ability in found) else NOT_PERMITTED


@cli.command(short_help="Show the record itself, call by call.")
@click.argument("logs", nargs=-1, required=True, metavar="LOG…")
@click.option("--pid", type=click.IntRange(min=0), metavar="N", help="Only this process.")
@click.option("--fd", type=click.IntRange(min=0), metavar="N", help="Only connections that had this number.")
@click.option("--peer", metavar="ADDR", help="Only connections with this address, or address:port.")
@click.option("--format", type=click.Choice(["text", "jsonl"]), default="text", show_default=True)
@FILE
@QUIET
@VERBOSE
def timeline(
    logs: tuple[str, ...], pid: int | None, fd: int | None, peer: str | None, format: str, file: str | None, quiet: bool
) -> int:
    """Show the record itself: every call that touched the life of a connection."""
    from tracecorr.api import timeline as entries
    from tracecorr.render.timeline import TIMELINES

    console.write(TIMELINES[format](entries(logs, pid=pid, fd=fd, peer=peer)), file)
    return 0


@cli.command(short_help="Show a saved report again.")
@click.argument("report", type=click.File("rb"), metavar="REPORT.json")
@report_options
def view(report: io.BufferedReader, output: Output) -> int:
    """Show a report that was saved with --format json, in any format; - is standard input."""
    from tracecorr.render.json_document import read

    return _show(read(report.read()), output)


@cli.command(short_help="Tell what a cause means.")
@click.argument("cause", required=False, callback=cause_named)
def explain(cause: str | None) -> int:
    """Tell what a cause (or a sub-case) means, how it is recognised, and how to fix it; without CAUSE list them."""
    from tracecorr.render import explanation

    console.write(explanation.listing() if cause is None else explanation.explain(cause), None)
    return 0


@cli.command(short_help="Start a leaking server, diagnose it, stop it.")
def demo() -> int:
    """Start a leaking server on loopback, trace it while it runs, diagnose it, and stop it."""
    from tracecorr.demo import demo as run

    return run()


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; every error ends here."""
    session = Session()
    try:
        code = cli.main(args, prog_name="tracecorr", standalone_mode=False, obj=session)
    except click.ClickException as error:
        error.show()
        return WRONG_USE
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except TracecorrError as error:
        console.complain(str(error), error.help_text)
        return error.exit_code
    except OSError as error:
        console.complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return WRONG_USE
    except Exception as error:
        console.confess(error, verbose=session.verbose)
        return BUG
    return code if isinstance(code, int) else 0


def _traced(trace: Callable[..., Report], what: str, how: How, output: Output) -> int:
    from tracecorr.live import Bounds

    # Events come by the thousand, and most are dropped at once: the collector took a sixth of all the work.
    gc.set_threshold(100_000, 20, 50)
    jsonl = output.format == "jsonl"
    with console.recording(how.record) as record, console.live(what, quiet=output.quiet, jsonl=jsonl) as tell:
        report = trace(
            engine=how.engine, stuck_after=how.stuck_after, everything=output.everything,
            bounds=Bounds(duration=how.duration, events=how.events), record=record, tell=tell,
            stacks=how.stacks,
        )  # fmt: skip
    if jsonl:
        console.write_last(report)
        return report.exit_code
    return _show(report, output)


def _watched(looks: Iterator[tuple[Report, Changes]], output: Output) -> int:
    from tracecorr.render import changes, terminal

    codes = [0]
    look = console.style(output.color, output.file, everything=output.everything)

    def pieces() -> Iterator[str]:
        for report, changed in looks:
            first = len(codes) == 1
            codes.append(report.exit_code)
            if output.format != terminal.NAME:
                yield changes.json_line(report, changed)
            else:
                yield from terminal.styled(report, look) if first else changes.text(changed)
            console.flush()

    try:
        console.write(pieces(), output.file)
    except KeyboardInterrupt:
        if len(codes) == 1:
            raise
    return codes[-1]


def _show(report: Report, output: Output) -> int:
    from tracecorr.render.all import RENDERERS
    from tracecorr.render.terminal import NAME, styled

    if output.format == NAME:
        pieces = styled(report, console.style(output.color, output.file, everything=output.everything))
    else:
        pieces = RENDERERS[output.format].render(report)
    console.write(pieces, output.file)
    return report.exit_code
