"""Turns the printed arguments of a call, `3, {sa_family=AF_INET, …}, [16]`, into Linux values.

The grammar is that of strace(1); see `Value` in tracecorr.syscalls.record for what comes out.  Work is linear in the
length of the text, whatever the text is, and is done only when somebody asks for an argument.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import reduce
from operator import or_
from typing import Final, overload

from tracecorr.kernel import CONSTANTS
from tracecorr.syscalls.record import NamedDescriptor, Value

# Deeper nesting than any structure of the kernel is hostile input: what is inside is left unread.
_DEEPEST: Final = 40

_TOKEN: Final = re.compile(
    r"""
      (?P<space>\s+|/\*[^*]{0,200}\*/|\.\.\.)
    | (?P<string>"(?:[^"\\]|\\.)*"?)
    | (?P<path><(?:[^<>-]|->|-(?!>)|<[^<>]{0,80}>){0,256}>)
    | (?P<arrow>=>)
    | (?P<open>[\[{(])
    | (?P<close>[\]})])
    | (?P<mark>[,=|])
    | (?P<word>[^\s"<>=\[\]{}(),|/]+|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_FIRST_NUMBER: Final = re.compile(rb"(\d{1,20})(?:<((?:[^<>-]|->|-(?!>)){0,256})>)?(?=[,)]|\s*$)")
# One argument that is a number, a name, flags or a string, which is what most are.
_PLAIN: Final = re.compile(
    r'\s*(?:(-?\w+)(?:<((?:[^<>-]|->|-(?!>)){0,256})>)?((?:\|\w+)*)|"((?:[^"\\]|\\.)*)"(?:\.\.\.)?)\s*(?:,|\Z)',
    re.DOTALL,
)
_NUMBER: Final = re.compile(r"-?(?:0[xX][0-9a-fA-F]{1,40}|\d{1,40})\Z")
_ESCAPED: Final = re.compile(r"\\x([0-9a-fA-F]{2})|\\([0-7]{1,3})|\\(.)", re.DOTALL)
_LETTERS: Final = {"n": "\n", "t": "\t", "r": "\r", "v": "\v", "f": "\f"}


class TextArguments(Sequence[Value]):
    """The arguments of one call; `names` holds those that were printed as name=value."""

    __slots__ = ("_first", "_names", "_raw", "_values")

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._values: list[Value] | None = None
        self._first: int | None = None
        self._names: dict[str, Value] = {}

    @overload
    def __getitem__(self, index: int) -> Value: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Value]: ...
    def __getitem__(self, index: int | slice) -> Value:
        # Most calls are asked for nothing but their descriptor.
        if index == 0 and self._values is None:
            if self._first is None and (number := _FIRST_NUMBER.match(self._raw)):
                self._first = _first(number)
            if self._first is not None:
                return self._first
        return self._parsed()[index]

    def __len__(self) -> int:
        return len(self._parsed())

    @property
    def names(self) -> dict[str, Value]:
        self._parsed()
        return self._names

    def _parsed(self) -> list[Value]:
        if self._values is None:
            text = self._raw.decode("utf-8", "replace")
            self._values = _plain(text)
            if self._values is not None:
                return self._values
            members = parse_members(text)
            self._values = [value for _, value in members]
            self._names = {name: value for name, value in members if name is not None}
        return self._values


def _first(number: re.Match[bytes]) -> int:
    if number[2] is None:
        return int(number[1])
    return NamedDescriptor(int(number[1]), number[2].decode("utf-8", "replace"))


# The values of arguments none of which has members; None where one may have.
def _plain(text: str) -> list[Value] | None:
    values: list[Value] = []
    at, end = 0, len(text)
    while at < end:
        match = _PLAIN.match(text, at)
        if match is None:
            return None
        word, path, flags, string = match.groups()
        if word is None:
            value: Value = unescape(string)
        else:
            value = _constant(word)
            if flags:
                bits = (_constant(name) for name in flags[1:].split("|"))
                value = reduce(or_, (bit for bit in (value, *bits) if isinstance(bit, int)), 0)
            if path is not None and isinstance(value, int):
                value = NamedDescriptor(value, path)
        values.append(value)
        at = match.end()
    return values


def parse_members(text: str) -> list[tuple[str | None, Value]]:
    """Return the comma-separated members of `text`, each with its name where one is printed."""
    return _members(_Tokens(text), "", 0)


def unescape(text: str) -> str:
    r"""Return a printed string as its characters: `\x31`, `\61` and `\"` are undone."""
    if "\\" not in text:
        return text
    return _ESCAPED.sub(_character, text)


def _character(match: re.Match[str]) -> str:
    if match[1]:
        return chr(int(match[1], 16))
    if match[2]:
        return chr(int(match[2], 8) & 0xFF)
    return _LETTERS.get(match[3], match[3])


class _Tokens:
    """One token of lookahead over the text; space, comments and ellipses are not seen."""

    __slots__ = ("_stream", "kind", "text")

    def __init__(self, text: str) -> None:
        self._stream: Iterator[re.Match[str]] = _TOKEN.finditer(text)
        self.kind = self.text = ""
        self.advance()

    def advance(self) -> None:
        for match in self._stream:
            if match.lastgroup != "space":
                self.kind, self.text = match.lastgroup or "", match[0]
                return
        self.kind = self.text = ""


def _members(tokens: _Tokens, closer: str, depth: int) -> list[tuple[str | None, Value]]:
    members: list[tuple[str | None, Value]] = []
    while tokens.kind and not (tokens.kind == "close" and tokens.text == closer):
        if tokens.kind in ("mark", "close"):
            tokens.advance()
        elif tokens.kind == "arrow":
            tokens.advance()
            _replace_last(members, _member(tokens, depth))
        else:
            members.append(_member(tokens, depth))
    tokens.advance()
    return members


# "before => after": the kernel's answer counts; of a structure whatever was asked stays too.
def _replace_last(members: list[tuple[str | None, Value]], new: tuple[str | None, Value]) -> None:
    if not members:
        members.append(new)
        return
    name, old = members[-1]
    value = {**old, **new[1]} if isinstance(old, dict) and isinstance(new[1], dict) else new[1]
    members[-1] = (name, value)


def _member(tokens: _Tokens, depth: int) -> tuple[str | None, Value]:
    name: str | None = None
    value = _value(tokens, depth)
    while tokens.text == "=" and isinstance(value, str):
        name = value
        tokens.advance()
        value = _value(tokens, depth)
    if tokens.text == "|":
        value = _flags(value, tokens, depth)
    return name, value


def _flags(first: Value, tokens: _Tokens, depth: int) -> int:
    flags = first if isinstance(first, int) else 0
    while tokens.text == "|":
        tokens.advance()
        value = _value(tokens, depth)
        flags |= value if isinstance(value, int) else 0
    return flags


def _value(tokens: _Tokens, depth: int) -> Value:
    kind, text = tokens.kind, tokens.text
    if kind in ("mark", "close", "arrow", ""):
        return ""
    tokens.advance()
    if kind == "string":
        return unescape(text[1:-1] if text.endswith('"') and len(text) > 1 else text[1:])
    if kind == "open":
        return _group(text, tokens, depth + 1)
    if kind == "path":
        return text
    return _word(text, tokens, depth)


def _group(opener: str, tokens: _Tokens, depth: int) -> Value:
    closer = {"{": "}", "[": "]", "(": ")"}[opener]
    if depth > _DEEPEST:
        while tokens.kind:
            tokens.advance()
        return ""
    members = _members(tokens, closer, depth)
    if opener == "{":
        return {name if name is not None else index: value for index, (name, value) in enumerate(members)}
    return [value for _, value in members]


def _word(word: str, tokens: _Tokens, depth: int) -> Value:
    value = _constant(word)
    if tokens.kind == "path":
        path = tokens.text[1:-1]
        tokens.advance()
        return NamedDescriptor(value, path) if isinstance(value, int) else value
    if tokens.text == "(":
        tokens.advance()
        return _conversion(word, _group("(", tokens, depth + 1))
    return value


def _constant(word: str) -> Value:
    if word == "NULL":
        return None
    if _NUMBER.match(word):
        # A leading 0 is an octal number, as C prints it; "08" is none, so it can only be text.
        digits = word.lstrip("-")
        octal = len(digits) > 1 and digits[0] == "0" and digits[1] not in "xX"
        try:
            return int(word, 8) if octal else int(word, 0)
        except ValueError:
            return word
    return CONSTANTS.get(word, word)


# htons(7110), inet_addr("127.0.0.1"), inet_pton(AF_INET6, "::1", &sin6_addr): the value inside.
def _conversion(name: str, inner: list[Value]) -> Value:
    if name == "inet_pton" and len(inner) > 1:
        return {"sin6_addr": inner[1]}
    if name.startswith("WIF"):
        return name  # WIFSTOPPED(s): which of them it is, is all there is to know
    return inner[0] if inner else name
