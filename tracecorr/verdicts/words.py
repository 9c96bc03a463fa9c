"""Times, ends of connections and processes in the words of a report."""

from __future__ import annotations

import time

from tracecorr.model.open_file import OpenFileDescription


def seconds(nanoseconds: int | None) -> float | None:
    """Return a time or length of the model as the report's seconds."""
    return None if nanoseconds is None else round(nanoseconds / 1e9, 9)


def moment(at: int | None, clock: str | None) -> str:
    """Return " at 12:00:03.120", or nothing where the log has no times."""
    if at is None or clock is None:
        return ""
    if clock == "relative":
        return f" at +{at / 1e9:.3f} s"
    whole, fraction = divmod(at, 10**9)
    try:
        clock_time = time.localtime(whole) if clock == "epoch" else time.gmtime(whole % 86400)
    except (OverflowError, ValueError, OSError):
        return f" at {whole}"  # a damaged input may hold any number, and no calendar knows it
    return f" at {time.strftime('%H:%M:%S', clock_time)}.{fraction // 10**6:03d}"


def length(nanoseconds: int | None) -> str | None:
    """Return "18.6 s" or "12 ms"."""
    if nanoseconds is None:
        return None
    if nanoseconds < 10**9:
        return f"{nanoseconds / 1e6:.0f} ms" if nanoseconds >= 10**6 else f"{nanoseconds / 1e3:.0f} µs"
    return f"{nanoseconds / 1e9:.1f} s"


def connection(socket: OpenFileDescription) -> str:
    """Return both ends, "127.0.0.1:6379 ← 127.0.0.1:47374"; the arrow points to who accepted."""
    arrow = "→" if socket.role == "connected" else "←"
    if socket.local is None and socket.peer is None:
        return "a connection"
    return f"{socket.local or '?'} {arrow} {socket.peer or '?'}"
