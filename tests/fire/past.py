"""A collection as it once was: what a restarted operator is shown by an API server that has fallen behind."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable

from fire.kube import Json, Kube

_LOOK_SECONDS = 0.01
HELD_SECONDS = 0.4
"""For so long nothing but the past is shown."""
STEP_SECONDS = 0.05
"""From one event to the next, until nothing is behind any more."""


class Past:
    """All that ever happened to one collection, and how much of it is shown by now.

    Parameters
    ----------
    belongs:
        Whether an object is shown at all.
    """

    def __init__(self, kube: Kube, path: str, *, selector: str = "", belongs: Callable[[Json], bool]) -> None:
        self._kube = kube
        self._path = path
        self._selector = selector
        self._belongs = belongs
        self._events: list[Json] = []
        self._went_back_to: int | None = None
        self._listed_at: float | None = None

    async def record(self) -> None:
        """Record until cancelled."""
        async for event in self._kube.follow(self._path, selector=self._selector):
            if event["type"] != "BOOKMARK" and self._belongs(event["object"]):
                self._events.append(event)

    @property
    def length(self) -> int:
        """How many events there were."""
        return len(self._events)

    def go_back(self, by: int) -> None:
        """Show from now on what was there so many events ago, and what has happened since bit by bit."""
        self._went_back_to = max(0, len(self._events) - by)
        self._listed_at = None

    def listed(self) -> bytes:
        """Return the answer to a LIST; from the first one on that shows the past, time goes on."""
        if self._listed_at is None:
            self._listed_at = time.monotonic()
        shown = self._shown()
        there: dict[tuple[str, str], Json] = {}
        for event in self._events[:shown]:
            metadata = event["object"]["metadata"]
            key = (metadata.get("namespace", ""), metadata["name"])
            if event["type"] == "DELETED":
                there.pop(key, None)
            else:
                there[key] = event["object"]
        listed = {"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": self._version(shown)}}
        return json.dumps(listed | {"items": list(there.values())}).encode()

    async def lines(self, version: str) -> AsyncIterator[bytes]:
        """Yield the events after a version that `listed` has given, or that one of them had."""
        place = sum(_version_of(event) <= int(version) for event in self._events)
        while True:
            while place < self._shown():
                yield json.dumps(self._events[place]).encode() + b"\n"
                place += 1
            await asyncio.sleep(_LOOK_SECONDS)

    def _shown(self) -> int:
        if self._went_back_to is None:
            return len(self._events)
        if self._listed_at is None:
            return self._went_back_to
        steps = int(max(0.0, time.monotonic() - self._listed_at - HELD_SECONDS) / STEP_SECONDS)
        if self._went_back_to + steps >= len(self._events):
            self._went_back_to = None
            return len(self._events)
        return self._went_back_to + steps

    def _version(self, shown: int) -> str:
        return str(_version_of(self._events[shown - 1])) if shown else "1"


def _version_of(event: Json) -> int:
    return int(event["object"]["metadata"]["resourceVersion"])
