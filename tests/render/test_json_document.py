from __future__ import annotations

import json

import pytest
from hypothesis import given, settings

from tracecorr.errors import BadReport
from tracecorr.render.json_document import read, render

from .hostile import ANYTHING, SAMPLES
from .reports import hostile_report, report


@pytest.mark.parametrize("text", SAMPLES, ids=lambda text: ascii(text[:12]))
def test_hostile_text_survives_the_round_trip_and_harms_no_terminal(text: str) -> None:
    given = hostile_report(text)
    document = "".join(render(given))

    assert all(line.isprintable() and line.isascii() for line in document.split("\n"))
    assert read(document.encode()) == given


@settings(max_examples=60, deadline=None)
@given(ANYTHING)
def test_every_text_survives_the_round_trip(text: str) -> None:
    assert read("".join(render(hostile_report(text))).encode()) == hostile_report(text)


def test_document_ends_in_one_line_feed() -> None:
    assert "".join(render(report())).endswith("}\n")


def test_no_number_is_written_that_json_has_not() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        list(render(report(verdicts=(), sources=(), gaps=(), graph=None, tool=float("nan"))))


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[]", b"null", b'{"version": 2}', b"[" * 100_000])
def test_what_is_no_report_is_refused(data: bytes) -> None:
    with pytest.raises(BadReport):
        read(data)


def test_a_byte_order_mark_is_no_reason_to_refuse() -> None:
    assert read(b"\xef\xbb\xbf" + json.dumps(report().to_json()).encode()) == report()
