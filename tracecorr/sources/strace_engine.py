"""The engine that drives the installed strace through a pipe, and reads what it writes as any log of strace is read."""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from typing import Final

from tracecorr.errors import EngineUnavailable, PermissionDenied
from tracecorr.events import Origin
from tracecorr.kernel import WAITING
from tracecorr.sources import procfs, strace_log
from tracecorr.sources.base import Tally
from tracecorr.sources.engine import Requirement
from tracecorr.sources.launch import Held, held
from tracecorr.sources.picture import picture
from tracecorr.syscalls.record import Record, StackRecord
from tracecorr.syscalls.table import SYSCALLS

NAME: Final = "strace"
COST: Final = (
    "every system call of the traced threads stops them twice: a busy server keeps a tenth of its throughput, or less"
)

# A question mark lets strace pass over names that this machine has not.  -I2 makes a signal end strace, which detaches.
_CALLS: Final = ",".join(f"?{name}" for name in sorted(SYSCALLS.keys() | WAITING))
_ARGUMENTS: Final = ("-I2", "-f", "-ttt", "-T", "-a", "0", "-s", "16", "-e", f"trace={_CALLS}", "-e", "signal=none")
_PATIENCE: Final = 10.0
_PIECE: Final = 1 << 20

# include/uapi/linux/prctl.h
_PR_SET_PDEATHSIG: Final = 1


STACKS: Final = True


def missing(*, stacks: bool = False) -> list[Requirement]:
    """Return what this host lacks, for `stacks` a strace that was built with an unwinder, too."""
    if shutil.which("strace") is None:
        return [Requirement("strace", "it is not installed", "install it (Debian: apt install strace)")]
    tried = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, stdin=subprocess.DEVNULL)
    if tried.returncode:
        said = tried.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        return [Requirement("ptrace", f"strace may not trace here ({said})", "root, or CAP_SYS_PTRACE")]
    if stacks and b"stack-trace=" not in subprocess.run(["strace", "-V"], capture_output=True).stdout:
        return [Requirement("strace -k", "this strace was built without an unwinder", "one with libunwind or libdw")]
    return []


def attach(pids: Sequence[int], *, stacks: bool = False) -> StraceTracing:
    """Attach strace to the processes."""
    return StraceTracing(pids, stacks=stacks)


def launch(command: Sequence[str], *, stacks: bool = False) -> StraceTracing:
    """Start the command, held back until strace has attached to it."""
    child = held(command)
    try:
        return StraceTracing([child.pid], child, stacks=stacks)
    except BaseException:
        child.abandon()
        raise


class StraceTracing:
    """One strace, and the pipe that it writes to."""

    def __init__(self, pids: Sequence[int], child: Held | None = None, *, stacks: bool = False) -> None:
        self._named = pids
        self._pids = [procfs.standing(pid) for pid in pids]  # it attaches to no process by a thread that has ended
        self._child = child
        self._number = 0
        self._out, out = os.pipe()
        who = [word for pid in self._pids for word in ("-p", str(pid))]
        # With -o its messages stay on stderr, apart from the log.
        self._strace = subprocess.Popen(
            ["strace", *_ARGUMENTS, *(["-k"] if stacks else []), "-o", f"/proc/self/fd/{out}", *who],
            pass_fds=[out], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
            preexec_fn=_die_with_parent,
        )  # fmt: skip
        os.close(out)
        try:
            self._await_attached()
        except BaseException:
            self.close()
            raise

    # It says "Process N attached" of each, or why not.
    def _await_attached(self) -> None:
        assert self._strace.stderr is not None
        waiting = len(self._pids)
        said = b""
        deadline = time.monotonic() + _PATIENCE
        while waiting and time.monotonic() < deadline:
            if not select.select([self._strace.stderr], [], [], 0.1)[0]:
                continue
            piece = os.read(self._strace.stderr.fileno(), 65536)
            said += piece
            waiting = len(self._pids) - said.count(b" attached")
            if not piece:
                break
        if waiting:
            reason = said.decode(errors="replace").strip().rpartition("\n")[2] or "it said nothing"
            raise PermissionDenied(f"strace did not attach: {reason}")

    def records(self, tick: float) -> Iterator[Record | None]:
        """Yield the picture, then what strace writes."""
        stack: StackRecord | None = None
        ticks = 0
        for record in self._written(tick):
            # Its frames are in the lines that follow: it is whole when something else has come, or nothing for long.
            ticks = ticks + 1 if record is None else 0
            if stack is not None and (record is not None or ticks > 1):
                yield stack
                stack = None
            if isinstance(record, StackRecord):
                stack = record
            else:
                yield record
        if stack is not None:
            yield stack

    def _written(self, tick: float) -> Iterator[Record | None]:
        yield from picture({pid: procfs.tids(pid) for pid in self._named}, self._origin)
        if self._child is not None:
            self._child.release()
        tally = Tally(NAME, strace_log.NAME)
        feed = strace_log.piecewise(tally)
        rest = b""
        last = time.monotonic()
        while True:
            if time.monotonic() - last >= tick:
                last = time.monotonic()
                yield None
            if not select.select([self._out], [], [], tick)[0]:
                continue
            piece = os.read(self._out, _PIECE)
            if not piece:
                break
            whole, newline, rest = (rest + piece).rpartition(b"\n")
            if newline:
                yield from feed(whole + newline)
            self._drain()
        if rest:
            yield from feed(rest)

    def _origin(self) -> Origin:
        self._number += 1
        return Origin(NAME, self._number)

    # A full pipe of messages would stop strace, and with it the server.
    def _drain(self) -> None:
        stderr = self._strace.stderr
        while stderr is not None and select.select([stderr], [], [], 0)[0] and os.read(stderr.fileno(), 65536):
            pass

    def close(self) -> None:
        """End strace, which detaches first."""
        if self._strace.poll() is None:
            self._strace.send_signal(signal.SIGTERM)
        self._drain_until_it_ends()
        if self._out >= 0:
            os.close(self._out)
            self._out = -1
        if self._strace.stderr is not None:
            self._strace.stderr.close()
            self._strace.stderr = None

    # It may be blocked in a write to us: nobody but us makes room.
    def _drain_until_it_ends(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while self._strace.poll() is None and self._out >= 0:
            if select.select([self._out], [], [], 0.05)[0]:
                os.read(self._out, _PIECE)
            if time.monotonic() > deadline:
                self._strace.kill()
                deadline += _PATIENCE
        self._strace.wait()


# When we are killed strace must not stay behind: it ends by this signal as by any, and detaches.
def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def refuse(requirements: Sequence[Requirement]) -> None:
    """Raise EngineUnavailable where something is missing."""
    if requirements:
        raise EngineUnavailable("; ".join(f"{each.what}: {each.why}" for each in requirements))
