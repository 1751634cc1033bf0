"""When the pod that deletes is made, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from builders import NOW, chore, node, record, snapshot, sweep

from resumable_sweep.contract.outcome import Exit, Outcome
from sweep_operator.decide.housekeeping import (
    RETAIN_AGAIN_SECONDS,
    RETAIN_EVERY_SECONDS,
    RETAINED,
    Housekeeping,
    retain,
)
from sweep_operator.decide.platform import STARTING_STEPS
from sweep_operator.decide.sweep import decide
from sweep_operator.model.observed import Creation, PodView, Role
from sweep_operator.model.plan import CreateHousekeeping, DeletePod
from sweep_operator.model.shard_record import ShardState
from sweep_operator.model.snapshot import Condition, Keep, Merged

KEEP = Keep(generations=3, after_seconds=604_800.0)
MADE = (CreateHousekeeping(role=Role.RETAIN),)
DONE = Outcome("Retained", "deleted 3 blobs", {})
LEFT = Outcome("LeftAlone", "entry 7 is damaged", {})
AWAY = Outcome("StoreUnreachable", "403", {})
MERGED = Merged(url="gs://m", sha256="def", items=1, provenance_url="")
DAY, HOUR = RETAIN_EVERY_SECONDS, RETAIN_AGAIN_SECONDS


def said(outcome: Outcome) -> tuple[Condition, ...]:
    succeeded = outcome.reason == RETAINED
    return (Condition(type=RETAINED, status=succeeded, reason=outcome.reason, message=outcome.message, since=NOW),)


def retaining(*pods: PodView, now: float = NOW, keep: Keep | None = KEEP, **status: Any) -> Housekeeping:
    of = sweep(status=status, keep=keep)
    return retain(of.status, snapshot(of, *pods), now=now)


def over(
    outcome: Outcome | None = DONE, *, code: int = 0, phase: str = "Succeeded", created_at: float = NOW
) -> PodView:
    return chore(Role.RETAIN, phase=phase, code=code, outcome=outcome, created_at=created_at)


@pytest.mark.parametrize(
    ("status", "due"),
    [
        ({"started_at": NOW}, NOW + DAY),
        ({"started_at": NOW - 9 * DAY, "retained_at": NOW, "conditions": said(DONE)}, NOW + DAY),
        ({"started_at": NOW - 9 * DAY, "retained_at": NOW, "conditions": said(LEFT)}, NOW + DAY),
        ({"started_at": NOW - 9 * DAY, "retained_at": NOW, "conditions": said(AWAY)}, NOW + HOUR),
        ({"completed_at": NOW + 5, "retained_at": NOW, "conditions": said(DONE)}, NOW + 5),
        ({"completed_at": NOW - 5, "retained_at": NOW, "conditions": said(AWAY)}, NOW + DAY),
        ({"completed_at": NOW - 5, "retained_at": NOW, "conditions": said(DONE)}, None),
        ({"completed_at": NOW - 5, "retained_at": NOW, "conditions": said(LEFT)}, None),
        ({"started_at": None}, None),
    ],
)
def test_it_is_due_once_a_day_and_at_the_end(status: dict[str, Any], due: float | None) -> None:
    assert retaining(now=NOW, **status).actions == ()
    assert retaining(now=NOW, **status).again_at == due
    if due is not None:
        assert retaining(now=due - 1, **status).actions == ()
        assert retaining(now=due, **status).actions == MADE


def test_without_a_keep_nothing_is_ever_deleted() -> None:
    assert retaining(keep=None, started_at=NOW - 9 * DAY).actions == ()


@pytest.mark.parametrize(
    ("pod", "reason", "again_s"),
    [
        (over(), "Retained", DAY),
        (over(LEFT), "LeftAlone", DAY),
        (over(AWAY, code=Exit.STORE_UNREACHABLE, phase="Failed"), "StoreUnreachable", HOUR),
        (
            over(Outcome("CheckpointCorrupt", "x", {}), code=Exit.CHECKPOINT_CORRUPT, phase="Failed"),
            "CheckpointCorrupt",
            HOUR,
        ),
        (over(None, code=137, phase="Failed"), "OutcomeUnreadable", HOUR),
    ],
)
def test_what_became_of_it_is_said_once_and_fails_no_sweep(pod: PodView, reason: str, again_s: float) -> None:
    of = sweep([record(state=ShardState.ACTIVE)], keep=KEEP, status={"started_at": NOW - 9 * DAY})
    plan = decide(snapshot(of, pod), NOW)
    (condition,) = [each for each in plan.status.conditions if each.type == RETAINED]
    assert (condition.status, condition.reason) == (reason == "Retained", reason)
    assert plan.status.phase != "Failed"
    assert plan.status.retained_at == NOW
    assert DeletePod(pod=pod, reason="Settled") in plan.actions
    # The pod is still seen for a while: nothing is said anew, and nothing forgotten.
    after = replace(of, status=plan.status)
    later = decide(snapshot(after, pod), NOW + 5)
    assert later.status.retained_at == NOW
    assert condition in later.status.conditions
    assert decide(snapshot(after), NOW + again_s).actions[-1:] == MADE


def test_a_pod_that_works_is_left_to_it() -> None:
    pod = chore(Role.RETAIN, created_at=NOW)
    assert retaining(pod, started_at=NOW - 9 * DAY).actions == ()
    assert retaining(replace(pod, deleted=True), started_at=NOW - 9 * DAY).actions == ()


def test_one_whose_node_is_gone_is_made_again() -> None:
    of = sweep(status={"started_at": NOW - 9 * DAY}, keep=KEEP)
    pod = chore(Role.RETAIN, created_at=NOW)
    result = retain(of.status, snapshot(of, pod, nodes=[node("another")]), now=NOW)
    assert [action.grace_seconds for action in result.actions if isinstance(action, DeletePod)] == [0]
    assert result.condition is None


def test_once_more_after_the_end_and_never_again() -> None:
    status = {"phase": "Complete", "completed_at": NOW, "merged": MERGED, "conditions": ()}
    of = sweep([record(state=ShardState.COMPLETE)], keep=KEEP, status=status)
    begun_before = over(created_at=NOW - 60)
    assert decide(snapshot(of, begun_before), NOW).actions == (DeletePod(pod=begun_before, reason="Settled"),)
    assert decide(snapshot(of), NOW).actions == MADE
    pod = over(created_at=NOW + 60)
    plan = decide(snapshot(of, pod), NOW + 90)
    assert plan.status.retained_at == NOW + 90
    assert [each.reason for each in plan.status.conditions] == ["Retained"]
    assert plan.status.phase == "Complete"
    ended = decide(snapshot(replace(of, status=plan.status)), NOW + 9 * DAY)
    assert (ended.actions, ended.look_again_at) == ((), None)


@pytest.mark.parametrize(
    ("pods", "creations", "reason"),
    [
        ([], {"retain": Creation(problem="TemplateForbidden", message="no", retry_at=NOW + 15)}, "TemplateForbidden"),
        ([chore(Role.RETAIN, phase="Pending", node="", unschedulable="0/3", created_at=NOW + 1)], {}, "Unschedulable"),
    ],
    ids=["refused", "cannot start"],
)
def test_what_keeps_it_from_working_is_told_after_the_sweep_s_end_too(
    pods: list[PodView], creations: dict[str, Creation], reason: str
) -> None:
    status = {"phase": "Complete", "completed_at": NOW, "merged": MERGED, "conditions": ()}
    of = sweep([record(state=ShardState.COMPLETE)], keep=KEEP, status=status)
    told = decide(snapshot(of, *pods, housekeeping=creations), NOW + 5).status
    assert [(each.type, each.status, each.reason) for each in told.conditions] == [(RETAINED, False, reason)]
    # It is no retention that has failed: the pod is still due, and what becomes of it replaces what was said.
    assert told.retained_at is None
    again = decide(snapshot(replace(of, status=told), *pods, housekeeping=creations), NOW + 8)
    assert again.status == told
    done = decide(snapshot(replace(of, status=told), over(created_at=NOW + 60)), NOW + 90).status
    assert [(each.status, each.reason) for each in done.conditions] == [(True, RETAINED)]


def test_it_is_begun_once_though_the_api_server_s_clock_is_behind() -> None:
    status = {"phase": "Complete", "completed_at": NOW, "merged": MERGED, "conditions": ()}
    of = sweep([record(state=ShardState.COMPLETE)], keep=KEEP, status=status)
    pod = chore(Role.RETAIN, created_at=NOW - 30)
    made = {"retain": Creation(created_at=NOW + 1)}
    assert decide(snapshot(of, pod, housekeeping=made), NOW + 2).actions == ()
    # Whoever made the one that was there already did so at an unknown time.
    found = {"retain": Creation(created_at=NOW + 1, seen=True)}
    assert decide(snapshot(of, pod, housekeeping=found), NOW + 2).actions == (DeletePod(pod=pod, reason="Settled"),)


def test_a_start_that_takes_long_after_the_end_is_looked_at() -> None:
    status = {"phase": "Complete", "completed_at": NOW, "merged": MERGED, "conditions": ()}
    of = sweep([record(state=ShardState.COMPLETE)], keep=KEEP, status=status)
    pod = chore(Role.RETAIN, phase="Pending", node="", created_at=NOW + 1)
    assert decide(snapshot(of, pod), NOW + 5).look_again_at == NOW + 1 + STARTING_STEPS[0][0]


def test_a_failed_sweep_loses_nothing_more() -> None:
    status = {"phase": "Failed", "completed_at": NOW, "conditions": ()}
    of = sweep([record(state=ShardState.FAILED)], keep=KEEP, status=status)
    pod = chore(Role.RETAIN, created_at=NOW)
    assert decide(snapshot(of, pod), NOW).actions == (DeletePod(pod=pod, reason="Settled"),)
    assert decide(snapshot(of), NOW + 9 * DAY).actions == ()


@pytest.mark.parametrize("pod", [chore(Role.RETAIN), over()], ids=["at work", "over"])
def test_who_takes_retention_back_wants_nothing_deleted_any_more(pod: PodView) -> None:
    assert retaining(pod, keep=None, started_at=NOW).actions == (DeletePod(pod=pod, reason="Settled"),)
    assert retaining(replace(pod, deleted=True), keep=None, started_at=NOW).actions == ()


def test_what_was_said_of_retention_goes_with_it_after_the_sweep_s_end() -> None:
    status = {"phase": "Complete", "completed_at": NOW - 5, "merged": MERGED, "conditions": said(AWAY)}
    ended = sweep([record(0, ShardState.COMPLETE)], status=status, keep=None)
    assert decide(snapshot(ended), NOW).status.conditions == ()
    kept = replace(ended, spec=replace(ended.spec, keep=KEEP))
    assert [each.type for each in decide(snapshot(kept), NOW).status.conditions] == [RETAINED]
