"""The page on costs says what is counted, and what the price lists make of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.prices import PRICES, Price, Usage, year_of
from bench.store import PODS, RESTORES_A_DAY
from bench.store_day import Plan, simulated_day

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "costs.md").read_text(encoding="utf-8")


def tables(heading: str) -> list[list[list[str]]]:
    """The cells of the tables below a heading, without their heads."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = re.findall(r"(?:^\|.*\|\n)+", section + "\n", re.MULTILINE)
    return [[[cell.strip() for cell in row.split("|")[1:-1]] for row in one.splitlines()[2:]] for one in found]


def number(cell: str) -> float:
    return float(cell.replace(",", "").removesuffix(" MB"))


def used(row: list[str]) -> tuple[Usage, Usage]:
    """A pod's day, and the same with retention."""
    creates, lists, gets, left, more_creates, more_lists, more_gets, kept = map(number, row[1:])
    return (
        Usage(creates=creates, lists=lists, gets=gets, left_bytes=left * 1e6),
        Usage(creates=creates + more_creates, lists=lists + more_lists, gets=gets + more_gets, left_bytes=kept * 1e6),
    )


def test_the_prices_are_those_that_are_reckoned_with() -> None:
    said = [
        [
            price.store,
            f"`{price.region}`",
            price.storage_class,
            *(f"{number:g}" for number in (price.create, price.list, price.get, price.gib_month)),
            f"[{price.list_name}]({price.source})",
            price.date,
        ]
        for price in PRICES
    ]
    assert tables("Prices") == [said]


@pytest.mark.parametrize("price", PRICES, ids=lambda price: price.store)
def test_a_year_costs_what_its_days_come_to(price: Price) -> None:
    asked, paid = tables("A year")
    days = {row[0]: used(row) for row in asked}
    mine = [row for row in paid if row[0] == price.store]
    assert [row[1] for row in mine] == list(days)
    for _, interval, requests, storage, both, thinned in mine:
        kept, swept = (year_of(price, usage, pods=PODS) for usage in days[interval])
        # Bytes stand on the page in tenths of a megabyte.
        assert number(requests) == pytest.approx(kept.requests, abs=1)
        assert number(storage) == pytest.approx(kept.storage, rel=0.003)
        assert number(both) == pytest.approx(kept.total, rel=0.003)
        assert number(thinned) == pytest.approx(swept.total, rel=0.003)


def test_the_year_is_that_of_the_benchmark() -> None:
    assert PODS == 1000
    assert RESTORES_A_DAY == 4
    assert re.search(r"1,000 pods work all year.*reclaimed four times a day", PAGE, re.DOTALL)
    assert Plan() == Plan(items=100_000, span_s=24 * 3600, shards=1000, result_bytes=40)


def test_an_attempt_asks_what_the_page_says() -> None:
    begins, restores, nothing_new, small, *_ = tables("What is asked when")[0]
    day = simulated_day(Plan(items=300, span_s=600, interval_s=60, quiet_looks=3))
    assert [day.began.creates, day.began.lists, day.began.gets] == list(map(int, begins[1:]))
    assert [day.resumed.creates, day.resumed.lists] == list(map(int, restores[1:3]))
    assert [day.quiet.creates, day.quiet.lists, day.quiet.gets] == list(map(int, nothing_new[1:]))
    assert [day.mirrored.creates / day.generations, day.mirrored.lists, day.mirrored.gets] == list(map(int, small[1:]))
