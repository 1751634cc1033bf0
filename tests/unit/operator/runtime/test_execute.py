"""Writes in their order, and what is remembered of them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from builders import NOW, UID, manifest, placed, pod, record, snapshot
from fake_api import FakeApi

from resumable_sweep.contract.report import NoticeKind
from sweep_operator.kube import paths
from sweep_operator.kube.client import ApiError
from sweep_operator.model.observed import Creation, Role
from sweep_operator.model.plan import CreateAttempt, CreateHousekeeping, DeletePod, DeleteSweep, Plan, SweepEvent
from sweep_operator.model.reclaim import Reclaim
from sweep_operator.model.shard_record import ShardRecord, ShardState
from sweep_operator.model.signals import Signal
from sweep_operator.model.snapshot import Sweep
from sweep_operator.pods import names
from sweep_operator.pods.overreach import Allowance
from sweep_operator.pods.settings import PodSettings
from sweep_operator.runtime.attempts import Attempts
from sweep_operator.runtime.events import EventPoster
from sweep_operator.runtime.execute import CREATING_SECONDS, REQUESTS_IN_FLIGHT, Executor, StatusConflict
from sweep_operator.runtime.gate import Gate
from sweep_operator.runtime.metrics import Metrics
from sweep_operator.runtime.sweep_store import SweepStore
from sweep_operator.runtime.translation import status_manifest, sweep_of
from sweep_operator.runtime.work_queue import WorkQueue

STATUS = paths.sweep_status("ns", "lr")
SWEEP = paths.sweep("ns", "lr")
PODS = paths.pods("ns")
POD = f"{PODS}/{names.attempt_pod_name(sweep='lr', sweep_uid=UID, shard=0, attempt=1)}"
ORDER = CreateAttempt(shard=0, attempt=1, resumes=True)


class Desk:
    """An executor with all that it needs, over an API server in memory."""

    def __init__(self, **spec: Any) -> None:
        self.api = FakeApi()
        self.now = NOW
        self.attempts = Attempts()
        self.store = SweepStore(WorkQueue())
        self.store.seen(manifest(**spec))
        self.posted: list[SweepEvent] = []
        self.metrics = Metrics()
        client: Any = self.api
        poster = EventPoster(client, clock=lambda: self.now, unique=lambda: "x")
        poster.post = lambda sweep, event: self.posted.append(event)  # type: ignore[method-assign]
        self.executor = Executor(
            client=client,
            gate=Gate(client, allowance=Allowance(), clock=lambda: self.now),
            sweeps=self.store,
            attempts=self.attempts,
            events=poster,
            metrics=self.metrics,
            settings=PodSettings(sidecar_image="sidecar:1"),
            clock=lambda: self.now,
            token=lambda: "secret",
        )

    @property
    def sweep(self) -> Sweep:
        return sweep_of(self.store.get(("ns", "lr")) or {})

    async def execute(
        self,
        *actions: Any,
        status: dict[str, Any] | None = None,
        spent: float = 0.0,
        says: tuple[str, ...] = ("Said",),
        **known: Any,
    ) -> float | None:
        sweep = self.sweep
        events = tuple(SweepEvent(reason=reason, message="m") for reason in says)
        wanted = replace(sweep.status, **(status if status is not None else {"attempts": 1}))
        plan = Plan(status=wanted, actions=actions, events=events)
        return await self.executor.execute(snapshot(sweep, **known), plan, spent=spent)

    @property
    def events(self) -> list[str]:
        """The reasons of what was posted."""
        return [event.reason for event in self.posted]

    @property
    def creation(self) -> Creation | None:
        return self.attempts.of(UID).get(1)


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_status_first_then_creations_then_deletions(desk: Desk) -> None:
    deletion = DeletePod(pod=pod(9, name="old"), reason="Settled")
    await desk.execute(deletion, CreateHousekeeping(role=Role.MERGE), ORDER)
    verbs = [(verb, path) for verb, path in desk.api.requests if verb != "DRY-RUN"]
    assert verbs[0] == ("PUT", STATUS)
    assert verbs[1] == ("POST", PODS)
    assert verbs[-1] == ("DELETE", f"{PODS}/old")
    assert desk.creation == Creation(created_at=NOW, resumes=True)
    assert desk.events == ["Said", "AttemptCreated"]


@pytest.mark.parametrize("status", [409, 404, 500, 0], ids=["conflict", "gone", "error", "silence"])
async def test_without_the_status_nothing_is_done(desk: Desk, status: int) -> None:
    desk.api.refuse[STATUS] = [ApiError(status, "no")]
    if status == 409:
        newer = manifest()
        newer["metadata"]["resourceVersion"] = "7"
        desk.api.objects[SWEEP] = newer
    with pytest.raises(StatusConflict if status in (404, 409) else ApiError):
        await desk.execute(ORDER, DeletePod(pod=pod(), reason="Settled"))
    assert desk.api.paths("POST") == []
    assert desk.api.paths("DELETE") == []
    assert (desk.creation, desk.events) == (None, [])
    if status == 409:
        assert desk.store.get(("ns", "lr")) == desk.api.objects[SWEEP]
    if status == 404:
        assert desk.store.get(("ns", "lr")) is None


async def test_counts_are_written_only_every_so_often(desk: Desk) -> None:
    await desk.execute(status={"done": 1}, says=())
    await desk.execute(status={"done": 2}, says=())
    assert len(desk.api.paths("PUT")) == 1
    desk.now += 2
    await desk.execute(status={"done": 3}, says=())
    assert len(desk.api.paths("PUT")) == 2
    await desk.execute(status={"done": 4, "attempts": 1}, says=())
    assert len(desk.api.paths("PUT")) == 3, "an attempt cannot wait"
    await desk.execute(status={"done": 5, "attempts": 1})
    assert len(desk.api.paths("PUT")) == 4, "nor can what an event tells"


async def test_an_unchanged_status_is_not_written(desk: Desk) -> None:
    await desk.execute(status={"done": 1})
    desk.now += 60
    await desk.execute(status={})
    assert len(desk.api.paths("PUT")) == 1


async def test_a_pod_that_is_there_already_will_do_if_it_is_ours(desk: Desk) -> None:
    desk.api.objects[POD] = {"metadata": {"labels": {names.SWEEP_UID: UID}}}
    await desk.execute(ORDER)
    assert desk.creation == Creation(created_at=NOW, seen=True, resumes=True)


async def test_a_pod_that_was_there_and_is_gone_is_not_made_again(desk: Desk) -> None:
    desk.api.refuse[f"POST {PODS}"] = [ApiError(409, "already exists", reason="AlreadyExists")]
    await desk.execute(ORDER)
    assert desk.creation == Creation(created_at=NOW, seen=True, resumes=True)
    assert len(desk.api.paths("POST")) == 1


@pytest.mark.parametrize(
    ("message", "reason", "problem"),
    [
        (
            'Operation cannot be fulfilled on resourcequotas "q": the object has been modified',
            "Conflict",
            "ApiUnavailable",
        ),
        ('admission webhook "w" denied the request: no', "", "AdmissionDenied"),
    ],
    ids=["a quota that many pods change at once", "a webhook that says 409"],
)
async def test_not_every_conflict_is_one_of_names(desk: Desk, message: str, reason: str, problem: str) -> None:
    desk.api.refuse[f"POST {PODS}"] = [ApiError(409, message, reason=reason)]
    await desk.execute(ORDER)
    assert desk.creation is not None
    assert (desk.creation.created_at, desk.creation.seen, desk.creation.uncertain) == (None, False, False)
    assert desk.creation.problem == problem, "the same attempt is tried again: it has had no pod"


async def test_a_name_that_somebody_else_has_is_a_problem(desk: Desk) -> None:
    desk.api.objects[POD] = {"metadata": {"labels": {names.SWEEP_UID: "another"}}}
    await desk.execute(ORDER)
    assert desk.creation is not None
    assert (desk.creation.problem, desk.creation.created_at) == ("NameTaken", None)


@pytest.mark.parametrize(
    ("status", "uncertain"),
    [(0, True), (500, True), (504, True), (403, False), (422, False), (429, False)],
    ids=["silence", "500", "504", "forbidden", "invalid", "too many"],
)
async def test_only_a_refusal_is_certain(desk: Desk, status: int, uncertain: bool) -> None:
    reclaim = Reclaim(time=NOW, node="n", shard=0, attempt=1, signal=Signal.NODE_GONE, items_safe=1)
    desk.api.refuse[f"POST {PODS}"] = [ApiError(status, "no")]
    await desk.execute(replace(ORDER, replaces=reclaim))
    assert desk.creation is not None
    assert desk.creation.created_at is None
    assert desk.creation.retry_at > NOW
    assert desk.creation.uncertain is uncertain
    assert (desk.creation.resumes, desk.creation.replaces) == (True, reclaim)
    assert desk.events == ["Said"]


async def test_a_reclaim_is_told_once_the_replacement_is_there(desk: Desk) -> None:
    reclaim = Reclaim(time=NOW - 1, node="n", shard=0, attempt=1, signal=Signal.NODE_GONE, items_safe=1)
    await desk.execute(replace(ORDER, replaces=reclaim))
    assert desk.events == ["Said", "Reclaimed"]


async def test_a_reclaim_has_the_same_signal_in_event_status_and_metric(desk: Desk) -> None:
    reclaim = Reclaim(time=NOW - 1, node="n", shard=0, attempt=1, signal=Signal.NODE_REBOOTED, items_safe=1)
    before = {"attempts": 1, "reclaims_by_signal": {Signal.NODE_REBOOTED: 1}, "last_reclaim": reclaim}
    await desk.execute(replace(ORDER, replaces=reclaim), status=before)
    await desk.execute(status=before)
    written = (desk.store.get(("ns", "lr")) or {})["status"]
    assert (written["reclaimsBySignal"], written["lastReclaim"]["signal"]) == ({"NodeRebooted": 1}, "NodeRebooted")
    assert "(NodeRebooted)" in desk.posted[1].message
    assert sampled(desk, "resumable_sweep_reclaims_total", signal="NodeRebooted") == 1


async def test_many_attempts_of_one_look_are_told_together(desk: Desk) -> None:
    reclaim = Reclaim(time=NOW - 1, node="n", shard=0, attempt=1, signal=Signal.NODE_GONE, items_safe=1)
    orders = [CreateAttempt(shard=shard, attempt=shard + 1, resumes=False) for shard in range(100)]
    await desk.execute(*orders, *(replace(order, attempt=order.attempt + 100, replaces=reclaim) for order in orders))
    assert sorted(desk.events) == ["AttemptCreated", "Reclaimed", "Said"]
    assert sampled(desk, "resumable_sweep_relaunch_seconds_count") == 100


async def test_what_a_look_has_made_before_it_broke_off_is_told(desk: Desk) -> None:
    def admit(pod: dict[str, Any]) -> dict[str, Any]:
        if pod["metadata"]["labels"][names.ATTEMPT] == "90":
            raise RuntimeError("a defect")
        return pod

    desk.api.admit = admit
    orders = [CreateAttempt(shard=shard, attempt=shard + 1, resumes=False) for shard in range(100)]
    with pytest.raises(ExceptionGroup):
        await desk.execute(*orders)
    assert desk.events == ["Said", "AttemptCreated"]
    assert "created, for shards 0-" in desk.posted[1].message


async def test_what_was_lost_is_made_before_what_has_not_begun(desk: Desk) -> None:
    reclaim = Reclaim(time=NOW, node="n", shard=0, attempt=1, signal=Signal.NODE_GONE, items_safe=1)
    orders = [CreateAttempt(shard=0, attempt=number, resumes=False) for number in range(1, 200)]
    lost = [replace(order, attempt=order.attempt + 1000, replaces=reclaim) for order in orders[:50]]

    def admit(pod: dict[str, Any]) -> dict[str, Any]:
        desk.now += CREATING_SECONDS / 60
        return pod

    desk.api.admit = admit
    await desk.execute(*orders, *lost)
    known = desk.attempts.of(UID)
    made = {number for number in known if known[number].created_at is not None}
    assert made >= {order.attempt for order in lost}
    assert len(made) < len(orders), "there was no time for all"


async def test_a_template_that_is_none_is_a_problem_for_its_owner_alone() -> None:
    desk = Desk(template={"spec": {"containers": [{"name": "a", "image": "a", "env": [1]}]}})
    deletion = DeletePod(pod=pod(9, name="old"), reason="Settled")
    await desk.execute(ORDER, deletion)
    assert desk.creation is not None
    assert desk.creation.problem == "TemplateInvalid"
    assert "spec.template" in desk.creation.message
    assert desk.api.paths("DELETE") == [f"{PODS}/old"]


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.ATTEMPT])
async def test_a_template_that_is_none_is_said_of_the_pods_beside_the_attempts_too(role: Role) -> None:
    desk = Desk(
        items={"list": [1]}, template={"spec": {"containers": [{"name": "a", "image": "a"}], "securityContext": "root"}}
    )
    await desk.execute(CreateHousekeeping(role=role))
    creation = desk.attempts.housekeeping_of(UID)[role]
    assert (creation.problem, creation.created_at) == ("TemplateInvalid", None)
    assert 'spec.template.spec.securityContext is "root" and must be an object' in creation.message
    assert PODS not in desk.api.paths("POST")


async def test_inline_items_are_there_before_the_pod_that_reads_them() -> None:
    desk = Desk(items={"list": [1]})
    await desk.execute(CreateHousekeeping(role=Role.RESOLVE))
    assert desk.api.paths("POST") == [paths.config_maps("ns"), PODS]
    assert desk.attempts.housekeeping_of(UID)["resolve"].created_at == NOW
    again = Desk(items={"list": [1]})
    again.api.refuse[paths.config_maps("ns")] = [ApiError(403, "exceeded quota")]
    await again.execute(CreateHousekeeping(role=Role.RESOLVE))
    assert again.api.paths("POST") == [paths.config_maps("ns")]
    assert again.attempts.housekeeping_of(UID)["resolve"].problem == "QuotaExceeded"


@pytest.mark.parametrize("name", ["../../b/configmaps/secret", "..", "a/b", "a?b"])
async def test_items_are_read_from_no_other_namespace(name: str) -> None:
    desk = Desk(items={"configMapKeyRef": {"name": name, "key": "k"}})
    # As one was stored before the definition knew what a name is.
    await desk.execute(CreateHousekeeping(role=Role.RESOLVE))
    creation = desk.attempts.housekeeping_of(UID)["resolve"]
    assert desk.api.paths("GET") == []
    assert creation.problem == "ItemsMissing"
    assert f"nothing can be called {name!r}" in creation.message


@pytest.mark.parametrize("status", [404, 409, 500])
async def test_a_deletion_that_fails_stops_nothing(desk: Desk, status: int) -> None:
    first, second = (DeletePod(pod=pod(9, name=name), reason="Settled") for name in ("a", "b"))
    desk.api.refuse[f"{PODS}/a"] = [ApiError(status, "no")]
    await desk.execute(first, second)
    assert desk.api.paths("DELETE") == [f"{PODS}/a", f"{PODS}/b"]


@pytest.mark.parametrize(
    ("error", "again_at"),
    [
        (ApiError(404, "gone"), None),
        (ApiError(409, "another one"), None),
        (ApiError(500, "no"), NOW + 1),
        (ApiError(429, "later", retry_after=7), NOW + 7),
        (ApiError(403, "never"), NOW + 15),
    ],
    ids=lambda value: str(getattr(value, "status", "")),
)
async def test_a_deletion_that_is_refused_calls_for_another_look(
    desk: Desk, error: ApiError, again_at: float | None
) -> None:
    # The last pod of a sweep that has ended: nothing that happens will ever have it looked at.
    desk.api.refuse[f"{PODS}/a"] = [error]
    assert await desk.execute(DeletePod(pod=pod(9, name="a"), reason="Settled")) == again_at


ANNOUNCED = Reclaim(time=NOW - 2, node="n", shard=0, attempt=1, signal=Signal.GCE_PREEMPTED, items_safe=3)


async def test_an_attempt_made_ahead_of_time_is_no_reclaim_yet(desk: Desk) -> None:
    order = CreateAttempt(shard=0, attempt=2, resumes=True, replaces=ANNOUNCED, take_after=35)
    await desk.execute(order, status={"attempts": 2})
    assert desk.events == ["Said", "AttemptCreated"]
    assert desk.attempts.of(UID)[2].replaces == ANNOUNCED
    name = names.attempt_pod_name(sweep="lr", sweep_uid=UID, shard=0, attempt=2)
    restore = desk.api.objects[f"{PODS}/{name}"]["spec"]["initContainers"][0]
    assert {"name": "SWEEP_TAKE_AFTER", "value": "35"} in restore["env"]
    assert sampled(desk, "resumable_sweep_relaunch_seconds_sum") == 2


async def test_one_that_is_made_only_when_its_turn_has_come_is_a_reclaim_then(desk: Desk) -> None:
    order = CreateAttempt(shard=0, attempt=2, resumes=True, replaces=ANNOUNCED)
    await desk.execute(order, status={"attempts": 2})
    assert desk.events == ["Said", "Reclaimed"]


async def test_each_notice_is_counted_once_by_kind(desk: Desk) -> None:
    noticed = placed(notice=NoticeKind.GCE_PREEMPTED, noticed_at=NOW, deadline=int(NOW) + 30)
    records = (noticed, record(1, ShardState.WAITING))
    for after in (noticed, noticed.changed(heir=2)):
        await desk.execute(status={"records": (after, *records[1:])})
    assert sampled(desk, "resumable_sweep_notices_total", kind="GcePreempted") == 1
    advised = record(1, attempt=3, notice=NoticeKind.EC2_REBALANCE, noticed_at=NOW)
    await desk.execute(status={"records": (noticed, advised)})
    assert sampled(desk, "resumable_sweep_notices_total", kind="Ec2RebalanceRecommendation") == 1
    assert sampled(desk, "resumable_sweep_notices_total", kind="GcePreempted") == 1


async def test_when_an_order_was_refused_is_remembered(desk: Desk) -> None:
    desk.api.refuse[f"POST {PODS}"] = [ApiError(403, "exceeded quota: gpus")]
    await desk.execute(ORDER)
    assert desk.creation is not None
    assert (desk.creation.problem, desk.creation.refused_at) == ("QuotaExceeded", NOW)


async def test_a_quota_that_is_used_up_is_asked_by_one_of_many(desk: Desk) -> None:
    # The fake refuses as often as the list is long: whoever asks again is taken.
    desk.api.refuse[f"POST {PODS}"] = [ApiError(403, "exceeded quota: gpus")]
    orders = [CreateAttempt(shard=0, attempt=number, resumes=number > 1) for number in range(1, 200)]
    await desk.execute(*orders)
    known = desk.attempts.of(UID)
    refused = [number for number in known if known[number].problem == "QuotaExceeded"]
    assert len(refused) > len(orders) - REQUESTS_IN_FLIGHT
    assert {known[number].retry_at for number in refused} == {NOW + 5}
    assert known[max(refused)].resumes, "the order is kept for when there is room"


async def test_pods_for_which_a_look_has_no_time_are_left_to_the_next(desk: Desk) -> None:
    def admit(pod: dict[str, Any]) -> dict[str, Any]:
        desk.now += CREATING_SECONDS / 10
        return {**pod, "metadata": {**pod["metadata"], "resourceVersion": "7"}}

    desk.api.admit = admit
    orders = [CreateAttempt(shard=0, attempt=number, resumes=False) for number in range(1, 200)]
    assert await desk.execute(*orders) == desk.now, "to look again at once"
    known = desk.attempts.of(UID)
    made = [number for number in known if known[number].created_at is not None]
    assert 0 < len(made) < len(orders)
    assert {known[number].version for number in made} == {7}
    assert {known[number] for number in set(known) - set(made)} == {Creation()}, "they are ours, and still to be made"


async def test_what_waits_for_its_turn_takes_no_task_each(desk: Desk) -> None:
    most = 0

    def admit(pod: dict[str, Any]) -> dict[str, Any]:
        nonlocal most
        most = max(most, len(asyncio.all_tasks()))
        return pod

    desk.api.admit = admit
    await desk.execute(*(CreateAttempt(shard=0, attempt=number, resumes=False) for number in range(1, 400)))
    assert len(desk.attempts.of(UID)) == 399
    assert most <= REQUESTS_IN_FLIGHT + 1


async def test_where_looks_are_slow_most_of_the_time_goes_to_pods(desk: Desk) -> None:
    def admit(pod: dict[str, Any]) -> dict[str, Any]:
        desk.now += CREATING_SECONDS
        return pod

    desk.api.admit = admit
    orders = [CreateAttempt(shard=0, attempt=number, resumes=False) for number in range(1, 200)]
    for spent in (0.0, 60.0 * CREATING_SECONDS):
        desk.attempts.forget(UID)
        await desk.execute(*orders, spent=spent)
        known = desk.attempts.of(UID)
        made = sum(known[number].created_at is not None for number in known)
        assert made > REQUESTS_IN_FLIGHT + 10 if spent else made <= REQUESTS_IN_FLIGHT + 1


async def test_a_quota_that_stays_used_up_is_asked_less_and_less_often(desk: Desk) -> None:
    pauses = []
    for _ in range(6):
        desk.api.refuse[f"POST {PODS}"] = [ApiError(403, "exceeded quota: gpus")]
        await desk.execute(ORDER, creations=desk.attempts.of(UID))
        assert desk.creation is not None
        pauses.append(desk.creation.retry_at - desk.now)
        desk.now = desk.creation.retry_at
    assert pauses == [5, 10, 20, 40, 60, 60]


async def test_what_a_webhook_has_kept_away_was_not_made(desk: Desk) -> None:
    desk.api.refuse[f"POST {PODS}"] = [ApiError(500, 'failed calling webhook "owner.example.com": no answer')]
    await desk.execute(ORDER)
    assert desk.creation is not None
    assert (desk.creation.problem, desk.creation.uncertain, desk.creation.generation) == ("WebhookFailed", False, 1)


def sampled(desk: Desk, name: str, **labels: str) -> float | None:
    return desk.metrics.registry.get_sample_value(name, labels)


def failed(**fields: Any) -> ShardRecord:
    ended = {"state": ShardState.WAITING, "attempt": 1, "signal": Signal.CONTAINER_FAILED, "since": NOW}
    return record(**{**ended, **fields})


@pytest.mark.parametrize(
    ("before", "after", "counted"),
    [
        (record(), failed(), 1),
        (record(), failed(state=ShardState.FAILED), 1),
        (failed(state=ShardState.LEAVING), failed(), 1),
        (record(), failed(state=ShardState.LEAVING), 0),
        (failed(), failed(state=ShardState.ACTIVE, attempt=2), 0),
        (record(signal=Signal.CONTAINER_FAILED, since=NOW - 9), failed(), 1),
        (record(), failed(signal=Signal.NODE_GONE), 0),
        (record(), failed(signal=Signal.STOPPED), 0),
        (record(), record(state=ShardState.COMPLETE, attempt=1), 0),
    ],
    ids=[
        "ended",
        "ended, and its shard with it",
        "ended after it was seen to end",
        "still flushing",
        "the next one",
        "the same again",
        "taken away",
        "stopped",
        "done",
    ],
)
async def test_each_failure_is_counted_once_by_signal(before: ShardRecord, after: ShardRecord, counted: int) -> None:
    desk = Desk()
    sweep = replace(desk.sweep, status=replace(desk.sweep.status, records=(before, record(1))))
    plan = Plan(status=replace(sweep.status, records=(after, record(1))))
    await desk.executor.execute(snapshot(sweep), plan)
    total = sum(sampled(desk, "resumable_sweep_failures_total", signal=signal) or 0 for signal in Signal)
    assert total == counted == (sampled(desk, "resumable_sweep_failures_total", signal=after.signal) or 0)


@pytest.mark.parametrize("phase", ["Complete", "Failed"])
async def test_the_end_of_a_sweep_is_counted_once(desk: Desk, phase: str) -> None:
    sweep = replace(desk.sweep, status=replace(desk.sweep.status, phase="Running"))
    over = replace(sweep, status=replace(sweep.status, phase=phase))
    for before, after in ((sweep, sweep), (sweep, over), (over, over)):
        await desk.executor.execute(snapshot(before), Plan(status=after.status))
    assert sampled(desk, "resumable_sweep_sweeps_ended_total", phase=phase) == 1


async def test_writes_are_counted(desk: Desk) -> None:
    desk.api.refuse[f"POST {PODS}"] = [ApiError(403, "exceeded quota: pods")]
    await desk.execute(ORDER)
    await desk.execute(ORDER, DeletePod(pod=pod(9, name="old"), reason="Settled"), status={"attempts": 2})
    assert sampled(desk, "resumable_sweep_refusals_total", reason="QuotaExceeded") == 1
    assert sampled(desk, "resumable_sweep_pods_created_total", role="attempt") == 1
    assert sampled(desk, "resumable_sweep_pods_deleted_total", role="attempt") == 1
    written = json.dumps(status_manifest(desk.sweep.status, desk.sweep), separators=(",", ":"))
    assert sampled(desk, "resumable_sweep_status_bytes_count") == 2
    assert (sampled(desk, "resumable_sweep_status_bytes_sum") or 0) >= len(written)


async def test_what_is_not_allowed_is_never_made() -> None:
    desk = Desk(template={"spec": {"hostPID": True, "containers": [{"name": "a", "image": "a"}]}})
    await desk.execute(ORDER, CreateHousekeeping(role=Role.MERGE))
    assert desk.creation is not None
    assert (desk.creation.problem, desk.creation.created_at) == ("TemplateForbidden", None)
    assert desk.creation.uncertain is False
    assert desk.api.paths("POST") == [PODS], "the merge has none of it"


async def test_a_pod_that_turns_out_another_one_goes_and_its_attempt_with_it(desk: Desk) -> None:
    desk.api.refuse[f"DRY-RUN {PODS}"] = [ApiError(400, "webhook does not support dry run")]
    desk.api.refuse[f"DELETE {POD}"] = [ApiError(500, "not now")]
    desk.api.admit = lambda body: {
        **body,
        "metadata": {**body["metadata"], "uid": "u"},
        "spec": {**body["spec"], "nodeName": "n"},
    }
    await desk.execute(ORDER)
    assert desk.creation is not None
    assert (desk.creation.problem, desk.creation.created_at) == ("TemplateForbidden", NOW)
    assert desk.api.paths("DELETE") == [POD]


async def test_a_pod_that_nobody_can_judge_just_now_stays_until_the_next_look(desk: Desk) -> None:
    desk.api.refuse[f"DRY-RUN {PODS}"] = [ApiError(400, "webhook does not support dry run")]
    desk.api.refuse[paths.priority_class("high")] = [ApiError(503, "not now")]
    desk.api.admit = lambda body: {**body, "spec": {**body["spec"], "priorityClassName": "high"}}
    await desk.execute(ORDER)
    assert desk.creation == Creation(created_at=NOW, resumes=True)
    assert desk.api.paths("DELETE") == []


async def test_what_must_not_run_goes_before_others_are_made(desk: Desk) -> None:
    forbidden = DeletePod(pod=pod(9, name="bad"), reason="Forbidden", grace_seconds=0)
    settled = DeletePod(pod=pod(8, name="old"), reason="Settled")
    await desk.execute(settled, ORDER, forbidden)
    verbs = [(verb, path) for verb, path in desk.api.requests if verb in ("POST", "DELETE")]
    assert verbs == [("DELETE", f"{PODS}/bad"), ("POST", PODS), ("DELETE", f"{PODS}/old")]


@pytest.mark.parametrize("status", [None, 404, 409], ids=["there", "gone", "another of its name"])
async def test_a_sweep_whose_time_is_over_is_deleted(desk: Desk, status: int | None) -> None:
    if status is not None:
        desk.api.refuse[f"DELETE {SWEEP}"] = [ApiError(status, "no")]
    await desk.execute(DeleteSweep())
    assert desk.api.paths("DELETE") == [SWEEP]


async def test_a_sweep_that_may_not_be_deleted_is_no_silent_matter(desk: Desk) -> None:
    desk.api.refuse[f"DELETE {SWEEP}"] = [ApiError(403, "forbidden")]
    with pytest.raises(ApiError, match="forbidden"):
        await desk.execute(DeleteSweep())
