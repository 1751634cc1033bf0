"""The decision as a whole."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from builders import NODE, NOW, changed, chore, crashed, node, placed, pod, record, report, snapshot, sweep

from resumable_sweep.contract.outcome import Exit, Outcome
from resumable_sweep.contract.report import Stage
from sweep_operator.decide.sweep import decide, refresh_seconds
from sweep_operator.model.observed import Creation, Role
from sweep_operator.model.plan import CreateAttempt, CreateHousekeeping, DeletePod, DeleteSweep, Plan
from sweep_operator.model.problem import Problem
from sweep_operator.model.reclaim import Reclaim
from sweep_operator.model.shard_record import ShardState
from sweep_operator.model.signals import Signal
from sweep_operator.model.snapshot import Keep, Sweep

S = ShardState


def created(plan: Plan) -> list[CreateAttempt]:
    return [action for action in plan.actions if isinstance(action, CreateAttempt)]


def deleted(plan: Plan) -> list[str]:
    return [action.pod.uid for action in plan.actions if isinstance(action, DeletePod)]


def after(of: Sweep, plan: Plan) -> Sweep:
    return replace(of, status=plan.status)


def condition(plan: Plan, kind: str) -> Any:
    return next(each for each in plan.status.conditions if each.type == kind)


def test_attempts_are_numbered_through_the_whole_sweep() -> None:
    plan = decide(snapshot(sweep(shards=3, parallelism=2, status={"attempts": 4})), NOW)
    assert [(order.shard, order.attempt) for order in created(plan)] == [(0, 5), (1, 6)]
    assert plan.status.attempts == 6
    assert plan.status.phase == "Running"


def test_numbers_go_on_after_those_of_pods_although_the_status_is_lost() -> None:
    old = [pod(4, shard=1), pod(9, shard=0)]
    plan = decide(snapshot(sweep(shards=2, status={"attempts": 0, "phase": "Pending"}), *old), NOW)
    assert [(order.shard, order.attempt) for order in created(plan)] == [(0, 10), (1, 11)]
    assert sorted(deleted(plan)) == ["pod-0-9", "pod-1-4"], "nobody knows what they have, but the store"
    merge = replace(chore(Role.MERGE), attempt=99)
    assert decide(snapshot(sweep(shards=1, status={"attempts": 0}), merge), NOW).status.attempts == 1


def test_the_same_snapshot_gives_the_same_plan() -> None:
    known = snapshot(sweep([placed(), record(1, S.WAITING)]), pod(deleted=True))
    assert decide(known, NOW) == decide(known, NOW)


def test_a_first_attempt_starts_afresh() -> None:
    assert not created(decide(snapshot(sweep(shards=1)), NOW))[0].resumes


def test_a_shard_that_had_an_attempt_resumes_even_if_nobody_knows_how_it_ended() -> None:
    of = sweep([record()])
    burnt = decide(snapshot(of, absent=frozenset({1})), NOW)
    assert burnt.status.records[0].signal is Signal.NONE
    assert created(burnt)[0].resumes


def test_a_run_id_of_an_earlier_sweep_resumes_from_the_start() -> None:
    assert created(decide(snapshot(sweep(shards=1, run_id="grid-1")), NOW))[0].resumes


def test_a_run_to_start_from_is_resumed_from_the_start() -> None:
    assert created(decide(snapshot(sweep(shards=1, resume_from="gs://b/ns/lr/r")), NOW))[0].resumes


REACHES = Problem(reason="TemplateForbidden", message="d is the hostPath /")


def test_pods_that_must_go_are_deleted_first_and_at_once_whatever_they_are_for() -> None:
    of = sweep([record(), record(1, attempt=2)], has_items=True)
    pods = (pod(), pod(2, shard=1), chore(Role.RESOLVE))
    known = snapshot(of, *pods, forbidden={"pod-0-1": REACHES, "pod-resolve": REACHES})
    plan = decide(known, NOW)
    first = plan.actions[:2]
    assert [(each.pod.uid, each.grace_seconds) for each in first if isinstance(each, DeletePod)] == [
        ("pod-0-1", 0),
        ("pod-resolve", 0),
    ]
    assert deleted(plan) == ["pod-0-1", "pod-resolve"]
    healthy = condition(plan, "Healthy")
    assert (healthy.reason, healthy.message) == (
        "TemplateForbidden",
        "no pod for shard 0: d is the hostPath / (and 1 more: TemplateForbidden)",
    )
    for status in ({"phase": "Failed"}, {"phase": "Complete"}):
        over = decide(snapshot(sweep([record()], status=status), pods[2], forbidden={"pod-resolve": REACHES}), NOW)
        assert deleted(over)[0] == "pod-resolve"
    going = decide(snapshot(sweep([record()], deleting=True), pods[0], forbidden={"pod-0-1": REACHES}), NOW)
    assert deleted(going) == ["pod-0-1"]


def test_a_reclaimed_shard_gets_its_next_attempt_at_once() -> None:
    plan = decide(snapshot(sweep([placed(done=4)]), pod(), nodes=[]), NOW)
    (order,) = created(plan)
    expected = Reclaim(time=NOW, node=NODE, shard=0, attempt=1, signal=Signal.NODE_GONE, items_safe=4)
    assert (order.attempt, order.resumes, order.replaces) == (2, True, expected)
    assert (plan.status.reclaims, plan.status.last_reclaim) == (1, expected)
    assert plan.status.reclaims_by_signal == {Signal.NODE_GONE: 1}
    assert deleted(plan) == ["pod-0-1"]


def test_a_refused_pod_is_asked_for_with_the_same_order() -> None:
    reclaim = Reclaim(time=NOW - 9.5, node=NODE, shard=0, attempt=1, signal=Signal.NODE_GONE, items_safe=4)
    of = sweep([record(attempt=2, signal=Signal.NODE_GONE, since=NOW - 9.5)])
    refused = Creation(retry_at=NOW, problem="PodForbidden", resumes=True, replaces=reclaim)
    plan = decide(snapshot(of, creations={2: refused}), NOW)
    assert created(plan) == [CreateAttempt(shard=0, attempt=2, resumes=True, replaces=reclaim)]
    early = decide(snapshot(of, creations={2: replace(refused, retry_at=NOW + 0.7)}), NOW)
    assert created(early) == []
    assert early.look_again_at == NOW + 0.7
    assert not condition(early, "Healthy").status
    assert condition(early, "Healthy").reason == "PodForbidden"


def test_a_pod_whose_creation_has_no_answer_is_never_asked_for_again() -> None:
    of = sweep([record()])
    plan = decide(snapshot(of, creations={1: Creation(retry_at=NOW, uncertain=True)}), NOW)
    assert created(plan) == []
    plan = decide(snapshot(of, creations={1: Creation(uncertain=True)}, absent=frozenset({1})), NOW)
    assert [order.attempt for order in created(plan)] == [2]
    assert plan.status.reclaims == 0


def test_a_used_up_quota_is_probed_by_one_pod() -> None:
    of = sweep([record(shard, attempt=shard + 1) for shard in range(5)])
    refused = {attempt: Creation(problem="QuotaExceeded") for attempt in range(1, 6)}
    assert [order.attempt for order in created(decide(snapshot(of, creations=refused), NOW))] == [1]


def test_the_time_to_relaunch_is_noted_to_a_tenth_of_a_second() -> None:
    reclaim = Reclaim(time=NOW - 3.4, node=NODE, shard=0, attempt=1, signal=Signal.NODE_GONE, items_safe=4)
    stored = replace(reclaim, time=float(int(reclaim.time)))
    of = sweep([record(attempt=2)], status={"last_reclaim": stored})
    made = Creation(created_at=NOW - 3.1, replaces=reclaim)
    plan = decide(snapshot(of, pod(2), creations={2: made}), NOW)
    assert plan.status.last_reclaim == replace(stored, relaunch_seconds=0.3)


def test_the_time_to_relaunch_is_noted_after_a_restart_too() -> None:
    reclaim = Reclaim(time=NOW - 5, node=NODE, shard=0, attempt=1, signal=Signal.NODE_GONE, items_safe=4)
    of = sweep([record(attempt=2)], status={"last_reclaim": reclaim})
    plan = decide(snapshot(of, pod(2, created_at=NOW - 3)), NOW)
    assert plan.status.last_reclaim == replace(reclaim, relaunch_seconds=2.0)


def test_a_reclaim_is_told_of_with_its_node_when_attempts_were_burnt_meanwhile() -> None:
    reclaim = Reclaim(time=NOW - 5, node=NODE, shard=0, attempt=1, signal=Signal.NODE_GONE, items_safe=4)
    of = sweep([record(attempt=2, signal=Signal.NODE_GONE, since=NOW - 5)], status={"last_reclaim": reclaim})
    plan = decide(snapshot(of, absent=frozenset({2})), NOW)
    assert created(plan)[0].replaces == reclaim


def test_lowered_parallelism_stops_what_is_too_much() -> None:
    of = changed(sweep([placed(), placed(1, attempt=2)]), parallelism=1)
    plan = decide(snapshot(of, pod(), pod(2, shard=1)), NOW)
    assert [each.state for each in plan.status.records] == [S.ACTIVE, S.STOPPING]
    assert deleted(plan) == ["pod-1-2"]


def test_suspending_stops_all_and_ends_suspended() -> None:
    of = changed(sweep([placed(), record(1, S.WAITING)]), suspend=True)
    stopping = decide(snapshot(of, pod()), NOW)
    assert deleted(stopping) == ["pod-0-1"]
    assert stopping.status.phase == "Running"
    stopped = decide(snapshot(after(of, stopping), absent=frozenset({1})), NOW)
    assert stopped.status.phase == "Suspended"
    assert condition(stopped, "Suspended").status
    resumed = decide(snapshot(changed(after(of, stopped), suspend=False)), NOW)
    assert [(order.shard, order.resumes) for order in created(resumed)] == [(0, True), (1, False)]


def test_suspending_while_the_items_are_resolved_loses_nothing() -> None:
    of = changed(sweep(has_items=True, shards=2, status={"phase": "Pending", "started_at": None}), suspend=True)
    done = chore(Role.RESOLVE, phase="Succeeded", outcome=Outcome("R", "", {"items": 4, "items_sha256": "x"}))
    held = decide(snapshot(of, done), NOW)
    assert (held.status.phase, held.actions) == ("Suspended", ())
    resumed = decide(snapshot(changed(after(of, held), suspend=False), done), NOW)
    assert resumed.status.items_sha256 == "x"
    assert len(created(resumed)) == 2


def test_nothing_starts_before_the_items_are_resolved() -> None:
    plan = decide(snapshot(sweep(has_items=True, status={"phase": "Pending", "started_at": None})), NOW)
    assert plan.actions == (CreateHousekeeping(role=Role.RESOLVE),)
    assert plan.status.phase == "Pending"


def test_complete_shards_are_merged_and_then_the_sweep_is_complete() -> None:
    of = sweep([placed()])
    merging = decide(snapshot(of, pod(), reports={1: report(stage=Stage.COMPLETE, items_done=6)}), NOW)
    assert merging.status.phase == "Merging"
    assert CreateHousekeeping(role=Role.MERGE) in merging.actions
    outcome = Outcome("Merged", "", {"url": "u", "sha256": "s", "items": 6, "provenance_url": "p"})
    merged = chore(Role.MERGE, phase="Succeeded", code=0, outcome=outcome)
    over = decide(snapshot(after(of, merging), merged), NOW)
    assert (over.status.phase, over.status.done) == ("Complete", 6)
    assert deleted(over) == ["pod-merge"]
    assert [event.reason for event in over.events] == ["Merged", "Complete"]
    again = decide(snapshot(after(of, over), merged), NOW)
    assert (again.status, deleted(again), again.events) == (over.status, ["pod-merge"], ())


def test_one_failed_shard_fails_the_sweep_only_when_the_others_are_done() -> None:
    of = sweep([record(0, S.FAILED, signal=Signal.OUT_OF_MEMORY), placed(1, attempt=2)])
    assert decide(snapshot(of, pod(2, shard=1)), NOW).status.phase == "Running"
    over = decide(snapshot(of, pod(2, shard=1), reports={2: report(2, shard=1, stage=Stage.COMPLETE)}), NOW)
    assert over.status.phase == "Failed"
    assert condition(over, "Complete").message == "shards 0 failed; shard 0: OutOfMemory"
    assert condition(over, "Failed").status


def test_items_that_cannot_be_resolved_fail_the_sweep() -> None:
    of = sweep(has_items=True, status={"phase": "Pending", "started_at": None})
    failed = chore(Role.RESOLVE, code=Exit.ITEMS_INVALID, outcome=Outcome("ItemsInvalid", "same key", {}))
    plan = decide(snapshot(of, failed), NOW)
    assert plan.status.phase == "Failed"
    assert condition(plan, "Failed").reason == "ItemsInvalid"


def test_a_sweep_that_is_being_deleted_is_let_be() -> None:
    of = sweep([placed()], deleting=True)
    assert decide(snapshot(of, pod(), nodes=[]), NOW) == Plan(status=of.status)


def test_the_pods_that_failed_last_outlive_the_sweep() -> None:
    of = sweep([record(0, S.COMPLETE, attempt=5)], status={"phase": "Complete"}, keep_pods=3)
    plan = decide(snapshot(of, *(crashed(attempt=attempt) for attempt in range(1, 5))), NOW)
    assert deleted(plan) == ["pod-0-1"]


def test_a_writer_that_has_stopped_for_good_makes_room() -> None:
    of = sweep([placed()])
    plan = decide(snapshot(of, pod(), reports={1: report(stage=Stage.STOPPED)}), NOW)
    assert (plan.status.records[0].state, plan.status.records[0].signal) == (S.WAITING, Signal.SUPERSEDED)
    assert deleted(plan) == ["pod-0-1"]


def test_attempt_numbers_go_on_above_what_the_store_knows() -> None:
    of = sweep([placed()])
    superseded = pod(
        phase="Failed",
        restore=replace(crashed().mains[0], name="sweep-restore", exit_code=Exit.SUPERSEDED),
        restore_outcome=Outcome("Superseded", "", {"head_attempt": 41}),
    )
    plan = decide(snapshot(of, superseded), NOW)
    assert plan.status.attempts == 41
    later = decide(snapshot(after(of, plan)), NOW + 10)
    assert [order.attempt for order in created(later)] == [42]


def test_two_shards_on_one_node_are_two_reclaims() -> None:
    of = sweep([placed(), placed(1, attempt=2)])
    plan = decide(snapshot(of, pod(), pod(2, shard=1), nodes=[node(uid="new")]), NOW)
    assert plan.status.reclaims_by_signal == {Signal.NODE_REPLACED: 2}


@pytest.mark.parametrize(("shards", "seconds"), [(1, 2), (100, 2), (500, 10), (10_000, 30)])
def test_large_sweeps_are_written_less_often(shards: int, seconds: float) -> None:
    assert refresh_seconds(shards) == seconds


def test_10_000_shards_are_decided_about_in_reasonable_time() -> None:
    records = [placed(shard, attempt=shard + 1) for shard in range(10_000)]
    pods = [pod(shard + 1, shard=shard) for shard in range(10_000)]
    of = sweep(records, status={"attempts": 10_000})
    known = snapshot(of, *pods)
    started = time.process_time()
    plan = decide(known, NOW)
    # About 0.2 s; a look through all pods for every shard takes over a minute.
    assert time.process_time() - started < 5
    assert plan.status.running == 10_000


KEEP = Keep(generations=1, after_seconds=86_400.0)


@pytest.mark.parametrize(
    ("phase", "fields", "age", "goes"),
    [
        ("Complete", {}, 60, True),
        ("Failed", {}, 60, True),
        ("Complete", {}, 59, False),
        ("Complete", {"ttl_seconds": None}, 10**9, False),
        ("Complete", {"ttl_seconds": 0}, 0, True),
        ("Complete", {"keep": KEEP}, 60, False),
        ("Failed", {"keep": KEEP}, 60, True),
        ("Running", {}, 10**9, False),
    ],
)
def test_a_sweep_goes_after_its_time(phase: str, fields: dict[str, Any], age: int, goes: bool) -> None:
    ended = {"completed_at": None if phase == "Running" else NOW}
    of = sweep([record(0, S.COMPLETE)], status={"phase": phase, **ended}, **{"ttl_seconds": 60, **fields})
    plan = decide(snapshot(of), NOW + age)
    assert (DeleteSweep() in plan.actions) is goes
    if not goes and phase != "Running" and "keep" not in fields and of.spec.ttl_seconds is not None:
        assert plan.look_again_at == NOW + 60


def test_a_sweep_whose_store_was_tidied_goes_too() -> None:
    status = {"phase": "Complete", "completed_at": NOW, "retained_at": NOW + 9}
    of = sweep([record(0, S.COMPLETE)], status=status, ttl_seconds=60, keep=KEEP)
    assert decide(snapshot(of), NOW + 60).actions == (DeleteSweep(),)


@pytest.mark.parametrize("continues", [False, True])
def test_a_failed_shard_ends_the_sweep_only_when_the_others_have_ended(continues: bool) -> None:
    failed = record(0, S.FAILED, signal=Signal.CONTAINER_FAILED, done=2)
    others = [placed(1, attempt=2), record(2, S.COMPLETE, attempt=3, done=4)]
    going = decide(snapshot(sweep([failed, *others], continues=continues), pod(2, shard=1)), NOW)
    assert going.status.phase == "Running"
    done = record(1, S.COMPLETE, attempt=2, done=4)
    total = {"items_total": 12, "items_sha256": "0"}
    of = sweep([failed, done, others[1]], status=total, continues=continues, has_items=True)
    end = decide(snapshot(of), NOW)
    said = "shards 0 failed, 2 of 12 items are missing; shard 0: ContainerFailed"
    (complete,) = [condition for condition in end.status.conditions if condition.type == "Complete"]
    if continues:
        assert (end.status.phase, complete.reason) == ("Merging", "Merging")
        assert complete.message == f"what there is of the results is being merged; {said}"
    else:
        assert (end.status.phase, complete.reason, complete.message) == ("Failed", "ShardsFailed", said)
    assert any(isinstance(action, CreateHousekeeping) for action in end.actions) is continues


@pytest.mark.parametrize("failures", [0, 3], ids=["again in 5 s", "the shard was the last one"])
def test_a_sweep_that_has_just_failed_is_looked_at_again_to_go_in_the_end(failures: int) -> None:
    of = sweep([record(user_failures=failures)], ttl_seconds=60)
    plan = decide(snapshot(of, crashed()), NOW)
    assert plan.status.phase == ("Failed" if failures else "Running")
    # Its pod stays for a look at its logs, so there may be no other cause to look at it, ever.
    assert not [action for action in plan.actions if isinstance(action, DeletePod)]
    assert plan.look_again_at is not None
    assert plan.look_again_at <= NOW + 60
