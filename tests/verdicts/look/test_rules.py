"""Every rule for a look at a host, both ways: it fires, and it spares what only looks alike."""

from __future__ import annotations

import pytest

from tests.verdicts.look.hosts import (
    AT,
    EDGE,
    INODE,
    LISTENER,
    client,
    in_short,
    info,
    listener,
    look,
    only,
    process,
    server,
    stuck,
    thread,
)
from tracecorr.events import Endpoint
from tracecorr.kernel import TcpState
from tracecorr.snapshot import ProcessRow, SocketRow, Watch

WATCHED = Watch(4, 0x2001, INODE)
ACCEPTS = Watch(3, 0x1, LISTENER)


# Nobody has read.


@pytest.mark.parametrize(
    ("holder", "detail", "confidence"),
    [
        (server(), "forgotten", "certain"),
        (server(thread("epoll_wait", 5), watches={5: [ACCEPTS]}), "not-armed", "certain"),
        (server(thread("epoll_wait", 5), watches={5: [ACCEPTS, Watch(4, 0x18, INODE)]}), "not-armed", "certain"),
        (
            server(thread("epoll_wait", 5), watches={5: [ACCEPTS, Watch(4, 0x2001 | EDGE, INODE)]}),
            "forgotten",
            "certain",
        ),
        (
            server(thread("read", 6), watches={5: [ACCEPTS, WATCHED]}, others={6: "pipe:[9]"}),
            "owner-blocked",
            "certain",
        ),
        (server(thread("accept4", 3), thread("recvfrom", 6)), "owner-blocked", "certain"),
        (server(thread("accept4", 3, state="T")), "owner-blocked", "certain"),
        (server(thread("epoll_wait", 5), watches={5: [ACCEPTS]}, frozen=True), "owner-blocked", "certain"),
        (server(forked=True), "forgotten", "likely"),
    ],
    ids=["accepts", "not in the set", "no input", "edge", "blocked", "worker blocked", "stopped", "frozen", "forked"],
)
def test_an_unread_end_of_file_is_its_owners_fault(holder: ProcessRow, detail: str, confidence: str) -> None:
    report = look([stuck(), listener()], holder)

    assert in_short(report) == ("never-reads-eof", detail, confidence, True)
    assert only(report).culprit is not None and only(report).culprit.fd == 4  # type: ignore[union-attr]
    assert only(report).stuck_for == 60.0 and only(report).eof_at == AT - 60.0
    assert report.exit_code == 1


def test_what_the_owner_is_blocked_on_is_named() -> None:
    pipe = {6: "pipe:[9]"}
    writer = process(77, thread("clock_nanosleep"), others={1: "pipe:[9]"}, comm="sleep")
    blocked = server(thread("read", 6), watches={5: [ACCEPTS, WATCHED]}, others=pipe)

    assert (
        "waits in read(6), a pipe, whose other end PID 77 (sleep) holds as fd 1"
        in only(look([stuck(), listener()], blocked, writer)).summary
    )


def test_a_thread_that_waits_to_be_woken_by_its_own_process_is_not_blocked() -> None:
    main, listening, serving = thread("read", 6), thread("epoll_wait", 5), thread("poll", polled=(Watch(8, 1),))
    given = {"watches": {5: [ACCEPTS]}, "others": {6: "pipe:[9]", 7: "pipe:[9]", 8: "socket:[77]"}}

    blocked = only(look([stuck(), listener()], server(main, listening, serving, **given)))
    idle = only(look([stuck(), listener()], server(main, listening, thread("futex"), **given)))

    assert blocked.detail == "owner-blocked" and "thread 12 waits in poll(8)" in blocked.summary
    assert idle.detail == "not-armed" and "read(6)" not in idle.summary


def test_a_thread_that_serves_another_client_is_not_the_one_that_should_read() -> None:
    other = stuck(state=TcpState.ESTABLISHED, inode=8, peer=Endpoint("192.0.2.8", 40000), receive_queue=0)
    database = client(state=TcpState.ESTABLISHED, inode=9, receive_queue=0)
    threads = thread("accept4", 3), thread("recvfrom", 6), thread("recvfrom", 7)

    verdict = only(look([stuck(), other, listener()], server(*threads[:2], sockets={6: 8})))
    assert verdict.detail == "forgotten"
    verdict = only(look([stuck(), other, database, listener()], server(*threads, sockets={6: 8, 7: 9})))
    assert verdict.detail == "owner-blocked" and "thread 12 waits in recvfrom(7)" in verdict.summary


def test_which_of_many_threads_should_read_is_not_guessed() -> None:
    holder = server(thread("accept4", 3), thread("futex"), thread("wait4"))

    verdict = only(look([stuck(), listener()], holder))

    assert (verdict.cause, verdict.detail) == ("never-reads-eof", None)
    assert "thread 12 waits in wait4(), and whether that is the one to read it a look cannot tell" in verdict.summary


def test_what_the_only_thread_polls_instead_is_named() -> None:
    writer = process(77, thread("clock_nanosleep"), others={1: "pipe:[9]"}, comm="sleep")
    holder = server(thread("epoll_wait", 5), watches={5: [Watch(6, 1, 9)]}, others={6: "pipe:[9]"})

    verdict = only(look([stuck(), listener()], holder, writer))

    assert verdict.detail == "not-armed"
    assert "its only thread waits for a pipe, whose other end PID 77 (sleep) holds as fd 1" in verdict.summary


def test_a_small_pool_of_idle_client_connections_is_no_fault_and_a_large_one_is() -> None:
    def pool(size: int) -> list[SocketRow]:
        return [client(local=Endpoint("192.0.2.1", 40001 + n), inode=INODE + n) for n in range(size)]

    def owner(size: int) -> ProcessRow:
        return process(10, thread("clock_nanosleep"), sockets={4 + n: INODE + n for n in range(size)})

    small, large = look(pool(3), owner(3)), look(pool(11), owner(11))

    assert {(v.cause, v.detail, v.fault) for v in small.verdicts} == {("never-reads-eof", "idle-pool", False)}
    assert small.exit_code == 0
    assert {(v.cause, v.detail, v.fault) for v in large.verdicts} == {("never-reads-eof", "idle-pool", True)}


def test_a_proxy_that_paused_for_a_slow_reader_is_not_at_fault() -> None:
    slow = stuck(state=TcpState.ESTABLISHED, inode=8, peer=Endpoint("192.0.2.8", 40000), send_queue=70_000)
    holder = server(thread("epoll_wait", 5), watches={5: [ACCEPTS]}, sockets={6: 8})

    assert in_short(look([stuck(receive_queue=9_000), slow, listener()], holder)) == (
        "never-reads-eof", "not-armed", "possible", False,
    )  # fmt: skip


def test_a_thread_that_runs_may_still_be_reading() -> None:
    holder = server(thread(None, state="R"), watches={5: [ACCEPTS, WATCHED]})

    assert in_short(look([stuck(receive_queue=9_000), listener()], holder))[2] == "possible"


def test_what_is_younger_than_the_threshold_is_no_finding() -> None:
    assert look([stuck(info=info(last_ack_received=900)), listener()], server()).verdicts == ()
    assert look([stuck(info=None), listener()], server()).verdicts == ()


# It was read.


def test_an_end_of_file_that_was_read_is_likely_ignored_at_most() -> None:
    read = stuck(receive_queue=0)
    watched = server(thread("epoll_wait", 5), watches={5: [ACCEPTS, Watch(4, 0x2001 | EDGE, INODE)]})

    assert in_short(look([read, listener()], watched)) == ("eof-ignored", "forgotten", "likely", True)
    assert in_short(look([read, listener()], server())) == ("eof-ignored", "forgotten", "likely", True)


@pytest.mark.parametrize(
    "holder",
    [
        server(forked=True),
        process(10, thread("accept4", 3), sockets={3: LISTENER, 5: INODE}),
    ],
    ids=["a child may have read it", "a lower number is free"],
)
def test_an_empty_queue_proves_little_where_another_copy_may_have_been_closed(holder: ProcessRow) -> None:
    assert in_short(look([stuck(receive_queue=0), listener()], holder))[::2] == ("eof-ignored", "possible")


def test_a_level_triggered_set_that_never_sleeps_on_it_spins() -> None:
    spinning = server(thread(None, state="R"), watches={5: [ACCEPTS, WATCHED]})

    assert in_short(look([stuck(receive_queue=0), listener()], spinning))[:2] == ("eof-ignored", "spinning")


# It still sends.


def test_data_that_waits_to_be_sent_is_a_half_close() -> None:
    assert in_short(look([stuck(send_queue=9), listener()], server())) == ("still-sending", None, "likely", False)


def test_sending_a_moment_ago_lowers_the_confidence() -> None:
    recent = info(last_data_sent=2_000, last_ack_received=2_000)

    assert in_short(look([stuck(info=recent), listener()], server()))[2] == "likely"
    assert in_short(look([stuck(info=recent, receive_queue=0), listener()], server()))[2] == "possible"


def leg(**given: object) -> SocketRow:
    ends = {"local": Endpoint("192.0.2.1", 40002), "peer": Endpoint("192.0.2.7", 5432)}
    return stuck(**{"state": TcpState.FIN_WAIT2, "inode": 8, **ends, **given})


def test_a_relay_waits_for_the_leg_that_it_has_shut_down() -> None:
    relay = server(thread("read", 6), sockets={6: 8})
    mirrored = leg(info=info(bytes_sent=100, bytes_received=500))

    assert in_short(look([stuck(receive_queue=0), mirrored, listener()], relay)) == (
        "still-sending", "relay", "certain", False,
    )  # fmt: skip
    assert in_short(look([stuck(receive_queue=0), leg(), listener()], relay))[:3] == (
        "still-sending", "relay", "likely",
    )  # fmt: skip


def test_a_half_closed_connection_that_nobody_waits_for_excuses_nothing() -> None:
    other = server(sockets={6: 8})

    assert in_short(look([stuck(receive_queue=0), leg(), listener()], other))[0] == "eof-ignored"


# Copies.


def parent(**given: object) -> ProcessRow:
    sockets = {3: LISTENER} | dict(given.pop("sockets", {}))  # type: ignore[call-overload]
    return process(10, thread("accept4", 3), sockets=sockets, **given)


def child(pid: int = 20, *threads: object, **given: object) -> ProcessRow:
    usual: dict[str, object] = {"parent": 10, "started": AT - 3599.9, "sockets": {4: INODE}}
    return process(pid, *threads, **usual | given)  # type: ignore[arg-type]


SHARED = stuck(state=TcpState.ESTABLISHED, inode=8, peer=Endpoint("192.0.2.8", 40000))


def test_a_forked_child_that_has_a_connection_in_common_with_its_parent_holds_a_copy() -> None:
    saver = child(sockets={4: INODE, 5: 8, 3: LISTENER})
    report = look([stuck(), SHARED, listener()], parent(sockets={5: 8}), saver)

    assert in_short(report) == ("inherited-copy", "forked-worker", "likely", True)
    verdict = only(report)
    assert verdict.culprit is not None and (verdict.culprit.pid, verdict.culprit.fd) == (20, 4)
    assert verdict.owner is not None and verdict.owner.pid == 10
    assert verdict.holders[0].how == "fork"


def test_a_program_that_was_executed_with_it_holds_a_copy() -> None:
    helper = child(20, thread("clock_nanosleep"), program="/usr/bin/sleep", comm="sleep")

    assert in_short(look([stuck(), listener()], parent(), helper)) == ("inherited-copy", "no-cloexec", "likely", True)


def test_a_program_whose_input_the_connection_is_is_its_owner() -> None:
    served = child(20, thread("clock_nanosleep"), program="/usr/bin/sleep", sockets={0: INODE, 1: INODE})

    assert in_short(look([stuck(), listener()], parent(), served))[0] == "never-reads-eof"


def test_a_child_that_may_have_been_forked_to_serve_is_not_accused() -> None:
    report = look([stuck(), listener()], parent(), child(20, thread("read", 6)))

    assert in_short(report)[::2] == ("unexplained", "possible")
    assert "tracecorr attach 20" in str(only(report).missing)


def test_a_child_that_is_much_younger_than_the_connection_was_not_forked_to_serve_it() -> None:
    saver = child(20, thread("write", 6), started=AT - 120.0)

    assert in_short(look([stuck(), listener()], parent(), saver))[:3] == ("inherited-copy", "forked-worker", "likely")


def test_children_with_a_connection_each_serve_them() -> None:
    other = stuck(inode=8, peer=Endpoint("192.0.2.8", 40000))
    report = look([stuck(), other, listener()], parent(), child(20), child(21, sockets={4: 8}))

    assert {(v.cause, v.confidence) for v in report.verdicts} == {("never-reads-eof", "likely")}


def test_a_child_that_polls_the_connection_owns_it() -> None:
    poller = child(20, thread("poll", polled=(Watch(4, 0x2000),)), sockets={4: INODE, 5: 8})

    assert in_short(look([stuck(), SHARED, listener()], parent(sockets={5: 8}), poller))[0] == "never-reads-eof"


def test_an_epoll_set_that_still_has_what_its_process_closed_proves_a_copy() -> None:
    loop = process(10, thread("epoll_wait", 5), sockets={3: LISTENER}, watches={5: [ACCEPTS, WATCHED]})
    report = look([stuck(), listener()], loop, child(20))

    assert in_short(report) == ("inherited-copy", "forked-worker", "certain", True)
    assert any("still has the connection" in line.text for line in only(report).evidence)


def test_an_epoll_set_that_was_made_before_the_fork_may_have_got_the_connection_from_the_child() -> None:
    idle = process(10, thread("futex"), sockets={3: LISTENER}, watches={5: [ACCEPTS, WATCHED]})
    worker = child(20, thread("futex"), sockets={4: INODE, 3: LISTENER}, watches={5: [ACCEPTS, WATCHED]})
    loop = process(10, thread("epoll_wait", 5), sockets={3: LISTENER}, watches={5: [ACCEPTS, WATCHED]})

    assert in_short(look([stuck(), listener()], idle, worker))[0] == "never-reads-eof"
    assert in_short(look([stuck(), listener()], loop, worker)) == ("inherited-copy", "forked-worker", "likely", True)


def test_brothers_have_copies_of_what_their_parent_closed() -> None:
    report = look([stuck(receive_queue=0), listener()], parent(), child(20), child(21))

    assert in_short(report)[:2] == ("inherited-copy", "forked-worker")
    assert "PID 21 (server) holds a copy too, as fd 4" in only(report).summary


def test_brothers_with_other_numbers_have_not_both_got_it_by_fork() -> None:
    report = look([stuck(receive_queue=0), listener()], parent(), child(20), child(21, sockets={9: INODE}))

    assert in_short(report)[0] == "unexplained"


def test_while_the_owner_holds_it_the_cause_is_the_owners() -> None:
    copy = child(20, sockets={4: INODE, 5: 8})
    report = look([stuck(), SHARED, listener()], server(sockets={5: 8}), copy)

    assert in_short(report)[:2] == ("never-reads-eof", "forgotten")
    assert only(report).culprit is not None and only(report).culprit.pid == 10  # type: ignore[union-attr]
    assert "closing it there will not be enough: PID 20 (server) holds a copy too" in only(report).summary


def test_whether_parent_or_child_serves_is_not_guessed() -> None:
    assert in_short(look([stuck(), listener()], server(), child(20)))[0] == "unexplained"


def test_a_worker_that_does_not_accept_beside_one_that_does_may_have_been_given_it() -> None:
    young = info(bytes_sent=0, last_data_sent=61_000)
    master = process(9, thread("accept4", 3), sockets={3: LISTENER})

    given = in_short(look([stuck(info=young), listener()], master, server(thread("recvmsg", 5), parent=9)))
    assert given == ("never-reads-eof", "owner-blocked", "likely", True)
    watching = server(thread("recvmsg", 5), parent=9, watches={6: [ACCEPTS]})
    assert in_short(look([stuck(info=young), listener()], master, watching))[2] == "certain"


def test_a_thread_in_a_lock_may_be_the_one_to_read() -> None:
    verdict = only(look([stuck(), listener()], server(thread("accept4", 3), thread("futex"))))

    assert verdict.detail == "forgotten" and "unless it is the one that waits in futex()" in verdict.summary


def test_a_worker_that_accepts_beside_its_master_is_the_owner() -> None:
    master = process(9, thread("rt_sigsuspend"), sockets={3: LISTENER}, forked=True)
    worker = server(thread("epoll_wait", 5), watches={5: [ACCEPTS]}, parent=9)

    assert in_short(look([stuck(), listener()], master, worker)) == ("never-reads-eof", "not-armed", "certain", True)
    busy = process(9, thread("futex"), sockets={3: LISTENER}, forked=True)
    assert in_short(look([stuck(), listener()], busy, worker))[2] == "likely"


# Duplicates.


def test_an_epoll_entry_under_a_number_that_is_closed_proves_a_duplicate() -> None:
    holder = process(
        10, thread("epoll_wait", 5), sockets={3: LISTENER, 7: INODE}, watches={5: [ACCEPTS, WATCHED]}
    )  # fmt: skip

    assert in_short(look([stuck(receive_queue=0), listener()], holder)) == ("duplicate-kept", None, "certain", True)


def test_two_numbers_that_are_both_open_prove_none() -> None:
    holder = server(thread("epoll_wait", 5), sockets={7: INODE}, watches={5: [ACCEPTS, WATCHED]})

    assert in_short(look([stuck(), listener()], holder))[0] == "never-reads-eof"


# Without descriptor.


@pytest.mark.parametrize(
    ("owner", "words"),
    [
        (process(10, thread("flock", 6), sockets={3: LISTENER}), "waits in flock(6)"),
        (process(10, thread("epoll_wait", 5), sockets={3: LISTENER}, limit=4), "descriptors in use (EMFILE)"),
        (process(10, thread("accept4", 3, state="T"), sockets={3: LISTENER}), "because it is stopped"),
        (process(10, thread("pause"), sockets={3: LISTENER}), "no thread waits for the listener"),
    ],
    ids=["blocked", "full", "stopped", "elsewhere"],
)
def test_a_connection_that_nobody_accepted_is_the_listeners_owners(owner: ProcessRow, words: str) -> None:
    report = look([stuck(inode=0), listener(receive_queue=1)], owner)

    assert in_short(report) == ("never-accepted", None, "certain", True)
    assert words in only(report).summary


def test_without_a_queue_nobody_is_named() -> None:
    verdict = only(look([stuck(inode=0), listener()], process(10, sockets={3: LISTENER})))

    assert (verdict.cause, verdict.confidence, verdict.culprit) == ("never-accepted", "possible", None)


def test_a_write_on_a_closed_number_keeps_the_connection() -> None:
    writer = process(10, thread("accept4", 3), thread("sendto", 9), sockets={3: LISTENER})

    assert in_short(look([stuck(send_queue=9_000), listener()], writer))[:3] == (
        "held-without-fd", "blocked-call", "likely",
    )  # fmt: skip
    assert in_short(look([stuck(), listener()], writer))[1] is None


def test_a_write_is_not_held_against_a_process_that_the_connection_cannot_be_from() -> None:
    acceptor = process(20, thread("accept4", 3), sockets={3: LISTENER})
    writer = process(10, thread("sendto", 9))

    assert in_short(look([stuck(send_queue=9_000), listener()], acceptor, writer))[1] is None


def test_of_two_connections_that_one_write_may_be_on_neither_is_likely() -> None:
    writer = process(10, thread("accept4", 3), thread("sendto", 9), sockets={3: LISTENER})
    another = stuck(send_queue=9_000, inode=INODE + 1, peer=Endpoint("192.0.2.9", 40001))
    report = look([stuck(send_queue=9_000), another, listener()], writer)

    assert [(v.detail, v.confidence) for v in report.verdicts] == [("blocked-call", "possible")] * 2


def test_more_connections_than_descriptors_that_wait_are_not_all_in_the_queue() -> None:
    receiver = process(10, sockets={5: 55}, in_flight={5: 1})
    report = look([stuck(), stuck(inode=INODE + 1, peer=Endpoint("192.0.2.9", 40001))], receiver)

    assert {(v.detail, v.confidence) for v in report.verdicts} == {("in-flight", "possible")}


def test_a_descriptor_in_the_queue_of_a_unix_socket_keeps_it() -> None:
    receiver = process(10, sockets={5: 55}, in_flight={5: 1})

    assert in_short(look([stuck()], receiver))[:3] == ("held-without-fd", "in-flight", "likely")


def test_of_several_queues_that_of_a_relative_of_who_accepts_is_meant() -> None:
    stranger = process(5, sockets={5: 55}, in_flight={5: 1})
    acceptor = process(20, thread("accept4", 3), sockets={3: LISTENER})
    receiver = process(30, sockets={4: 44}, in_flight={4: 1}, parent=20)
    report = look([stuck(), listener()], stranger, acceptor, receiver)

    assert in_short(report)[:3] == ("held-without-fd", "in-flight", "likely")
    assert (culprit := only(report).culprit) is not None
    assert culprit.pid == 30


def test_of_several_queues_of_strangers_none_is_blamed() -> None:
    queues = [process(pid, sockets={5: 50 + pid}, in_flight={5: 1}) for pid in (10, 20)]
    report = look([stuck()], *queues)

    assert in_short(report)[:3] == ("held-without-fd", "in-flight", "possible")
    assert only(report).culprit is None


def test_a_registered_file_of_an_io_uring_keeps_it() -> None:
    assert in_short(look([stuck()], process(10, io_uring=True, registered=frozenset([INODE])))) == (
        "held-without-fd", "io-uring", "certain", True,
    )  # fmt: skip


def test_a_holder_that_may_not_be_seen_is_not_taken_for_none() -> None:
    report = look([stuck()], complete=False, hidden=3)

    assert in_short(report)[0] == "unexplained"
    assert only(report).missing == "sudo tracecorr scan"


# The FIN cannot leave.


def test_a_fin_behind_a_closed_window_is_not_this_sides_fault() -> None:
    row = stuck(state=TcpState.LAST_ACK, inode=0, send_queue=5_000, info=info(peer_window=0, not_sent=4_000, probes=3))

    assert in_short(look([row])) == ("lingering-fin", None, "certain", False)
    assert look([row]).exit_code == 0


def test_a_fin_that_is_on_its_way_is_no_finding() -> None:
    young = stuck(state=TcpState.FIN_WAIT1, inode=0, send_queue=1, info=info(last_ack_received=3))
    sent = stuck(state=TcpState.LAST_ACK, inode=0, send_queue=1)

    assert look([young, sent]).verdicts == ()
