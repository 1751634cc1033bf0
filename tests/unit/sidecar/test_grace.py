from __future__ import annotations

import pytest

from sweep_sidecar.mirror.grace import FIRST_CALL_S, LEAST_CALL_S, Grace


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def grace(clock: Clock) -> Grace:
    return Grace(flush_timeout_s=100, monotonic=clock)


def test_without_hurry_a_call_takes_what_it_takes(grace: Grace) -> None:
    grace.failed(60)
    assert grace.call_s is None
    assert not grace.is_over
    grace.stop()
    assert grace.call_s == FIRST_CALL_S  # what was cut off before says nothing of a call of this length


def test_a_call_that_was_cut_off_gets_twice_the_time(grace: Grace) -> None:
    grace.stop()
    granted = []
    for _ in range(4):
        granted.append(grace.call_s)
        grace.failed(grace.call_s or 0.0)
    assert granted == [FIRST_CALL_S * 2**number for number in range(4)]


def test_a_call_that_was_refused_at_once_needs_no_more_time(grace: Grace) -> None:
    grace.begin()
    for _ in range(10):
        grace.failed(0.1)
    assert grace.call_s == FIRST_CALL_S


def test_no_call_gets_more_than_what_is_left(grace: Grace, clock: Clock) -> None:
    grace.begin()
    clock.now = 98
    assert grace.call_s == 2
    clock.now = 99.5
    assert grace.call_s == LEAST_CALL_S
    assert not grace.is_over
    clock.now = 100
    assert grace.is_over


def test_time_runs_from_the_end_of_the_experiment_not_from_its_stop(grace: Grace, clock: Clock) -> None:
    """A program may take an hour to stop, where its template lets it."""
    grace.stop()
    clock.now = 3600
    assert not grace.is_over
    assert grace.call_s == FIRST_CALL_S
    grace.begin()
    clock.now = 3650
    grace.begin()
    clock.now = 3700
    assert grace.is_over


def test_a_notice_that_is_taken_back_takes_its_hurry_with_it(grace: Grace) -> None:
    grace.announce(is_leaving=True)
    assert grace.call_s == FIRST_CALL_S
    grace.announce(is_leaving=False)
    assert grace.call_s is None
