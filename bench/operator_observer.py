"""When pods came to be, as a watch beside the operator sees it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from bench.operator_client import Client
from sweep_operator.pods import names

JOB_INDEX = "batch.kubernetes.io/job-completion-index"


@dataclass(frozen=True)
class Seen:
    """A pod, and when it was created (monotonic seconds)."""

    namespace: str
    name: str
    of: tuple[str, int]
    """The sweep and shard, or the job and index, that it works for."""
    attempt: int
    at: float


class Observer:
    """Follows all pods that work for a shard, or for an index of a job, from a moment on."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self.seen: list[Seen] = []
        """All that were created, in order."""
        self.latest: dict[tuple[str, int], Seen] = {}
        self.live: set[str] = set()
        """Names of those that are not deleted."""

    async def __aenter__(self) -> Observer:
        listed = await self._client.get("/api/v1/pods?limit=1")
        self._task = asyncio.create_task(self._follow(listed["metadata"]["resourceVersion"]))
        self._task.add_done_callback(lambda _: self._news.set())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def wait(self, condition: Callable[[], bool], *, what: str, seconds: float) -> bool:
        """Wait until `condition` holds after a pod came or went; False where it did not within `seconds`."""
        assert self._task is not None
        deadline = time.monotonic() + seconds
        while not condition():
            if self._task.done():
                raise RuntimeError(f"the watch of pods has failed while waiting for {what}") from self._task.exception()
            self._news.clear()
            try:
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    await self._news.wait()
            except TimeoutError:
                return condition()
        return True

    async def _follow(self, version: str) -> None:
        while True:
            # The API server ends a watch whose reader falls behind: what has happened meanwhile comes by the next one.
            async for kind, metadata in self._client.watch("/api/v1/pods", version=version):
                version = metadata["resourceVersion"]
                if kind == "ADDED":
                    self._note(metadata)
                elif kind == "DELETED":
                    self.live.discard(metadata["name"])
                    self._news.set()

    def _note(self, metadata: dict[str, object]) -> None:
        labels = metadata.get("labels") or {}
        assert isinstance(labels, dict)
        if names.SHARD in labels:
            of, attempt = (labels[names.SWEEP], int(labels[names.SHARD])), int(labels[names.ATTEMPT])
        elif JOB_INDEX in labels:
            of = (labels["batch.kubernetes.io/job-name"], int(labels[JOB_INDEX]))
            attempt = self.latest[of].attempt + 1 if of in self.latest else 1
        else:
            return
        pod = Seen(str(metadata["namespace"]), str(metadata["name"]), of, attempt, time.monotonic())
        self.seen.append(pod)
        self.latest[of] = pod
        self.live.add(pod.name)
        self._news.set()
