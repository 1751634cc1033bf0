from __future__ import annotations

import pytest

from sweep_sidecar.store import Creation, StoreNotCreateOnly, prove_create_only
from unit.sidecar.memory_store import MemoryStore


class OverwritingStore(MemoryStore):
    """A store that takes every create, as fsspec backends without conditional writes do."""

    def create(self, key: str, data: bytes, *, deadline_s: float | None = None) -> Creation:
        self.objects[key] = data
        return Creation.CREATED


def test_a_store_that_overwrites_is_refused() -> None:
    with pytest.raises(StoreNotCreateOnly, match="memory://run let probe be created twice"):
        prove_create_only(OverwritingStore(), key="probe", nonce="1")


def test_a_store_that_refuses_is_trusted_each_time() -> None:
    store = MemoryStore()
    for nonce in "123":
        prove_create_only(store, key="probe", nonce=nonce)
    assert store.objects == {"probe": b"first 1\n"}
