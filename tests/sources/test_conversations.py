"""What segments say of a connection, each case as a talk of two ends."""

from __future__ import annotations

import pytest

from tests.captures import ACK, CLIENT, FIN, PSH, RST, SERVER, SYN, Talk
from tracecorr.captured import ACKNOWLEDGED, RESET
from tracecorr.kernel import TcpState
from tracecorr.sources.conversations import Conversations
from tracecorr.sources.packets import Segment


def states(talk: Talk) -> tuple[TcpState | None, TcpState | None]:
    conversation = talk.conversation()
    return conversation.state(CLIENT), conversation.state(SERVER)


def test_a_connection_is_opened_by_whoever_sends_the_syn() -> None:
    conversation = Talk().connect().conversation()

    assert conversation.opener == CLIENT
    assert conversation.established
    assert states(Talk().connect()) == (TcpState.ESTABLISHED, TcpState.ESTABLISHED)
    assert conversation.half(CLIENT).window_scale == 7
    assert conversation.half(SERVER).window_scale is None


def test_the_answer_alone_tells_who_opened_it() -> None:
    assert Talk().send(SERVER, SYN | ACK).send(CLIENT).conversation().opener == CLIENT


def test_without_a_syn_nobody_is_known_to_have_opened_it() -> None:
    conversation = Talk().send(CLIENT, payload=b"ab").send(SERVER).conversation()

    assert conversation.opener is None
    assert conversation.established


def test_a_syn_without_an_answer_establishes_nothing() -> None:
    conversation = Talk().send(CLIENT, SYN).conversation()

    assert not conversation.established
    assert conversation.one_sided


def test_a_fin_that_is_acknowledged_leaves_the_other_side_in_close_wait() -> None:
    talk = Talk().connect().send(CLIENT, FIN | ACK).send(SERVER)

    assert states(talk) == (TcpState.FIN_WAIT2, TcpState.CLOSE_WAIT)


def test_a_fin_that_nobody_acknowledged_proves_no_close_wait() -> None:
    talk = Talk().connect().send(CLIENT, FIN | ACK)

    assert states(talk) == (TcpState.FIN_WAIT1, None)


def test_an_acknowledgement_of_the_data_before_a_fin_is_none_of_the_fin() -> None:
    talk = Talk().connect().send(CLIENT, FIN | ACK, b"last words").send(SERVER, ack=1)

    assert states(talk) == (TcpState.FIN_WAIT1, None)
    assert states(talk.send(SERVER)) == (TcpState.FIN_WAIT2, TcpState.CLOSE_WAIT)


def test_a_fin_in_the_segment_that_acknowledges_the_others_closes_last() -> None:
    talk = Talk().connect().send(CLIENT, FIN | ACK).send(SERVER, FIN | ACK)

    assert states(talk) == (TcpState.FIN_WAIT2, TcpState.LAST_ACK)
    assert states(talk.send(CLIENT)) == (TcpState.TIME_WAIT, TcpState.CLOSE)


def test_two_fins_that_cross_close_both_at_once() -> None:
    talk = Talk().connect().send(CLIENT, FIN | ACK).send(SERVER, FIN | ACK, ack=1)
    talk.send(CLIENT)

    assert states(talk) == (TcpState.CLOSING, TcpState.FIN_WAIT2)
    assert states(talk.send(SERVER)) == (TcpState.TIME_WAIT, TcpState.TIME_WAIT)


def test_a_fin_that_is_sent_again_is_one_fin() -> None:
    talk = Talk().connect().send(CLIENT, FIN | ACK).wait(0.3).send(CLIENT, FIN | ACK, back=1).send(SERVER)
    half = talk.conversation().half(CLIENT)

    assert half.fin is not None and half.fin.origin.line == 4
    assert (half.fins, half.retransmissions.times if half.retransmissions else 0) == (2, 1)
    assert states(talk) == (TcpState.FIN_WAIT2, TcpState.CLOSE_WAIT)


def test_data_after_the_others_fin_that_is_taken_shows_a_half_close() -> None:
    talk = Talk().connect().send(CLIENT, FIN | ACK).send(SERVER).send(SERVER, PSH | ACK, b"more").send(CLIENT)
    after = talk.conversation().half(SERVER).after_fin

    assert after is not None
    assert (after.answer, after.bytes, after.segments) == (ACKNOWLEDGED, 4, 1)
    assert after.acknowledged is not None and after.acknowledged.origin.line == 7


def test_data_after_the_others_fin_that_is_reset_shows_a_full_close() -> None:
    talk = Talk().connect().send(CLIENT, FIN | ACK).send(SERVER).send(SERVER, payload=b"more").send(CLIENT, RST)
    after = talk.conversation().half(SERVER).after_fin

    assert after is not None and after.answer == RESET
    assert states(talk) == (TcpState.CLOSE, TcpState.CLOSE)


def test_data_that_crosses_the_others_fin_was_not_sent_after_it() -> None:
    talk = Talk().connect().send(CLIENT, FIN | ACK).send(SERVER, PSH | ACK, b"on its way", ack=1).send(SERVER)

    assert talk.conversation().half(SERVER).after_fin is None


def test_data_that_is_sent_again_after_the_others_fin_is_not_new() -> None:
    talk = Talk().connect().send(SERVER, payload=b"data").send(CLIENT, FIN | ACK, ack=4).wait(0.2)
    talk.send(SERVER, payload=b"data", back=4)

    assert talk.conversation().half(SERVER).after_fin is None


def test_data_after_the_fin_that_nothing_answers_has_no_answer() -> None:
    after = Talk().connect().send(CLIENT, FIN | ACK).send(SERVER, payload=b"more").conversation().half(SERVER).after_fin

    assert after is not None and after.answer is None


def test_sequence_numbers_may_wrap() -> None:
    talk = Talk((1 << 32) - 4).connect()
    for _ in range(3):
        talk.send(CLIENT, payload=b"abcdef").send(SERVER)
    talk.send(CLIENT, FIN | ACK).send(SERVER)
    half = talk.conversation().half(CLIENT)

    assert (half.bytes, half.outstanding, half.retransmissions, half.lost) == (18, 0, None, 0)
    assert states(talk) == (TcpState.FIN_WAIT2, TcpState.CLOSE_WAIT)


def test_data_is_outstanding_until_it_is_acknowledged() -> None:
    talk = Talk().connect().send(CLIENT, payload=b"12345678").send(SERVER, ack=3)

    assert talk.conversation().half(CLIENT).outstanding == 3
    assert talk.send(SERVER).conversation().half(CLIENT).outstanding == 0


def test_a_window_of_zero_is_closed_until_it_opens() -> None:
    talk = Talk().connect().send(CLIENT, payload=b"data").send(SERVER, window=0).wait(1).send(SERVER, window=0)
    windows = talk.conversation().half(SERVER).zero_windows

    assert windows is not None and windows.since is not None
    assert (windows.times, windows.since.origin.line, windows.closed) == (2, 5, True)
    opened = talk.send(SERVER).conversation().half(SERVER).zero_windows
    assert opened is not None and not opened.closed


def test_a_window_of_zero_in_a_reset_closes_no_window() -> None:
    assert Talk().connect().send(SERVER, RST, window=0).conversation().half(SERVER).zero_windows is None


def test_a_probe_of_a_closed_window_is_no_keep_alive() -> None:
    talk = Talk().connect().send(CLIENT, payload=b"data").send(SERVER, window=0)
    talk.send(CLIENT, back=1).send(SERVER, window=0).send(CLIENT, payload=b"x").send(SERVER, window=0, ack=1)
    talk.next[CLIENT] -= 1
    half = talk.send(CLIENT, payload=b"x").conversation().half(CLIENT)

    assert half.probes is not None and half.probes.times == 3
    assert (half.keep_alives, half.retransmissions) == (None, None)
    assert half.outstanding == 1


@pytest.mark.parametrize("payload", [b"", b"\0"])
def test_a_keep_alive_is_no_retransmission(payload: bytes) -> None:
    talk = Talk().connect().send(CLIENT, payload=b"data").send(SERVER).wait(1)
    half = talk.send(CLIENT, payload=payload, back=1).send(SERVER).conversation().half(CLIENT)

    assert half.keep_alives is not None and half.keep_alives.times == 1
    assert (half.retransmissions, half.probes, half.bytes) == (None, None, 4)


def test_a_lone_byte_that_nobody_took_is_no_keep_alive_when_it_is_sent_again() -> None:
    talk = Talk().connect().send(CLIENT, payload=b"data").send(SERVER).send(CLIENT, payload=b"x").wait(0.3)
    half = talk.send(CLIENT, payload=b"x", back=1).conversation().half(CLIENT)

    assert half.keep_alives is None
    assert half.retransmissions is not None and half.retransmissions.times == 1


def test_what_was_captured_twice_was_sent_once() -> None:
    talk = Talk().connect().again().send(CLIENT, payload=b"data").again().send(SERVER).again()
    talk.send(CLIENT, FIN | ACK).again().send(SERVER).again()
    conversation = talk.conversation()
    half = conversation.half(CLIENT)

    assert (half.retransmissions, half.fins, half.bytes) == (None, 1, 4)
    assert conversation.duplicates == 2
    assert states(talk) == (TcpState.FIN_WAIT2, TcpState.CLOSE_WAIT)


def test_what_comes_out_of_order_is_neither_lost_nor_sent_again() -> None:
    talk = Talk().connect()
    talk.send(CLIENT, payload=b"second", skip=5).send(CLIENT, payload=b"first", back=11).send(SERVER)
    half = talk.conversation().half(CLIENT)

    assert (half.bytes, half.lost, half.retransmissions, half.outstanding) == (11, 0, None, 0)


def test_what_is_acknowledged_and_was_never_seen_is_missing_in_the_capture() -> None:
    talk = Talk().connect().send(CLIENT, payload=b"seen", skip=100).send(SERVER)

    assert talk.conversation().half(CLIENT).lost == 1
    assert [gap.what for gap in talk.capture().gaps] == ["segments are missing"]


def test_a_side_whose_last_segment_is_missing_may_have_sent_its_fin() -> None:
    talk = Talk().connect().send(CLIENT, FIN | ACK).send(SERVER)
    assert states(talk)[1] is TcpState.CLOSE_WAIT

    talk.next[SERVER] += 1  # a FIN that was not captured
    assert states(talk.send(CLIENT)) == (TcpState.FIN_WAIT2, None)


def test_a_side_that_only_acknowledges_may_have_closed_before_the_capture_began() -> None:
    talk = Talk().send(CLIENT, FIN | ACK).send(SERVER)

    assert states(talk) == (TcpState.FIN_WAIT2, None)
    assert talk.conversation().may_have_closed_before(SERVER)
    assert not Talk().connect().send(CLIENT, FIN | ACK).send(SERVER).conversation().may_have_closed_before(SERVER)


def test_a_side_that_sends_data_has_not_closed_before_the_capture_began() -> None:
    talk = Talk().send(SERVER, payload=b"data").send(CLIENT, FIN | ACK).send(SERVER)

    assert states(talk) == (TcpState.FIN_WAIT2, TcpState.CLOSE_WAIT)
    assert not talk.conversation().may_have_closed_before(SERVER)


def test_a_side_of_which_more_was_seen_after_the_gap_has_sent_no_fin_in_it() -> None:
    talk = Talk().connect().send(SERVER, payload=b"data", skip=100).send(CLIENT, FIN | ACK).send(SERVER)

    assert talk.conversation().half(SERVER).lost == 1
    assert states(talk) == (TcpState.FIN_WAIT2, TcpState.CLOSE_WAIT)


def test_an_acknowledgement_may_be_captured_before_what_it_acknowledges() -> None:
    talk = Talk().connect().send(CLIENT, FIN | ACK).send(SERVER)
    talk.frames[-2:] = [(at, frame) for (at, _), (_, frame) in zip(talk.frames[-2:], talk.frames[:-3:-1], strict=True)]

    assert talk.conversation().half(CLIENT).lost == 0
    assert states(talk) == (TcpState.FIN_WAIT2, TcpState.CLOSE_WAIT)


def test_the_same_ports_after_the_end_are_another_connection() -> None:
    talk = Talk().connect().send(CLIENT, FIN | ACK).send(SERVER, FIN | ACK).send(CLIENT)
    talk.next = {CLIENT: 500_000_000, SERVER: 700_000_000}
    talk.connect()

    capture = talk.capture()
    one, two = capture.conversations
    assert one.state(CLIENT) is TcpState.TIME_WAIT
    assert two.state(CLIENT) is TcpState.ESTABLISHED
    assert two.first.origin.line == 7
    assert capture.of(SERVER, CLIENT) == (one, two)


def test_a_syn_that_is_sent_again_opens_no_other_connection() -> None:
    talk = Talk().send(CLIENT, SYN).wait(1).send(CLIENT, SYN, back=1).send(SERVER, SYN | ACK).send(CLIENT)
    half = talk.conversation().half(CLIENT)

    assert half.retransmissions is not None and half.retransmissions.times == 1


def test_the_same_ports_after_a_reset_are_another_connection_even_without_a_syn() -> None:
    talk = Talk().connect().send(SERVER, RST)
    talk.next = {CLIENT: 3_000_000_000, SERVER: 1_500_000_000}

    assert len(talk.send(CLIENT, payload=b"data").capture().conversations) == 2


def test_a_reset_from_far_away_ends_nothing() -> None:
    talk = Talk().connect()
    talk.next[SERVER] += 1 << 30

    assert states(talk.send(SERVER, RST)) == (TcpState.ESTABLISHED, TcpState.ESTABLISHED)


def test_a_refused_connection_was_never_established() -> None:
    talk = Talk().send(CLIENT, SYN)
    talk.next[SERVER] = 0
    conversation = talk.send(SERVER, RST | ACK).conversation()

    assert not conversation.established
    assert conversation.reset is not None


def test_a_connection_that_was_refused_and_tried_again_is_one() -> None:
    talk = Talk().send(CLIENT, SYN)
    talk.next[SERVER] = 0
    talk.send(SERVER, RST | ACK).wait(1).send(CLIENT, SYN, back=1)
    talk.next[SERVER] = 5000
    talk.send(SERVER, SYN | ACK).send(CLIENT)

    assert states(talk)[0] is TcpState.ESTABLISHED


def test_holes_without_end_fill_no_memory() -> None:
    talk = Talk().connect().send(CLIENT, payload=b"x", skip=100_000)
    for back in range(2, 3000, 2):
        talk.send(CLIENT, payload=b"x", back=back)

    assert talk.conversation().half(CLIENT).lost <= 3000


def test_a_fin_after_a_reset_brings_nothing_back() -> None:
    talk = Talk().connect().send(CLIENT, RST).send(SERVER, FIN | ACK)

    assert states(talk) == (TcpState.CLOSE, TcpState.CLOSE)


def test_one_direction_alone_proves_no_state() -> None:
    talk = Talk().connect().send(CLIENT, FIN | ACK)
    talk.frames = [frame for number, frame in enumerate(talk.frames) if number != 1]

    assert states(talk) == (None, None)
    assert [gap.what for gap in talk.capture().gaps] == ["only one direction was captured"]


def test_data_in_a_syn_counts() -> None:
    talk = Talk().send(CLIENT, SYN, b"early").send(SERVER, SYN | ACK).send(CLIENT)

    assert (talk.conversation().half(CLIENT).bytes, talk.conversation().half(CLIENT).outstanding) == (5, 0)


def test_of_attempts_that_nobody_answers_only_the_latest_are_kept() -> None:
    conversations = Conversations("flood.pcap", unanswered=1024)
    answered = [Segment(CLIENT_END, SERVER_END, 1, 0, SYN, 512, 0, None, None),
                Segment(SERVER_END, CLIENT_END, 1, 2, SYN | ACK, 512, 0, None, None),
                Segment(CLIENT_END, SERVER_END, 2, 2, ACK, 512, 0, None, None)]  # fmt: skip
    for number, segment in enumerate(answered, 1):
        conversations.add(segment, number, number)
    for port in range(10_000, 14_000):
        syn = Segment(CLIENT_END[:4] + port.to_bytes(2, "big"), SERVER_END, 1, 0, SYN, 512, 0, None, None)
        conversations.add(syn, port, port)
    kept = list(conversations.finish())
    assert sum(each.established for each in kept) == 1
    assert conversations.forgotten > 1000 and len(kept) + conversations.forgotten == 4001


CLIENT_END = bytes([192, 0, 2, 20]) + (41007).to_bytes(2, "big")
SERVER_END = bytes([192, 0, 2, 10]) + (8080).to_bytes(2, "big")
