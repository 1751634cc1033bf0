"""A queue of sweep keys: each is worked on by one worker at a time, and many changes make one piece of work."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable

Key = tuple[str, str]
"""Namespace and name of a sweep."""
IDLE_SECONDS = 0.05
_MOST_OVERTAKEN = 64


class WorkQueue:
    """Keys that are due, deduplicated and debounced.

    A key that is added waits `idle_seconds`, so that the changes of one reclaim (a node, its eight pods) are seen
    together. A key that is added while it is being worked on is due again afterwards. `clock` is monotonic, in
    seconds. `waited` is called with the seconds for which a key that is taken had been due. `is_open` is whether keys
    are taken in from the start: who works on nothing yet must not keep all that there ever was.
    """

    def __init__(
        self,
        *,
        idle_seconds: float = IDLE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        waited: Callable[[float], None] | None = None,
        is_open: bool = True,
    ) -> None:
        self.is_open = is_open
        self._idle = idle_seconds
        self._clock = clock
        self._waited = waited
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, Key]] = []
        self._working: set[Key] = set()
        self._again: dict[Key, float] = {}
        self._news = asyncio.Event()

    def __len__(self) -> int:
        """Return how many keys are waiting, due or not."""
        return len(self._due)

    def add(self, key: Key, *, delay: float | None = None) -> None:
        """Ask for `key` to be worked on in `delay` seconds; the earliest wish counts."""
        if not self.is_open:
            return
        at = self._clock() + (self._idle if delay is None else delay)
        if key in self._working:
            self._again[key] = min(at, self._again.get(key, at))
        elif at < self._due.get(key, float("inf")):
            self._due[key] = at
            heapq.heappush(self._heap, (at, key))
            if len(self._heap) > _MOST_OVERTAKEN + 2 * len(self._due):
                # Far wishes that nearer ones have overtaken would stay until their time: days, of sweeps that are kept.
                self._heap = [(due, waiting) for waiting, due in self._due.items()]
                heapq.heapify(self._heap)
            self._news.set()

    def forget(self, key: Key) -> None:
        """Drop what is waiting for `key`."""
        self._due.pop(key, None)
        self._again.pop(key, None)

    def open(self) -> None:
        """Take keys in from now on; whoever opens the queue adds all that are to be worked on at first."""
        self.is_open = True

    def due(self) -> int:
        """Return how many keys could be worked on at this moment."""
        now = self._clock()
        return sum(at <= now for at in self._due.values())

    def oldest_due_seconds(self) -> float:
        """Return for how long the most overdue key has been due: 0 where none is."""
        now = self._clock()
        return max(0.0, *(now - at for at in self._due.values())) if self._due else 0.0

    async def take(self) -> Key:
        """Return a key that is due, and mark it as being worked on."""
        while True:
            while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
                heapq.heappop(self._heap)
            wait = None if not self._heap else self._heap[0][0] - self._clock()
            if wait is not None and wait <= 0:
                _, key = heapq.heappop(self._heap)
                del self._due[key]
                self._working.add(key)
                if self._waited is not None:
                    self._waited(-wait)
                return key
            self._news.clear()
            try:
                async with asyncio.timeout(wait):
                    await self._news.wait()
            except TimeoutError:
                continue

    def done(self, key: Key) -> None:
        """Say that the work on `key` has ended."""
        self._working.discard(key)
        again = self._again.pop(key, None)
        if again is not None:
            self.add(key, delay=max(0.0, again - self._clock()))
