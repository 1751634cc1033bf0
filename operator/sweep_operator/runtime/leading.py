"""What the operator that decides does, and no other: nothing of it begins before the Lease is won."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from sweep_operator.kube.client import ApiError
from sweep_operator.kube.informer import Informer
from sweep_operator.runtime.election import Leadership
from sweep_operator.runtime.resync import Resync
from sweep_operator.runtime.together import until_first_ends

logger = logging.getLogger(__name__)

_PAUSE_SECONDS = 1.0


class Leading:
    """Waits for its turn with caches that are full, and then does the work.

    `won` is called when the turn has come, and `began` when all sweeps are known as they are stored then, with the time
    (Unix seconds); `work` is started after that.
    """

    def __init__(
        self,
        *,
        leadership: Leadership,
        informers: Sequence[Informer[Any]],
        resync: Resync,
        won: Callable[[], None],
        began: Callable[[float], None],
        work: Sequence[Callable[[], Coroutine[Any, Any, None]]],
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._leadership = leadership
        self._informers = informers
        self._resync = resync
        self._won = won
        self._began = began
        self._work = work
        self._wall = wall
        self._sleep = sleep

    async def run(self) -> None:
        """Lead until cancelled.

        Raises
        ------
        LeadershipLost
        """
        # Nothing is decided before all pods are known: a pod that is not yet listed would look like one that is gone.
        for informer in self._informers:
            await informer.wait_synced()
        await self._leadership.acquire()
        self._won()
        await until_first_ends([self._leadership.hold(), self._lead()])

    async def _lead(self) -> None:
        # Who has decided so far may have written what the watch of this process has not brought yet.
        while True:
            try:
                await self._resync.take_in()
                break
            except ApiError as error:
                logger.warning("the sweeps could not be listed: %s", error)
                await self._sleep(_PAUSE_SECONDS)
        self._began(self._wall())
        logger.info("pods and nodes are listed, looking at the sweeps")
        await until_first_ends([each() for each in self._work])
