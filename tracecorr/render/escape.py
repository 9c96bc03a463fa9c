"""Text that came from a log, made harmless: what a terminal would obey or hide becomes visible.

Every log is hostile input.  A command name may hold an escape sequence, a path a line feed, a call a bidirectional
override that makes a line read as something else (CVE-2021-42574).
"""

from __future__ import annotations

from typing import Final

LIMIT: Final = 600


def visible(text: str, limit: int = LIMIT) -> str:
    """Return the text with everything unprintable as \\x1b, \\u202e …, and its tail counted beyond `limit`."""
    rest = len(text) - limit
    kept = text[:limit] if rest > 0 else text
    # Python's idea of printable leaves out the categories Cc, Cf, Cs, Co, Cn, Zl, Zp, and Zs other than the space.
    shown = kept if kept.isprintable() else "".join(map(_shown, kept))
    return f"{shown}… ({rest:,} more characters)" if rest > 0 else shown


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
