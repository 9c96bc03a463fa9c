"""What the lines of strace(1) look like, every form that 4.20 and later write, most of older ones.

Grammar of a line: [pid] [security context] [time] [delta] [call number] [instruction pointer] body.  A body is a call
with its result, half of one (`<unfinished ...>`, `<... close resumed>`), a signal (`---`), an end (`+++`), or foreign.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from tracecorr.syscalls.table import CLOSE_FAMILY, SYSCALLS

_PREFIX: Final = (
    rb"(?:(?:\[pid {1,12})?(\d{1,7})(?:<([^>\n]*)>)?\]? {1,12})?"  # 1 task, 2 comm
    rb"(?:\[[\w.-]{1,64}:[^]\n]{1,200}\] )?"  # --secontext
    rb"(?:(\d\d:\d\d:\d\d(?:\.\d{1,20})?|\d{8,11}(?:\.\d{1,20})?) {1,12})?"  # 3 time
    rb"(?: {0,12}(\d{1,12}\.\d{1,20}) |\(\+ {0,12}(\d{1,12}(?:\.\d{1,20})?)\) )?"  # 4, 5 delta of -r
    rb"(?:\[ {0,12}\d{1,10}\] )?(?:\[[0-9a-f?]{8,}\] )?"  # -n, -i
)
_PREFIX_UNGROUPED: Final = re.sub(rb"\((?![?])", b"(?:", _PREFIX.replace(rb"\(", b"\x00")).replace(b"\x00", rb"\(")
CALL: Final = rb"([a-zA-Z_]\w*)\("


def _one_of(names: Iterable[str]) -> str:
    # A tree of prefixes: an alternation of whole names is tried one by one at every line.
    branches: dict[str, list[str]] = {}
    for name in names:
        branches.setdefault(name[:1], []).append(name[1:])
    parts = [
        re.escape(first) + (_one_of(rest) if rest != [""] else "") for first, rest in sorted(branches.items()) if first
    ]
    if "" in branches:
        parts.append("")
    return parts[0] if len(parts) == 1 else "(?:" + "|".join(parts) + ")"


WANTED: Final = _one_of(SYSCALLS).encode()
KNOWN: Final = frozenset(name.encode() for name in SYSCALLS)
CLOSES: Final = frozenset(name.encode() for name in CLOSE_FAMILY)
LINES: Final = re.compile(
    rb"\n(?!" + _PREFIX_UNGROUPED + rb"(?!" + WANTED + rb"\()[a-z_]\w*\([^\n]*\)\s+= [^?\n][^\n]*(?:\n|\Z))([^\n]+)"
)
EVERY_LINE: Final = re.compile(rb"\n([^\n]+)")
LINE_PREFIX: Final = re.compile(_PREFIX)
COMPLETE: Final = re.compile(_PREFIX + CALL + rb"(.*)\)\s+= ([^\n]*)", re.DOTALL)
ENTERED: Final = re.compile(CALL + rb"(.*)\Z", re.DOTALL)
NOT_RETURNED: Final = re.compile(rb"<(?:unfinished|detached) \.\.\.>\Z|<ptrace\([A-Z_]{1,40}\):\w{1,40}>\Z")
RESUMED: Final = re.compile(rb"<\.\.\. (\w+) resumed>,? ?(.*)\)\s+= (.*)", re.DOTALL)
# Linear in the length of any text: a result is matched from its start, its duration from its end.
RESULT: Final = re.compile(
    rb"(0x[0-9a-f]{1,40}|-?\d{1,40}|\?)"
    rb"(?:<((?:[^<>-]|->|-(?!>)|<[^<>]{0,80}>){0,256})>)?(?: (E[A-Z0-9_]+))?(.*)\Z",
    re.DOTALL,
)
DURATION: Final = re.compile(rb"<(\d{1,12}\.\d{1,20})>\Z")
SIGNAL: Final = re.compile(rb"--- (SIG\w+|stopped by SIG\w+)(.*)---\s*\Z", re.DOTALL)
END: Final = re.compile(rb"\+\+\+ (.*?) \+\+\+")
SUPERSEDED: Final = re.compile(rb"superseded by execve in pid (\d{1,10})")
NOTICE: Final = re.compile(
    rb"(?:[^\s\"(),<>]{0,64}strace: )?\[? ?Process (?:PID=)?"
    rb"(\d{1,10}) (attached|detached|suspended|resumed|runs in)[^\n]*"
    rb"|[^\s\"(),<>]{0,64}strace: [^\n]*"
)
FRAME: Final = re.compile(rb" > (.*)")
DUMP: Final = re.compile(rb" \| [0-9a-f]{5} ")
IGNORED: Final = re.compile(rb"\s*(?:<detached \.\.\.>|<unfinished \.\.\.>|<\.\.\. resuming interrupted .*)?\s*\Z")
COLOUR: Final = re.compile(rb"\x1b\[[0-9;]*m")
NAMES_PORT: Final = (b"bind", b"getsockname")
NAMES: Final = re.compile(rb"\n" + _PREFIX_UNGROUPED + rb"([a-z_]\w*)\(")
FIRST_COLUMN: Final = re.compile(rb"\n(\d{1,7})(?:<[^>\n]*>)? ")
SIGNAL_FIELD: Final = re.compile(rb"(si_code|si_pid)=(\w{1,20})")
OTHER_NAMESPACE: Final = re.compile(rb"/\* (\d{1,10}) in strace's PID NS \*/")

# truss of Solaris, where its tabs have become blanks.
_TRUSS: Final = re.compile(rb'[^"]{0,200}(?:, SOV_[A-Z]|\(sleeping\.\.\.\)\s*\Z)|Base time stamp: ')
# dtruss: a tab before the result, and errno behind it.
_DTRUSS: Final = re.compile(rb"\) {0,8}\t[ \t]{0,8}= |= (?:-?\d{1,20}|0x[0-9A-F]{1,16}) (?:Err#)?-?\d{1,5}\s*\Z")

# What ltrace -S calls them; strace before 4.6 has only a number for calls that it does not know, SYS_328.
_LTRACE: Final = re.compile(rb"(?:^|[ \]])SYS_[a-z]\w{0,40}\(")

FORKED: Final = re.compile(rb"(?:clone3?|v?fork)\b[^\n]*\)\s+= (\d{1,10})")


# Output of the program itself, which may stand in the midst of the line that tells of it.
OWN_OUTPUT: Final = re.compile(rb"[012](?:<[^>\n]*>)?,")
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)


def is_balanced(args: bytes) -> bool:
    rest = _STRING.sub(b"", args)
    return b'"' not in rest and rest.count(b"{") == rest.count(b"}") and rest.count(b"[") == rest.count(b"]")


def recognises(head: list[bytes]) -> bool:
    """Say whether one of the first lines is a call, a signal or an end as strace prints them."""
    calls = others = 0
    if any(b"Err#" in line or b"\t= " in line or b")  argc = " in line or _TRUSS.match(line) for line in head):
        return False  # truss: a line alone may look the same
    if any(_LTRACE.search(line[:200]) for line in head):
        return False
    for line in head:
        text = COLOUR.sub(b"", line).rstrip(b"\r")
        if _is_strace(text):
            calls += 1
        elif text.strip() and not NOTICE.match(text) and not FRAME.match(text) and not DUMP.match(text):
            others += 1
    return calls > 0 and calls * 2 >= others


# strace prints "close(3)<pad> = 0"; FreeBSD's truss "= 0 (0x0)" and "ERR#"; Solaris' a TAB before "=" and "Err#".
def _is_strace(line: bytes) -> bool:
    if b"\t= " in line or b"Err#" in line or b"ERR#" in line or _DTRUSS.search(line[-200:]):
        return False
    match = COMPLETE.match(line)
    if match:
        return RESULT.match(match[8]) is not None and not re.search(rb" \(0x[0-9a-f]+\)$", match[8])
    body = line[prefix_end(line) :]
    if body.startswith((b"--- SIG", b"--- stopped by SIG", b"+++ ", b"<... ")):
        return True
    return bool(re.match(CALL, body)) and body.rstrip().endswith((b"<unfinished ...>", b"<detached ...>"))


def prefix_end(line: bytes) -> int:
    match = LINE_PREFIX.match(line)
    return match.end() if match else 0
