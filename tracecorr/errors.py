"""Every error that tracecorr raises on purpose: what happened, where, what to try, and the exit code."""

from __future__ import annotations


class TracecorrError(Exception):
    """Base of all expected errors; `help_text` says what to try, `exit_code` is what the command ends with."""

    exit_code = 2
    help_text = ""


class UnrecognisedLog(TracecorrError):
    """No reader claims this file."""

    help_text = (
        "tracecorr reads logs of strace, truss (Solaris, illumos, FreeBSD, AIX), kdump, dtruss, tusc, perf, ftrace and "
        "sysdig;\n"
        "captures (pcap, pcapng, snoop); listings of netstat, ss, lsof, lsfd, pfiles, fuser and /proc/net/tcp.\n"
        "Record one with: strace -f -tt -T -yy -o trace.log -p PID"
    )


class UnreadableInput(TracecorrError):
    """The file is missing, may not be read, or its compression is broken."""


class BadReport(TracecorrError):
    """A saved report is not JSON, or not of a version that we read."""


class NoSuchProcess(TracecorrError):
    """There is no process of that number, or it ended while we looked."""


class PermissionDenied(TracecorrError):
    """The kernel does not let us: the message says what was refused, `help_text` what would allow it."""

    exit_code = 3

    def __init__(self, message: str, help_text: str = "") -> None:
        super().__init__(message)
        self.help_text = help_text or "Run it as root, or as the user who owns the process."


class AlreadyTraced(PermissionDenied):
    """Another tracer has the process: ptrace(2) allows one."""


class EngineUnavailable(PermissionDenied):
    """No engine, or not the one that was asked for, works here."""


class BadTime(TracecorrError):
    """A time or an offset of a clock that was given is none."""
