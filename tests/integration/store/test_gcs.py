from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from integration.store.conftest import Emulator
from sweep_sidecar.store import Creation, Store, Unreachable, open_store
from unit.sidecar.store_conformance import StoreConformance

pytestmark = pytest.mark.integration


@pytest.fixture
def store(bucket: str) -> Store:
    return open_store(f"gs://{bucket}/ns/sweep/run", deadline_s=20)


@pytest.fixture
def again(bucket: str) -> Callable[[], Store]:
    return lambda: open_store(f"gs://{bucket}/ns/sweep/run", deadline_s=20)


class TestGcsStore(StoreConformance):
    pass


def test_lists_more_than_one_page(store: Store) -> None:
    for number in range(1005):
        store.create(f"log/{number:05d}", b"")
    assert len(store.list("log/")) == 1005
    assert len(store.list("log/", limit=1002)) == 1002


def test_a_folder_is_not_seen_from_its_neighbour(bucket: str) -> None:
    open_store(f"gs://{bucket}/run-1").create("key", b"x")
    assert open_store(f"gs://{bucket}/run").list("") == []


def test_a_bucket_that_is_not_there_is_not_an_empty_one(bucket: str) -> None:
    store = open_store("gs://no-such-bucket/run", deadline_s=5)
    with pytest.raises(Unreachable, match="'no-such-bucket' does not exist"):
        store.list("log/")
    with pytest.raises(Unreachable, match="'no-such-bucket' does not exist"):
        store.create("log/1", b"x")


def test_no_call_outlives_its_deadline(start_emulator: Callable[[], Emulator], monkeypatch: pytest.MonkeyPatch) -> None:
    emulator = start_emulator()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator.url)
    store = open_store(f"gs://{emulator.make_bucket()}/run", deadline_s=2)
    store.create("key", b"x")
    emulator.stop()
    calls: list[Callable[[], object]] = [
        lambda: store.get("key"),
        lambda: store.list(""),
        lambda: store.create("other", b"x"),
    ]
    for call in calls:
        began = time.monotonic()
        with pytest.raises(Unreachable):
            call()
        assert time.monotonic() - began < 4


def test_a_short_outage_is_waited_out(start_emulator: Callable[[], Emulator], monkeypatch: pytest.MonkeyPatch) -> None:
    emulator = start_emulator()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator.url)
    store = open_store(f"gs://{emulator.make_bucket()}/run", deadline_s=30)
    emulator.stop()
    outcome: list[Creation] = []
    caller = threading.Thread(target=lambda: outcome.append(store.create("key", b"x")))
    caller.start()
    emulator.start()
    caller.join(30)
    assert outcome == [Creation.CREATED]
    assert store.get("key") == b"x"
