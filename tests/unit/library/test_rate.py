from __future__ import annotations

import pytest

from resumable_sweep._rate import WINDOW_S, Rate


def test_before_anything_is_recorded_there_is_none() -> None:
    rate = Rate(5.0)
    assert rate.per_second(5.0, 0) == 0.0
    assert rate.per_second(9.0, 0) == 0.0
    rate.note(9.0, 8)
    assert rate.per_second(9.0, 8) == 2.0


@pytest.mark.parametrize("step", [0.001, 0.1, 1.0, 7.0, 600.0])
def test_a_steady_rate_is_found_at_any_speed(step: float) -> None:
    rate = Rate(0.0)
    for count in range(1, 3000):
        rate.note(count * step, count)
    assert rate.per_second(2999 * step, 2999) == pytest.approx(1 / step)


def test_a_change_of_speed_is_followed_within_the_window() -> None:
    rate = Rate(0.0)
    now = 0.0
    count = 0
    for _ in range(1000):
        now, count = now + 1.0, count + 1
        rate.note(now, count)
    for _ in range(int(WINDOW_S / 0.5)):
        now, count = now + 0.5, count + 1
        rate.note(now, count)
    assert rate.per_second(now, count) == pytest.approx(2.0, rel=0.05)


def test_slow_items_are_judged_by_the_last_ten() -> None:
    rate = Rate(0.0)
    now = 0.0
    for count in range(1, 101):
        now += 100.0 if count <= 90 else (1000.0, 5000.0)[count % 2]
        rate.note(now, count)
    assert 1 / rate.per_second(now, 100) == pytest.approx(3000)


def test_a_standstill_is_seen() -> None:
    rate = Rate(0.0)
    for count in range(1, 100):
        rate.note(float(count), count)
    assert rate.per_second(1000.0, 99) < 0.11


def test_it_keeps_few_samples_however_often_it_is_told() -> None:
    rate = Rate(0.0)
    for count in range(1, 200_000):
        rate.note(count / 1000, count)
    assert len(rate._samples) < 150
