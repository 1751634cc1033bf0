from __future__ import annotations

import itertools

import pytest

from sweep_sidecar.mirror.pace import ASKED_EVERY_S, LEAST_PAUSE_S, Pace


class Looks:
    """Looks of a mirror on a clock of its own; each takes `look_s`. `asked_at` are the times of requests."""

    def __init__(self, *, interval_s: float, look_s: float, asked_at: list[float]) -> None:
        self.now = 100.0
        self.asked_at = [self.now + at for at in asked_at]
        self.look_s = look_s
        self.pace = Pace(interval_s=interval_s, now=self.now)
        self.begun: list[float] = []
        self.pauses = 0

    def until(self, end: float) -> list[float]:
        """Return when looks began, counted from the first."""
        while self.now < 100.0 + end:
            began = self.now
            self.begun.append(began)
            self.pace.begin(began)
            self.now += self.look_s
            while pause_s := self.pace.pause_s(self.now, is_asked=any(began < at <= self.now for at in self.asked_at)):
                self.pauses += 1
                self.now += pause_s
        return [round(began - 100.0, 6) for began in self.begun]


@pytest.mark.parametrize(
    ("look_s", "begun"),
    [(0.5, [0, 10, 20, 30]), (10.0, [0, 10, 20, 30]), (12.0, [0, 12, 24])],
)
def test_nobody_asks(look_s: float, begun: list[float]) -> None:
    assert Looks(interval_s=10, look_s=look_s, asked_at=[]).until(30.001) == begun


def test_a_request_is_seen_soon_and_does_not_put_off_the_next_look() -> None:
    begun = Looks(interval_s=10, look_s=0.125, asked_at=[3.3]).until(20.001)
    assert len(begun) == 4
    assert 3.3 < begun[1] <= 3.3 + ASKED_EVERY_S
    assert begun[2:] == [10, 20]


def test_requests_without_end_make_a_look_a_second() -> None:
    looks = Looks(interval_s=1000, look_s=0.125, asked_at=[number / 100 for number in range(2000)])
    begun = looks.until(20)
    pauses = [later - earlier for earlier, later in itertools.pairwise(begun)]
    assert min(pauses) >= LEAST_PAUSE_S
    assert 18 <= len(begun) <= 21


def test_a_slow_store_is_not_asked_faster_than_it_answers() -> None:
    assert Looks(interval_s=1000, look_s=5.0, asked_at=[number / 2 for number in range(40)]).until(19) == [0, 5, 10, 15]


def test_an_interval_below_a_second_is_kept() -> None:
    begun = Looks(interval_s=0.1, look_s=0.0, asked_at=[number / 100 for number in range(100)]).until(0.95)
    assert begun == [round(number / 10, 6) for number in range(10)]


def test_it_never_spins() -> None:
    looks = Looks(interval_s=10, look_s=0.0, asked_at=[])
    looks.until(100)
    assert looks.pauses <= 11 * (10 / ASKED_EVERY_S + 1)
