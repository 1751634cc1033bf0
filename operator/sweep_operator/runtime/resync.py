"""Listing the sweeps now and then, to hold what the watch has brought against it.

A watch tells of no deletion that happened while it was interrupted, and of its own death it tells nothing at all. A
listing that shows what the watch does not bring is the proof.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from sweep_operator.kube import paths
from sweep_operator.kube.client import ApiError, KubeClient
from sweep_operator.runtime.sweep_store import SweepStore, key_of
from sweep_operator.runtime.work_queue import Key, WorkQueue

logger = logging.getLogger(__name__)

LIST_SECONDS = 60.0
_AGAIN_SECONDS = 10.0
_LISTS_IN_A_RESYNC = 5


class Resync:
    """Lists, compares, and has every sweep looked at once in five minutes. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        client: KubeClient,
        sweeps: SweepStore,
        queue: WorkQueue,
        *,
        namespaces: Collection[str],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._sweeps = sweeps
        self._queue = queue
        # Of all namespaces, where none is named.
        self._collections = dict(zip(namespaces or ("",), paths.sweeps(namespaces), strict=True))
        self._denied: frozenset[str] = frozenset()
        self._clock = clock
        self._sleep = sleep
        self._awaited: dict[Key, tuple[int, float]] = {}
        self._failing: tuple[float, str] | None = None

    @property
    def failing(self) -> tuple[float, str] | None:
        """Since when the sweeps cannot be listed, by the clock, and why; None where they can."""
        return self._failing

    def behind_seconds(self) -> float:
        """Return for how long the watch has not brought what a listing has shown; 0 where it is up to date."""
        now = self._clock()
        return max((now - at for key, (version, at) in self._awaited.items() if self._lacks(key, version)), default=0.0)

    def queue_all(self) -> None:
        """Have every sweep looked at."""
        for key in self._sweeps.all_keys():
            self._queue.add(key)

    async def take_in(self) -> None:
        """Take in all sweeps as they are stored at this moment, and have them looked at.

        Raises
        ------
        ApiError
        """
        before = self._sweeps.uids()
        there = await self._listed(metadata_only=False)
        for sweep in there:
            self._sweeps.written(sweep)
        self._compare(before, there)
        self.queue_all()

    async def run(self) -> None:
        """Look until cancelled."""
        lists = 0
        while True:
            lists += 1
            listed = await self.look()
            if lists % _LISTS_IN_A_RESYNC == 0:
                self.queue_all()
            await self._sleep(LIST_SECONDS if listed else _AGAIN_SECONDS)

    async def look(self) -> bool:
        """List the sweeps, drop what is not there any more, and return whether that was possible."""
        before, now = self._sweeps.uids(), self._clock()
        try:
            denied = self._denied
            there = await self._listed(metadata_only=True)
            self._compare(before, there)
            if denied - self._denied:
                # Nobody has taken those in: the watch alone has told of them.
                await self.take_in()
        except ApiError as error:
            if self._failing is None:
                logger.warning("the sweeps could not be listed: %s", error)
            self._failing = (self._failing[0] if self._failing else now, str(error))
            return False
        self._failing = None
        self._awaited = {key_of(sweep): self._promise(sweep, now) for sweep in there}
        return True

    def _promise(self, sweep: dict[str, Any], now: float) -> tuple[int, float]:
        """Return the version that the watch has to bring, and since when: the oldest that it owes."""
        key = key_of(sweep)
        owed = self._awaited.get(key)
        if owed is not None and self._lacks(key, owed[0]):
            return owed
        return int(sweep["metadata"]["resourceVersion"]), now

    def _lacks(self, key: Key, version: int) -> bool:
        return self._sweeps.watched_version(key) < version

    def _compare(self, before: Mapping[Key, str], there: Collection[dict[str, Any]]) -> None:
        # What is in a namespace that may not be listed is not known to be gone.
        listed = {key: uid for key, uid in before.items() if key[0] not in self._denied}
        self._sweeps.compare(listed, {sweep["metadata"]["uid"] for sweep in there})

    async def _listed(self, *, metadata_only: bool) -> list[dict[str, Any]]:
        """Return the sweeps of all namespaces but those that are denied to us.

        Whoever deletes one of several namespaces deletes the operator's rights in it, too: the others must go on.
        """
        sweeps: list[dict[str, Any]] = []
        denied: dict[str, ApiError] = {}
        for namespace, path in self._collections.items():
            try:
                page = await self._client.get(path, metadata_only=metadata_only)
            except ApiError as error:
                if error.status != 403:
                    raise
                denied[namespace] = error
                continue
            # An empty list of metadata comes without items.
            sweeps += page["items"] or ()
        if len(denied) == len(self._collections):
            raise next(iter(denied.values()))
        for namespace in denied.keys() - self._denied:
            logger.warning("not allowed to list the sweeps of %s, going on without: %s", namespace, denied[namespace])
        self._denied = frozenset(denied)
        return sweeps
