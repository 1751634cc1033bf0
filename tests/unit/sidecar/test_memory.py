from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from sweep_sidecar.store import Store, open_store
from unit.sidecar.store_conformance import StoreConformance


@pytest.fixture
def url() -> str:
    return f"memory://{uuid.uuid4().hex}"


@pytest.fixture
def store(url: str) -> Store:
    return open_store(url)


@pytest.fixture
def again(url: str) -> Callable[[], Store]:
    return lambda: open_store(url)


class TestMemoryStore(StoreConformance):
    pass


def test_one_name_is_not_seen_from_another(store: Store, url: str) -> None:
    store.create("key", b"x")
    assert open_store(f"{url}-1").list("") == []
