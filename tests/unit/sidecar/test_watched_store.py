from __future__ import annotations

import threading
import time

import pytest

from sweep_sidecar.mirror import grace
from sweep_sidecar.mirror.vitals import Vitals, vitals_of
from sweep_sidecar.mirror.watched_store import WatchedStore
from sweep_sidecar.store import Creation, Listed, NotFound, Unreachable
from unit.sidecar.memory_store import MemoryStore


class Noting(MemoryStore):
    """Notes the deadline of each call; each takes a second."""

    def __init__(self) -> None:
        super().__init__({"there": b"content"})
        self.now = 0.0
        self.deadlines: list[float | None] = []

    def create(self, key: str, data: bytes, *, deadline_s: float | None = None) -> Creation:
        self._note(deadline_s)
        return super().create(key, data)

    def get(
        self, key: str, *, start: int | None = None, end: int | None = None, deadline_s: float | None = None
    ) -> bytes:
        self._note(deadline_s)
        return super().get(key, start=start, end=end)

    def list(self, prefix: str, *, limit: int | None = None, deadline_s: float | None = None) -> list[Listed]:
        self._note(deadline_s)
        return super().list(prefix, limit=limit)

    def delete(self, key: str, *, deadline_s: float | None = None) -> None:
        self._note(deadline_s)
        super().delete(key)

    def _note(self, deadline_s: float | None) -> None:
        self.now += 1
        self.deadlines.append(deadline_s)


@pytest.fixture
def store() -> Noting:
    return Noting()


@pytest.fixture
def vitals(store: Noting) -> Vitals:
    return vitals_of(flush_timeout_s=100, monotonic=lambda: store.now)


@pytest.fixture
def watched(store: Noting, vitals: Vitals) -> WatchedStore:
    return WatchedStore(store, vitals, monotonic=lambda: store.now)


def test_every_call_is_passed_on_and_counted(store: Noting, watched: WatchedStore, vitals: Vitals) -> None:
    assert watched.create("new", b"12345") is Creation.CREATED
    assert watched.create("there", b"other") is Creation.EXISTS
    assert watched.get("there", start=1, end=3) == b"on"
    assert [found.key for found in watched.list("", limit=1)] == ["new"]
    watched.delete("new")
    with pytest.raises(NotFound):
        watched.get("new")
    store.fault = lambda call, key: "lost"
    with pytest.raises(Unreachable):
        watched.get("there")
    text = vitals.metrics.text()
    for call, outcome in [
        ("create", "created"),
        ("create", "exists"),
        ("get", "ok"),
        ("get", "not_found"),
        ("get", "unreachable"),
        ("list", "ok"),
        ("delete", "ok"),
    ]:
        assert f'store_calls_total{{call="{call}",outcome="{outcome}"}} 1\n' in text
    assert "stored_bytes_total 5\n" in text
    assert 'store_call_seconds_total{call="get"} 3.0\n' in text
    assert watched.url == store.url
    assert store.deadlines == [None] * 7


def test_where_the_pod_has_to_go_no_call_gets_all_the_time(
    store: Noting, watched: WatchedStore, vitals: Vitals
) -> None:
    vitals.grace.begin()

    def hangs() -> None:
        store.now += store.deadlines[-1] or 0.0
        raise Unreachable("no answer")

    store.fault = lambda call, key: hangs
    for _ in range(2):
        with pytest.raises(Unreachable):
            watched.get("there")
    store.fault = lambda call, key: None
    watched.create("new", b"")
    watched.list("")
    watched.delete("new", deadline_s=3)
    assert store.deadlines == [5, 10, 20, 20, 3]


@pytest.mark.parametrize("sign", ["stop", "announce", "begin"])
def test_a_call_under_way_when_the_pod_has_to_go_is_given_up(
    store: Noting, monkeypatch: pytest.MonkeyPatch, sign: str
) -> None:
    monkeypatch.setattr(grace, "FIRST_CALL_S", 0.01)
    monkeypatch.setattr(grace, "LEAST_CALL_S", 0.01)
    hangs, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        hangs.set()
        go_on.wait(60)

    store.fault = lambda call, key: hang
    vitals = vitals_of(flush_timeout_s=100)
    watched = WatchedStore(store, vitals, monotonic=time.monotonic)
    ended: list[Exception] = []

    def ask() -> None:
        try:
            watched.create("new", b"12345")
        except Unreachable as error:
            ended.append(error)

    worker = threading.Thread(target=ask)
    worker.start()
    try:
        assert hangs.wait(30)
        if sign == "announce":
            vitals.grace.announce(is_leaving=True)
        else:
            getattr(vitals.grace, sign)()
        worker.join(30)
        assert not worker.is_alive()
        assert "the pod has to go" in str(ended[0])
        store.fault = lambda call, key: None
        assert watched.create("new", b"12345") is Creation.CREATED
    finally:
        go_on.set()
        worker.join(30)
    assert 'store_calls_total{call="create",outcome="unreachable"} 1' in vitals.metrics.text()
