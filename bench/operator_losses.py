"""Pods taken away, one by one, steadily, or a thousand at once, and when their replacements were made."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench.operator_client import Client, all_of
from bench.operator_cluster import PODS, Cluster
from bench.operator_observer import Observer, Seen

CLOSE = (0.1, 0.5)
"""Seconds between losses that come while the operator may still be busy with the one before."""
APART = (3.0, 5.0)
"""Seconds between losses that find the operator at rest: longer than a look waits for pods that merely start."""


@dataclass(frozen=True)
class Loss:
    """A pod that was taken, and when (monotonic seconds)."""

    pod: Seen
    at: float


@dataclass(frozen=True)
class Relaunches:
    """Seconds from each loss to the creation of the replacement; those that have none are counted."""

    seconds: list[float]
    missing: int

    def quantile(self, share: float) -> float | None:
        """Return the seconds within which such a share was replaced, None where fewer were, or none was lost."""
        count = len(self.seconds) + self.missing
        place = min(count - 1, int(share * count))
        return sorted(self.seconds)[place] if 0 <= place < len(self.seconds) else None


def relaunches(losses: Collection[Loss], observer: Observer) -> Relaunches:
    """Return how long each loss waited for a pod of a later attempt."""
    by_work: dict[tuple[str, int], list[Seen]] = {}
    for seen in observer.seen:
        by_work.setdefault(seen.of, []).append(seen)
    waits = [
        next((later.at - loss.at for later in by_work[loss.pod.of] if later.attempt > loss.pod.attempt), None)
        for loss in losses
    ]
    found = [wait for wait in waits if wait is not None]
    return Relaunches(found, len(waits) - len(found))


async def one_by_one(
    cluster: Cluster, observer: Observer, *, count: int, seconds: float, pause_s: tuple[float, float] = CLOSE
) -> Relaunches:
    """Have a kubelet that shuts down end a pod, wait for its replacement, and so on, for so long at most.

    The pause after each is drawn from `pause_s`.
    """
    losses: list[Loss] = []
    deadline = time.monotonic() + seconds
    chosen = random.Random(1).sample(sorted(observer.latest), count)
    for of in chosen:
        if time.monotonic() > deadline:
            break
        loss = await take(cluster.client, observer.latest[of])
        losses.append(loss)
        await observer.wait(partial(is_replaced, loss, observer), what="the replacement", seconds=deadline - loss.at)
        # Not in step with the operator's own rhythm.
        await asyncio.sleep(random.Random(len(losses)).uniform(*pause_s))
    return relaunches(losses, observer)


async def with_their_nodes(cluster: Cluster, observer: Observer, *, pods: int, seconds: float) -> Relaunches:
    """Delete nodes that have so many pods, all at once, and wait for the replacements, for so long at most."""
    running = await pods_by_node(cluster.client)
    latest = {seen.name: seen for seen in observer.latest.values()}
    nodes: list[str] = []
    victims: list[Seen] = []
    for node, there in sorted(running.items()):
        if len(victims) >= pods:
            break
        nodes.append(node)
        victims += [latest[name] for name in there if name in latest]
    losses: list[Loss] = []

    async def delete(node: str) -> None:
        await cluster.client.send("DELETE", f"/api/v1/nodes/{node}")
        now = time.monotonic()
        losses.extend(Loss(latest[name], now) for name in running[node] if name in latest)

    await all_of(partial(delete, node) for node in nodes)
    await observer.wait(
        lambda: all(is_replaced(loss, observer) for loss in losses), what="the replacements", seconds=seconds
    )
    return relaunches(losses, observer)


async def steadily(cluster: Cluster, observer: Observer, *, rate: float, seconds: float, rest_s: float) -> Relaunches:
    """Take so many pods a second, none whose shard was struck within `rest_s`; wait `rest_s` for the last ones."""
    draw = random.Random(2)
    struck: dict[tuple[str, int], float] = {}
    losses: list[Loss] = []
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            now = time.monotonic()
            rested = [of for of, at in observer.latest.items() if now - max(struck.get(of, 0.0), at.at) > rest_s]
            if not rested:
                continue
            of = draw.choice(rested)
            struck[of] = now
            group.create_task(_take_into(losses, cluster.client, observer.latest[of]))
    await observer.wait(
        lambda: all(is_replaced(loss, observer) for loss in losses), what="the last replacements", seconds=rest_s
    )
    return relaunches(losses, observer)


async def _take_into(losses: list[Loss], client: Client, pod: Seen) -> None:
    losses.append(await take(client, pod))


async def take(client: Client, pod: Seen) -> Loss:
    """Publish what a kubelet publishes that ends a pod because its node shuts down."""
    path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}"
    condition = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet", "message": "shutdown"}
    state = {"terminated": {"exitCode": 143, "reason": "Error"}}
    main = {"name": "main", "image": "", "imageID": "", "ready": False, "restartCount": 0, "state": state}
    status: dict[str, Any] = {
        "phase": "Failed",
        "reason": "Terminated",
        "message": "Pod was terminated in response to imminent node shutdown.",
        "conditions": [condition, {"type": "Ready", "status": "False"}],
        "containerStatuses": [main],
    }
    at = time.monotonic()
    await client.patch_status(path, status)
    return Loss(pod, at)


def is_replaced(loss: Loss, observer: Observer) -> bool:
    """Whether a later attempt has a pod."""
    return observer.latest[loss.pod.of].attempt > loss.pod.attempt


async def pods_by_node(client: Client) -> dict[str, list[str]]:
    """Return the names of the pods that run on each node."""
    found: dict[str, list[str]] = {}
    token = ""
    while True:
        page = await client.get(f"{PODS}?limit=500&continue={token}")
        for pod in page["items"]:
            if pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]:
                found.setdefault(pod["spec"]["nodeName"], []).append(pod["metadata"]["name"])
        token = page["metadata"].get("continue", "")
        if not token:
            return found


async def wait_until_running(client: Client, *, seconds: float) -> None:
    """Return once all pods run; raises ``RuntimeError`` where they do not within `seconds`."""
    deadline = time.monotonic() + seconds
    # How many a selector leaves is not told without sending them all; whether there is one is.
    while others := (await client.get(f"{PODS}?fieldSelector=status.phase%21%3DRunning&limit=1"))["items"]:
        if time.monotonic() > deadline:
            name = others[0]["metadata"]["name"]
            raise RuntimeError(f"pod {name} does not run after {seconds:.0f} s: {others[0]['status']}")
        await asyncio.sleep(1.0)
