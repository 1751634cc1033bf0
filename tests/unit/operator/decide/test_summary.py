from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from builders import NOW, ended, main, node, pod, record, report, restore, snapshot, sweep

from resumable_sweep.contract.report import Stage
from sweep_operator.decide import decide
from sweep_operator.decide.sidecars import STALE_AFTER_SECONDS
from sweep_operator.decide.summary import (
    duration_text,
    eta_text,
    problems_of,
    running_pods,
    total_items,
    with_conditions,
)
from sweep_operator.model.observed import ContainerView, Creation, PodView
from sweep_operator.model.shard_record import ShardState
from sweep_operator.model.signals import Signal
from sweep_operator.model.snapshot import Condition, Snapshot

S = ShardState


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0s"), (0, "0s"), (45.4, "45s"), (200, "3m20s"), (180, "3m"), (7500, "2h5m"), (100_800, "1d4h")],
)
def test_durations_have_two_units(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"done": 10, "total": 20}, "1m40s"),
        ({"done": 0, "total": 20}, ""),
        ({"done": 10, "total": None}, ""),
        ({"done": 20, "total": 20}, ""),
        ({"done": 10, "total": 20, "started_at": None}, ""),
    ],
    ids=["half way", "nothing done", "nobody knows how many", "all done", "not started"],
)
def test_the_estimate(fields: dict[str, Any], text: str) -> None:
    assert eta_text(**{"started_at": NOW - 100, "now": NOW, **fields}) == text


@pytest.mark.parametrize(
    ("records", "reports", "status", "total"),
    [
        ([record()], {}, {"items_sha256": "x", "items_total": 7}, 7),
        ([record()], {1: report(items_total=4)}, {}, 4),
        ([record(), record(1, S.COMPLETE, attempt=2, done=3)], {1: report(items_total=4)}, {}, 7),
        ([record(), record(1, attempt=2)], {1: report(items_total=4)}, {}, None),
        ([record(), record(1, attempt=2)], {1: report(items_total=4)}, {"items_total": 9}, 9),
    ],
    ids=[
        "from the specification",
        "from the program",
        "complete shards have what they have done",
        "unknown while one shard has not told",
        "what was known before stays",
    ],
)
def test_the_total(records: Any, reports: Any, status: Any, total: int | None) -> None:
    of = sweep(records, status=status)
    assert total_items(of.status, snapshot(of, reports=reports), records) == total


@pytest.mark.parametrize(("has_items", "mend"), [(False, "name the items in spec.items"), (True, "ends in .jsonl")])
def test_who_has_named_the_items_is_told_where_their_records_are_looked_for(has_items: bool, mend: str) -> None:
    unproven = record(0, S.WAITING, attempt=1, signal=Signal.UNPROVEN)
    of = snapshot(sweep([unproven], has_items=has_items), listening_since=NOW - 60)
    (problem,) = problems_of(of, [unproven], now=NOW)
    assert mend in problem.message
    assert ("spec.items" in problem.message) is not has_items


def test_running_are_current_attempts_whose_experiment_runs() -> None:
    records = [record(), record(1, attempt=2), record(2, attempt=4)]
    waiting = pod(2, shard=1, phase="Pending", mains=(ContainerView(name="main"),))
    over = pod(4, shard=2, mains=(ended(0),))
    assert running_pods(snapshot(sweep(records), pod(), waiting, over, pod(3, shard=2)), records) == 1


@pytest.mark.parametrize(
    ("sick", "reasons"),
    [
        (pod(mirror=ContainerView(name="sweep-mirror", waiting_reason="CrashLoopBackOff")), ["MirrorDown"]),
        (pod(mirror=ended(137, name="sweep-mirror")), ["MirrorDown"]),
        (pod(mains=(ended(0),), mirror=ended(0, name="sweep-mirror")), []),
        (pod(mirror=main("sweep-mirror")), []),
    ],
    ids=["one that crashes", "one that was killed", "one whose program has ended", "one that runs"],
)
def test_sidecars_that_are_down(sick: PodView, reasons: list[str]) -> None:
    assert reasons_of(snapshot(sweep([record()]), sick)) == reasons


def test_all_sidecars_that_are_down_are_told_in_one_sentence() -> None:
    records = [record(shard, attempt=shard + 1) for shard in range(4)]
    crashes = ContainerView(name="sweep-mirror", waiting_reason="CrashLoopBackOff")
    killed = ended(137, name="sweep-mirror")
    pods = [pod(shard + 1, shard=shard, mirror=mirror) for shard, mirror in enumerate([crashes, crashes, None, killed])]
    (problem,) = problems_of(snapshot(sweep(records), *pods), records, now=NOW)
    assert problem.reason == "MirrorDown"
    assert problem.message.startswith("shards 0-1,3 (first pod lr-0-1): sweep-mirror does not run (CrashLoopBackOff)")
    (alone,) = problems_of(snapshot(sweep(records), pods[3]), records, now=NOW)
    assert alone.message.startswith("shard 3 (pod lr-3-4): sweep-mirror does not run (exit code 137)")
    starved = replace(pods[3], mirror=replace(killed, exit_reason="OOMKilled"))
    (hungry,) = problems_of(snapshot(sweep(records), starved), records, now=NOW)
    assert "does not run (exit code 137, OOMKilled: raise sidecar.resources" in hungry.message


def test_problems_come_from_creations_reports_and_pods_but_not_from_rights() -> None:
    records = [record(), record(1, attempt=2)]
    damaged = report(2, restore_problem="CheckpointFellBack", restore_message="went back")
    known = snapshot(
        sweep(records, has_items=True),
        pod(node="", unschedulable="0/3"),
        creations={2: Creation(problem="QuotaExceeded", message="exceeded quota")},
        housekeeping={"resolve": Creation(problem="PodForbidden", message="no")},
        reports={1: report(problem="StoreUnreachable", message="no answer"), 2: damaged},
        nodes_visible=False,
    )
    reasons = [problem.reason for problem in problems_of(known, records, now=NOW)]
    passing = ["QuotaExceeded", "Unschedulable"]
    assert reasons == ["StoreUnreachable", "PodForbidden", "CheckpointFellBack", *passing]


def test_drift_is_a_problem_until_the_shard_runs_again() -> None:
    waiting = record(0, ShardState.WAITING, attempt=1, signal=Signal.DRIFT)
    of = sweep([waiting])
    over = pod(phase="Failed", **restore(88))
    (problem,) = problems_of(snapshot(of, over), [waiting], now=NOW)
    assert (problem.reason, problem.message) == ("Drift", "shard 0: what restore said")
    (problem,) = problems_of(snapshot(of), [waiting], now=NOW)
    assert problem.reason == "Drift"
    running = record(0, attempt=2, signal=Signal.DRIFT)
    assert problems_of(snapshot(sweep([running]), pod(2)), [running], now=NOW) == []


def test_a_condition_keeps_the_time_of_its_last_change() -> None:
    def condition(status: bool, since: float, reason: str = "A") -> Condition:
        return Condition(type="Healthy", status=status, reason=reason, message="", since=since)

    same = with_conditions([condition(True, 1)], [condition(True, 2, "B")])
    other = with_conditions([condition(True, 1)], [condition(False, 2)])
    assert (same[0].since, same[0].reason) == (1, "B")
    assert other[0].since == 2


def reasons_of(known: Snapshot) -> list[str]:
    return [problem.reason for problem in problems_of(known, known.sweep.status.records, now=NOW)]


def test_a_store_that_a_restore_waits_for_is_a_problem_until_it_answers() -> None:
    of = sweep([record()])
    restoring = pod(phase="Pending", mains=(), **restore(None))

    def told(**fields: Any) -> Snapshot:
        return snapshot(of, restoring, reports={1: report(stage=Stage.RESTORING, **fields)})

    waits = told(problem="StoreUnreachable", message="no answer")
    assert reasons_of(waits) == ["StoreUnreachable"]
    healthy = next(each for each in decide(waits, NOW).status.conditions if each.type == "Healthy")
    assert (healthy.status, healthy.reason, healthy.message) == (False, "StoreUnreachable", "shard 0: no answer")
    assert reasons_of(told(restored_bytes=1, restore_bytes=2)) == []


def test_words_that_this_version_does_not_know_are_passed_on() -> None:
    known = snapshot(sweep([record()]), pod(), reports={1: report(problem="MoonInTheWay", message="wait")})
    assert reasons_of(known) == ["MoonInTheWay"]


LONG_AGO = NOW - STALE_AFTER_SECONDS - 1


@pytest.mark.parametrize(
    ("sees", "known", "stale"),
    [
        (pod(), {"heard_at": {1: LONG_AGO}}, True),
        (pod(), {}, True),
        (pod(), {"heard_at": {1: NOW - STALE_AFTER_SECONDS}}, False),
        (pod(), {"listening_since": NOW - 5}, False),
        (pod(), {"listening_since": None}, False),
        (pod(mains=(main(started_at=NOW - 5),)), {}, False),
        (pod(phase="Pending", mains=()), {}, False),
        (pod(mirror=ended(137, name="sweep-mirror")), {}, False),
        (pod(), {"nodes": [node(ready="Unknown")]}, False),
        (pod(), {"nodes_visible": False, "nodes": []}, True),
    ],
    ids=[
        "not heard of any more",
        "never heard of",
        "heard of just in time",
        "the operator has only begun to listen",
        "nobody is told to report",
        "it has only started",
        "it does not run yet",
        "its sidecar is down, which says more",
        "its node is silent, which says more",
        "nodes cannot be seen",
    ],
)
def test_silence(sees: PodView, known: dict[str, Any], stale: bool) -> None:
    defaults: dict[str, Any] = {"listening_since": LONG_AGO}
    found = reasons_of(snapshot(sweep([record()]), sees, **{**defaults, **known}))
    assert ("ProgressStale" in found) is stale


def test_all_silent_shards_are_told_in_one_sentence() -> None:
    records = [record(shard, attempt=shard + 1) for shard in range(3)]
    pods = [pod(shard + 1, shard=shard) for shard in range(3)]
    known = snapshot(sweep(records), *pods, listening_since=LONG_AGO, heard_at={2: NOW})
    (problem,) = problems_of(known, records, now=NOW)
    assert "shards 0,2 " in problem.message
    assert "NetworkPolicy" in problem.message
