from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep_sidecar import layout


def test_names_stay_as_they_are() -> None:
    """Whoever has a run in the store must find it with any later version."""
    assert layout.shard_folder("run-1", 3) == "c19d-shard-00003"
    assert layout.entry_key("f", 0) == "f/log/999999999999.json"
    assert layout.entry_key("f", 25) == "f/log/999999999974.json"
    assert layout.blob_key("ab") == "blobs/ab"
    assert layout.blob_key("ab", "n") == "blobs/ab.n"
    assert layout.merged_key("ab") == "merged/ab.jsonl"
    assert layout.provenance_key("ab") == "merged/ab.provenance.jsonl"


@given(st.integers(0, 10**12 - 2))
def test_newer_entries_come_first(seq: int) -> None:
    assert layout.seq_of(layout.entry_key("f", seq)) == seq
    assert layout.entry_key("f", seq + 1) < layout.entry_key("f", seq)


@pytest.mark.parametrize("key", ["f/log/12.json", "f/log/999999999999", "f/log/99999999999x.json", "f/log/.json"])
def test_other_names_are_no_entries(key: str) -> None:
    with pytest.raises(ValueError, match="not the name of a log entry"):
        layout.seq_of(key)
