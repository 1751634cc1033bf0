from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep_sidecar.mime_keys import mime_keys
from sweep_sidecar.progress import mime_records

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
records = st.fixed_dictionaries({"key": values, "result": values})


@given(st.lists(records | values, max_size=5), st.sampled_from([None, 1, "\t"]), st.booleans())
def test_the_keys_are_those_that_the_whole_file_has(completed: list[Any], indent: Any, has_more: bool) -> None:
    content = {"completed": completed, **({"more": 1} if has_more else {})}
    data = json.dumps(content, indent=indent, ensure_ascii=False).encode("utf-8", "surrogatepass")
    assert found(data) == expected(data)


@given(st.lists(records, max_size=3), st.data())
def test_a_damaged_file_is_none_to_both(completed: list[Any], data: st.DataObject) -> None:
    text = json.dumps({"completed": completed})
    cut = data.draw(st.integers(0, len(text)))
    put = data.draw(st.sampled_from(["", ",", "]", "}", " ", "x", '"']))
    torn = (text[:cut] + put + text[cut + data.draw(st.integers(0, 3)) :]).encode()
    assert found(torn) == expected(torn)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_what_the_standard_library_reads_is_read(encoding: str) -> None:
    assert found('{"completed": [{"key": "é", "result": 1}]}'.encode(encoding)) == {'"é"'}


def test_results_are_not_held() -> None:
    data = json.dumps({"completed": [{"key": key, "result": [{"v": "x" * 80}] * 20} for key in range(1000)]}).encode()
    tracemalloc.start()
    assert len(mime_keys(data)) == 1000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5 * len(data)


def found(data: bytes) -> frozenset[str] | None:
    try:
        return mime_keys(data)
    except (ValueError, KeyError, TypeError):
        return None


def expected(data: bytes) -> frozenset[str] | None:
    whole = mime_records(data)
    return None if whole is None else frozenset(whole)
