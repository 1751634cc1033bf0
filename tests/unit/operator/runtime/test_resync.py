from __future__ import annotations

from typing import Any

import pytest
from builders import manifest
from fake_api import FakeApi

from sweep_operator.kube import paths
from sweep_operator.kube.client import ApiError
from sweep_operator.runtime.resync import Resync
from sweep_operator.runtime.sweep_store import SweepStore
from sweep_operator.runtime.work_queue import WorkQueue

A, B = paths.sweeps(["a", "b"])
DENIED = ApiError(403, "resumablesweeps is forbidden")


class Desk:
    """Two namespaces with a sweep each."""

    def __init__(self) -> None:
        self.api = FakeApi()
        self.sweeps = SweepStore(WorkQueue())
        self.resync = Resync(self.api, self.sweeps, WorkQueue(), namespaces=("a", "b"))  # type: ignore[arg-type]
        self.store(A, sweep("a"))
        self.store(B, sweep("b"))

    def store(self, path: str, *sweeps: dict[str, Any]) -> None:
        self.api.objects[path] = {"items": list(sweeps)}

    def deny(self, *collections: str) -> None:
        self.api.refuse = {path: [DENIED] for path in collections}


def sweep(namespace: str, *, version: int = 1) -> dict[str, Any]:
    made = manifest()
    made["metadata"].update(namespace=namespace, uid=f"uid-{namespace}", resourceVersion=str(version))
    return made


async def test_a_namespace_that_is_denied_does_not_hold_up_the_others() -> None:
    """Its operator's role has gone with it, and every request there is refused."""
    desk = Desk()
    desk.deny(B)
    await desk.resync.take_in()
    assert desk.sweeps.all_keys() == [("a", "lr")]
    desk.deny(B)
    assert await desk.resync.look()
    assert desk.resync.failing is None


async def test_what_may_not_be_listed_is_not_taken_for_gone() -> None:
    desk = Desk()
    await desk.resync.take_in()
    desk.store(A)
    desk.deny(B)
    await desk.resync.look()
    assert desk.sweeps.all_keys() == [("b", "lr")]


async def test_what_may_be_listed_again_is_taken_in_as_it_is_by_then() -> None:
    desk = Desk()
    await desk.resync.take_in()
    desk.deny(B)
    await desk.resync.look()
    desk.store(B, sweep("b", version=7))
    await desk.resync.look()
    assert desk.sweeps.get(("b", "lr")) == sweep("b", version=7)


async def test_where_nothing_may_be_listed_that_is_said() -> None:
    desk = Desk()
    desk.deny(A, B)
    with pytest.raises(ApiError):
        await desk.resync.take_in()
    desk.deny(A, B)
    assert not await desk.resync.look()
    assert desk.resync.failing is not None


async def test_rights_that_come_and_go_drop_nothing() -> None:
    desk = Desk()
    await desk.resync.take_in()
    desk.deny(A)
    await desk.resync.look()
    desk.deny(B)
    await desk.resync.look()
    assert desk.sweeps.all_keys() == [("a", "lr"), ("b", "lr")]
