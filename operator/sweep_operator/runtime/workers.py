"""Workers on the queue that can be asked to finish what they have begun, and begin no more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from sweep_operator.runtime.work_queue import Key, WorkQueue


class Workers:
    """So many workers on one queue."""

    def __init__(self, queue: WorkQueue, work: Callable[[Key], Awaitable[None]], *, count: int) -> None:
        self._queue = queue
        self._work = work
        self._count = count
        self._closing = False
        self._busy = 0
        self._rested = asyncio.Event()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._count):
                group.create_task(self._work_on())

    async def finish(self, *, seconds: float) -> bool:
        """Begin no more, wait so long for what has begun, and return whether it is done.

        What is not is for the caller to cut off. An attempt is written down before its pod is asked for: whoever goes
        on finds out which pods there are, and never gives a number twice.
        """
        self._closing = True
        try:
            async with asyncio.timeout(seconds):
                while self._busy:
                    self._rested.clear()
                    await self._rested.wait()
        except TimeoutError:
            return False
        return True

    async def _work_on(self) -> None:
        while True:
            key = await self._queue.take()
            if self._closing:
                self._queue.done(key)
                await asyncio.Event().wait()
            self._busy += 1
            try:
                await self._work(key)
            finally:
                self._busy -= 1
                self._rested.set()
                self._queue.done(key)
