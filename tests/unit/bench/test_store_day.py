from __future__ import annotations

from dataclasses import replace

import pytest

from bench.store_day import CountingStore, Day, Plan, simulated_day
from sweep_sidecar.capture.pieces import FAN
from sweep_sidecar.store.memory import MemoryStore

PLAN = Plan(items=700, span_s=600, interval_s=10, shards=1, quiet_looks=5)


@pytest.fixture(scope="module")
def day() -> Day:
    return simulated_day(PLAN)


def test_each_look_with_news_is_one_generation_and_one_create(day: Day) -> None:
    assert day.looks == day.generations == PLAN.span_s / PLAN.interval_s + 1
    assert day.generations <= day.mirrored.creates <= day.generations * (1 + 1 / FAN)
    assert (day.mirrored.gets, day.mirrored.lists) == (0, 0)


def test_nothing_is_asked_where_nothing_is_new(day: Day) -> None:
    assert day.quiet.creates == day.quiet.lists == day.quiet.gets == 0


def test_a_restore_reads_what_was_recorded_and_lists_two_pages(day: Day) -> None:
    assert day.resumed.received_bytes >= day.recorded_bytes * 0.95
    assert day.resumed.lists == 2  # the run's records, and the log's head


def test_what_is_left_is_what_was_sent(day: Day) -> None:
    parts = (day.began, day.mirrored, day.quiet, day.resumed, day.ended)
    sent = sum(part.sent_bytes for part in parts)
    # A probe is sent twice by each attempt, to see the store refuse the second one.
    assert sent * 0.99 <= day.left_bytes <= sent


def test_retention_keeps_little_more_than_the_log_itself(day: Day) -> None:
    assert day.recorded_bytes <= day.kept_bytes < day.left_bytes
    assert day.thinned.gets >= day.generations


def test_looks_are_put_off_where_a_sweep_has_many_shards(day: Day) -> None:
    many = simulated_day(replace(PLAN, shards=10_000))
    assert many.recorded_bytes == day.recorded_bytes
    assert many.looks == pytest.approx(day.looks / 5, abs=3)  # 10,000 shards at 200 writes a second: 50 s


def test_longer_results_cost_no_more_than_their_bytes(day: Day) -> None:
    long = simulated_day(replace(PLAN, result_bytes=10 * PLAN.result_bytes))
    assert long.mirrored.sent_bytes / day.mirrored.sent_bytes <= long.recorded_bytes / day.recorded_bytes
    assert long.generations == day.generations


def test_the_store_counts_what_it_is_asked() -> None:
    store = CountingStore(MemoryStore("bench-counting"))
    for number in range(2001):
        store.create(f"{number:04d}", b"xy")
    assert len(store.list("")) == 2001
    store.list("nothing")
    assert store.get("0007", start=1) == b"y"
    counted = store.requests
    assert (counted.creates, counted.lists, counted.gets) == (2001, 3 + 1, 1)
    assert (counted.sent_bytes, counted.received_bytes) == (4002, 1)
