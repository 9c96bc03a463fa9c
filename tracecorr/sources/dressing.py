"""What a log has put on on its way here, and how it is taken off again.

Logs come by mail, out of a terminal, from a collector or a web page.  Such things stand before each line, or have
changed single characters; lines stay lines.  A log is undressed only as far as it takes until a format knows it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

Undress = Callable[[bytes], bytes]

_MONTH_DAY: Final = rb"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d{1,9})? "
_ISO: Final = rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)? "

# What may stand before each line.
_BEFORE: Final = tuple(
    re.compile(rb"(?m)^" + text)
    for text in (
        rb"(?:" + _MONTH_DAY + rb"|" + _ISO + rb")[\w.-]{1,64} [\w./@-]{1,64}(?:\[\d{1,10}\])?: ",  # syslog, journald
        _ISO + rb"std(?:out|err) [FP] ",  # the container runtimes' own files
        _ISO,  # docker logs -t, kubectl logs --timestamps
        _MONTH_DAY,  # ts(1)
        rb"[\w.-]{1,64} {1,16}\| ?",  # docker compose logs
        rb"\[[\w./-]{1,200}\] ",  # kubectl logs --prefix
        rb"> ?",  # a mail, Markdown
        rb"[#|] ?",  # a comment, a table of one column
        rb" {0,8}\d{1,8}\t",  # cat -n
        rb"\d{1,8}:",  # grep -n
        rb"[\w./-]{1,200}:\d{1,8}:",  # grep -Hn
    )
)
_LAYERS: Final = 3

_CONTROL: Final = re.compile(
    rb"\x1b\[[0-9;?]{0,32}[A-Za-z]|\x1b\][^\x07\x1b\n]{0,256}(?:\x07|\x1b\\)|\x1b[()=>][0-9AB]?"
)
_ENTITIES: Final = re.compile(rb"&lt;(?:unfinished|detached|\.\.\. \w)|-&gt;|&lt;\d{1,12}\.\d{3,9}&gt;")
# Before the first string of a line stands nothing that a program has read or written.
_ENTITY_UNQUOTED: Final = re.compile(rb"(?m)^[^\"\n]{0,400}?&(?:lt|gt|quot);")
_TAG: Final = re.compile(rb"</?[A-Za-z][^<>\n]{0,200}>")
# The first line of a log begins behind it: <pre><code>4100  execve(
_FIRST_TAGS: Final = re.compile(rb"\A(?:<(?:pre|code|tt|div|p|span)\b[^<>\n]{0,200}>){1,8}")
_ENTITY: Final = re.compile(rb"&(lt|gt|quot|amp|#39|#x27);")
_MEANT: Final = {b"lt": b"<", b"gt": b">", b"quot": b'"', b"amp": b"&", b"#39": b"'", b"#x27": b"'"}

# What word processors and web pages make of plain characters, in UTF-8; the tracers print ASCII.
_FINE: Final = (
    (b"\xc2\xa0", b" "), (b"\xe2\x80\xa6", b"..."), (b"\xe2\x80\x9c", b'"'), (b"\xe2\x80\x9d", b'"'),
)  # fmt: skip
_TRAILING: Final = re.compile(rb"(?m)[ \t]+$")


def washing(head: bytes) -> Undress | None:
    """Return what undoes that characters were changed or put between others, None where nothing of the kind is seen."""
    steps: list[Undress] = []
    if b"\x1b" in head:
        steps.append(lambda text: _CONTROL.sub(b"", text))
    if _is_escaped(head):
        steps.append(unescaped)
    if _FIRST_TAGS.match(head):
        steps.append(lambda text: _FIRST_TAGS.sub(b"", text))
    fine = [pair for pair in _FINE if pair[0] in head]
    if fine:
        steps.append(lambda text: _plain(text, fine))
    return _all_of(steps) if steps else None


# A web page has no character that it escapes but in its own tags.
def _is_escaped(head: bytes) -> bool:
    if _ENTITIES.search(head):
        return b"<unfinished" not in head and b"<... " not in head
    if not _ENTITY_UNQUOTED.search(head):
        return False
    return b'"' not in head if b"&quot;" in head else not re.search(rb"[<>]", _TAG.sub(b"", head))


def unescaped(text: bytes) -> bytes:
    """Return the text with what stands for a character in a web page as that character, where the text is of one."""
    return _ENTITY.sub(lambda match: _MEANT[match[1]], text)


def _plain(text: bytes, fine: list[tuple[bytes, bytes]]) -> bytes:
    for was, meant in fine:
        text = text.replace(was, meant)
    return text


def undressings(head: bytes, layers: int = _LAYERS) -> Iterator[Undress]:
    """Yield the ways in which the lines of the head can be undressed, the fewest layers first."""
    found = list(_outermost(head))
    yield from found
    for outer in found if layers > 1 else ():
        for inner in undressings(outer(head), layers - 1):
            yield _all_of([outer, inner])


# A way for each thing that stands before half of the lines.
def _outermost(head: bytes) -> Iterator[Undress]:
    lines = [line for line in head.split(b"\n") if line.strip()]
    for before in [*_BEFORE, *_indent(lines)]:
        if sum(before.match(line) is not None for line in lines) * 2 >= len(lines) > 0:
            yield _without(before)
    if sum(line.endswith((b" ", b"\t")) for line in lines) * 2 >= len(lines) > 0:
        yield _without(_TRAILING)


def _without(pattern: re.Pattern[bytes]) -> Undress:
    return lambda text: pattern.sub(b"", text)


# As many blanks as stand before most of the lines that have any; what is indented further belongs to its line.
def _indent(lines: list[bytes]) -> Iterator[re.Pattern[bytes]]:
    widths = Counter(line[: len(line) - len(line.lstrip(b" \t"))] for line in lines)
    widths.pop(b"", None)
    if widths:
        width = min(len(indent) for indent, times in widths.items() if times == max(widths.values()))
        yield re.compile(rb"(?m)^[ \t]{1,%d}" % width)


def _all_of(steps: list[Undress]) -> Undress:
    def undress(text: bytes) -> bytes:
        for step in steps:
            text = step(text)
        return text

    return undress


def both(first: Undress, second: Undress) -> Undress:
    """Return what does the one and then the other."""
    return _all_of([first, second])
