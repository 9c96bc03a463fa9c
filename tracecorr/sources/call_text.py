"""Calls as the tracers of the BSDs, macOS and HP-UX print them: `name(arg,arg,{ … },"…")` and what follows."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from tracecorr.kernel import AF_INET, AF_INET6, AF_UNIX, CONSTANTS
from tracecorr.syscalls.record import Value

# No call has more arguments (syscalls.master of FreeBSD: 8).
_MOST: Final = 16
# No argument is longer, but for strings; and of the text behind it no more is asked for.
_LONG: Final = 400
_NAME: Final = re.compile(r"([A-Za-z_]\w{0,63})\(")
_MARK: Final = re.compile(r'["(){}\[\],]')
_QUOTE: Final = re.compile(r'\\.|"', re.DOTALL)
_NUMBER: Final = re.compile(r"-?(?:0[xX][0-9a-fA-F]{1,32}|\d{1,30})")
_NAMED: Final = re.compile(r"(-?(?:0[xX][0-9a-fA-F]{1,32}|\d{1,30}))<([A-Z][\w|]{0,200})>")
_ENDPOINT: Final = re.compile(
    r"\{ {0,4}(?:AF|PF)_(INET6?),? {1,4}(?:\[([0-9A-Fa-f:.%\w]{2,60})\]|([0-9A-Fa-f.:%]{2,60})):(\d{1,5}) {0,4}\}"
)
_FAMILY: Final = re.compile(r"\{.{0,40}?sa_family = (\d{1,5})")
_LOCAL: Final = re.compile(r'\{ {0,4}(?:AF|PF)_(?:LOCAL|UNIX),? {1,4}"?([^"]{0,200})"? {0,4}\}')
_OPENERS: Final = frozenset("({[")


class Call(NamedTuple):
    """A printed call: its name, its arguments, and the text behind the closing parenthesis."""

    name: str
    args: list[Value]
    rest: str


def parsed(body: str) -> Call | None:
    """Return the call that the text begins with; None where there is none, or it does not end."""
    match = _NAME.match(body)
    if match is None:
        return None
    args: list[Value] = []
    depth, start, at = 0, match.end(), match.end()
    while len(args) < _MOST and (mark := _MARK.search(body, at)):
        at = mark.end()
        if mark[0] == '"':
            at = next((quote.end() for quote in _QUOTE.finditer(body, at) if quote[0] == '"'), len(body))
        elif mark[0] in _OPENERS:
            depth += 1
        elif depth:
            depth -= mark[0] != ","
        elif mark[0] in ",)":
            if args or mark[0] == "," or body[start : mark.start()].strip():
                args.append(value(body[start : mark.start()].strip()))
            if mark[0] == ")":
                return Call(match[1], args, body[at : at + _LONG].strip())
            start = at
    return None


def value(text: str) -> Value:
    """Return one printed argument as a Linux value: names of constants count, their numbers are another system's."""
    if text.startswith('"'):
        return text[1:].partition('"')[0]
    if len(text) > _LONG:
        return text
    if _NUMBER.fullmatch(text):
        return number(text)
    if named := _NAMED.fullmatch(text):
        bits = _bits(named[2])
        return bits if bits is not None else number(named[1])
    if text.startswith("{"):
        return sockaddr(text)
    if text in ("NULL", "0x0", "(nil)"):
        return None
    bits = _bits(text)
    return text if bits is None else bits


def number(text: str) -> int:
    """Return a decimal, hexadecimal or octal number."""
    digits = text.lstrip("-")
    octal = len(digits) > 1 and digits[0] == "0" and digits.isdigit() and "8" not in digits and "9" not in digits
    base = 16 if digits[:2] in ("0x", "0X") else 8 if octal else 10
    return int(text, base)


# Words that we do not know stand for no bit; where none is known it is no set of flags.
def _bits(text: str) -> int | None:
    words = text.split("|")
    known = [CONSTANTS[word] for word in words if word in CONSTANTS]
    numbers = [number(word) for word in words if _NUMBER.fullmatch(word)]
    if not known:
        return None
    bits = 0
    for part in (*known, *numbers):
        bits |= part
    return bits


def sockaddr(text: str) -> Value:
    """Return `{ AF_INET 192.0.2.20:80 }` as a struct sockaddr, any other text as it is."""
    if match := _ENDPOINT.match(text):
        family, version = (AF_INET6, "6") if match[1] == "INET6" else (AF_INET, "")
        return {"sa_family": family, f"sin{version}_port": int(match[4]), f"sin{version}_addr": match[2] or match[3]}
    if match := _LOCAL.match(text):
        return {"sa_family": AF_UNIX, "sun_path": match[1]}
    if match := _FAMILY.match(text):
        return {"sa_family": _FAMILIES.get(int(match[1]), -1)}
    return text


# Families by the numbers of the BSDs, macOS and AIX (sys/socket.h of each).
_FAMILIES: Final = {0: 0, 1: AF_UNIX, 2: AF_INET, 24: AF_INET6, 28: AF_INET6, 30: AF_INET6}
