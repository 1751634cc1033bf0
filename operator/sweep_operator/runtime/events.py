"""Kubernetes events on sweeps, posted in the background: never in the way of the work, and never its condition."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from sweep_operator import api
from sweep_operator.kube import paths
from sweep_operator.kube.client import ApiError, KubeClient
from sweep_operator.model.plan import SweepEvent
from sweep_operator.model.snapshot import Sweep

logger = logging.getLogger(__name__)

_QUEUE_LENGTH = 1000
_IN_FLIGHT = 4
MESSAGE_LENGTH = 1024
"""The API server refuses a longer message (staging/src/k8s.io/api/core/v1, Event.Message)."""


class EventPoster:
    """A bounded queue of events; when it is full the oldest is dropped. `unique` gives a name's unique part."""

    def __init__(self, client: KubeClient, *, clock: Callable[[], float], unique: Callable[[], str]) -> None:
        self._client = client
        self._clock = clock
        self._unique = unique
        self._queue: asyncio.Queue[tuple[str, dict[str, object]]] = asyncio.Queue(_QUEUE_LENGTH)

    def post(self, sweep: Sweep, event: SweepEvent) -> None:
        """Queue an event for posting."""
        if self._queue.full():
            self._queue.get_nowait()
        now = datetime.fromtimestamp(self._clock(), tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        body: dict[str, object] = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{sweep.name}.{self._unique()}", "namespace": sweep.namespace},
            "involvedObject": {
                "apiVersion": api.API_VERSION,
                "kind": api.KIND,
                "name": sweep.name,
                "namespace": sweep.namespace,
                "uid": sweep.uid,
            },
            "reason": event.reason,
            "message": event.message[:MESSAGE_LENGTH],
            "type": "Warning" if event.warning else "Normal",
            "source": {"component": "resumable-sweep"},
            "reportingComponent": "resumable.dev/operator",
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        self._queue.put_nowait((sweep.namespace, body))

    async def run(self) -> None:
        """Post events until cancelled, several at a time: the order in which they arrive tells nothing."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_IN_FLIGHT):
                group.create_task(self._post_all())

    async def _post_all(self) -> None:
        while True:
            namespace, body = await self._queue.get()
            try:
                await self._client.create(paths.events(namespace), body)
            except ApiError as error:
                logger.warning("event not posted: %s", error)
