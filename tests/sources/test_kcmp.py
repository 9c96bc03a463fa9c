"""kcmp tells whether two descriptors are one description."""

from __future__ import annotations

import os

import pytest

from tests.live import connection, line_of, program
from tracecorr.sources.kcmp import same_file, same_table


@pytest.fixture(autouse=True)
def _needs_kcmp() -> None:
    if same_file(os.getpid(), 0, os.getpid(), 0) is None:
        pytest.skip("this kernel has no kcmp(2), or does not allow it")


def test_a_duplicate_is_the_same_description_and_another_socket_is_not() -> None:
    with connection() as pair, pair.ours.dup() as copy:
        me = os.getpid()
        assert same_file(me, pair.ours.fileno(), me, copy.fileno()) is True
        assert same_file(me, pair.ours.fileno(), me, pair.theirs.fileno()) is False


def test_a_child_has_the_same_description_and_a_table_of_its_own() -> None:
    with connection() as pair:
        fd = pair.ours.fileno()
        with program("print(flush=True); input()", pass_fds=(fd,)) as process:
            line_of(process)
            assert same_file(os.getpid(), fd, process.pid, fd) is True
            assert same_table(os.getpid(), process.pid) is False
            assert same_table(os.getpid(), os.getpid()) is True


def test_nothing_is_said_of_what_is_not_there() -> None:
    with program("") as process:
        process.wait()
        assert same_file(os.getpid(), 0, process.pid, 0) is None
    assert same_file(os.getpid(), 0, os.getpid(), 999_999) is None
