"""Paths into what they are: logs of calls, listings of a host, captures of a network."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from tracecorr.captured import Capture
from tracecorr.errors import UnrecognisedLog
from tracecorr.snapshot import Snapshot
from tracecorr.sources.all import LOG_FORMATS
from tracecorr.sources.base import Tally
from tracecorr.sources.blocks import Input
from tracecorr.sources.captures import capture_format_of, read_capture
from tracecorr.sources.inputs import Trace, files_of, format_of, traces_of
from tracecorr.sources.listings.all import LISTINGS
from tracecorr.sources.listings.base import Listing, numbered

_HEAD_LINES: Final = 400


@dataclass(slots=True)
class Listed:
    """One listing.  `at` is when it was taken, in nanoseconds since the epoch: the time of its file, if it has one."""

    snapshot: Snapshot
    tally: Tally
    at: int | None


@dataclass(slots=True)
class Material:
    """All that was given, by what it is."""

    traces: list[Trace] = field(default_factory=list)
    listings: list[Listed] = field(default_factory=list)
    captures: list[Capture] = field(default_factory=list)


def material_of(paths: list[str]) -> Material:
    """Read listings and captures whole, and return them with the logs, which are read later.

    Raises UnreadableInput and UnrecognisedLog, which name the file.
    """
    found, logs = Material(), []
    once: dict[str, Input] = {}
    files = [file for path in paths for file in files_of(path, is_input)]
    for path in dict.fromkeys(files):
        source = Input(path)
        if _take(found, source, path):
            source.close()
            continue
        logs.append(path)
        if source.once:
            once[path] = source
        else:
            source.close()
    found.traces = traces_of(logs, once)
    alone = len(found.traces) == 1 and not found.listings and not found.captures
    for trace in found.traces:
        _open(trace, once.get(trace.paths[0]), alone=alone)
    return found


# What is joined is read twice.
def _open(trace: Trace, source: Input | None, *, alone: bool) -> None:
    if source is None:
        return
    if alone:
        trace.opened = source
    else:
        trace.kept = source.keep()
        source.close()


def _take(found: Material, source: Input, path: str) -> bool:
    if capture_format_of(source.head) is not None:
        found.captures.append(read_capture(source))
        return True
    listing = _listing_of(source)
    if listing is not None:
        found.listings.append(_read(listing, source, path))
    return listing is not None


@contextmanager
def _opened(path: str) -> Iterator[Input]:
    source = Input(path)
    try:
        yield source
    finally:
        source.close()


def _listing_of(source: Input) -> Listing | None:
    """Return the listing format that claims the input, if it alone does."""
    lines = source.head.split(b"\n")[:_HEAD_LINES]
    claims = [listing for listing in LISTINGS.values() if listing.recognises(lines)]
    if len(claims) != 1 or any(log.recognises(lines) for log in LOG_FORMATS.values()):
        return None
    return claims[0]


def _read(listing: Listing, source: Input, path: str) -> Listed:
    tally = Tally(source.name, listing.NAME)
    snapshot = listing.read(numbered(b"".join(source.pieces())), tally)
    at = time.time_ns() if path == "-" else os.stat(path).st_mtime_ns
    return Listed(snapshot, tally, at)


def is_input(path: str) -> bool:
    """Say whether a file of a directory is anything that can be read."""
    with _opened(path) as source:
        if capture_format_of(source.head) is not None or _listing_of(source) is not None:
            return True
        try:
            format_of(source)
        except UnrecognisedLog:
            return False
        return True
