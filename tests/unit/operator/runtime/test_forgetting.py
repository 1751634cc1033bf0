"""What is gone leaves nothing behind: a process that lives for months must not remember each sweep that it has had."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from builders import NODE, NOW, UID, manifest, node, placed, pod, report, sweep
from fake_api import FakeApi

from resumable_sweep.contract.environment import TOKEN_AUDIENCE
from soak.held import held
from sweep_operator.kube import paths
from sweep_operator.kube.client import ApiError
from sweep_operator.kube.informer import Informer
from sweep_operator.kube.projection import node_view
from sweep_operator.model.plan import SweepEvent
from sweep_operator.pods.overreach import Allowance
from sweep_operator.pods.settings import PodSettings
from sweep_operator.runtime.attempts import Attempts
from sweep_operator.runtime.attention import Attention
from sweep_operator.runtime.events import EventPoster
from sweep_operator.runtime.execute import Executor
from sweep_operator.runtime.gate import Gate
from sweep_operator.runtime.gather import Gatherer
from sweep_operator.runtime.lease_watch import LeaseWatch
from sweep_operator.runtime.metrics import Metrics
from sweep_operator.runtime.pod_index import PodIndex
from sweep_operator.runtime.reconciler import Reconciler
from sweep_operator.runtime.report_board import ReportBoard
from sweep_operator.runtime.sweep_store import SweepStore
from sweep_operator.runtime.tokens import CACHE_SECONDS, TokenReviewer
from sweep_operator.runtime.translation import status_manifest
from sweep_operator.runtime.work_queue import WorkQueue

KEY = ("ns", "lr")
PODS = paths.pods("ns")
_POD_UID = "authentication.kubernetes.io/pod-uid"


class DeniesAllDeletions(dict[str, list[ApiError]]):
    """What an API server refuses that lets no pod go."""

    def get(self, key: str, default: Any = None) -> Any:
        return self[key] if key.startswith("DELETE ") else default

    def __missing__(self, key: str) -> list[ApiError]:
        return [ApiError(500, "no")]


class Memory:
    """All of the operator that keeps something, wired as in its process."""

    def __init__(self) -> None:
        self.api = FakeApi()
        self.now = NOW
        client: Any = self.api
        self.queue = WorkQueue(idle_seconds=0, clock=self.clock)
        self.attempts, self.reports = Attempts(), ReportBoard(self.clock)
        self.gate = Gate(client, allowance=Allowance(), clock=self.clock)
        metrics = Metrics(clock=self.clock)
        self.items = metrics.first_items
        forget = (self.attempts.forget, self.reports.forget, self.gate.forget, self.items.forget)
        self.sweeps = SweepStore(self.queue, forget=forget)
        self.pods = PodIndex(self.queue)
        self.nodes = Informer(client, paths.NODES, project=node_view, changed=self.pods.node_changed)
        self.events = EventPoster(client, clock=self.clock, unique=lambda: "x")
        self.tokens = TokenReviewer(client, clock=self.clock)
        settings = PodSettings(sidecar_image="sidecar:1")
        self.executor = Executor(
            client=client,
            gate=self.gate,
            sweeps=self.sweeps,
            attempts=self.attempts,
            events=self.events,
            metrics=metrics,
            settings=settings,
            clock=self.clock,
            token=lambda: "secret",
        )
        self.leases = LeaseWatch(
            client=client,
            sweeps=self.sweeps,
            pods=self.pods,
            reports=self.reports,
            queue=self.queue,
            attention=Attention(clock=self.clock, wall=self.clock),
            clock=self.clock,
            wall=self.clock,
        )
        gatherer = Gatherer(
            client=client,
            sweeps=self.sweeps,
            pods=self.pods,
            nodes=self.nodes,
            attempts=self.attempts,
            reports=self.reports,
            tokens=self.tokens,
            gate=self.gate,
            settings=settings,
            leases=self.leases,
            clock=self.clock,
        )
        self.reconciler = Reconciler(
            gatherer=gatherer, executor=self.executor, queue=self.queue, metrics=metrics, clock=self.clock
        )
        self.api.admit = lambda body: {**body, "metadata": {**body["metadata"], "uid": "u"}}

    def clock(self) -> float:
        return self.now

    def held(self) -> dict[str, dict[str, int]]:
        """Return what is kept, by class and attribute."""
        keepers = (self.queue, self.attempts, self.reports, self.gate, self.sweeps, self.pods, self.events, self.nodes)
        return {
            type(it).__name__: held(it) for it in (*keepers, self.items, self.executor, self.leases, self.reconciler)
        }

    async def look(self, *, after: float = 0.0) -> None:
        """Look at what is due `after` some seconds, and let what is to be said of it be said."""
        self.now += after
        for _ in range(len(self.queue)):
            if not self.queue.oldest_due_seconds():
                break
            key = await self.queue.take()
            await self.reconciler.reconcile(key)
            self.queue.done(key)
        waiting: list[asyncio.Future[Any]] = [asyncio.ensure_future(self.events.run())]
        if not self.queue:
            waiting.append(asyncio.ensure_future(self.queue.take()))
        for _ in range(20):
            await asyncio.sleep(0)
        for each in waiting:
            each.cancel()

    def vanish(self) -> None:
        self.sweeps.gone(self.sweeps.get(KEY) or {})


@pytest.fixture
def memory() -> Memory:
    return Memory()


async def test_a_sweep_leaves_nothing(memory: Memory) -> None:
    fresh = memory.held()
    memory.sweeps.seen(manifest())
    await memory.look(after=1)
    for shard in (0, 1):
        memory.pods.pod_changed(None, pod(shard + 1, shard=shard))
        memory.reports.post(UID, report(shard + 1, shard=shard))
        memory.items.relaunched(UID, shard=shard, attempt=shard + 1, since=NOW)
    await memory.look(after=1)
    kept = memory.held()
    keeping = {it for it in fresh if kept[it] != fresh[it]}
    assert keeping >= {"WorkQueue", "Attempts", "ReportBoard", "Gate", "PodIndex", "FirstItems", "Executor"}
    memory.vanish()
    for shard in (0, 1):
        memory.pods.pod_changed(pod(shard + 1, shard=shard), None)
    await memory.look(after=1)
    assert memory.held() == fresh


async def test_a_sweep_that_goes_during_a_look_leaves_nothing(memory: Memory) -> None:
    fresh = memory.held()

    def admit(body: dict[str, Any]) -> dict[str, Any]:
        if body["kind"] == "Pod":
            memory.sweeps.gone(manifest())
        return {**body, "metadata": {**body["metadata"], "uid": "u"}}

    memory.api.admit = admit
    memory.sweeps.seen(manifest())
    await memory.look(after=1)
    assert len(memory.api.paths("POST")) > 1, "there was something to be kept"
    await memory.look(after=1)
    assert memory.held() == fresh


async def test_a_sweep_that_goes_while_nothing_is_answered_leaves_nothing(memory: Memory) -> None:
    fresh = memory.held()
    memory.api.refuse[paths.sweep_status("ns", "lr")] = [ApiError(500, "no")]
    memory.sweeps.seen(manifest())
    await memory.look(after=1)
    assert memory.held()["Reconciler"]["_failures"] == 1
    memory.vanish()
    await memory.look(after=1)
    assert memory.held() == fresh


async def test_what_was_made_of_a_pod_is_not_kept_in_mind_longer_than_its_sweep(memory: Memory) -> None:
    fresh = memory.held()

    def add(body: dict[str, Any]) -> dict[str, Any]:
        # Not in the dry run: it is seen only once it stands there.
        added = {"hostNetwork": True} if body["kind"] == "Pod" and PODS in memory.api.paths("POST") else {}
        spec = {**body.get("spec", {}), **added}
        return {**body, "metadata": {**body["metadata"], "uid": "u"}, "spec": spec}

    memory.api.admit = add
    memory.api.refuse = DeniesAllDeletions()
    memory.sweeps.seen(manifest())
    await memory.look(after=1)
    assert memory.held()["Gate"]["_untruths"] > 0
    memory.vanish()
    await memory.look(after=1)
    assert memory.held() == fresh


async def test_a_machine_that_was_silent_is_forgotten_with_its_pods(memory: Memory) -> None:
    of = sweep((placed(),))
    memory.sweeps.seen({**manifest(shards=1), "status": status_manifest(of.status, of)})
    memory.pods.pod_changed(None, pod())
    memory.reports.post(UID, report())
    memory.api.objects[paths.node_lease(NODE)] = {"metadata": {"uid": "lease"}, "spec": {"renewTime": "t"}}
    fresh = held(memory.leases)
    for _ in range(60):
        memory.now += 1
        await memory.leases.look()
    kept = held(memory.leases)
    assert all(kept[name] > fresh[name] for name in fresh), kept
    memory.pods.pod_changed(pod(), None)
    await memory.leases.look()
    assert held(memory.leases) == fresh


async def test_wishes_that_earlier_ones_have_overtaken_do_not_pile_up(memory: Memory) -> None:
    memory.sweeps.seen(manifest(ttlSecondsAfterFinished=10**6))
    for _ in range(1000):
        memory.queue.add(KEY, delay=10**6)
        memory.queue.add(KEY, delay=0)
        assert await asyncio.wait_for(memory.queue.take(), 5) == KEY
        memory.queue.done(KEY)
    assert sum(held(memory.queue).values()) < 100


async def test_tokens_whose_time_is_over_are_forgotten(memory: Memory) -> None:
    user = {"username": "system:serviceaccount:ns:default", "extra": {_POD_UID: ["pod-1"]}}
    memory.api.on_create = lambda token: {
        "status": {"authenticated": True, "audiences": [TOKEN_AUDIENCE], "user": user}
    }
    for number in range(100):
        await memory.tokens.identity_of(f"token {number}")
    memory.now += CACHE_SECONDS
    await memory.tokens.identity_of("new")
    assert held(memory.tokens)["_known"] == 1


async def test_events_that_nobody_takes_do_not_pile_up(memory: Memory) -> None:
    of = sweep((placed(),))
    for number in range(3000):
        memory.events.post(of, SweepEvent(reason="Said", message=str(number)))
    assert held(memory.events)["_queue"] == 1000


def test_pods_and_nodes_come_and_go(memory: Memory) -> None:
    fresh = memory.held()
    on_other = pod(node="node-b")
    memory.pods.pod_changed(None, pod())
    memory.pods.pod_changed(pod(), on_other)
    memory.pods.node_changed(None, node())
    memory.pods.node_changed(node(), None)
    memory.pods.pod_changed(on_other, None)
    kept = memory.held()
    assert (kept["PodIndex"], kept["Informer"]) == (fresh["PodIndex"], fresh["Informer"])
