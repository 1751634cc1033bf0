from __future__ import annotations

from typing import Any

import pytest
from builders import NOW, chore, crashed, placed, pod, record, snapshot, sweep

from resumable_sweep.contract.outcome import Outcome
from sweep_operator.decide import decide
from sweep_operator.model.observed import Role
from sweep_operator.model.plan import CreateAttempt, CreateHousekeeping, DeletePod, Plan
from sweep_operator.model.shard_record import ShardRecord, ShardState
from sweep_operator.model.signals import Signal
from sweep_operator.model.snapshot import Merged, Sweep

S = ShardState
MERGED = Merged(url="u", sha256="0", items=1, provenance_url="p")
SPENT: dict[str, Any] = {
    "signal": Signal.CONTAINER_FAILED,
    "user_failures": 4,
    "unexplained": 6,
    "barren": 5,
    "infrastructure_until": NOW + 9,
    "reclaims_until": NOW + 9,
    "not_before": int(NOW) + 300,
}


def failed(shard: int) -> ShardRecord:
    return record(shard, S.FAILED, attempt=shard + 1, done=3, **SPENT)


def wishing(wish: str, records: list[ShardRecord], *, retried: str = "", phase: str = "Failed", **status: Any) -> Sweep:
    ended = {"completed_at": NOW - 60} if phase in ("Failed", "Complete") else {}
    of = sweep(records, status={"phase": phase, "retried": retried, **ended, **status})
    return Sweep(**{**of.__dict__, "retry": wish})


def created(plan: Plan) -> list[int]:
    return [action.shard for action in plan.actions if isinstance(action, CreateAttempt)]


def reasons(plan: Plan) -> list[str]:
    return [event.reason for event in plan.events]


@pytest.mark.parametrize(
    ("wish", "run_again"),
    [("all", [0, 2, 3]), ("2", [2]), ("0,2-3", [0, 2, 3]), ("all@monday", [0, 2, 3]), (" 3 @2", [3]), ("1-2", [2])],
)
def test_failed_shards_run_again_on_a_sweep_that_has_failed(wish: str, run_again: list[int]) -> None:
    records = [failed(0), record(1, S.COMPLETE), failed(2), failed(3)]
    plan = decide(snapshot(wishing(wish, records)), NOW)
    assert (plan.status.phase, plan.status.completed_at, plan.status.retried) == ("Running", None, wish)
    assert created(plan) == run_again
    assert reasons(plan) == ["Retried"]
    for shard in run_again:
        begun = plan.status.records[shard]
        assert (begun.state, begun.attempt > 4, begun.done) == (S.ACTIVE, True, 3)
        assert (begun.user_failures, begun.unexplained, begun.infrastructure_until, begun.reclaims_until) == (
            0,
            0,
            0,
            0,
        )
        assert begun.barren == 1


def test_a_wish_is_granted_once() -> None:
    again = [failed(0), record(1, S.COMPLETE)]
    plan = decide(snapshot(wishing("all", again, retried="all")), NOW)
    assert (plan.status.phase, created(plan), reasons(plan)) == ("Failed", [], [])


def test_the_same_wish_is_another_one_after_it_was_taken_back() -> None:
    plan = decide(snapshot(wishing("", [failed(0)], retried="all")), NOW)
    assert (plan.status.retried, plan.status.phase, created(plan)) == ("", "Failed", [])


def test_a_shard_of_a_running_sweep_runs_again_while_the_others_go_on() -> None:
    records = [failed(0), placed(1, attempt=2)]
    plan = decide(snapshot(wishing("0", records, phase="Running"), pod(2, shard=1)), NOW)
    assert (created(plan), reasons(plan)) == ([0], ["Retried"])
    assert plan.status.records[1].attempt == 2


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ("3-1", "'3-1' is no range of shards: write all, or shards such as 3,5-7"),
        ("some", "'some' is neither an index nor a range such as 5-7: write all, or shards such as 3,5-7"),
        ("0,2-9", "there is no shard 2-9: they are numbered from 0 to 1"),
        ("1", "none of these shards has failed, only 0 have"),
    ],
)
def test_a_wish_that_cannot_be_granted_is_told_why(wish: str, said: str) -> None:
    plan = decide(snapshot(wishing(wish, [failed(0), record(1, S.COMPLETE)])), NOW)
    (event,) = plan.events
    assert event.reason == "RetryRefused"
    assert event.message == f"metadata.annotations[resumable.dev/retry] is {wish!r}: {said}"
    assert (plan.status.phase, created(plan), plan.status.retried) == ("Failed", [], wish)


def test_a_sweep_that_failed_without_a_failed_shard_is_tried_again_by_all() -> None:
    plan = decide(snapshot(wishing("all", [record(0, S.COMPLETE)])), NOW)
    assert plan.status.phase == "Merging"
    assert [action.role for action in plan.actions if isinstance(action, CreateHousekeeping)] == [Role.MERGE]


def test_results_that_were_merged_without_them_are_merged_anew() -> None:
    records = [failed(0), record(1, S.COMPLETE)]
    outdated = chore(Role.MERGE, code=0, phase="Succeeded", outcome=Outcome("Merged", "", {"url": "u"}))
    plan = decide(snapshot(wishing("all", records, phase="Complete", merged=MERGED), outdated), NOW)
    assert (plan.status.merged, plan.status.phase, created(plan)) == (None, "Running", [0])
    # What the merge before has found counts no more, whenever that pod goes.
    assert [action.pod.role for action in plan.actions if isinstance(action, DeletePod)] == [Role.MERGE]


def test_nothing_happens_to_a_complete_sweep_without_failed_shards() -> None:
    plan = decide(snapshot(wishing("all", [record(0, S.COMPLETE)], phase="Complete", merged=MERGED)), NOW)
    assert (plan.status.phase, plan.status.merged, reasons(plan)) == ("Complete", MERGED, ["RetryRefused"])


def test_kept_pods_of_a_shard_that_runs_again_stay() -> None:
    plan = decide(snapshot(wishing("all", [failed(0)]), crashed()), NOW)
    assert not [action for action in plan.actions if isinstance(action, DeletePod)]


def test_a_final_signal_is_no_hindrance() -> None:
    before = record(0, S.FAILED, signal=Signal.CHECKPOINT_CORRUPT)
    assert created(decide(snapshot(wishing("0", [before])), NOW)) == [0]
