"""The live engines as one table, the least intrusive first."""

from __future__ import annotations

from typing import Final

from tracecorr.sources import ptrace_engine, strace_engine, tracefs
from tracecorr.sources.engine import Engine

ENGINES: Final[dict[str, Engine]] = {
    tracefs.NAME: tracefs,
    ptrace_engine.NAME: ptrace_engine,
    strace_engine.NAME: strace_engine,
}
