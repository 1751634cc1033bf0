"""How late the event loop is: while it is blocked nothing is heard, renewed or answered."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

WINDOW_SECONDS = 30.0
_TICK_SECONDS = 1.0


class LoopLag:
    """Sleeps for a second again and again, and keeps by how much it overslept. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._late: deque[tuple[float, float]] = deque()
        self._due = clock() + _TICK_SECONDS

    def worst_seconds(self) -> float:
        """Return by how much the loop was late at worst, within the last half a minute."""
        now = self._clock()
        while self._late and self._late[0][0] < now - WINDOW_SECONDS:
            self._late.popleft()
        # Whoever asks may be served before the sleeper after a long block.
        return max(0.0, now - self._due, *(late for _, late in self._late))

    async def run(self) -> None:
        """Sleep until cancelled."""
        while True:
            self._due = self._clock() + _TICK_SECONDS
            await self._sleep(_TICK_SECONDS)
            now = self._clock()
            self.worst_seconds()
            self._late.append((now, max(0.0, now - self._due)))
