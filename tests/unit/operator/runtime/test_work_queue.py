from __future__ import annotations

import asyncio

import pytest

from sweep_operator.runtime.work_queue import Key, WorkQueue

A, B = ("ns", "a"), ("ns", "b")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> WorkQueue:
    return WorkQueue(idle_seconds=1, clock=clock)


async def due(queue: WorkQueue) -> Key | None:
    """Return the key that is due now, None where none is."""
    task = asyncio.ensure_future(queue.take())
    for _ in range(3):
        await asyncio.sleep(0)
    if task.done():
        return task.result()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return None


async def test_a_key_waits_for_others_like_it(queue: WorkQueue, clock: Clock) -> None:
    queue.add(A)
    assert await due(queue) is None
    clock.now += 0.5
    queue.add(A)
    clock.now += 0.5
    assert await due(queue) == A, "later additions do not put it off"
    assert await due(queue) is None, "two additions are one piece of work"


async def test_the_earliest_wish_counts(queue: WorkQueue, clock: Clock) -> None:
    queue.add(A, delay=30)
    queue.add(A, delay=5)
    queue.add(A, delay=60)
    clock.now += 5
    assert await due(queue) == A
    clock.now += 100
    assert await due(queue) is None
    assert len(queue) == 0


async def test_keys_come_in_the_order_in_which_they_are_due(queue: WorkQueue, clock: Clock) -> None:
    queue.add(A, delay=2)
    queue.add(B, delay=1)
    clock.now += 3
    assert [await due(queue), await due(queue)] == [B, A]


async def test_a_key_that_is_worked_on_is_not_handed_out_twice(queue: WorkQueue, clock: Clock) -> None:
    queue.add(A, delay=0)
    assert await due(queue) == A
    queue.add(A, delay=0)
    assert await due(queue) is None
    queue.done(A)
    assert await due(queue) == A


async def test_a_wish_made_during_the_work_keeps_its_time(queue: WorkQueue, clock: Clock) -> None:
    queue.add(A, delay=0)
    await due(queue)
    queue.add(A, delay=10)
    clock.now += 4
    queue.done(A)
    clock.now += 5.9
    assert await due(queue) is None
    clock.now += 0.2
    assert await due(queue) == A


async def test_a_forgotten_key_does_not_come(queue: WorkQueue, clock: Clock) -> None:
    queue.add(A, delay=0)
    queue.forget(A)
    assert await due(queue) is None
    queue.add(B, delay=0)
    assert await due(queue) == B
    queue.add(B)
    queue.forget(B)
    queue.done(B)
    clock.now += 10
    assert await due(queue) is None


async def test_how_long_the_oldest_has_been_due(queue: WorkQueue, clock: Clock) -> None:
    assert queue.oldest_due_seconds() == 0
    queue.add(A)
    queue.add(B, delay=100)
    clock.now += 8
    assert queue.oldest_due_seconds() == 7


async def test_nobody_has_waited_for_whoever_only_stood_in(clock: Clock) -> None:
    waited: list[float] = []
    queue = WorkQueue(idle_seconds=1, clock=clock, waited=waited.append, is_open=False)
    queue.add(A)
    assert len(queue) == 0
    clock.now += 3600
    queue.open()
    queue.add(A)
    clock.now += 8
    assert queue.oldest_due_seconds() == 7
    assert [await due(queue), await due(queue)] == [A, None]
    assert waited == [7]


async def test_workers_wake_up_for_an_earlier_wish() -> None:
    queue = WorkQueue(idle_seconds=0)
    queue.add(A, delay=600)
    waiting = asyncio.ensure_future(queue.take())
    await asyncio.sleep(0)
    queue.add(B)
    assert await asyncio.wait_for(waiting, 5) == B
