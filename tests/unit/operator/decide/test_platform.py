"""What the platform has refused or lacks: told in one sentence for all that have one trouble, until it is mended."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from builders import NOW, chore, ended, main, node, placed, pod, record, report, restore, snapshot, sweep

from resumable_sweep.contract.report import Stage
from sweep_operator.decide import decide
from sweep_operator.decide.platform import (
    STARTING_STEPS,
    is_untouched,
    next_step,
    obstacle_of,
    outdated,
    platform_problems,
)
from sweep_operator.model.observed import ContainerView, Creation, NodeView, PodView, Role
from sweep_operator.model.plan import CreateAttempt, DeletePod
from sweep_operator.model.shard_record import ShardRecord, ShardState
from sweep_operator.model.signals import Signal
from sweep_operator.model.snapshot import Condition, Keep, Snapshot

JUST_NOW = NOW - 10
LONG_AGO = NOW - STARTING_STEPS[0][0]
PULL = 'Back-off pulling image "nowhere/main:1": ErrImagePull: not found'


def waiting(reason: str, message: str = "", name: str = "main") -> ContainerView:
    return ContainerView(name=name, waiting_reason=reason, waiting_message=message)


def starting(attempt: int = 1, *, shard: int = 0, **fields: Any) -> PodView:
    """A pod on a node of which nothing runs yet."""
    fresh = {"phase": "Pending", "scheduled_at": JUST_NOW, "mains": (waiting("PodInitializing"),)}
    return pod(attempt, shard=shard, **{**fresh, **fields})


def without_image(attempt: int = 1, *, shard: int = 0, reason: str = "ImagePullBackOff", **fields: Any) -> PodView:
    return starting(attempt, shard=shard, mains=(waiting(reason, PULL),), **restore(), **fields)


def told_of(known: Snapshot) -> list[tuple[str, str]]:
    found = platform_problems(known, known.sweep.status.records, now=NOW)
    return [(problem.reason, problem.message) for problem in found]


def healthy(known: Snapshot, *, now: float = NOW) -> Condition:
    return next(each for each in decide(known, now).status.conditions if each.type == "Healthy")


UNSCHEDULABLE = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available"
NOWHERE: dict[str, Any] = {"node": "", "scheduled_at": 0.0, "mains": ()}


@pytest.mark.parametrize(
    ("sick", "reason", "words"),
    [
        (without_image(), "ImagePullBackOff", "nowhere/main:1"),
        (without_image(reason="ErrImagePull"), "ImagePullBackOff", "nowhere/main:1"),
        (
            starting(mains=(waiting("InvalidImageName", 'couldn\'t parse "BAD"'),)),
            "InvalidImageName",
            "BAD",
        ),
        (
            starting(restore=waiting("ErrImagePull", "no such sidecar", "sweep-restore")),
            "SidecarImageUnavailable",
            "the operator's chart",
        ),
        (
            starting(mains=(waiting("CreateContainerConfigError", 'secret "api" not found'),)),
            "CreateContainerConfigError",
            'secret "api" not found; create what is missing',
        ),
        (
            starting(restore=waiting("CreateContainerConfigError", 'secret "s3" not found', "sweep-restore")),
            "CreateContainerConfigError",
            "spec.checkpoint.env",
        ),
        (starting(mains=(waiting("RunContainerError", "exec: no such file"),)), "RunContainerError", "no such file"),
        (starting(inits=(waiting("ErrImagePull", "no such init", "fetch"),)), "ImagePullBackOff", "no such init"),
        (
            starting(mirror=waiting("CrashLoopBackOff", "", "sweep-mirror")),
            "CrashLoopBackOff",
            "kubectl logs lr-0-1 -c sweep-mirror --previous",
        ),
        (pod(unschedulable=UNSCHEDULABLE, phase="Pending", **NOWHERE), "Unschedulable", "3 Insufficient"),
        (pod(gated=True, phase="Pending", **NOWHERE), "SchedulingGated", "gate"),
        (pod(created_at=LONG_AGO, phase="Pending", **NOWHERE), "NotScheduled", "schedulerName"),
        (starting(scheduled_at=LONG_AGO), "StillStarting", "kubectl describe pod lr-0-1"),
        (starting(scheduled_at=LONG_AGO, mains=()), "StillStarting", "on node node-a"),
        (
            starting(scheduled_at=LONG_AGO, restore=ended(0, name="sweep-restore", at=LONG_AGO)),
            "StillStarting",
            "3 min",
        ),
        (pod(mains=(main(), without_image().mains[0])), "ImagePullBackOff", "nowhere/main:1"),
        (chore(Role.MERGE, mirror=waiting("ErrImagePull", "gone", "sweep-merge")), "SidecarImageUnavailable", "gone"),
        (
            chore(Role.RESOLVE, mirror=replace(waiting("CrashLoopBackOff"), exit_code=137, exit_reason="OOMKilled")),
            "CrashLoopBackOff",
            "out of memory (OOMKilled); raise sidecar.resources",
        ),
    ],
)
def test_what_keeps_a_pod_from_starting(sick: PodView, reason: str, words: str) -> None:
    obstacle = obstacle_of(sick, now=NOW)
    assert obstacle is not None
    assert obstacle.reason == reason
    assert words in f"{obstacle.said}; {obstacle.mend}"
    assert " preemption: " not in obstacle.said


@pytest.mark.parametrize(
    "well",
    [
        pod(),
        pod(mains=(ended(1),), phase="Failed"),
        pod(mirror=waiting("CrashLoopBackOff", name="sweep-mirror")),
        starting(),
        starting(scheduled_at=LONG_AGO, restore=main("sweep-restore")),
        starting(scheduled_at=LONG_AGO, restore=ended(0, name="sweep-restore", at=JUST_NOW)),
        starting(scheduled_at=LONG_AGO, restore=ended(0, name="sweep-restore", at=LONG_AGO), inits=(main("fetch"),)),
        pod(created_at=JUST_NOW, phase="Pending", **NOWHERE),
        without_image(deleted=True),
        chore(Role.MERGE),
        chore(Role.RETAIN, code=0, phase="Succeeded"),
    ],
    ids=[
        "it runs",
        "it has ended, which has signals of its own",
        "its sidecar is down, which says more",
        "it was only just scheduled",
        "it restores for long",
        "it has restored for long",
        "an init container of its author's takes long",
        "it was only just made",
        "somebody has deleted it",
        "a merge that runs",
        "a retention that has ended",
    ],
)
def test_nothing_is_said_of_a_pod_that_is_well_or_ends(well: PodView) -> None:
    assert obstacle_of(well, now=NOW) is None


def test_a_hundred_pods_with_one_trouble_are_told_of_in_one_sentence() -> None:
    records = [record(shard, attempt=shard + 1) for shard in range(100)]
    pods = [
        without_image(shard + 1, shard=shard, reason=("ErrImagePull", "ImagePullBackOff")[shard % 2])
        for shard in range(99)
    ]
    lonely = pod(100, shard=99, unschedulable=UNSCHEDULABLE, phase="Pending", **NOWHERE)
    known = snapshot(sweep(records, pool="spot"), *pods, lonely)
    image, place = told_of(known)
    assert image[1].startswith("shards 0-98 (first pod lr-0-1, container main): ErrImagePull: Back-off pulling image")
    assert place[1].startswith("shard 99 (pod lr-99-100, pool spot): 0/3 nodes are available")
    said = healthy(known)
    assert (said.status, said.reason) == (False, "ImagePullBackOff")
    assert said.message.endswith(" (and 1 more: Unschedulable)")


def test_what_needs_somebody_is_told_before_what_only_waits_for_room() -> None:
    records = [record(shard, attempt=shard + 1) for shard in range(4)]
    quota = Creation(problem="QuotaExceeded", message="exceeded quota: q")
    known = snapshot(sweep(records), without_image(4, shard=3), creations={1: quota, 2: quota, 3: quota})
    said = healthy(known)
    assert said.reason == "ImagePullBackOff"
    assert said.message.endswith(" (and 1 more: QuotaExceeded)")


def test_refusals_of_many_pods_are_one_sentence_with_the_newest_words() -> None:
    records = [record(shard, attempt=shard + 1) for shard in (0, 1, 2)]
    old = Creation(problem="QuotaExceeded", message="used: pods=1", refused_at=NOW - 60)
    new = Creation(problem="QuotaExceeded", message="used: pods=2", refused_at=NOW)
    known = snapshot(sweep(records), pod(2, shard=1), creations={1: new, 3: old})
    assert told_of(known) == [("QuotaExceeded", "no pod for shards 0,2: used: pods=2")]


def test_a_message_never_outgrows_the_condition_and_keeps_what_it_says_of_others() -> None:
    records = [record(shard, attempt=shard + 1) for shard in range(2000)]
    pods = [without_image(number + 1, shard=number) for number in range(0, 2000, 2)]
    quota = Creation(problem="QuotaExceeded", message="q")
    said = healthy(snapshot(sweep(records), *pods, creations={2: quota}))
    assert len(said.message) <= 1024
    assert said.message.endswith(" (and 1 more: QuotaExceeded)")
    assert "nowhere/main:1" in said.message, "a long list of shards must not push the cause out"


def test_a_slow_start_is_looked_at_again_in_steps() -> None:
    known = snapshot(sweep([record()]), starting(scheduled_at=NOW))
    at, seen = NOW, []
    while (following := next_step(known, now=at)) is not None:
        assert obstacle_of(known.presence.pods[0], now=following - 1) == obstacle_of(known.presence.pods[0], now=at)
        at = following
        obstacle = obstacle_of(known.presence.pods[0], now=at)
        assert obstacle is not None
        seen.append(obstacle.said)
    assert len(set(seen)) == len(STARTING_STEPS)
    assert decide(known, NOW).look_again_at is not None


# A pod that cannot start, and whose sweep was mended since.


def mended(*pods: PodView, records: list[ShardRecord] | None = None, **fields: Any) -> Snapshot:
    return snapshot(sweep(records or [record()], **fields), *pods, made_of="new")


@pytest.mark.parametrize(
    ("there", "goes"),
    [
        (without_image(made_of="old"), True),
        (pod(unschedulable=UNSCHEDULABLE, phase="Pending", made_of="old", **NOWHERE), True),
        (without_image(made_of="new"), False),
        (without_image(made_of=""), False),
        (pod(made_of="old"), False),
        (starting(made_of="old"), False),
    ],
    ids=["it has no image", "it has no node", "it is made of the new one", "it does not say", "it runs", "it starts"],
)
def test_only_a_pod_that_cannot_start_is_replaced_by_one_of_the_new_template(there: PodView, goes: bool) -> None:
    known = mended(there)
    assert bool(outdated(known, known.sweep.status.records, now=NOW)) is goes
    plan = decide(known, NOW)
    assert [action.pod.uid for action in plan.actions if isinstance(action, DeletePod)] == [there.uid] * goes
    assert plan.status.records[0].state is (ShardState.STOPPING if goes else ShardState.ACTIVE)


def test_no_other_attempt_stops_where_one_that_is_replaced_makes_room() -> None:
    records = [record(), placed(1, attempt=2, base=1, signal=Signal.POD_DELETED)]
    known = mended(without_image(made_of="old"), pod(2, shard=1, made_of="old"), records=records, parallelism=1)
    assert [each.state for each in decide(known, NOW).status.records] == [ShardState.STOPPING, ShardState.ACTIVE]


def test_its_replacement_comes_at_once_and_costs_nothing_however_often() -> None:
    here = record()
    for attempt in range(1, 9):
        stuck = without_image(attempt, made_of=f"{attempt}")
        (stopping,) = decide(snapshot(sweep([here]), stuck, made_of=f"{attempt + 1}"), NOW).status.records
        known = snapshot(sweep([stopping], user_failures=0), absent=frozenset({attempt}), made_of=f"{attempt + 1}")
        plan = decide(known, NOW + 1)
        (order,) = plan.actions
        assert isinstance(order, CreateAttempt)
        assert (order.attempt, order.replaces) == (attempt + 1, None)
        (here,) = plan.status.records
        assert (here.state, here.signal) == (ShardState.ACTIVE, Signal.STOPPED)
        assert (here.user_failures, here.setbacks, here.barren) == (0, 0, 1)
        assert plan.status.reclaims == 0


def test_before_any_program_runs_pods_of_before_go_together_and_new_ones_wait_for_them() -> None:
    records = [record(shard, attempt=shard + 1) for shard in range(3)]
    stuck, begins = without_image(1, made_of="old"), starting(2, shard=1, made_of="old")
    fresh = starting(3, shard=2, made_of="new")
    plan = decide(mended(stuck, begins, fresh, records=records), NOW)
    assert [each.state.value for each in plan.status.records] == ["S", "S", "A"]
    going = replace(begins, deleted=True)
    after = snapshot(sweep(plan.status.records), going, fresh, absent=frozenset({1}), made_of="new")
    plan = decide(after, NOW + 1)
    assert [each.state.value for each in plan.status.records] == ["W", "S", "A"], "one of before may start yet"
    plan = decide(snapshot(sweep(plan.status.records), fresh, absent=frozenset({2}), made_of="new"), NOW + 2)
    orders = [action for action in plan.actions if isinstance(action, CreateAttempt)]
    assert [(order.shard, order.while_empty) for order in orders] == [(0, True), (1, True)]


@pytest.mark.parametrize(
    ("nodes", "made"), [([node()], 0), ([node(ready="Unknown")], 1)], ids=["it answers", "it does not"]
)
def test_that_the_sidecar_has_sealed_does_not_tell_that_the_pod_is_gone(nodes: list[NodeView], made: int) -> None:
    going = without_image(1, made_of="old", deleted=True)
    known = {"reports": {1: report(stage=Stage.SEALED)}, "nodes": nodes, "made_of": "new"}
    plan = decide(snapshot(sweep([record(state=ShardState.STOPPING)]), going, **known), NOW)
    assert sum(isinstance(action, CreateAttempt) for action in plan.actions) == made


def test_once_a_program_runs_only_the_stuck_pod_goes_and_its_heir_does_not_wait() -> None:
    records = [record(shard, attempt=shard + 1) for shard in range(3)]
    pods = [without_image(1, made_of="old"), starting(2, shard=1, made_of="old"), pod(3, shard=2, made_of="old")]
    plan = decide(mended(*pods, records=records), NOW)
    assert [each.state.value for each in plan.status.records] == ["S", "A", "A"]
    plan = decide(snapshot(sweep(plan.status.records), *pods[1:], absent=frozenset({1}), made_of="new"), NOW + 1)
    (order,) = plan.actions
    assert isinstance(order, CreateAttempt)
    assert not order.while_empty, "what runs is of before: whether that may differ is for the author to say"


def test_a_housekeeping_pod_is_replaced_as_well() -> None:
    complete = [record(0, ShardState.COMPLETE, done=1)]
    stuck = chore(Role.MERGE, phase="Pending", mirror=waiting("ErrImagePull", "gone", "sweep-merge"), made_of="old")
    (removal,) = decide(mended(stuck, records=complete), NOW).actions
    assert isinstance(removal, DeletePod)
    assert removal.pod.role is Role.MERGE
    assert not decide(snapshot(sweep(complete), stuck, made_of="old"), NOW).actions


NEVER_THERE = ended(137, reason="ContainerStatusUnknown", at=None)
UNMADE = {1: Creation(problem="TemplateInvalid")}


@pytest.mark.parametrize(
    ("records", "pods", "creations", "untouched"),
    [
        ([record(state=ShardState.WAITING)], [], {}, True),
        ([record(state=ShardState.WAITING, attempt=1, signal=Signal.STOPPED)], [], {}, True),
        ([record()], [without_image(made_of="old", phase="Failed")], {}, True),
        ([record()], [pod(made_of="old", phase="Failed", mains=(NEVER_THERE,))], {}, True),
        (
            [record()],
            [pod(made_of="old", phase="Failed", mains=(replace(NEVER_THERE, image_id="x@sha256:1"),))],
            {},
            False,
        ),
        ([record()], [without_image(made_of="old", deleted=True)], {}, False),
        ([record()], [without_image(made_of="new")], {}, True),
        ([record()], [], UNMADE, True),
        ([record()], [without_image(made_of="old")], {}, False),
        ([record()], [pod(made_of="new")], {}, False),
        ([record(attempt=2)], [pod(made_of="new", deleted=True)], {2: UNMADE[1]}, False),
        ([record()], [], {1: Creation(created_at=NOW)}, False),
        ([record()], [], {1: Creation(uncertain=True)}, False),
        ([record()], [], {}, False),
        ([record(state=ShardState.WAITING, recorded=1)], [], {}, False),
        ([record(state=ShardState.WAITING, attempt=1, signal=Signal.CONTAINER_FAILED)], [], {}, False),
        ([record(state=ShardState.WAITING, attempt=1, signal=Signal.NODE_GONE)], [], {}, False),
    ],
    ids=[
        "nothing was ever made",
        "what was stopped has recorded nothing",
        "the old pod has gone without having started",
        "the kubelet has ended a container that never was",
        "the kubelet has lost a container that ran",
        "the old pod is told to go, and may start before it hears of it",
        "the pod that starts is made of the same",
        "the pod was refused",
        "the old pod may start yet",
        "a program runs",
        "a program of before runs until it is gone",
        "a pod is on its way",
        "a pod may have been made",
        "another process may have made a pod",
        "an item was recorded",
        "a program has failed",
        "a pod went with its node, and may run there",
    ],
)
def test_whether_any_program_can_have_started(
    records: list[ShardRecord], pods: list[PodView], creations: dict[int, Creation], untouched: bool
) -> None:
    known = snapshot(sweep(records), *pods, creations=creations, made_of="new")
    assert is_untouched(known, records) is untouched


def test_the_replacement_may_be_made_of_something_else() -> None:
    waiting_again = record(0, ShardState.WAITING, attempt=1, signal=Signal.STOPPED)
    (order,) = decide(snapshot(sweep([waiting_again]), made_of="new"), NOW).actions
    assert isinstance(order, CreateAttempt)
    assert order.while_empty
    ran = waiting_again.changed(recorded=1)
    (order,) = decide(snapshot(sweep([ran]), made_of="new"), NOW).actions
    assert isinstance(order, CreateAttempt)
    assert not order.while_empty


REFUSED = Creation(problem="PodForbidden", message="no")


@pytest.mark.parametrize(
    ("role", "records", "fields", "told"),
    [
        ("resolve", [record(state=ShardState.WAITING)], {"has_items": True}, True),
        ("resolve", [record(state=ShardState.WAITING)], {"has_items": True, "suspend": True}, False),
        ("resolve", [record()], {"has_items": True, "status": {"items_sha256": "0"}}, False),
        ("merge", [record(state=ShardState.COMPLETE), record(1, ShardState.FAILED)], {}, True),
        ("merge", [record(state=ShardState.COMPLETE), record(1)], {}, False),
        ("retain", [record()], {"keep": Keep(generations=1, after_seconds=0)}, True),
        ("retain", [record()], {}, False),
    ],
)
def test_a_refused_chore_is_told_while_it_is_wanted(
    role: str, records: list[ShardRecord], fields: dict[str, Any], told: bool
) -> None:
    known = snapshot(sweep(records, **fields), housekeeping={role: REFUSED})
    assert bool(platform_problems(known, records, now=NOW)) is told


@pytest.mark.parametrize(
    ("state", "created_at", "told"),
    [
        (ShardState.ACTIVE, None, True),
        (ShardState.WAITING, None, False),
        (ShardState.WAITING, NOW - 9, True),
    ],
    ids=["it is asked for again", "it was stopped before it had a pod", "its pod had to go again"],
)
def test_a_refused_attempt_is_told_while_it_matters(state: ShardState, created_at: float | None, told: bool) -> None:
    records = [record(0, state, attempt=1)]
    refused = {1: replace(REFUSED, created_at=created_at)}
    assert bool(platform_problems(snapshot(sweep(records), creations=refused), records, now=NOW)) is told
