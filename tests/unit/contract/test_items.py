from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumable_sweep.contract.items import (
    Item,
    ItemsInvalid,
    items_of_list,
    items_of_matrix,
    lines_of,
    parsed_items,
    shard_of,
)


def test_a_matrix_is_every_combination_in_alphabetical_order_of_its_parameters() -> None:
    items = items_of_matrix({"seed": [0, 1], "lr": [0.1, 0.01]})
    assert [item.value for item in items] == [
        {"lr": 0.1, "seed": 0},
        {"lr": 0.1, "seed": 1},
        {"lr": 0.01, "seed": 0},
        {"lr": 0.01, "seed": 1},
    ]


def test_a_matrix_gives_the_same_items_in_whatever_order_it_is_written() -> None:
    assert items_of_matrix({"a": [1, 2], "b": ["x"]}) == items_of_matrix({"b": ["x"], "a": [1, 2]})


def test_a_key_of_its_own_names_an_item() -> None:
    assert items_of_list([{"key": "first", "lr": 1}, 5]) == [
        Item(key="first", value={"key": "first", "lr": 1}),
        Item(key="5", value=5),
    ]


def test_two_items_of_one_key_are_refused_with_both_places() -> None:
    with pytest.raises(ItemsInvalid, match=r'items 0 and 2 have the same key "a"'):
        items_of_list([{"key": "a", "lr": 1}, {"key": "b"}, {"key": "a", "lr": 2}])


@given(st.integers(1, 9), st.integers(0, 40))
def test_shards_share_the_items_out_without_loss_or_overlap(shards: int, count: int) -> None:
    items = items_of_list(list(range(count)))
    shares = [shard_of(items, shard=shard, shards=shards) for shard in range(shards)]
    assert sorted(item.value for share in shares for item in share) == list(range(count))
    assert all(item.value % shards == shard for shard, share in enumerate(shares) for item in share)


@given(st.lists(st.text() | st.dictionaries(st.text(), st.integers()) | st.integers(), unique_by=repr, max_size=10))
def test_what_is_written_reads_back(values: list[object]) -> None:
    items = [Item(key=place, value=value) for place, value in enumerate(values)]
    assert parsed_items("".join(lines_of(items))) == items


def test_a_separator_that_only_unicode_knows_does_not_end_a_line() -> None:
    items = [Item(key="a\u2028b", value="\u2029\x85")]
    assert parsed_items("".join(lines_of(items))) == items


@pytest.mark.parametrize(
    "line", ['{"key": 1}', '{"item": 1}', "[1, 2]", "5", '"key item"', "{", "null"], ids=lambda line: line
)
def test_another_line_is_refused_by_its_number(line: str) -> None:
    with pytest.raises(ItemsInvalid, match="line 3 is not"):
        parsed_items('{"key": 0, "item": 0}\n\n' + line + "\n")
