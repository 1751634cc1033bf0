from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from soak.verdict import Bound, Sample, verdict_on

MEMORY = Bound(quantity="memory", unit="MiB", most_an_hour=4.0)
DESCRIPTORS = Bound(quantity="descriptors", unit="")


def samples(value: Callable[[float], float], *, minutes: float = 30, quantity: str = "memory") -> list[Sample]:
    return [Sample(at_s=at, values={quantity: value(at)}) for at in range(0, int(minutes * 60), 10)]


def holds(value: Callable[[float], float], bound: Bound) -> bool:
    found = verdict_on(samples(value, quantity=bound.quantity), [bound], warm_up_s=360, window_s=60)
    return found[0].holds


def noise(width: float, seed: int = 1) -> Callable[[], float]:
    drawn = random.Random(seed)
    return lambda: drawn.uniform(0, width)


def test_what_stays_is_flat() -> None:
    assert holds(lambda at: 80, MEMORY)
    assert holds(lambda at: 9, DESCRIPTORS)


def test_what_grows_is_told_with_how_much() -> None:
    grown = verdict_on(samples(lambda at: 80 + at / 360), [MEMORY], warm_up_s=360, window_s=60)[0]
    assert not grown.holds
    assert grown.an_hour == pytest.approx(10)
    assert grown.second - grown.first == pytest.approx(2, abs=0.1)


def test_what_grows_less_than_the_bound_is_flat() -> None:
    assert holds(lambda at: 80 + 3 * at / 3600, MEMORY)


@pytest.mark.parametrize("seed", range(20))
def test_peaks_hide_no_growth_and_are_none(seed: int) -> None:
    peak = noise(20, seed)
    assert holds(lambda at: 80 + (peak() if at % 60 else 0), MEMORY)
    assert not holds(lambda at: 80 + at / 240 + (peak() if at % 60 else 0), MEMORY)


def test_noise_that_shows_neither_is_no_growth() -> None:
    swings = Bound(quantity="memory", unit="%", most_an_hour=4.0, of="mean")
    drawn = noise(60)
    found = verdict_on(samples(lambda at: drawn()), [swings], warm_up_s=360, window_s=60)[0]
    assert found.holds
    assert found.uncertain > 10  # which is how much growth it would take to be seen


def test_a_mean_is_told_from_the_least() -> None:
    mean = Bound(quantity="memory", unit="%", most_an_hour=4.0, of="mean")
    peaks_grow = lambda at: 2 * at / 60 if at % 60 else 0  # noqa: E731
    assert holds(peaks_grow, MEMORY)
    assert not holds(peaks_grow, mean)


def test_one_more_for_good_is_no_more_equal() -> None:
    assert holds(lambda at: 9 + (at % 60 != 0), DESCRIPTORS)
    assert not holds(lambda at: 9 + (at >= 1020), DESCRIPTORS)
    assert holds(lambda at: 9 - (at >= 1020), DESCRIPTORS)


def test_growth_while_it_warms_up_does_not_count() -> None:
    assert holds(lambda at: 80 + 20 * (1 - math.exp(-min(at, 360) / 60)), MEMORY)


def test_too_few_samples_say_nothing() -> None:
    with pytest.raises(ValueError, match="memory: 2 windows of 60 s in the second half, at least 3 are needed"):
        verdict_on(samples(lambda at: 80, minutes=10), [MEMORY], warm_up_s=360, window_s=60)


def test_a_quantity_that_was_not_sampled_is_named() -> None:
    with pytest.raises(ValueError, match="descriptors was not sampled"):
        verdict_on(samples(lambda at: 80), [DESCRIPTORS], warm_up_s=360, window_s=60)
