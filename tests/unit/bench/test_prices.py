from __future__ import annotations

import datetime

import pytest

from bench.prices import DAYS, PRICES, Price, Usage, year_of

NOTHING = Usage(creates=0, lists=0, gets=0, left_bytes=0)


@pytest.mark.parametrize("price", PRICES, ids=lambda price: price.store)
def test_a_price_says_where_and_when_it_was_read(price: Price) -> None:
    assert price.source.startswith("https://")
    assert datetime.date.fromisoformat(price.date).year >= 2026


@pytest.mark.parametrize("price", PRICES, ids=lambda price: price.store)
def test_a_million_requests_cost_what_the_list_says(price: Price) -> None:
    a_day = 1_000_000 / DAYS
    for usage, asked in (
        (Usage(creates=a_day, lists=0, gets=0, left_bytes=0), price.create),
        (Usage(creates=0, lists=a_day, gets=0, left_bytes=0), price.list),
        (Usage(creates=0, lists=0, gets=a_day, left_bytes=0), price.get),
    ):
        cost = year_of(price, usage, pods=1)
        assert cost.requests == pytest.approx(asked)
        assert cost.storage == 0


@pytest.mark.parametrize("price", PRICES, ids=lambda price: price.store)
def test_what_is_left_is_paid_for_from_its_day_to_the_end_of_the_year(price: Price) -> None:
    left = Usage(creates=0, lists=0, gets=0, left_bytes=3 * 2**30)
    a_day = price.gib_month * 12 / DAYS
    day_by_day = sum(7 * 3 * a_day * (DAYS - day - 0.5) for day in range(DAYS))
    assert year_of(price, left, pods=7).storage == pytest.approx(day_by_day)


def test_a_year_of_nothing_costs_nothing() -> None:
    assert year_of(PRICES[0], NOTHING, pods=1000).total == 0
