from __future__ import annotations

from typing import Any

import pytest
from builders import manifest

from soak.held import held
from sweep_operator.runtime.sweep_store import SweepStore
from sweep_operator.runtime.work_queue import WorkQueue

KEY = ("ns", "lr")


def version(number: int, **metadata: Any) -> dict[str, Any]:
    sweep = manifest()
    sweep["metadata"].update(resourceVersion=str(number), **metadata)
    return sweep


class Store:
    def __init__(self) -> None:
        self.queue = WorkQueue()
        self.forgotten: list[str] = []
        self.store = SweepStore(self.queue, forget=[self.forgotten.append])

    def asks_for_a_look(self) -> bool:
        asks = len(self.queue) > 0
        self.queue.forget(KEY)
        return asks


@pytest.fixture
def it() -> Store:
    return Store()


def test_only_what_people_change_asks_for_a_look(it: Store) -> None:
    it.store.seen(version(1))
    assert it.asks_for_a_look()
    it.store.seen({**version(2), "status": {"done": 1}})
    assert not it.asks_for_a_look()
    it.store.seen(version(3, generation=2))
    assert it.asks_for_a_look()
    it.store.seen(version(4, generation=2, deletionTimestamp="2026-10-01T12:00:00Z"))
    assert it.asks_for_a_look()


def test_the_newer_version_counts_whatever_way_it_came(it: Store) -> None:
    it.store.seen(version(1))
    it.store.written(version(10))
    it.store.seen(version(9))
    assert it.store.get(KEY) == version(10)


def test_a_sweep_is_read_once_per_version(it: Store) -> None:
    it.store.seen(version(1))
    first = it.store.sweep(KEY)
    assert it.store.sweep(KEY) is first
    it.store.written(version(2))
    assert it.store.sweep(KEY) is not first
    assert it.store.sweep(("ns", "other")) is None


def test_a_sweep_that_is_gone_is_forgotten(it: Store) -> None:
    it.store.seen(version(1))
    it.store.gone(version(2, uid="another"))
    assert it.store.get(KEY) is not None, "another one of that name is meant"
    it.store.gone(version(2))
    assert (it.store.get(KEY), it.store.sweep(KEY), it.forgotten) == (None, None, ["sweep-uid"])
    assert it.store.all_keys() == []


def test_a_new_sweep_of_the_same_name_replaces_the_old_one(it: Store) -> None:
    it.store.seen(version(1))
    it.asks_for_a_look()
    it.store.seen(version(5, uid="new"))
    assert it.forgotten == ["sweep-uid"]
    assert it.asks_for_a_look()
    it.store.written(version(4))
    assert it.store.get(KEY) == version(5, uid="new"), "a late answer about the old one changes nothing"
    assert it.store.watched_version(KEY) == 5, "the watch has brought it, and owes nothing"


def test_a_deletion_that_nobody_told_of_is_found_by_comparing(it: Store) -> None:
    it.store.seen(version(1))
    it.store.compare({KEY: "sweep-uid"}, {"sweep-uid"})
    assert it.store.get(KEY) is not None
    it.store.compare({}, set())
    assert it.store.get(KEY) is not None, "it may be younger than the list"
    it.store.compare({KEY: "sweep-uid", ("ns", "gone"): "gone"}, set())
    assert it.store.get(KEY) is None


def test_a_new_sweep_of_the_same_name_is_younger_than_the_list(it: Store) -> None:
    it.store.seen(version(1))
    before = it.store.uids()
    it.store.gone(version(1))
    it.store.seen(version(5, uid="new"))
    it.store.compare(before, {"sweep-uid"})
    assert it.store.get(KEY) == version(5, uid="new")


def test_whoever_only_stands_in_keeps_nothing_of_what_is_gone() -> None:
    queue = WorkQueue(is_open=False)
    store = SweepStore(queue)
    before = held(store), held(queue)
    store.seen(version(1))
    store.gone(version(1))
    assert (held(store), held(queue)) == before
