from __future__ import annotations

import asyncio

from sweep_operator.runtime.loop_lag import WINDOW_SECONDS, LoopLag


class Loop:
    """A loop whose sleeps last as long as the test says, one second more than asked for by each of `late`."""

    def __init__(self, *late: float) -> None:
        self.now = 0.0
        self._late = list(late)
        self.lag = LoopLag(clock=lambda: self.now, sleep=self._sleep)

    async def _sleep(self, seconds: float) -> None:
        if not self._late:
            await asyncio.Event().wait()
        self.now += seconds + self._late.pop(0)

    async def run(self) -> None:
        probing = asyncio.ensure_future(self.lag.run())
        await asyncio.sleep(0)
        probing.cancel()


async def test_a_loop_in_time_is_not_late() -> None:
    loop = Loop(0.0, 0.0)
    await loop.run()
    assert loop.lag.worst_seconds() == 0


async def test_the_worst_of_the_last_half_minute_counts() -> None:
    loop = Loop(0.0, 7.0, 0.5)
    await loop.run()
    assert loop.lag.worst_seconds() == 7
    later = Loop(7.0, *[0.25] * int(WINDOW_SECONDS))
    await later.run()
    assert later.lag.worst_seconds() == 0.25


async def test_a_block_shows_before_the_probe_has_woken() -> None:
    loop = Loop()
    await loop.run()
    loop.now += 9
    assert loop.lag.worst_seconds() == 8
