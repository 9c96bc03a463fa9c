from __future__ import annotations

from dataclasses import replace

from tracecorr.render.groups import grouped
from tracecorr.verdicts.report import Party

from .reports import verdict


def test_processes_of_one_program_are_one_group() -> None:
    (group,) = grouped(verdict(culprit=Party(pid=pid, comm="sshd", fd=4)) for pid in (1, 2, 3))

    assert len(group.verdicts) == 3
    assert group.processes == 3


def test_programs_causes_and_outcomes_are_kept_apart() -> None:
    one = verdict()
    others = (
        replace(one, culprit=Party(pid=30516, comm="nginx", fd=7)),
        replace(one, detail="no-cloexec"),
        replace(one, released_by="exit"),
    )

    assert len(grouped((one, *others))) == 4


def test_a_younger_connection_may_be_less_certain_in_the_same_group() -> None:
    (group,) = grouped((verdict(confidence="likely", stuck_for=0.8), verdict(), verdict()))

    assert group.confidence == "2 certain, 1 likely"


def test_the_connection_stuck_longest_speaks_for_all() -> None:
    (group,) = grouped(verdict(fd, stuck_for=stuck) for fd, stuck in ((1, 2.0), (2, None), (3, 9.0)))

    assert [each.culprit.fd for each in group.verdicts if each.culprit] == [3, 1, 2]


def test_without_spans_the_first_end_of_file_is_the_oldest() -> None:
    (group,) = grouped(verdict(fd, stuck_for=None, eof_at=at) for fd, at in ((1, None), (2, 9.0), (3, 5.0)))

    assert [each.culprit.fd for each in group.verdicts if each.culprit] == [3, 2, 1]


def test_faults_come_before_what_is_released_and_what_is_lawful() -> None:
    lawful = verdict(cause="still-sending", fault=False)
    released = verdict(released_at=1.0, released_by="close")
    unexplained = verdict(cause="unexplained", fault=False)

    order = [group.oldest for group in grouped((lawful, released, unexplained))]

    assert order == [unexplained, released, lawful]
