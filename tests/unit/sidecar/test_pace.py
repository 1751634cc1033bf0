from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable

import pytest

from sweep_sidecar.mirror.pace import ASKED_EVERY_S, LEAST_PAUSE_S, LONGEST_S, SWEEP_WRITES_PER_S, Pace


class Looks:
    """Looks of a mirror on a clock of its own; each takes `look_s`. `asked_at` are the times of requests."""

    def __init__(
        self,
        *,
        interval_s: float,
        look_s: float,
        asked_at: list[float],
        shard: int = 0,
        shards: int = 1,
        writes: Callable[[float], int] = lambda since: 1,
    ) -> None:
        self.now = 100.0
        self.asked_at = [self.now + at for at in asked_at]
        self.look_s = look_s
        self.writes = writes
        self.pace = Pace(interval_s=interval_s, now=self.now, shard=shard, shards=shards)
        self.begun: list[float] = []
        self.pauses = 0

    def until(self, end: float) -> list[float]:
        """Return when looks began, counted from the first."""
        while self.now < 100.0 + end:
            began = self.now
            self.begun.append(began)
            self.pace.begin(began)
            self.now += self.look_s
            self.pace.wrote(self.writes(began - 100.0))
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


@pytest.mark.parametrize(
    ("interval_s", "shards", "writes", "period_s"),
    [
        (10, 1, 1, 10),
        (10, 2000, 1, 10),
        (10, 4000, 1, 20),
        (10, 10_000, 1, 50),
        (10, 100, 50, 25),
        (10, 10_000, 50, 300),
        (3600, 10_000, 50, 3600),
        (1, 100, 1, 1),
        (10, 10_000, 0, 10),
    ],
)
def test_the_sweep_stays_within_its_budget(interval_s: float, shards: int, writes: int, period_s: float) -> None:
    looks = Looks(interval_s=interval_s, look_s=0, asked_at=[], shards=shards, writes=lambda since: writes)
    begun = looks.until(5 * period_s)
    # Before the first look has told what looks cost, the interval is as asked for.
    assert [later - earlier for earlier, later in itertools.pairwise(begun[1:])] == [period_s] * (len(begun) - 2)
    assert looks.pace.period_s == period_s
    assert period_s >= LONGEST_S or shards * writes / period_s <= SWEEP_WRITES_PER_S


def test_a_costly_look_puts_off_the_next_at_once_and_is_forgotten_in_time() -> None:
    looks = Looks(interval_s=10, look_s=0, asked_at=[], shards=1000, writes=lambda since: 20 if since == 20 else 1)
    begun = looks.until(1000)
    pauses = [later - earlier for earlier, later in itertools.pairwise(begun)]
    assert pauses[:2] == [10, 10]
    assert max(pauses) == pauses[3] == 100
    assert pauses[-1] == 10
    assert pauses[3:] == sorted(pauses[3:], reverse=True)


def test_a_request_is_heard_whatever_the_budget_says() -> None:
    begun = Looks(interval_s=10, look_s=0.125, asked_at=[33.3], shards=10_000).until(50)
    assert any(33.3 < at <= 33.3 + ASKED_EVERY_S for at in begun)


def test_shards_that_begin_together_do_not_write_together() -> None:
    shards = 3000
    seconds: Counter[int] = Counter()
    for shard in range(shards):
        for at in Looks(interval_s=10, look_s=0, asked_at=[], shard=shard, shards=shards).until(40)[1:]:
            seconds[int(at)] += 1
    assert max(seconds.values()) <= 1.6 * SWEEP_WRITES_PER_S


def test_it_never_spins() -> None:
    looks = Looks(interval_s=10, look_s=0.0, asked_at=[])
    looks.until(100)
    assert looks.pauses <= 11 * (10 / ASKED_EVERY_S + 1)
