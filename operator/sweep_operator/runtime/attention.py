"""Since when the operator could hear: who was away himself knows of nobody's silence."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

LONGEST_PAUSE_SECONDS = 5.0
"""A process that was not at work for so long (no CPU, a machine put to sleep) has missed what was said."""

_TICK_SECONDS = 1.0


class Attention:
    """Notices the operator's own pauses. `clock` is monotonic, `wall` gives Unix seconds."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._sleep = sleep
        self._since = wall()
        self._last = (clock(), wall())

    def since(self) -> float:
        """Return since when this process has heard all that was said to it (Unix seconds)."""
        now = (self._clock(), self._wall())
        # The monotonic clock stands still while a machine sleeps, and the other one may be set.
        was_away = max(now[0] - self._last[0], now[1] - self._last[1]) > LONGEST_PAUSE_SECONDS
        # Where it was set back, nobody would count as silent until it is where it was.
        if was_away or now[1] < self._since:
            self._since = now[1]
        self._last = now
        return self._since

    def lost(self) -> None:
        """Note that something was said which could not be understood just now."""
        self._since = self._wall()

    async def run(self) -> None:
        """Look at the clocks until cancelled."""
        while True:
            self.since()
            await self._sleep(_TICK_SECONDS)
