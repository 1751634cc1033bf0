"""A cache of one kind of objects, kept by LIST and WATCH, that holds projections and misses no deletion.

After a relist it compares: what vanished meanwhile is reported as deleted, which an ordinary watch never does.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from sweep_operator.kube.client import ApiError, KubeClient

logger = logging.getLogger(__name__)

T = TypeVar("T")
Changed = Callable[["T | None", "T | None"], None]
"""Called with the old and the new projection; None stands for absent."""

_PAGE = 100
"""Decoded, a page of pods takes eight times the bytes that it comes in: 500 of them, 55 MiB, and as much while the next
one is read."""
_LONGEST_PAUSE_SECONDS = 30.0
_LONGEST_PAUSE_UNANSWERED_SECONDS = 5.0
"""Where nobody answers, asking costs next to nothing, and whoever is back should be noticed soon."""
_FORBIDDEN_PAUSE_SECONDS = 60.0
_SHORTEST_WATCH_SECONDS = 1.0
"""Where watches end sooner, and bring nothing, they are opened no more often than that."""


class Informer(Generic[T]):
    """The objects of one collection, by namespace and name.

    Parameters
    ----------
    project:
        From an object to what is kept of it; None leaves it out.
    changed:
        Called in the event loop whenever a projection changes; must not block.
    recovered:
        Called likewise when the collection could be listed again after a time in which nobody answered.
    failed:
        Called with the HTTP status of each listing or watch that fails, 0 where there was no answer.
    clock:
        Monotonic, in seconds.
    """

    def __init__(
        self,
        client: KubeClient,
        path: str,
        *,
        project: Callable[[Mapping[str, Any]], T | None],
        changed: Changed[T],
        selector: str = "",
        recovered: Callable[[], None] = lambda: None,
        failed: Callable[[int], None] = lambda status: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._path = path
        self._project = project
        self._changed = changed
        self._query = {"labelSelector": selector} if selector else {}
        self._objects: dict[tuple[str, str], T] = {}
        self._synced = asyncio.Event()
        self._recovered = recovered
        self._failed = failed
        self._clock = clock
        self._sleep = sleep
        self._failures = 0
        self._unanswered = False
        self._failing: tuple[float, str] | None = None
        self.version = 0
        """The resourceVersion up to which the cache shows all that happened, 0 where nothing is known."""
        self.forbidden = False
        """Whether the API server denies this collection to us."""
        self.heard_at = clock()
        """When the API server last said anything, by the clock."""

    @property
    def path(self) -> str:
        """The collection."""
        return self._path

    @property
    def failing(self) -> tuple[float, str] | None:
        """Since when listing and watching fails, by the clock, and how; None where it does not."""
        return self._failing

    @property
    def synced(self) -> bool:
        """Whether the cache has once held all there is, or knows that it may not."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        """Return once `synced` is true."""
        await self._synced.wait()

    def get(self, namespace: str, name: str) -> T | None:
        """Return one object's projection, None where there is none."""
        return self._objects.get((namespace, name))

    def values(self) -> Iterator[T]:
        """Yield all projections."""
        yield from self._objects.values()

    async def run(self) -> None:
        """Keep the cache until cancelled."""
        while True:
            try:
                version = await self._list()
                while True:
                    began, before = self._clock(), version
                    version = await self._watch(before)
                    self._note_success()
                    lasted = self._clock() - began
                    if version == before and lasted < _SHORTEST_WATCH_SECONDS:
                        # A proxy, or a server that is about to end, may close each of them as soon as it is open.
                        await self._sleep(_SHORTEST_WATCH_SECONDS - lasted)
            except ApiError as error:
                await self._sleep(self._pause_after(error))

    def _pause_after(self, error: ApiError) -> float:
        """Return the seconds to wait before listing anew: growing until a watch brings something again.

        A listing that succeeds proves nothing: every watch from it may fail, and listing is what costs most.
        """
        self._failures += 1
        self._failed(error.status)
        self._failing = (self._failing[0] if self._failing else self._clock(), str(error))
        if error.status == 403:
            self._note_forbidden(error)
            return _FORBIDDEN_PAUSE_SECONDS
        if error.status == 410 and self._failures == 1:
            return error.retry_after
        if error.status not in (0, 410):
            logger.warning("LIST or WATCH of %s failed: %s", self._path, error)
        self._unanswered |= error.status == 0
        longest = _LONGEST_PAUSE_SECONDS if error.status else _LONGEST_PAUSE_UNANSWERED_SECONDS
        pause = min(longest, 0.2 * 2.0 ** min(self._failures, 10)) * random.uniform(0.5, 1.0)
        return max(pause, error.retry_after)

    def _note_success(self) -> None:
        self._failures = 0
        self._failing = None

    def _note_forbidden(self, error: ApiError) -> None:
        if not self.forbidden:
            logger.warning("not allowed to read %s, going on without: %s", self._path, error.message)
        self.forbidden = True
        self.heard_at = self._clock()
        self._failing = None
        self._synced.set()

    async def _list(self) -> str:
        """Take the whole collection in, report what changed and what vanished, and return its version."""
        seen: set[tuple[str, str]] = set()
        token = ""
        while True:
            page = await self._client.get(
                self._path, {**self._query, "limit": str(_PAGE), **({"continue": token} if token else {})}
            )
            self.heard_at = self._clock()
            for entry in page["items"]:
                key = self._take(entry)
                if key is not None:
                    seen.add(key)
            token = page["metadata"].get("continue", "")
            if not token:
                break
        for key in [key for key in self._objects if key not in seen]:
            self._drop(key)
        self.forbidden = False
        self.version = int(page["metadata"]["resourceVersion"])
        self._synced.set()
        if self._unanswered:
            self._unanswered = False
            self._recovered()
        return str(page["metadata"]["resourceVersion"])

    async def _watch(self, version: str) -> str:
        """Follow the collection until the server ends the watch, and return the version it came to."""
        async for event in self._client.watch(self._path, version=version, query=self._query):
            self.heard_at = self._clock()
            entry = event["object"]
            if event["type"] == "ERROR":
                raise ApiError(int(entry.get("code", 500)), str(entry.get("message", "")))
            self._note_success()
            version = entry["metadata"]["resourceVersion"]
            if event["type"] == "DELETED":
                self._drop(_key_of(entry))
            elif event["type"] in ("ADDED", "MODIFIED"):
                self._take(entry)
            self.version = int(version)
        return version

    def _take(self, entry: Mapping[str, Any]) -> tuple[str, str] | None:
        view = self._project(entry)
        key = _key_of(entry)
        if view is None:
            self._drop(key)
            return None
        old = self._objects.get(key)
        if old != view:
            self._objects[key] = view
            self._changed(old, view)
        return key

    def _drop(self, key: tuple[str, str]) -> None:
        old = self._objects.pop(key, None)
        if old is not None:
            self._changed(old, None)


def _key_of(entry: Mapping[str, Any]) -> tuple[str, str]:
    metadata = entry["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
