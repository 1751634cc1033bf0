from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from builders import manifest
from fake_api import FakeApi

from sweep_operator.kube.client import ApiError
from sweep_operator.kube.informer import Informer
from sweep_operator.runtime.election import Alone, LeadershipLost
from sweep_operator.runtime.leading import Leading
from sweep_operator.runtime.resync import Resync
from sweep_operator.runtime.sweep_store import SweepStore
from sweep_operator.runtime.work_queue import WorkQueue

SWEEPS = "/apis/resumable.dev/v1alpha1/resumablesweeps"
KEY = ("ns", "lr")


class Turn(Alone):
    """Leadership that comes and goes when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.comes = asyncio.Event()
        self.goes = asyncio.Event()

    async def acquire(self) -> None:
        await self.comes.wait()
        self.is_held = True

    async def hold(self) -> None:
        await self.goes.wait()
        raise LeadershipLost("gone")


class Play:
    def __init__(self) -> None:
        self.api = FakeApi()
        self.queue = WorkQueue()
        self.sweeps = SweepStore(self.queue)
        self.turn = Turn()
        self.told: list[str] = []
        self.informer: Informer[str] = Informer(
            self.api,  # type: ignore[arg-type]
            "/pods",
            project=lambda entry: "",
            changed=lambda old, new: None,
        )
        resync = Resync(self.api, self.sweeps, self.queue, namespaces=())  # type: ignore[arg-type]
        self.leading = Leading(
            leadership=self.turn,
            informers=[self.informer],
            resync=resync,
            won=lambda: self.told.append("won"),
            began=lambda now: self.told.append(f"began at {now:.0f}"),
            work=[self._work],
            wall=lambda: 7.0,
            sleep=self._sleep,
        )
        self.running = asyncio.ensure_future(self.leading.run())

    async def _work(self) -> None:
        self.told.append("works")
        try:
            await asyncio.Event().wait()
        finally:
            self.told.append("stopped")

    async def _sleep(self, seconds: float) -> None:
        self.told.append("tries again")

    async def until(self, holds: Callable[[], Any]) -> None:
        async with asyncio.timeout(5):
            while not holds():
                await asyncio.sleep(0.001)
                assert not self.running.done()

    async def sync(self) -> None:
        self.informer._note_forbidden(ApiError(403, "no"))
        await asyncio.sleep(0)


@pytest.fixture
async def play() -> Play:
    return Play()


async def test_it_stands_only_with_full_caches_and_works_only_when_its_turn_has_come(play: Play) -> None:
    play.turn.comes.set()
    await asyncio.sleep(0.01)
    assert not play.turn.is_held, "the pods are not listed"
    play.turn.comes.clear()
    await play.sync()
    await asyncio.sleep(0.01)
    assert play.api.requests == []
    play.api.objects[SWEEPS] = {"items": [manifest()]}
    play.turn.comes.set()
    await play.until(lambda: "works" in play.told)
    assert play.told == ["won", "began at 7", "works"]
    play.running.cancel()


async def test_it_begins_with_the_sweeps_as_they_are_stored(play: Play) -> None:
    await play.sync()
    old, gone = manifest(), manifest()
    gone["metadata"] |= {"name": "gone", "uid": "u2"}
    play.sweeps.seen(old)
    play.sweeps.seen(gone)
    for key in play.sweeps.all_keys():
        play.queue.forget(key)
    new = manifest()
    new["metadata"]["resourceVersion"] = "99"
    play.api.objects[SWEEPS] = {"items": [new]}
    play.api.refuse[SWEEPS] = [ApiError(0, "connection refused")]
    play.turn.comes.set()
    await play.until(lambda: "works" in play.told)
    assert play.told == ["won", "tries again", "began at 7", "works"]
    assert play.sweeps.all_keys() == [KEY]
    assert play.sweeps.get(KEY) == new
    assert (await play.queue.take()) in (KEY, ("ns", "gone"))
    play.running.cancel()


async def test_losing_it_ends_the_work_and_is_raised(play: Play) -> None:
    await play.sync()
    play.api.objects[SWEEPS] = {"items": []}
    play.turn.comes.set()
    await play.until(lambda: "works" in play.told)
    play.turn.goes.set()
    with pytest.raises(LeadershipLost):
        await play.running
    assert play.told[-1] == "stopped"
