"""How often a status is written: what a person waits for at once, what moves all the time every so often."""

from __future__ import annotations

from typing import Any

from builders import NOW, UID, manifest, node, pod, report
from fake_api import FakeApi

from resumable_sweep.contract.report import Report
from sweep_operator.decide import decide
from sweep_operator.decide.sweep import refresh_seconds
from sweep_operator.kube import paths
from sweep_operator.model.observed import ContainerView, PodView, Presence
from sweep_operator.model.plan import Plan
from sweep_operator.model.snapshot import Snapshot, Sweep
from sweep_operator.pods.overreach import Allowance
from sweep_operator.pods.settings import PodSettings
from sweep_operator.runtime.attempts import Attempts
from sweep_operator.runtime.events import EventPoster
from sweep_operator.runtime.execute import Executor
from sweep_operator.runtime.gate import Gate
from sweep_operator.runtime.metrics import Metrics
from sweep_operator.runtime.sweep_store import SweepStore
from sweep_operator.runtime.translation import sweep_of
from sweep_operator.runtime.work_queue import WorkQueue

STATUS = paths.sweep_status("ns", "lr")
PODS_A_NODE = 8


class Cluster:
    """Pods that come up a few at a time, and the operator's looks at them, with all that it writes."""

    def __init__(self, shards: int) -> None:
        self.shards, self.now = shards, NOW
        self.api, self.attempts = FakeApi(), Attempts()
        self.store = SweepStore(WorkQueue())
        self.store.seen(manifest(shards=shards))
        self.running: set[int] = set()
        self.reports: dict[int, Report] = {}
        client: Any = self.api
        self.executor = Executor(
            client=client,
            gate=Gate(client, allowance=Allowance(), clock=lambda: self.now),
            sweeps=self.store,
            attempts=self.attempts,
            events=EventPoster(client, clock=lambda: self.now, unique=lambda: "x"),
            metrics=Metrics(),
            settings=PodSettings(sidecar_image="sidecar:1"),
            clock=lambda: self.now,
            token=lambda: "secret",
        )
        self.said: list[str] = []

    @property
    def sweep(self) -> Sweep:
        return sweep_of(self.store.get(("ns", "lr")) or {})

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = (self.store.get(("ns", "lr")) or {})["status"]
        return found

    @property
    def writes(self) -> int:
        return self.api.paths("PUT").count(STATUS)

    def pods(self) -> list[PodView]:
        return [self.pod_of(record.shard, record.attempt) for record in self.sweep.status.records if record.attempt]

    def pod_of(self, shard: int, attempt: int) -> PodView:
        if shard in self.running:
            return pod(attempt, shard=shard, node=f"node-{shard // PODS_A_NODE}")
        waiting = (ContainerView(name="main"),)
        return pod(attempt, shard=shard, node="", phase="Pending", mains=waiting, unschedulable="0/9 nodes")

    async def look(self, plan: Plan | None = None) -> float | None:
        nodes = {f"node-{number}": node(f"node-{number}") for number in range(self.shards // PODS_A_NODE + 1)}
        known = Snapshot(
            sweep=self.sweep,
            presence=Presence(pods=tuple(self.pods()), nodes=nodes),
            creations=self.attempts.of(UID),
            reports=self.reports,
            listening_since=self.now,
        )
        plan = plan or decide(known, self.now)
        self.said += [event.reason for event in plan.events]
        return await self.executor.execute(known, plan)


async def test_a_large_launch_is_no_flood_of_writes() -> None:
    cluster = Cluster(1000)
    await cluster.look()
    assert cluster.writes == 1
    looks, seconds = 25, 60.0
    for number in range(looks):
        cluster.now += seconds / looks
        cluster.running |= set(range(number * 40, number * 40 + 40))
        await cluster.look()
    assert cluster.writes <= 3 + seconds / refresh_seconds(1000), f"{cluster.writes} writes in {looks} looks"


async def test_what_was_held_back_is_written_in_the_end() -> None:
    cluster = Cluster(200)
    await cluster.look()
    assert await cluster.look() is None, "the condition has become another one: it was written"
    cluster.now += 1
    cluster.running = {3, 4, 5}
    at = await cluster.look()
    assert (cluster.status["running"], at) == (0, NOW + refresh_seconds(200)), "and says when it can be written"
    assert "shards 0-199" in healthy(cluster)["message"]
    cluster.now = at
    assert await cluster.look() is None
    assert cluster.status["running"] == 3
    assert "shards 0-2,6-199" in healthy(cluster)["message"]


async def test_a_clock_that_was_set_back_holds_nothing_back() -> None:
    cluster = Cluster(200)
    for _ in range(2):
        await cluster.look()
    cluster.now -= 3600
    cluster.running = {3}
    await cluster.look()
    assert cluster.status["running"] == 1


async def test_another_reason_and_a_verdict_are_written_at_once() -> None:
    cluster = Cluster(200)
    await cluster.look()
    await cluster.look()
    assert healthy(cluster)["reason"] == "Unschedulable"
    cluster.running = set(range(200))
    before = cluster.writes
    await cluster.look()
    assert (cluster.writes, healthy(cluster)["status"]) == (before + 1, "True")
    cluster.running.remove(7)
    await cluster.look()
    assert (cluster.writes, healthy(cluster)["reason"]) == (before + 2, "Unschedulable")


async def test_what_was_said_is_not_said_again() -> None:
    cluster = Cluster(200)
    cluster.running = {7, 8}
    damage = {"restore_problem": "CheckpointFellBack", "restore_message": "went back"}
    await cluster.look()
    for shard in (7, 8):
        # The condition is the same for both of them.
        cluster.reports[shard + 1] = report(shard + 1, shard=shard, **damage)
        for _ in range(3):
            await cluster.look()
    assert cluster.said.count("CheckpointFellBack") == 2


def healthy(cluster: Cluster) -> dict[str, Any]:
    return next(each for each in cluster.status["conditions"] if each["type"] == "Healthy")
