from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from builders import NODE, NOW, UID, manifest, placed, pod, report, sweep
from fake_api import FakeApi

from sweep_operator.kube import paths
from sweep_operator.kube.client import ApiError
from sweep_operator.model.lease import LeaseView
from sweep_operator.model.shard_record import ShardRecord
from sweep_operator.runtime.attention import Attention
from sweep_operator.runtime.lease_watch import (
    ASK_AGAIN_SECONDS,
    FORBIDDEN_SECONDS,
    MOST_READS,
    READ_AGAIN_SECONDS,
    LeaseWatch,
)
from sweep_operator.runtime.pod_index import PodIndex
from sweep_operator.runtime.report_board import ReportBoard
from sweep_operator.runtime.sweep_store import SweepStore
from sweep_operator.runtime.translation import status_manifest
from sweep_operator.runtime.work_queue import WorkQueue

LEASE = paths.node_lease(NODE)


class Watch:
    """A watch over pods that have just reported, one a node."""

    def __init__(self, *records: ShardRecord, nodes: Sequence[str] = (NODE,), reporting: bool = True) -> None:
        self.api, self.queue = FakeApi(), WorkQueue(idle_seconds=0)
        client: Any = self.api
        self.passed = 0.0
        sweeps, pods = SweepStore(self.queue), PodIndex(self.queue)
        self.reports = ReportBoard(self.wall)
        self.attention = Attention(clock=self.monotonic, wall=self.wall)
        self.watch = LeaseWatch(
            client=client,
            sweeps=sweeps,
            pods=pods,
            reports=self.reports,
            queue=self.queue,
            attention=self.attention if reporting else None,
            clock=self.monotonic,
            wall=self.wall,
        )
        known = records or tuple(placed(shard, attempt=shard + 1) for shard in range(len(nodes)))
        of = sweep(known)
        sweeps.seen({**manifest(shards=len(known)), "status": status_manifest(of.status, of)})
        for each, node in zip(known, nodes, strict=True):
            pods.pod_changed(None, pod(each.attempt, shard=each.shard, node=node))
            self.hear(each.attempt, each.shard)
        self.queue.forget(("ns", "lr"))

    def monotonic(self) -> float:
        return 1000.0 + self.passed

    def wall(self) -> float:
        return NOW + self.passed

    def hear(self, attempt: int = 1, shard: int = 0) -> None:
        self.reports.post(UID, report(attempt, shard=shard, sequence=int(self.passed * 1000) + 1))

    def renew(self, *, uid: str = "lease-1", duration: int | None = 40) -> None:
        # The node's clock is years behind, which must not matter.
        spec = {"renewTime": f"2001-01-01T00:00:00.{int(self.passed):06d}Z", "leaseDurationSeconds": duration}
        self.api.objects[LEASE] = {"metadata": {"uid": uid}, "spec": spec}

    async def let_pass(self, seconds: int) -> None:
        for _ in range(seconds):
            self.passed += 1
            self.attention.since()
            await self.watch.look()

    @property
    def reads(self) -> list[str]:
        return self.api.paths("GET")

    @property
    def is_queued(self) -> bool:
        return len(self.queue) > 0


async def test_nothing_is_read_while_reports_come() -> None:
    watch = Watch()
    watch.renew()
    for _ in range(5):
        await watch.let_pass(10)
        watch.hear()
    assert watch.reads == []
    assert watch.watch.leases() == {}


async def test_a_missing_report_has_the_lease_read_until_it_comes() -> None:
    watch = Watch()
    watch.renew()
    await watch.let_pass(11)
    assert watch.reads == []
    await watch.let_pass(1 + 2 * int(READ_AGAIN_SECONDS))
    assert watch.reads == [LEASE] * 3
    watch.hear()
    await watch.let_pass(5)
    assert watch.reads == [LEASE] * 3
    assert watch.watch.leases() == {}


async def test_a_lease_that_is_renewed_wakes_nobody() -> None:
    watch = Watch()
    for _ in range(6):
        watch.renew()
        await watch.let_pass(10)
    assert watch.watch.leases()[NODE].unrenewed_seconds <= 10
    assert not watch.is_queued


async def test_a_lease_that_is_not_renewed_has_the_sweep_looked_at() -> None:
    watch = Watch()
    watch.renew()
    await watch.let_pass(12 + 12)
    assert not watch.is_queued
    await watch.let_pass(2)
    assert watch.is_queued
    assert watch.watch.leases() == {NODE: LeaseView(unrenewed_seconds=14.0, renewal_seconds=10.0)}


async def test_a_sweep_is_looked_at_when_the_verdict_can_fall_and_not_before() -> None:
    watch = Watch(placed(false_alarms=2))
    watch.renew()
    # Silent for 100 s: so long the shard's false alarms have taught the operator to wait.
    await watch.let_pass(99)
    assert not watch.is_queued
    await watch.let_pass(1)
    assert watch.is_queued


async def test_a_verdict_that_does_not_fall_is_not_asked_for_all_the_time() -> None:
    watch = Watch()
    watch.renew()
    looks = 0
    for _ in range(26 + 2 * int(ASK_AGAIN_SECONDS)):
        await watch.let_pass(1)
        looks += watch.is_queued
        watch.queue.forget(("ns", "lr"))
    assert looks == 3


async def test_silence_that_was_broken_is_told_of_at_once_when_it_comes_again() -> None:
    watch = Watch()
    watch.renew()
    await watch.let_pass(26)
    assert watch.is_queued
    watch.queue.forget(("ns", "lr"))
    watch.hear()
    watch.renew()
    await watch.let_pass(1)
    assert not watch.is_queued
    await watch.let_pass(25)
    assert watch.is_queued


async def test_a_lease_says_how_often_it_is_renewed() -> None:
    watch = Watch()
    watch.renew(duration=80)
    await watch.let_pass(12 + 24)
    assert not watch.is_queued
    assert watch.watch.leases()[NODE].renewal_seconds == 20
    await watch.let_pass(2)
    assert watch.is_queued


async def test_another_nodes_lease_of_the_same_name_is_news() -> None:
    watch = Watch()
    watch.renew()
    await watch.let_pass(20)
    renewed = watch.api.objects[LEASE]["spec"]
    watch.api.objects[LEASE] = {"metadata": {"uid": "lease-2"}, "spec": renewed}
    await watch.let_pass(1)
    assert watch.watch.leases()[NODE].unrenewed_seconds == 0


async def test_an_api_server_that_does_not_answer_tells_nothing() -> None:
    watch = Watch()
    watch.renew()
    await watch.let_pass(13)
    watch.api.refuse[LEASE] = [ApiError(0, "no answer") for _ in range(100)]
    await watch.let_pass(60)
    assert watch.watch.leases() == {}
    assert not watch.is_queued


async def test_a_node_without_a_lease_is_unknown() -> None:
    watch = Watch()
    await watch.let_pass(60)
    assert watch.watch.leases() == {}
    watch.renew()
    await watch.let_pass(1)
    assert watch.watch.leases()[NODE].unrenewed_seconds == 0
    del watch.api.objects[LEASE]
    await watch.let_pass(1)
    assert watch.watch.leases() == {}


async def test_without_the_right_to_read_leases_it_asks_rarely(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch()
    watch.api.refuse[LEASE] = [ApiError(403, "leases.coordination.k8s.io is forbidden")]
    watch.renew()
    await watch.let_pass(12 + int(FORBIDDEN_SECONDS) - 1)
    assert len(watch.reads) == 1
    assert "may not read the Leases" in caplog.text
    await watch.let_pass(1)
    assert len(watch.reads) == 2


async def test_a_pause_of_the_operators_own_begins_everything_anew() -> None:
    watch = Watch()
    watch.renew()
    await watch.let_pass(12 + 12)
    watch.passed += 60
    await watch.watch.look()
    assert watch.watch.attentive_since() == watch.wall()
    assert watch.watch.leases() == {}
    await watch.let_pass(11)
    assert not watch.is_queued


async def test_where_pods_report_to_nobody_no_lease_is_read() -> None:
    watch = Watch(reporting=False)
    watch.renew()
    await watch.let_pass(60)
    assert watch.reads == []
    assert watch.watch.attentive_since() is None


async def test_many_suspects_are_read_a_few_at_a_time() -> None:
    nodes = [f"n{index}" for index in range(MOST_READS + 20)]
    watch = Watch(nodes=nodes)
    await watch.let_pass(12)
    assert len(watch.reads) == MOST_READS
    await watch.let_pass(1)
    # Those that were not read yet go first.
    assert set(watch.reads) == {paths.node_lease(node) for node in nodes}
