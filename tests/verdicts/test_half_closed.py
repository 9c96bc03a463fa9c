"""What a capture alone proves, each rule both ways: it fires, and it stays silent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.captures import ACK, CAPTURES, CLIENT, FIN, RST, SERVER, SYN, Talk, read
from tracecorr.verdicts.capture_alone import judge, unsure, verdicts
from tracecorr.verdicts.report import Verdict

SECOND = 10**9
FILES = sorted(CAPTURES.glob("*.pcap"))

# Cause, state, whether it was released, and the end that it is about, of every capture that is not all right.
EXPECTED = {
    "close_wait": ("unexplained", "CLOSE_WAIT", None, "accepted"),
    "cooked": ("unexplained", "CLOSE_WAIT", None, "accepted"),
    "cooked_2": ("unexplained", "CLOSE_WAIT", None, "accepted"),
    "idle_pool": ("unexplained", "CLOSE_WAIT", None, "connected"),
    "ipv6": ("unexplained", "CLOSE_WAIT", None, "accepted"),
    "starts_in_the_middle": ("unexplained", "CLOSE_WAIT", None, None),
    "half_close_then_silent": ("unexplained", "CLOSE_WAIT", None, "accepted"),
    "acknowledgements_lost": ("unexplained", "CLOSE_WAIT", None, "accepted"),
    "half_close_answered": ("still-sending", "CLOSE_WAIT", None, "accepted"),
    "bridged": ("still-sending", "CLOSE_WAIT", None, "accepted"),
    "sends_to_closed": ("still-sending", "CLOSE_WAIT", "reset", "accepted"),
    "closed_late": ("unexplained", "CLOSE_WAIT", "unknown", "accepted"),
    "zero_window": ("lingering-fin", "ESTABLISHED", None, "connected"),
    "peer_gone": ("lingering-fin", "FIN_WAIT1", None, "connected"),
}


def judged(talk: Talk, *, after: float = 5.0, stuck_after: float = 1.0) -> Verdict | None:
    """The verdict `after` seconds from the last segment on."""
    conversation = talk.conversation()
    return judge(conversation, conversation.last.at + round(after * SECOND), round(stuck_after * SECOND))


def half_closed() -> Talk:
    """The client has sent its FIN, and the server has acknowledged it."""
    return Talk().connect().send(CLIENT, FIN | ACK).send(SERVER)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_real_capture_shows_what_was_done(path: Path) -> None:
    found = verdicts(read(path), SECOND)

    assert len(found) == (path.stem in EXPECTED)
    for verdict in found:
        said = (verdict.cause, verdict.socket.state, verdict.released_by, verdict.socket.role)
        assert said == EXPECTED[path.stem]
        assert verdict.fault == (verdict.cause == "unexplained")
        assert verdict.culprit is None and not verdict.holders


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_evidence_names_frames_of_the_capture_in_their_order(path: Path) -> None:
    capture = read(path)
    for verdict in verdicts(capture, SECOND):
        lines = [each.line for each in verdict.evidence if each.line is not None]
        assert lines == sorted(lines) and lines[-1] <= capture.frames
        assert {each.source for each in verdict.evidence if each.line is not None} == {str(path)}


def test_a_side_that_has_the_fin_and_says_nothing_is_stuck_for_no_known_reason() -> None:
    verdict = judged(half_closed())

    assert verdict is not None
    assert (verdict.cause, verdict.confidence, verdict.socket.state) == ("unexplained", "possible", "CLOSE_WAIT")
    assert (verdict.socket.local, verdict.socket.peer) == (str(SERVER), str(CLIENT))
    assert verdict.stuck_for == pytest.approx(5.001)
    assert verdict.missing is not None
    assert f"ss -tnpeo 'src {SERVER} and dst {CLIENT}'" in verdict.missing
    assert [(each.call, each.line) for each in verdict.evidence if each.line] == [("SYN", 1), ("FIN", 4), ("ACK", 5)]


@pytest.mark.parametrize(
    "talk",
    [
        Talk().connect(),
        Talk().connect().send(CLIENT, FIN | ACK),
        half_closed().send(SERVER, FIN | ACK).send(CLIENT),
        half_closed().send(SERVER, RST),
        half_closed().send(CLIENT, RST),
        Talk().send(CLIENT, SYN),
        Talk().send(CLIENT, SYN).send(SERVER, RST | ACK),
        Talk().send(CLIENT, FIN | ACK),
    ],
    ids=["open", "no ack", "closed", "reset", "reset by the peer", "unanswered", "refused", "one side only"],
)
def test_nothing_is_said_of_a_connection_that_is_not_known_to_be_stuck(talk: Talk) -> None:
    assert judged(talk) is None


def test_a_fin_that_is_unsure_is_told_as_a_gap_alone() -> None:
    capture = half_closed().capture()

    assert verdicts(capture, SECOND) == []
    assert [gap.what for gap in unsure(capture, SECOND)] == ["half-closed at the end"]
    assert len(verdicts(capture, 0)) == 1
    assert not list(unsure(capture, 0))
    assert not list(unsure(Talk().connect().capture(), SECOND))


def test_a_side_that_may_have_closed_before_the_capture_is_told_as_a_gap_alone() -> None:
    talk = Talk().send(CLIENT, FIN | ACK).send(SERVER).wait(9)
    capture = talk.send(CLIENT).capture()

    assert verdicts(capture, SECOND) == []
    assert [gap.what for gap in unsure(capture, SECOND)] == ["half-closed, perhaps"]
    assert judged(Talk().send(SERVER, payload=b"data").send(CLIENT, FIN | ACK).send(SERVER)) is not None


def test_a_capture_without_times_tells_of_no_age() -> None:
    capture = Talk().capture()

    assert capture.first is None
    assert verdicts(capture, 0) == []


def test_data_that_the_peer_takes_after_its_fin_is_no_fault() -> None:
    verdict = judged(half_closed().wait(2).send(SERVER, payload=b"more").send(CLIENT), after=0.5)

    assert verdict is not None
    assert (verdict.cause, verdict.fault, verdict.confidence) == ("still-sending", False, "certain")
    assert "closed its sending side only" in verdict.summary


def test_data_that_nobody_has_answered_yet_is_likely_to_be_no_fault() -> None:
    verdict = judged(half_closed().wait(2).send(SERVER, payload=b"more"), after=0.5)

    assert verdict is not None
    assert (verdict.cause, verdict.fault, verdict.confidence) == ("still-sending", False, "likely")


def test_a_pause_that_is_no_longer_than_those_before_is_still_sending() -> None:
    talk = half_closed()
    for _ in range(3):
        talk.wait(4).send(SERVER, payload=b"tick").send(CLIENT)

    found = judged(talk, after=6.0)
    assert found is not None and found.cause == "still-sending"
    found = judged(talk, after=60.0)
    assert found is not None and found.cause == "unexplained"
    assert "it had sent 12 bytes" in found.summary and "still read" in found.summary


def test_data_that_the_peer_refuses_was_useless_and_released_it() -> None:
    verdict = judged(half_closed().wait(3).send(SERVER, payload=b"more").send(CLIENT, RST))

    assert verdict is not None
    assert (verdict.cause, verdict.fault, verdict.released_by) == ("still-sending", False, "reset")
    assert "closed both directions" in verdict.summary and "useless" in verdict.summary
    assert verdict.stuck_for == pytest.approx(3.004, abs=0.01)


def test_data_that_is_refused_at_once_is_an_everyday_thing() -> None:
    assert judged(half_closed().send(SERVER, payload=b"more").send(CLIENT, RST)) is None


def test_a_fin_that_came_late_was_stuck_until_then() -> None:
    verdict = judged(half_closed().wait(30).send(SERVER, FIN | ACK).send(CLIENT))

    assert verdict is not None
    assert (verdict.cause, verdict.released, verdict.socket.state) == ("unexplained", True, "CLOSE_WAIT")
    assert "released by its own FIN" in verdict.summary


def test_an_answer_that_took_its_time_is_a_half_close_and_no_fault() -> None:
    talk = half_closed().wait(30).send(SERVER, payload=b"the answer").send(SERVER, FIN | ACK).send(CLIENT)

    assert judged(talk) is None


def closed_window() -> Talk:
    return Talk().connect().send(CLIENT, payload=b"data").send(SERVER, window=0)


def test_data_behind_a_closed_window_may_have_a_fin_behind_it() -> None:
    verdict = judged(closed_window().wait(2).send(CLIENT, back=1).send(SERVER, window=0))

    assert verdict is not None
    assert (verdict.cause, verdict.fault, verdict.confidence) == ("lingering-fin", False, "possible")
    assert (verdict.socket.local, verdict.socket.state) == (str(CLIENT), "ESTABLISHED")
    assert "ss -tnpeo" in verdict.summary


def test_the_state_behind_a_closed_window_is_not_known_once_the_peer_has_closed() -> None:
    talk = Talk().connect().send(SERVER, FIN | ACK).send(CLIENT).send(CLIENT, payload=b"data").send(SERVER, window=0)
    verdict = judged(talk.wait(2).send(CLIENT, back=1).send(SERVER, window=0))

    assert verdict is not None
    assert (verdict.cause, verdict.socket.local, verdict.socket.state) == ("lingering-fin", str(CLIENT), None)


@pytest.mark.parametrize(
    ("talk", "after"),
    [
        (closed_window(), 5.0),
        (closed_window().wait(2).send(CLIENT, back=1).send(SERVER), 5.0),
        (closed_window().send(CLIENT, back=1).send(SERVER, window=0), 0.1),
        (Talk().connect().send(CLIENT, payload=b"data"), 5.0),
    ],
    ids=["nothing waits", "it opened", "too young", "sent once"],
)
def test_a_window_that_holds_nothing_back_is_no_finding(talk: Talk, after: float) -> None:
    assert judged(talk, after=after) is None


def test_a_fin_that_is_never_acknowledged_lingers() -> None:
    talk = half_closed().send(SERVER, FIN | ACK).wait(1).send(SERVER, FIN | ACK, back=1)
    verdict = judged(talk)

    assert verdict is not None
    assert (verdict.cause, verdict.fault, verdict.confidence) == ("lingering-fin", False, "certain")
    assert verdict.socket.state == "LAST_ACK"


@pytest.mark.parametrize(
    "talk",
    [
        half_closed().send(SERVER, FIN | ACK),
        half_closed().send(SERVER, FIN | ACK).wait(1).send(SERVER, FIN | ACK, back=1).send(CLIENT),
        half_closed().send(SERVER, FIN | ACK).wait(1).send(SERVER, FIN | ACK, back=1).send(CLIENT, RST),
    ],
    ids=["sent once", "acknowledged in the end", "reset in the end"],
)
def test_a_fin_that_may_have_arrived_does_not_linger(talk: Talk) -> None:
    assert judged(talk) is None


def test_a_filter_that_leaves_acknowledgements_out_makes_no_fin_linger() -> None:
    talk = half_closed().send(SERVER, FIN | ACK).wait(1).send(SERVER, FIN | ACK, back=1).send(CLIENT)
    talk.frames = [frame for number, frame in enumerate(talk.frames) if number in (0, 1, 3, 5, 6)]

    assert judged(talk) is None


def test_data_that_is_sent_again_and_again_into_silence_waits() -> None:
    talk = Talk().connect().send(CLIENT, payload=b"data")
    for _ in range(3):
        talk.wait(1).send(CLIENT, payload=b"data", back=4)
    verdict = judged(talk)

    assert verdict is not None
    assert (verdict.cause, verdict.confidence) == ("lingering-fin", "possible")


def test_a_fin_that_the_capture_may_lack_accuses_nobody() -> None:
    talk = half_closed()
    talk.next[SERVER] += 1

    assert judged(talk.send(CLIENT)) is None


def test_a_time_that_no_calendar_knows_is_no_error() -> None:
    talk = half_closed()
    conversation = talk.conversation()
    verdict = judge(conversation, conversation.last.at + 10**30, SECOND)

    assert verdict is not None
