"""Printed arguments as Linux values."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracecorr.kernel import (
    AF_INET,
    AF_INET6,
    CLONE_FILES,
    F_SETFD,
    MSG_PEEK,
    POLLIN,
    SCM_RIGHTS,
    SOCK_CLOEXEC,
    SOCK_STREAM,
)
from tracecorr.sources.arguments import TextArguments, parse_members, unescape
from tracecorr.syscalls.record import NamedDescriptor


def values(text: str) -> list[Any]:
    return [value for _, value in parse_members(text)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4", 4),
        ("-1", -1),
        ("0x7f", 127),
        ("0666", 0o666),
        ("0", 0),
        ("4294967295", 4294967295),
        ("NULL", None),
        ("AF_INET", AF_INET),
        ("SOCK_STREAM|SOCK_CLOEXEC", SOCK_STREAM | SOCK_CLOEXEC),
        ("MSG_PEEK|MSG_DONTWAIT", MSG_PEEK | 0x40),
        ("MSG_PEEK|0x8", MSG_PEEK | 8),
        ("0x2 /* AF_INET */", AF_INET),
        ("1 /* send */", 1),
        ("F_SETFD", F_SETFD),
        ("TCGETS", "TCGETS"),
        ("AT_FDCWD", "AT_FDCWD"),
        ('"GET /"', "GET /"),
        ('"GET /"...', "GET /"),
        ('""', ""),
        ('""...', ""),
        (r'"a\"b\\c\n\t"', 'a"b\\c\n\t'),
        (r'"\x31\x32"', "12"),
        (r'"\0\20\377"', "\0\x10\xff"),
        ("[3 4]", [3, 4]),
        ("[5, 6]", [5, 6]),
        ("[]", []),
        ("{}", {}),
        ("[128 => 16]", [16]),
        ("[16]", [16]),
        ("[128->16]", None),
        ("htons(7110)", 7110),
        ('inet_addr("127.0.0.1")', "127.0.0.1"),
        ("{tv_sec=1, tv_nsec=500}", {"tv_sec": 1, "tv_nsec": 500}),
        ("{EPOLLIN, {u32=5, u64=5}}", {0: POLLIN, 1: {"u32": 5, "u64": 5}}),
        ("{events=EPOLLIN, data={u32=5, u64=5}}", {"events": POLLIN, "data": {"u32": 5, "u64": 5}}),
        ("[{fd=4, events=POLLIN}]", [{"fd": 4, "events": POLLIN}]),
        ("{st_mode=S_IFREG|0644, st_size=0, ...}", {"st_mode": 0o644, "st_size": 0}),
        ("[{WIFEXITED(s) && WEXITSTATUS(s) == 0}]", None),
    ],
)
def test_one_argument(text: str, value: object) -> None:
    (found,) = values(text)
    if value is None and text != "NULL":
        return
    assert found == value


def test_arguments_are_parted_at_their_own_commas_alone() -> None:
    assert values('4, "a, b), {c", [1, {2, 3}], (x, y)')[:2] == [4, "a, b), {c"]
    assert len(values('4, "a, b), {c", [1, {2, 3}], (x, y)')) == 4


def test_a_string_ends_at_its_own_quote() -> None:
    assert values(r'"a\\", "b\"", 7') == ["a\\", 'b"', 7]


def test_named_arguments_keep_their_place_and_their_name() -> None:
    arguments = TextArguments(b"child_stack=NULL, flags=CLONE_FILES|SIGCHLD, child_tidptr=0x7f")
    assert next(iter(arguments)) is None
    assert arguments.names["flags"] & CLONE_FILES
    assert arguments.names["child_tidptr"] == 0x7F


def test_what_the_kernel_wrote_counts_and_what_was_asked_stays() -> None:
    (structure, size) = values("{flags=CLONE_FILES, exit_signal=0} => {parent_tid=[7453]}, 88")
    assert structure == {"flags": CLONE_FILES, "exit_signal": 0, "parent_tid": [7453]}
    assert size == 88
    assert values("[128 => 16], 5") == [[16], 5]
    assert values("[{fd=3}] => [{fd=4}]") == [[{"fd": 4}]]


@pytest.mark.parametrize(
    ("text", "number", "path"),
    [
        ("4<socket:[1436408]>", 4, "socket:[1436408]"),
        ("3<TCP:[192.0.2.10:80->192.0.2.20:41007]>", 3, "TCP:[192.0.2.10:80->192.0.2.20:41007]"),
        ("3<TCPv6:[[::1]:80->[::1]:41007]>", 3, "TCPv6:[[::1]:80->[::1]:41007]"),
        ("0</dev/null<char 1:3>>", 0, "/dev/null<char 1:3>"),
        ("5</srv/a b>", 5, "/srv/a b"),
    ],
)
def test_a_descriptor_keeps_what_it_refers_to(text: str, number: int, path: str) -> None:
    descriptor, following = values(f"{text}, 7")
    assert (descriptor, following) == (number, 7)
    assert isinstance(descriptor, NamedDescriptor) and descriptor.path == path


def test_a_message_with_descriptors_is_read_to_its_depth() -> None:
    message = values(
        '4, {msg_name=NULL, msg_namelen=0, msg_iov=[{iov_base="F", iov_len=1}], msg_iovlen=1, msg_control=['
        "{cmsg_len=20, cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS, cmsg_data=[7<TCP:[1]>, 8]}],"
        " msg_controllen=24, msg_flags=0}, 0"
    )[1]
    assert message["msg_control"][0]["cmsg_type"] == SCM_RIGHTS
    assert message["msg_control"][0]["cmsg_data"] == [7, 8]


def test_ipv6_addresses_keep_their_text() -> None:
    (value,) = values(
        'sa_family=AF_INET6, {sin6_port=htons(80), inet_pton(AF_INET6, "::ffff:192.0.2.20", &sin6_addr)}'
    )[1:]
    assert value["sin6_port"] == 80
    assert {"sin6_addr": "::ffff:192.0.2.20"} in value.values()
    assert values("AF_INET6") == [AF_INET6]


def test_the_first_number_needs_no_parsing_and_is_the_same() -> None:
    for text in ('4, "x", 5', "4", "4<TCP:[1]>, 5", "0x4, 5", "-1, 5", "4)"):
        assert TextArguments(text.encode())[0] == values(text)[0]


def test_arguments_that_are_missing_raise_as_a_list_does() -> None:
    arguments = TextArguments(b"")
    assert len(arguments) == 0
    with pytest.raises(IndexError):
        arguments[0]
    with pytest.raises(IndexError):
        TextArguments(b"4, 5")[2]


def test_invalid_utf_8_is_shown_as_such() -> None:
    assert TextArguments(b'4, "\xff\xfe", 2')[1] == "\ufffd\ufffd"


def test_escapes_are_undone() -> None:
    assert unescape(r"\x31\62\"\\n") == '12"\\n'
    assert unescape("plain") == "plain"


ODD = ["010", "08", "00", "0x", "-", "0b1", "1_0", "9" * 4000, "-" + "9" * 5000]
TOO_LONG = [pytest.param(digit * 5000, id=f"{digit} 5000 times") for digit in "01"]


@pytest.mark.parametrize("text", [*ODD, *TOO_LONG])
def test_odd_numbers_are_no_error(text: str) -> None:
    assert len(values(text)) == 1
    arguments = TextArguments(text.encode())
    assert arguments[0] is not None
    assert len(arguments) == 1


OPENERS = [
    "(",
    "[",
    "{",
    '"',
    "<",
    "4<",
    '"\\',
    "= ",
    "=> ",
    "a=",
    ",",
    "|",
    "/*",
    "/* ",
    "...",
    "htons(",
    "[{",
    "\\x4",
    "<->",
]


@pytest.mark.parametrize("piece", OPENERS)
def test_hostile_arguments_take_linear_time(piece: str) -> None:
    text = piece * (50_000 // len(piece))
    start = time.process_time()
    parse_members(text)
    assert time.process_time() - start < 2


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet='(){}[]<>"\\,=|>- /*.x0159aAF_INET\n\x00é', max_size=80))
def test_any_text_becomes_values_without_an_error(text: str) -> None:
    members = parse_members(text)
    assert len(TextArguments(text.encode("utf-8", "replace"))) == len(members)
