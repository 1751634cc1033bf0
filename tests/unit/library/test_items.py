"""The items of a sweep: their keys, their shards, and what happens where they come one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumable_sweep import ItemsInvalid, ResumableSweep
from resumable_sweep._items import FileSource, ItemSource
from resumable_sweep._ledger import Ledger
from resumable_sweep.contract.canonical import identity, key_of
from resumable_sweep.contract.items import Item
from resumable_sweep.contract.log_format import entries_of

KEYS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=5,
)


def pulled(values: Any, *, shard: int = 0, shards: int = 1, key: Any = None) -> Ledger:
    ledger = Ledger()
    ItemSource(values, key=key, shard=shard, shards=shards).pull(ledger)
    return ledger


@given(st.lists(KEYS, max_size=8, unique_by=identity))
def test_an_item_goes_by_the_identity_of_its_key(values: list[Any]) -> None:
    assert pulled(values).names == [identity(key_of(value)) for value in values]
    assert pulled(values, key=lambda value: value).names == [identity(value) for value in values]
    assert pulled([{"key": value} for value in values]).names == [identity(value) for value in values]
    assert pulled(iter(values)).names == pulled(values).names


@given(st.integers(0, 12), st.integers(1, 5), st.integers(0, 12))
def test_shards_share_the_items_out_however_they_come(count: int, shards: int, more: int) -> None:
    for lazily in (False, True):
        found = {}
        for shard in range(shards):
            ledger = Ledger()
            source = ItemSource(iter(range(count)) if lazily else range(count), key=None, shard=shard, shards=shards)
            source.extend(range(count, count + more), ledger)
            found.update(dict.fromkeys(ledger.values, shard))
            assert ledger.values == list(range(count + more))[shard::shards]
        assert sorted(found) == list(range(count + more))


def test_keys_that_only_look_alike_are_different() -> None:
    assert len(set(pulled([1, "1", True, None, 1.5], key=lambda value: value).names)) == 5


@pytest.mark.parametrize("lazily", [False, True])
@pytest.mark.parametrize(
    ("values", "key", "says"),
    [
        ([1, 2, 1], None, "items 0 and 2 have the same key"),
        ([{"key": "a"}, {"key": "a"}], None, "the same key"),
        ([1, 2], lambda value: 7, "the same key 7"),
        ([{"x": {1, 2}}], None, "item 0 has no key that JSON can hold"),
        ([1], lambda value: {1}, "item 0 has no key"),
        (["\udc80"], None, "item 0 has no key"),
        ([1], lambda value: "\udc80", "item 0 has no key"),
        ([1], lambda value: int("9" * 5000), "item 0 has no key"),
    ],
)
def test_keys_that_cannot_be_used_are_named(values: Any, key: Any, says: str, lazily: bool) -> None:
    with pytest.raises(ItemsInvalid, match=says):
        pulled(iter(values) if lazily else values, key=key)


@dataclass
class Point:
    x: int


def test_an_object_needs_a_key_function() -> None:
    with pytest.raises(ItemsInvalid, match="pass key="):
        pulled([Point(1)])
    assert pulled([Point(1), Point(2)], key=lambda point: point.x).names == ["1", "2"]


def test_the_items_of_a_file_have_the_keys_of_the_file() -> None:
    ledger = Ledger()
    source = FileSource([Item("a", {"x": 1}), Item(2, 5)], key=None, shards=3)
    source.pull(ledger)
    assert (ledger.names, ledger.values) == (['"a"', "2"], [{"x": 1}, 5])
    assert source.name({"x": 1}, "the item") == '"a"'
    assert source.sha256 is None  # it is but a share of the list
    with pytest.raises(ItemsInvalid, match="none of those in SWEEP_ITEMS"):
        source.name(6, "the item")
    with pytest.raises(ItemsInvalid, match="cannot be extended"):
        source.extend([1], ledger)


def test_more_items_are_added_all_or_none() -> None:
    ledger = Ledger()
    source = ItemSource([1, 2], key=None, shard=0, shards=1)
    for values in ([3, 2], [3, 3], [3, {1}]):
        with pytest.raises(ItemsInvalid):
            source.extend(values, ledger)
        assert ledger.values == [1, 2]
    source.extend([3], ledger)
    source.extend([], ledger)
    with pytest.raises(ItemsInvalid, match="already"):
        source.extend([3], ledger)
    assert ledger.values == [1, 2, 3]


def test_an_item_of_another_shard_cannot_be_added_again() -> None:
    """Both shards would do it, and the sweep would have two results of one item."""
    ledger = Ledger()
    source = ItemSource([1, 2], key=None, shard=0, shards=2)
    with pytest.raises(ItemsInvalid, match='the key "2" already'):
        source.extend([2], ledger)


@pytest.mark.parametrize("ending", [OSError("the disk is gone"), KeyboardInterrupt()], ids=repr)
def test_items_that_broke_off_are_not_taken_for_all_there_are(tmp_path: Path, ending: BaseException) -> None:
    path = tmp_path / "results.jsonl"

    def items() -> Iterator[int]:
        yield from (1, 2)
        raise ending

    with ResumableSweep(items(), checkpoint_path=path) as sweep:
        with pytest.raises(type(ending)):
            _record_all(sweep)
        for _ in range(2):
            with pytest.raises(ItemsInvalid, match=r"broke off .* after 2 of them"):
                _record_all(sweep)
    kinds = [entry["kind"] for entry in entries_of(path.read_bytes())]
    assert kinds.count("done") == 2
    assert "complete" not in kinds


def test_an_item_that_is_refused_on_its_way_is_not_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    with ResumableSweep(iter([1, 1, 2]), checkpoint_path=path) as sweep:
        with pytest.raises(ItemsInvalid, match="same key"):
            _record_all(sweep)
        with pytest.raises(ItemsInvalid, match="broke off"):
            _record_all(sweep)
    assert [entry["kind"] for entry in entries_of(path.read_bytes())].count("complete") == 0


def test_a_generator_that_asks_for_items_itself_gets_an_error(tmp_path: Path) -> None:
    def items() -> Iterator[int]:
        yield 1
        sweep.extend([7])

    with ResumableSweep(items(), checkpoint_path=tmp_path / "results.jsonl") as sweep:
        with pytest.raises(ValueError, match="generator already executing"):
            _record_all(sweep)


def _record_all(sweep: ResumableSweep) -> None:
    for item in sweep.pending:
        sweep.record(item, item)
