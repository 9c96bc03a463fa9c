"""The formats that a log may have, as one table; exactly one of them claims a log."""

from __future__ import annotations

from typing import Final

from tracecorr.sources import (
    dtruss_log,
    ftrace_log,
    kdump_log,
    perf_script,
    perf_trace,
    recording,
    strace_log,
    sysdig_log,
    truss_aix,
    truss_freebsd,
    truss_log,
    tusc_log,
)
from tracecorr.sources.base import LogFormat

LOG_FORMATS: Final[dict[str, LogFormat]] = {
    strace_log.NAME: strace_log,
    truss_log.NAME: truss_log,
    truss_freebsd.NAME: truss_freebsd,
    truss_aix.NAME: truss_aix,
    kdump_log.NAME: kdump_log,
    dtruss_log.NAME: dtruss_log,
    tusc_log.NAME: tusc_log,
    perf_trace.NAME: perf_trace,
    perf_script.NAME: perf_script,
    ftrace_log.NAME: ftrace_log,
    sysdig_log.NAME: sysdig_log,
    recording.NAME: recording,
}
