from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumable_sweep.contract.canonical import canonical_json, identity, key_of, sha256_of_keys

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON_VALUES)
def test_canonical_json_reads_back_as_the_same_value(value: object) -> None:
    assert json.loads(canonical_json(value)) == value


@given(st.dictionaries(st.text(), JSON_VALUES, max_size=6), st.randoms())
def test_the_order_of_a_mapping_does_not_show(mapping: dict[str, object], random: object) -> None:
    entries = list(mapping.items())
    random.shuffle(entries)  # type: ignore[attr-defined]
    assert canonical_json(dict(entries)) == canonical_json(mapping)


def test_the_text_has_no_white_space_and_no_needless_escapes() -> None:
    assert canonical_json({"b": [1, 2.5], "a": "größe\u2028"}) == '{"a":"größe\u2028","b":[1,2.5]}'


@pytest.mark.parametrize(
    ("value", "text"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")], ids=str
)
def test_what_diverged_is_written_and_read_back(value: float, text: str) -> None:
    assert canonical_json(value) == text
    assert identity(json.loads(text)) == text


@pytest.mark.parametrize(
    ("item", "key"),
    [
        ({"key": "a", "lr": 1}, "a"),
        ({"key": None}, None),
        ({"lr": 1, "depth": 2}, '{"depth":2,"lr":1}'),
        ("plain", '"plain"'),
        (7, "7"),
        ([1, "1"], '[1,"1"]'),
    ],
)
def test_key_of_an_item(item: object, key: object) -> None:
    assert key_of(item) == key


def test_keys_of_different_types_stay_apart() -> None:
    keys = [1, "1", True, "true", None, "null", [1], "[1]", 1.5]
    assert len({identity(key) for key in keys}) == len(keys)


def test_a_tuple_is_the_list_that_json_makes_of_it() -> None:
    assert identity((1, "a")) == identity([1, "a"])


@given(st.lists(st.text() | st.integers(), max_size=8), st.randoms())
def test_the_digest_of_keys_knows_neither_order_nor_repetition(keys: list[object], random: object) -> None:
    other = keys + keys[:2]
    random.shuffle(other)  # type: ignore[attr-defined]
    assert sha256_of_keys(other) == sha256_of_keys(keys)


def test_the_digest_of_keys_is_what_the_formats_page_says() -> None:
    # printf '"a"\n"b"\n' | sha256sum
    assert sha256_of_keys(["b", "a"]) == "14bdec8c77f9feebc3b047fa42657bac4babc6d05439548a956ee1a9edf35eab"


def test_different_keys_have_different_digests() -> None:
    assert sha256_of_keys(["1"]) != sha256_of_keys([1])
    assert sha256_of_keys(["a", "b"]) != sha256_of_keys(["a"])


def test_half_of_a_surrogate_pair_counts_as_its_escape() -> None:
    # printf '"\\ud800"\n' | sha256sum
    assert sha256_of_keys(["\ud800"]) == "b16af5d32e117e1e4a4132716a6dfb0621bb990d1bfcce97a9df73774d0984f3"
    assert sha256_of_keys(["\ud800"]) != sha256_of_keys(["\\ud800"])
