from __future__ import annotations

import pytest

from bench.sidecar_beside import longer_by


def ended(*spans: tuple[float, float, float]) -> list[float]:
    """Moments at which items end: from, until, seconds for each."""
    moments = []
    for begin, end, each in spans:
        count = round((end - begin) / each)
        moments += [begin + each * number for number in range(1, count + 1)]
    return [0.0, *moments]


def test_each_turn_is_held_against_the_one_beside_it() -> None:
    moments = ended((0, 10, 0.0105), (10, 20, 0.01), (20, 30, 0.02), (30, 40, 0.021))
    found = longer_by(moments, beside=[(0, 10), (30, 40)], alone=[(10, 20), (20, 30)])
    assert found == pytest.approx([5, 5], abs=0.2)


def test_items_that_take_the_same_are_slowed_down_by_nothing() -> None:
    found = longer_by(ended((0, 40, 0.01)), beside=[(0, 10)], alone=[(10, 20)])
    assert found == pytest.approx([0], abs=0.2)


def test_an_item_that_is_held_up_for_long_counts_with_all_its_time() -> None:
    moments = [moment + (0.5 if moment > 5 else 0) for moment in ended((0, 9.5, 0.01))] + ended((10, 20, 0.01))[1:]
    found = longer_by(moments, beside=[(0, 10)], alone=[(10, 20)])
    assert found == pytest.approx([100 * (10 / 9.5 - 1)], abs=0.2)
