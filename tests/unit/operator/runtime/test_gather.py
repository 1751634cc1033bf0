"""What is read, and when the API server itself is asked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from builders import NODE, NOW, UID, manifest, node, placed, pod, record, report, sweep
from fake_api import FakeApi

from resumable_sweep.contract.report import NoticeKind
from sweep_operator.decide import decide
from sweep_operator.kube import paths
from sweep_operator.kube.client import ApiError
from sweep_operator.kube.informer import Informer
from sweep_operator.kube.projection import pod_view
from sweep_operator.model.observed import Creation, NodeView, PodView
from sweep_operator.model.plan import DeletePod
from sweep_operator.model.shard_record import ShardRecord, ShardState
from sweep_operator.model.signals import Signal
from sweep_operator.model.snapshot import Snapshot
from sweep_operator.pods import names
from sweep_operator.pods.overreach import Allowance
from sweep_operator.pods.settings import PodSettings
from sweep_operator.runtime.attempts import Attempts
from sweep_operator.runtime.attention import Attention
from sweep_operator.runtime.gate import Gate
from sweep_operator.runtime.gather import REQUESTS_IN_FLIGHT, Gatherer
from sweep_operator.runtime.lease_watch import LeaseWatch
from sweep_operator.runtime.pod_index import PodIndex
from sweep_operator.runtime.report_board import ReportBoard
from sweep_operator.runtime.sweep_store import SweepStore
from sweep_operator.runtime.tokens import TokenReviewer
from sweep_operator.runtime.translation import status_manifest
from sweep_operator.runtime.work_queue import WorkQueue

KEY = ("ns", "lr")
SETTINGS = PodSettings(sidecar_image="sidecar:1")


class Desk:
    def __init__(self, *records: ShardRecord) -> None:
        self.api = FakeApi()
        client: Any = self.api
        queue = WorkQueue()
        self.attempts, self.reports, self.tokens = Attempts(), ReportBoard(), TokenReviewer(client)
        self.store, self.pods = SweepStore(queue), PodIndex(queue)
        self.nodes: Informer[NodeView] = Informer(client, paths.NODES, project=lambda _: None, changed=lambda *_: None)
        known = {("", NODE): node()}
        self.nodes.get = lambda namespace, name: known.get((namespace, name))  # type: ignore[method-assign]
        self.wall = NOW
        self.cached_to = 0
        self.leases = LeaseWatch(
            client=client,
            sweeps=self.store,
            pods=self.pods,
            reports=self.reports,
            queue=queue,
            attention=Attention(clock=lambda: 0.0, wall=lambda: self.wall),
        )
        self.gatherer = Gatherer(
            client=client,
            sweeps=self.store,
            pods=self.pods,
            nodes=self.nodes,
            attempts=self.attempts,
            reports=self.reports,
            tokens=self.tokens,
            settings=SETTINGS,
            gate=Gate(client, allowance=Allowance(), clock=lambda: NOW),
            leases=self.leases,
            clock=lambda: NOW,
            cached_to=lambda _: self.cached_to,
            listening_since=NOW - 60,
        )
        of = sweep(records)
        self.store.seen({**manifest(shards=len(records)), "status": status_manifest(of.status, of)})

    def show(self, *pods: PodView) -> None:
        for each in pods:
            self.pods.pod_changed(None, each)

    async def gather(self) -> Snapshot:
        found = await self.gatherer.gather(KEY)
        assert found is not None
        return found


def path_of(shard: int, attempt: int) -> str:
    return paths.pod("ns", names.attempt_pod_name(sweep="lr", sweep_uid=UID, shard=shard, attempt=attempt))


def as_json(view: PodView) -> dict[str, Any]:
    labels = {
        **names.labels(sweep="lr", sweep_uid=UID, role=view.role),
        names.SHARD: str(view.shard),
        names.ATTEMPT: str(view.attempt),
    }
    return {"metadata": {"namespace": "ns", "name": view.name, "uid": view.uid, "labels": labels}}


async def test_a_sweep_that_is_gone_has_no_snapshot() -> None:
    assert await Desk(record()).gatherer.gather(("ns", "other")) is None


async def test_what_the_caches_show_is_not_asked_for() -> None:
    desk = Desk(placed())
    desk.show(pod(), pod(7, shard=0, sweep_uid="an-earlier-sweep", name="x", uid="x"))
    found = await desk.gather()
    assert [each.uid for each in found.presence.pods] == ["pod-0-1"]
    assert found.presence.nodes == {NODE: node()}
    assert desk.api.requests == []


async def test_a_pod_that_the_api_server_denies_is_absent() -> None:
    desk = Desk(record(), record(1, attempt=2), record(2, ShardState.WAITING))
    desk.show(pod(2, shard=1))
    found = await desk.gather()
    assert found.absent == {1}
    assert desk.api.paths("GET") == [path_of(0, 1)]


async def test_a_pod_is_not_asked_after_before_the_cache_has_come_as_far_as_its_creation() -> None:
    desk = Desk(record())
    desk.attempts.note(UID, 1, Creation(created_at=NOW - 30, version=7))
    desk.cached_to = 6
    assert (await desk.gather()).absent == set()
    assert desk.api.requests == []
    desk.cached_to = 7
    assert (await desk.gather()).absent == {1}


async def test_a_pod_that_only_the_api_server_knows_is_found() -> None:
    desk = Desk(record())
    desk.attempts.note(UID, 1, Creation(uncertain=True, retry_at=NOW))
    desk.api.objects[path_of(0, 1)] = as_json(pod())
    found = await desk.gather()
    assert (found.absent, [each.uid for each in found.presence.pods]) == (frozenset(), ["pod-0-1"])
    assert found.creations[1].seen


@pytest.mark.parametrize("known", [None, Creation(created_at=NOW, seen=True), Creation(uncertain=True, retry_at=NOW)])
async def test_a_pod_whose_creation_nobody_has_checked_is_looked_at(known: Creation | None) -> None:
    """Another process has made it, it was taken over by its name, or the answer to its creation was lost."""
    desk = Desk(record())
    if known is not None:
        desk.attempts.note(UID, 1, known)
    reaching = {**as_json(pod()), "spec": {"volumes": [{"name": "d", "hostPath": {"path": "/"}}]}}
    if known is None or known.seen:
        view = pod_view(reaching)
        assert view is not None
        desk.show(view)
    else:
        desk.api.objects[path_of(0, 1)] = reaching
    found = await desk.gather()
    assert found.forbidden["pod-0-1"].reason == "TemplateForbidden"
    plan = decide(found, NOW)
    (deletion,) = [action for action in plan.actions if isinstance(action, DeletePod)]
    assert (deletion.pod.uid, deletion.grace_seconds) == ("pod-0-1", 0)
    assert [event.reason for event in plan.events] == ["TemplateForbidden"]
    assert plan.status.reclaims == 0


async def test_a_pod_on_its_way_is_not_asked_for() -> None:
    desk = Desk(record())
    desk.attempts.note(UID, 1, Creation(created_at=NOW - 1))
    found = await desk.gather()
    assert (found.absent, desk.api.requests) == (frozenset(), [])


async def test_an_api_server_that_does_not_answer_denies_nothing() -> None:
    desk = Desk(record())
    desk.api.refuse[path_of(0, 1)] = [ApiError(500, "etcd")]
    with pytest.raises(ApiError):
        await desk.gather()


async def test_a_node_too_new_for_the_cache_is_not_gone() -> None:
    desk = Desk(record())
    desk.show(pod(node="new"))
    desk.api.objects[paths.node("new")] = {"metadata": {"name": "new", "uid": "u"}, "status": {}}
    assert list((await desk.gather()).presence.nodes) == ["new"]
    del desk.api.objects[paths.node("new")]
    assert list((await desk.gather()).presence.nodes) == []


async def test_new_nodes_are_asked_for_at_once_and_not_all_of_hundreds() -> None:
    count = 3 * REQUESTS_IN_FLIGHT
    desk = Desk(*(record(shard, attempt=shard + 1) for shard in range(count)))
    desk.show(*(pod(shard + 1, shard=shard, node=f"new-{shard}") for shard in range(count)))
    asked, in_flight, get = [0], [0], desk.api.get

    async def slow_get(path: str, query: Any = None) -> dict[str, Any]:
        in_flight[0] += 1
        asked[0] = max(asked[0], in_flight[0])
        # All that are to be asked at once have been when nothing else is left to run.
        for _ in range(2 * count):
            await asyncio.sleep(0)
        in_flight[0] -= 1
        return await get(path, query)

    desk.api.get = slow_get  # type: ignore[method-assign]
    for shard in range(0, count, 2):
        desk.api.objects[paths.node(f"new-{shard}")] = {"metadata": {"name": f"new-{shard}", "uid": "u"}, "status": {}}
    assert len((await desk.gather()).presence.nodes) == count / 2
    assert asked[0] == REQUESTS_IN_FLIGHT


async def test_a_look_that_fails_leaves_no_requests_behind() -> None:
    count = 3 * REQUESTS_IN_FLIGHT
    desk = Desk(*(record(shard, attempt=shard + 1) for shard in range(count)))
    desk.api.refuse[path_of(0, 1)] = [ApiError(500, "etcd is away")]
    get = desk.api.get

    async def slow_get(path: str, query: Any = None) -> dict[str, Any]:
        if path != path_of(0, 1):
            await asyncio.sleep(0.01)
        return await get(path, query)

    desk.api.get = slow_get  # type: ignore[method-assign]
    with pytest.raises(ApiError):
        await desk.gather()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_nodes_that_may_not_be_read_are_not_asked_for() -> None:
    desk = Desk(record())
    desk.nodes.forbidden = True
    desk.show(pod(node="new"))
    found = await desk.gather()
    assert not found.presence.nodes_visible
    assert desk.api.requests == []


async def test_nobody_listens_while_tokens_may_not_be_reviewed() -> None:
    desk = Desk(record())
    assert (await desk.gather()).listening_since == NOW - 60
    desk.tokens.forbidden = True
    assert (await desk.gather()).listening_since is None


async def test_a_node_that_is_another_machine_at_the_next_look_is_found_out_before_anything_is_written() -> None:
    desk = Desk(record())
    desk.show(pod())
    before = (await desk.gather()).placements
    desk.nodes.get = lambda *_: node(boot_id="another")  # type: ignore[method-assign]
    found = await desk.gather()
    assert found.placements == before == {1: node().incarnation}
    desk.nodes.get = lambda *_: node(uid="another")  # type: ignore[method-assign]
    (after,) = decide(await desk.gather(), NOW).status.records
    assert after.signal is Signal.NODE_REPLACED


async def test_what_belongs_to_former_attempts_is_dropped() -> None:
    desk = Desk(placed(attempt=2))
    desk.show(pod(2))
    desk.attempts.note(UID, 1, Creation(created_at=NOW))
    assert (await desk.gather()).creations == {}


async def test_a_housekeeping_pod_that_is_gone_may_be_made_again() -> None:
    desk = Desk(record(0, ShardState.COMPLETE))
    desk.attempts.note_housekeeping(UID, "merge", Creation(created_at=NOW - 1))
    assert "merge" in (await desk.gather()).housekeeping
    desk.attempts.note_housekeeping(UID, "merge", Creation(created_at=NOW - 60))
    assert (await desk.gather()).housekeeping == {}


NOTICED = placed(notice=NoticeKind.GCE_PREEMPTED, noticed_at=NOW, deadline=int(NOW) + 30, heir=2)


async def test_an_heir_is_asked_after_like_any_attempt() -> None:
    desk = Desk(NOTICED)
    desk.show(pod())
    assert (await desk.gather()).absent == {2}
    assert desk.api.paths("GET") == [path_of(0, 2)]


async def test_an_attempt_that_was_presumed_dead_is_listened_to() -> None:
    desk = Desk(placed(attempt=2, signal=Signal.NODE_SILENT, since=NOW - 9, silenced=1))
    desk.show(pod(deleted=True), pod(2))
    desk.reports.post(UID, report())
    assert set((await desk.gather()).heard_at) == {1}


async def test_silence_is_counted_from_the_operators_own_last_pause() -> None:
    desk = Desk(placed())
    desk.show(pod())
    assert (await desk.gather()).attentive_since == NOW
    desk.wall += 60
    assert (await desk.gather()).attentive_since == NOW + 60


async def test_what_is_known_of_an_heir_is_kept_until_it_has_ended() -> None:
    desk = Desk(NOTICED)
    desk.attempts.note(UID, 2, Creation(created_at=NOW))
    desk.reports.post(UID, report(2))
    found = await desk.gather()
    assert (set(found.creations), set(found.reports), set(found.heard_at)) == ({2}, {2}, {2})
    desk = Desk(NOTICED.changed(heir_ended=True))
    desk.attempts.note(UID, 2, Creation(created_at=NOW))
    desk.show(pod())
    assert (await desk.gather()).creations == {}
