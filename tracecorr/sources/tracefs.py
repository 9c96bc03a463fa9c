"""The engine `tracefs`: the kernel's own trace events, filtered in the kernel; traced programs are never stopped."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from tracecorr.errors import EngineUnavailable, NoSuchProcess
from tracecorr.sources import trace_stream, tracefs_mount
from tracecorr.sources.engine import Requirement
from tracecorr.sources.launch import held
from tracecorr.sources.trace_recorder import Recorder
from tracecorr.sources.trace_stream import TracefsTracing

NAME: Final = trace_stream.NAME
COST: Final = (
    "The traced program is never stopped; each system call of every program on the host takes a little longer, "
    "and each connection and fork of the traced one."
)


STACKS: Final = False


def missing(*, stacks: bool = False) -> list[Requirement]:
    """Return what this host lacks for it."""
    return tracefs_mount.missing()


def attach(pids: Sequence[int], *, stacks: bool = False) -> TracefsTracing:
    """Begin to trace processes.  Raises NoSuchProcess, EngineUnavailable."""
    for pid in pids:
        if not os.path.isdir(f"/proc/{pid}/task"):
            raise NoSuchProcess(f"there is no process {pid}")
    if lacking := missing():
        raise EngineUnavailable(f"{NAME}: {lacking[0].what}: {lacking[0].why}", lacking[0].remedy)
    try:
        recorder = Recorder()
    except OSError as error:
        raise _refused(error) from error
    try:
        return TracefsTracing(recorder, pids)
    except OSError as error:
        recorder.close()
        raise _refused(error) from error
    except BaseException:
        recorder.close()
        raise


def launch(command: Sequence[str], *, stacks: bool = False) -> TracefsTracing:
    """Start a command that is traced before its first call.  Raises UnreadableInput, EngineUnavailable."""
    child = held(command)
    try:
        tracing = attach([child.pid])
    except BaseException:
        child.abandon()
        raise
    child.release()
    return tracing


def _refused(error: OSError) -> EngineUnavailable:
    where = f" ({error.filename})" if error.filename else ""
    return EngineUnavailable(f"{NAME}: the kernel refuses: {error.strerror}{where}", "Use another engine.")
