from __future__ import annotations

from dataclasses import replace

import pytest

from bench.store import usage_of
from bench.store_day import DAY_S, Day, Plan, Requests


@pytest.fixture
def half() -> Day:
    return Day(
        plan=Plan(items=50, span_s=DAY_S / 2),
        recorded_bytes=100,
        began=Requests(creates=5, lists=3, gets=1),
        mirrored=Requests(creates=1000, lists=0, gets=0),
        generations=990,
        looks=1000,
        quiet=Requests(),
        resumed=Requests(creates=4, lists=2, gets=30),
        ended=Requests(creates=2, lists=1, gets=2),
        last_entry_bytes=10,
        last_pieces=3,
        left_bytes=300,
        thinned=Requests(creates=1, lists=4, gets=1000),
        kept_bytes=110,
    )


def test_part_of_a_day_is_taken_as_often_as_the_day_has_it(half: Day) -> None:
    used = usage_of(half, restores=3)
    assert used.creates == 2 * 1000 + 3 * 4 + 5 + 2
    assert used.lists == 3 * 2 + 3 + 1
    assert used.gets == 3 * 30 + 1 + 2
    assert used.left_bytes == 600


def test_a_thinned_day_leaves_less_and_asks_more(half: Day) -> None:
    used, thinned = usage_of(half), usage_of(half, thinned=True)
    assert thinned.left_bytes == 220
    assert thinned.gets - used.gets == 2 * 1000
    assert thinned.creates - used.creates == 2


def test_a_whole_day_is_taken_once(half: Day) -> None:
    whole = replace(half, plan=replace(half.plan, span_s=float(DAY_S)))
    assert usage_of(whole, restores=0).creates == 1000 + 5 + 2
