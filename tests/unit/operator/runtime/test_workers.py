from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from sweep_operator.runtime.work_queue import Key, WorkQueue
from sweep_operator.runtime.workers import Workers


class Shop:
    """Two workers whose work lasts until the test says."""

    def __init__(self) -> None:
        self.queue = WorkQueue(idle_seconds=0)
        self.workers = Workers(self.queue, self._work, count=2)
        self.begun: list[str] = []
        self.done: list[str] = []
        self.may_end = asyncio.Event()
        self.running: asyncio.Future[None] | None = None

    async def _work(self, key: Key) -> None:
        self.begun.append(key[1])
        await self.may_end.wait()
        self.done.append(key[1])

    async def begin(self, *names: str) -> None:
        self.running = asyncio.ensure_future(self.workers.run())
        for name in names:
            self.queue.add(("ns", name))
        async with asyncio.timeout(5):
            while len(self.begun) < min(2, len(names)):
                await asyncio.sleep(0.001)
                assert not self.running.done()


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    made = Shop()
    yield made
    assert made.running is not None
    made.running.cancel()
    await asyncio.gather(made.running, return_exceptions=True)


async def test_what_has_begun_is_finished_and_nothing_else_begins(shop: Shop) -> None:
    await shop.begin("a", "b", "c")
    finishing = asyncio.ensure_future(shop.workers.finish(seconds=5))
    await asyncio.sleep(0)
    assert not finishing.done()
    shop.may_end.set()
    assert await finishing
    assert sorted(shop.done) == ["a", "b"]
    shop.queue.add(("ns", "d"))
    await asyncio.sleep(0.02)
    assert sorted(shop.begun) == ["a", "b"]


async def test_what_lasts_too_long_is_not_waited_for(shop: Shop) -> None:
    await shop.begin("a")
    assert not await shop.workers.finish(seconds=0.01)


async def test_idle_workers_are_done_at_once(shop: Shop) -> None:
    await shop.begin()
    assert await shop.workers.finish(seconds=0.01)


async def test_a_defect_in_the_work_ends_it_all(shop: Shop) -> None:
    async def fail(key: Key) -> None:
        raise RuntimeError(key[1])

    workers = Workers(shop.queue, fail, count=2)
    shop.running = asyncio.ensure_future(workers.run())
    shop.queue.add(("ns", "a"))
    with pytest.raises(ExceptionGroup):
        await shop.running
    shop.queue.add(("ns", "a"))
    assert await asyncio.wait_for(shop.queue.take(), 5) == ("ns", "a"), "and lets go of its key"
