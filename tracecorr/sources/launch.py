"""A command that is started and held back before its first call, until a tracer is ready for it."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Sequence

from tracecorr.errors import UnreadableInput

# Exit statuses of a shell for what it could not find or execute (POSIX, 2.8.2).
_NOT_EXECUTED = 126


class Held:
    """Our child, which waits to be released and then becomes the command."""

    def __init__(self, pid: int, gate: int) -> None:
        self.pid = pid
        self._gate = gate

    def release(self) -> None:
        """Let it execute the command."""
        if self._gate >= 0:
            os.write(self._gate, b"!")
            os.close(self._gate)
            self._gate = -1

    def abandon(self) -> None:
        """End it instead: nothing of the command has run."""
        if self._gate >= 0:
            os.close(self._gate)
            self._gate = -1
            os.waitpid(self.pid, 0)


def held(command: Sequence[str], prepare: Callable[[], None] = lambda: None) -> Held:
    """Start the command, held back.  Raises UnreadableInput where there is no such program.

    `prepare` is what it does to itself once it is released, before it becomes the command.
    """
    program = shutil.which(command[0])
    if program is None:
        raise UnreadableInput(f"{command[0]}: no such program, or it may not be executed")
    wait, gate = os.pipe()
    pid = os.fork()
    if pid:
        os.close(wait)
        return Held(pid, gate)
    try:
        os.close(gate)
        if os.read(wait, 1):
            # Python ignores these; what we start must not.
            for ignored in (signal.SIGPIPE, signal.SIGXFSZ):
                signal.signal(ignored, signal.SIG_DFL)
            prepare()
            os.execv(program, list(command))
    finally:
        os._exit(_NOT_EXECUTED)
