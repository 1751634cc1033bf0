"""How fast pods are made: by a bare client, by the Job controller, and by the operator."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from bench.operator_client import Client, all_of
from bench.operator_cluster import NAMESPACE, PODS, SWEEPS, Cluster, sweep_manifest
from bench.operator_observer import Observer, Seen
from sweep_operator.model.plan import CreateAttempt
from sweep_operator.pods.attempt_pod import pod_for
from sweep_operator.pods.settings import PodSettings
from sweep_operator.runtime.translation import sweep_of

JOBS = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"


@dataclass(frozen=True)
class Made:
    """How many pods were made within how many seconds, from the first to the last."""

    pods: int
    seconds: float
    from_asking_s: float
    """From the creation of what asks for them to the last."""
    cpu_s: float = 0.0
    """Processor seconds of whoever made them, where that was measured: other work on the machine hardly changes it."""

    @property
    def rate(self) -> float:
        """Pods per second."""
        return (self.pods - 1) / self.seconds if self.seconds else 0.0


async def by_bare_client(cluster: Cluster, pods: int) -> Made:
    """Create pods with the bodies that the operator would send, with nobody in between."""
    client = cluster.client
    bodies = await attempt_bodies(client, pods)
    async with Observer(client) as observer:
        asked, used = time.monotonic(), time.process_time()
        await all_of(partial(client.create, PODS, body) for body in bodies)
        await observer.wait(lambda: len(observer.seen) >= pods, what="the pods", seconds=60)
        return replace(made_of(observer.seen, asked), cpu_s=time.process_time() - used)


async def attempt_bodies(client: Client, pods: int) -> list[dict[str, Any]]:
    """Return the pods of a sweep that is there, but that nobody looks after."""
    await client.create(SWEEPS, sweep_manifest("bare", shards=pods, parallelism=pods))
    sweep = sweep_of(await client.get(f"{SWEEPS}/bare"))
    settings = PodSettings(sidecar_image="sidecar:bench", report_url="http://127.0.0.1:8080")
    return [
        pod_for(
            sweep,
            CreateAttempt(shard=n, attempt=n + 1, resumes=False),
            settings=settings,
            stop_path=f"/stopping/{n:032}",
        )
        for n in range(pods)
    ]


async def by_job(cluster: Cluster, observer: Observer, pods: int, *, seconds: float) -> Made:
    """Have an Indexed Job make pods of the same specification, for so long at most."""
    body = (await attempt_bodies(cluster.client, 1))[0]
    before = len(observer.seen)
    asked = time.monotonic()
    await cluster.client.create(JOBS, job_manifest("job", pods, spec=body["spec"]))
    await observer.wait(lambda: len(observer.seen) - before >= pods, what="the job's pods", seconds=seconds)
    return made_of(observer.seen[before:], asked)


def job_manifest(name: str, pods: int, *, spec: dict[str, Any]) -> dict[str, Any]:
    """Return a job that does for an index what a sweep does for a shard, as far as a job can."""
    ignored = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {
            "completions": pods,
            "parallelism": pods,
            "completionMode": "Indexed",
            "backoffLimitPerIndex": 3,
            "maxFailedIndexes": pods,
            "podFailurePolicy": {"rules": [ignored]},
            "template": {"metadata": {"labels": {"app": "job"}}, "spec": copy.deepcopy(spec)},
        },
    }


async def by_sweeps(
    cluster: Cluster, observer: Observer, *, sweeps: int, shards: int, seconds: float, parallelism: int = 0
) -> Made:
    """Create sweeps of so many shards and wait until each has had all its first pods."""
    before, asked = len(observer.seen), time.monotonic()
    wanted = sweeps * (parallelism or shards)
    manifests = [sweep_manifest(f"sweep-{n}", shards=shards, parallelism=parallelism or shards) for n in range(sweeps)]
    await all_of(partial(cluster.client.create, SWEEPS, manifest) for manifest in manifests)
    there = await observer.wait(
        lambda: len(observer.seen) - before >= wanted, what=f"{wanted} pods of sweeps", seconds=seconds
    )
    if not there:
        raise RuntimeError(f"{len(observer.seen) - before} of {wanted} pods were made within {seconds:.0f} s")
    return made_of(observer.seen[before:], asked)


def made_of(seen: Sequence[Seen], asked: float) -> Made:
    """Return what was made of what was seen; `asked` in monotonic seconds."""
    if not seen:
        raise RuntimeError("no pod was made")
    first, last = seen[0].at, seen[-1].at
    return Made(len(seen), last - first, last - asked)
