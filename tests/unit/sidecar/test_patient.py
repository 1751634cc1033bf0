from __future__ import annotations

from collections.abc import Callable

import pytest

from sweep_sidecar.store import Creation, NotFound, Unreachable
from sweep_sidecar.store.patient import PatientStore
from unit.sidecar.memory_store import MemoryStore


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.told: list[str] = []

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def tell(self, error: Unreachable | None) -> None:
        self.told.append("" if error is None else str(error))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore({"there": b"content"})


def patient(store: MemoryStore, clock: Clock, patience_s: float = 120.0) -> PatientStore:
    return PatientStore(
        store, patience_s=patience_s, waiting=clock.tell, monotonic=lambda: clock.now, sleep=clock.sleep
    )


def failing(store: MemoryStore, times: int, kind: str = "lost") -> None:
    faults = iter([kind] * times)
    store.fault = lambda call, key: next(faults, None)


def test_every_call_is_made_again_until_it_is_answered(store: MemoryStore) -> None:
    calls: list[Callable[[PatientStore], object]] = [
        lambda patient: patient.get("there"),
        lambda patient: patient.list(""),
        lambda patient: patient.create("new", b"new"),
        lambda patient: patient.delete("new"),
    ]
    for call in calls:
        clock = Clock()
        failing(store, 3)
        call(patient(store, clock))
        assert clock.now == 1 + 2 + 4
        assert clock.told[-1] == ""
        assert all("did not get through" in said for said in clock.told[:-1])
    assert "new" not in store.objects


def test_a_create_whose_reply_was_lost_is_known_as_ones_own(store: MemoryStore) -> None:
    failing(store, 1, "unanswered")
    assert patient(store, Clock()).create("new", b"new") is Creation.CREATED


def test_it_gives_up_when_nothing_was_answered_for_so_long(store: MemoryStore) -> None:
    clock = Clock()
    store.fault = lambda call, key: "lost"
    with pytest.raises(Unreachable):
        patient(store, clock, patience_s=30).get("there")
    assert 14 <= clock.now <= 30


def test_how_long_ago_it_was_made_does_not_count(store: MemoryStore) -> None:
    clock = Clock()
    patiently = patient(store, clock, patience_s=10)
    clock.now = 1e6
    failing(store, 2)
    assert patiently.get("there") == b"content"


def test_an_answer_to_another_call_is_a_reason_to_go_on(store: MemoryStore) -> None:
    clock = Clock()
    patiently = patient(store, clock, patience_s=20)
    tries = 0

    def fault(call: str, key: str) -> str | Callable[[], None] | None:
        nonlocal tries
        if key != "there":
            return None
        tries += 1
        patiently.list("other")  # as another thread does meanwhile
        return "lost" if tries < 20 else None

    store.fault = fault
    assert patiently.get("there") == b"content"
    assert clock.now > 200


def test_that_there_is_no_such_object_is_an_answer(store: MemoryStore) -> None:
    clock = Clock()
    with pytest.raises(NotFound):
        patient(store, clock).get("nothing")
    assert clock.now == 0
    assert clock.told == []
