"""Pages of the ring buffer: those that a real run recorded are what the kernel says, damaged ones do no harm."""

from __future__ import annotations

import contextlib
import itertools
import re
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracecorr.sources.ring_buffer import BadPage, PageHeader, TraceEvent, parse_header_page, read_page, unfold
from tracecorr.sources.trace_format import Layout, layout, located_text, parse_format
from tracecorr.sources.trace_rows import Row, shape_of

FIXTURES = Path(__file__).parents[2] / "fixtures" / "tracefs"
SIZE = 4096
FORMATS = [parse_format(text) for text in re.split(r"(?m)^(?=name: )", (FIXTURES / "formats.txt").read_text()) if text]
BY_NAME = {form.name: form for form in FORMATS}
TAKEN = {
    "sys_enter_close": ["common_pid", "fd"],
    "sys_exit_socket": ["common_pid", "ret"],
    "sys_enter_dup2": ["common_pid", "oldfd", "newfd"],
    "task_newtask": ["common_pid", "pid", "comm", "clone_flags"],
    "sched_process_exec": ["common_pid", "filename", "pid", "old_pid"],
    "sched_process_exit": ["common_pid", "pid"],
    "inet_sock_set_state": ["common_pid", "oldstate", "newstate", "sport", "dport", "family", "saddr", "daddr"],
    "sock_recv_length": ["common_pid", "protocol", "ret", "flags"],
}
LAYOUTS = {form.id: layout(form, TAKEN[form.name]) for form in FORMATS}
HEADER = parse_header_page((FIXTURES / "header_page.txt").read_text())
PAGES = [
    (int(path.suffix[1:]), path.read_bytes()[start : start + SIZE])
    for path in sorted(FIXTURES.glob("pages.*"))
    for start in range(0, path.stat().st_size, SIZE)
]

# x-27138 [001] ..... 1890.916620: sys_close(fd: 5)
LINE = re.compile(r"-(\d+)\s+\[(\d+)\]\s+\S+\s+(\d+)\.(\d{6}): (\w+)[:(]? ?(.*)")
RECORDED = pytest.mark.skipif(sys.byteorder != "little", reason="the pages were recorded on a little-endian machine")


def kernels_words(cpu: int) -> list[tuple[int, int, str, str]]:
    """Thread, microsecond, event and text of each event of one CPU."""
    lines = [LINE.search(line) for line in (FIXTURES / "kernel.txt").read_text().splitlines() if line[:1] != "#"]
    return [
        (int(line[1]), int(line[3]) * 1_000_000 + int(line[4]), line[5], line[6])
        for line in lines
        if line is not None and int(line[2]) == cpu
    ]


def decoded(cpu: int) -> list[TraceEvent]:
    events: list[TraceEvent] = []
    for number, page in PAGES:
        if number == cpu:
            assert read_page(page, HEADER, LAYOUTS, events) == 0
    return events


def kernels_name(event: TraceEvent) -> str:
    return re.sub("^sys_(enter|exit)_", "sys_", event.name)


@RECORDED
@pytest.mark.parametrize("cpu", sorted({cpu for cpu, _ in PAGES}))
def test_events_have_the_order_times_and_threads_that_the_kernel_prints(cpu: int) -> None:
    words = kernels_words(cpu)

    ours = [(event.values[0], round(event.at / 1000), kernels_name(event)) for event in decoded(cpu)]

    assert len(words) > 20
    assert [(thread, name) for thread, _, name in ours] == [(thread, name) for thread, _, name, _ in words]
    assert all(abs(at - word[1]) <= 1 for (_, at, _), word in zip(ours, words, strict=True))


def printed(event: TraceEvent) -> str | None:
    """What the kernel prints of an event, as far as its values tell."""
    values = event.values[1:]
    if event.name == "sys_enter_close":
        return f"fd: {values[0]:x})"
    if event.name == "task_newtask":
        pid, comm, flags = values
        return f"pid={pid} comm={comm.rstrip(bytes(1)).decode()} clone_flags={flags:x} oom_score_adj=0"
    if event.name == "sched_process_exec":
        return "filename={} pid={} old_pid={}".format(*values)
    return None


@RECORDED
def test_values_are_those_that_the_kernel_prints() -> None:
    pairs = [pair for cpu in {cpu for cpu, _ in PAGES} for pair in zip(decoded(cpu), kernels_words(cpu), strict=True)]
    said = [(printed(event), word[3]) for event, word in pairs if printed(event) is not None]

    assert {event.name for event, _ in pairs if printed(event)} == {
        "sys_enter_close",
        "task_newtask",
        "sched_process_exec",
    }
    assert [ours for ours, _ in said] == [theirs for _, theirs in said]


@RECORDED
def test_a_pause_of_more_than_27_bits_of_nanoseconds_is_read() -> None:
    times = sorted(event.at for cpu in {cpu for cpu, _ in PAGES} for event in decoded(cpu))

    assert max(later - earlier for earlier, later in itertools.pairwise(times)) > 1 << 27


@RECORDED
def test_events_without_a_layout_are_passed_over() -> None:
    close = BY_NAME["sys_enter_close"]
    events: list[TraceEvent] = []

    for _, page in PAGES:
        read_page(page, HEADER, {close.id: LAYOUTS[close.id]}, events)

    assert events
    assert {event.name for event in events} == {"sys_enter_close"}


# Pages made by hand: one kind of event, a thread and a number.

KIND = 7
ONE = {KIND: Layout("one", struct.Struct("=4xiI"), [])}
PLAIN = PageHeader(struct.Struct("=Q"), struct.Struct("=Q"), 8, 16, SIZE)


def word(size: int, delta: int) -> bytes:
    return struct.pack("=I", size | delta << 5 if sys.byteorder == "little" else size << 27 | delta)


def one(delta: int, number: int) -> bytes:
    return word(3, delta) + struct.pack("=HxxiI", KIND, 99, number)


def page_of(body: bytes, *, at: int = 1000, flags: int = 0, behind: bytes = b"") -> bytes:
    return struct.pack("=QQ", at, len(body) | flags) + body + behind


def events_of(page: bytes) -> list[TraceEvent]:
    events: list[TraceEvent] = []
    read_page(page, PLAIN, ONE, events)
    return events


@pytest.mark.parametrize(
    ("between", "at"),
    [
        (b"", 1012),
        (word(30, 5) + struct.pack("=I", 2), 1012 + 5 + (2 << 27)),  # time extend
        (word(31, 9) + struct.pack("=I", 3), (3 << 27) + 9 + 2),  # absolute time
        (word(29, 1) + struct.pack("=I", 12) + bytes(8), 1013),  # a discarded event
        (word(0, 4) + struct.pack("=I", 12) + struct.pack("=HxxI", 8, 0), 1016),  # one with a length word, unknown
        (word(2, 6) + bytes(8), 1018),  # one that is unknown
    ],
    ids=["nothing", "time-extend", "time-stamp", "discarded", "long-unknown", "unknown"],
)
def test_time_goes_on_over_what_lies_between_two_events(between: bytes, at: int) -> None:
    first, second = events_of(page_of(one(10, 1) + between + one(2, 2)))

    assert (first.at, first.values) == (1010, (99, 1))
    assert (second.at, second.values) == (at, (99, 2))


def test_an_absolute_time_keeps_the_upper_bits_of_the_page() -> None:
    base = 5 << 59
    body = one(0, 1) + word(31, 0) + struct.pack("=I", 1) + one(0, 2)

    assert [event.at for event in events_of(page_of(body, at=base))] == [base, base + (1 << 27)]


def test_an_event_with_a_length_word_of_its_own_is_read() -> None:
    body = word(0, 5) + struct.pack("=I", 16) + struct.pack("=HxxiI", KIND, 99, 3) + one(1, 4)

    assert [event.values for event in events_of(page_of(body))] == [(99, 3), (99, 4)]


def test_nothing_is_read_behind_the_padding_that_ends_a_page() -> None:
    assert len(events_of(page_of(one(1, 1) + word(29, 0) + one(1, 2)))) == 1


@pytest.mark.parametrize(
    ("flags", "behind", "lost"),
    [
        (0, b"", 0),
        (1 << 31, b"", None),
        (1 << 31 | 1 << 30, struct.pack("=Q", 77), 77),
        (1 << 31 | 1 << 30, struct.pack("=Q", 0), None),
    ],
)
def test_a_page_tells_how_many_events_were_lost_before_it(flags: int, behind: bytes, lost: int | None) -> None:
    events: list[TraceEvent] = []

    assert read_page(page_of(one(1, 1), flags=flags, behind=behind), PLAIN, ONE, events) == lost
    assert len(events) == 1


@pytest.mark.parametrize(
    "page",
    [
        b"",
        bytes(7),
        page_of(one(1, 1))[:-4],
        page_of(b"", flags=1 << 19),
        page_of(word(0, 1) + struct.pack("=I", 3) + bytes(8)),
        page_of(word(0, 1) + struct.pack("=I", 1 << 30) + bytes(8)),
        page_of(word(28, 1) + struct.pack("=Hxx", KIND) + bytes(8)),
        page_of(b"", flags=1 << 31 | 1 << 30),
    ],
    ids=["empty", "short", "cut", "too-much", "length-3", "length-huge", "beyond-the-end", "no-count"],
)
def test_a_page_that_no_kernel_writes_is_refused(page: bytes) -> None:
    with pytest.raises(BadPage):
        events_of(page)


@given(page=st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_events_or_refused(page: bytes) -> None:
    try:
        events = events_of(page)
    except BadPage:
        return
    assert all(event.name == "one" for event in events)


@RECORDED
@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_a_recorded_page_with_any_bytes_changed_does_no_harm(data: st.DataObject) -> None:
    page = bytearray(data.draw(st.sampled_from([page for _, page in PAGES])))
    for place, value in data.draw(st.lists(st.tuples(st.integers(0, SIZE - 1), st.integers(0, 255)), max_size=8)):
        page[place] = value
    events: list[TraceEvent] = []
    with contextlib.suppress(BadPage):
        read_page(bytes(page), HEADER, LAYOUTS, events)
    assert all(event.name in TAKEN for event in events)


# Rows.

CLOSES = BY_NAME["sys_enter_close"]
SHAPE = shape_of(CLOSES, "fd")
LITTLE = pytest.mark.skipif(sys.byteorder != "little", reason="rows are read on little-endian machines alone")


def close(delta: int, tid: int, fd: int) -> bytes:
    return word(6, delta) + struct.pack("=HBBiiIQ", CLOSES.id, 1, 0, tid, 3, 0, fd)


def both_ways(page: bytes) -> tuple[list[TraceEvent], list[TraceEvent], list[Row]]:
    """The events of a page read one by one, and with rows, which are unfolded again; and the rows."""
    layouts = {**ONE, CLOSES.id: LAYOUTS[CLOSES.id]}
    plain: list[TraceEvent] = []
    left: list[TraceEvent] = []
    rows: list[Row] = []
    unfolded: list[TraceEvent] = []
    lost = read_page(page, PLAIN, layouts, plain)
    assert read_page(page, PLAIN, layouts, left, rows, SHAPE) == lost
    for row in rows:
        unfold(row, layouts, unfolded)
        assert row.at == unfolded[-1].at
        assert row.threads == {event.values[0] & 0xFFFFFFFF for event in unfolded}
        assert row.numbers == {event.values[1] & 0xFFFFFFFF for event in unfolded}
    return plain, unfolded + left, rows


@LITTLE
@given(
    closes=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(1, 9), st.integers(0, 1 << 33)), max_size=40),
    rest=st.lists(st.tuples(st.booleans(), st.integers(0, 1 << 20), st.integers(0, 99)), max_size=20),
)
@settings(max_examples=200, deadline=None)
def test_a_row_has_the_events_that_would_have_been_read(
    closes: list[tuple[int, int, int]], rest: list[tuple[bool, int, int]]
) -> None:
    body = b"".join(close(*each) for each in closes)
    body += b"".join(close(delta, 1, number) if it else one(delta, number) for it, delta, number in rest)

    plain, ours, rows = both_ways(page_of(body))

    assert ours == plain
    assert rows or len(closes) < 8


@LITTLE
@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_a_row_with_any_bytes_changed_is_read_as_without_rows_or_refused(data: st.DataObject) -> None:
    page = bytearray(page_of(b"".join(close(7, 1, fd) for fd in range(30))))
    for place, value in data.draw(st.lists(st.tuples(st.integers(16, len(page) - 1), st.integers(0, 255)), max_size=8)):
        page[place] = value
    with contextlib.suppress(BadPage):
        plain, ours, _ = both_ways(bytes(page))
        assert ours == plain


# Formats.


def test_a_format_tells_places_signs_and_kinds() -> None:
    state, exec_ = BY_NAME["inet_sock_set_state"], BY_NAME["sched_process_exec"]

    assert state.fields["saddr"].array
    assert state.fields["oldstate"].signed and not state.fields["sport"].signed
    assert exec_.fields["filename"].located


@pytest.mark.parametrize("text", ["", "name: x\n", "ID: 4\n", "no format"])
def test_what_is_no_format_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no description"):
        parse_format(text)


@pytest.mark.parametrize("names", [["fd", "common_pid"], ["common_pid", "nothing"]])
def test_fields_that_are_not_there_or_in_another_order_are_refused(names: list[str]) -> None:
    with pytest.raises(KeyError):
        layout(BY_NAME["sys_enter_close"], names)


@pytest.mark.parametrize(
    ("data", "place", "text"),
    [
        (b"xxxx/bin/true\0", 4 | 10 << 16, "/bin/true"),
        (b"xx\xff\0", 2 | 2 << 16, "\ufffd"),
        (b"short", 900 | 5 << 16, ""),
    ],
)
def test_text_is_found_where_the_field_says(data: bytes, place: int, text: str) -> None:
    assert located_text(data, place) == text


def test_a_header_of_a_32_bit_kernel_is_understood() -> None:
    text = (
        "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n"
        "\tfield: local_t commit;\toffset:8;\tsize:4;\tsigned:1;\n"
        "\tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n"
        "\tfield: char data;\toffset:12;\tsize:4084;\tsigned:0;\n"
    )
    header: Any = parse_header_page(text)

    assert (header.commit.size, header.data_at, header.size) == (4, 12, 4096)
