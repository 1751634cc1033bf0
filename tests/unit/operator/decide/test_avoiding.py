"""Nodes that refuse pods, or are about to go, and where the next pods are not wanted."""

from __future__ import annotations

from typing import Any

import pytest
from builders import NODE, NOW, node, placed, pod, record, report, snapshot, sweep

from resumable_sweep.contract.report import NoticeKind
from sweep_operator.decide import decide
from sweep_operator.decide.avoiding import AVOIDED_SECONDS, MOST_NODES, avoided
from sweep_operator.decide.notices import OVERDUE_SECONDS
from sweep_operator.model.plan import CreateAttempt, Plan
from sweep_operator.model.shard_record import ShardRecord, ShardState
from sweep_operator.model.signals import Signal
from sweep_operator.model.snapshot import AvoidedNode

S = ShardState
REJECTED = pod(phase="Failed", reason="OutOfcpu", mains=())
DEADLINE = int(NOW) + 120
NOTICED: dict[str, Any] = {"notice": NoticeKind.EC2_INTERRUPTION, "noticed_at": NOW, "deadline": DEADLINE}


def on(name: str, shard: int = 0, state: ShardState = S.ACTIVE, **fields: Any) -> ShardRecord:
    return record(shard, state, **{"attempt": shard + 1, "node": f"{name}/{node(name).incarnation}", **fields})


def orders(plan: Plan) -> dict[int, tuple[str, ...]]:
    return {action.shard: action.avoid for action in plan.actions if isinstance(action, CreateAttempt)}


@pytest.mark.parametrize(
    ("fields", "stays"),
    [
        ({"reason": "OutOfcpu", "mains": ()}, True),
        ({"reason": "Evicted", "disruption": "TerminationByKubelet"}, True),
        ({"disruption": "EvictionByEvictionAPI"}, False),
    ],
    ids=["rejected", "short of memory", "drained"],
)
def test_a_node_that_fails_a_pod_is_avoided_for_a_while(fields: dict[str, Any], stays: bool) -> None:
    plan = decide(snapshot(sweep([placed()]), pod(phase="Failed", **fields)), NOW)
    assert [(each.name, each.until) for each in plan.status.avoided] == (
        [(NODE, int(NOW) + AVOIDED_SECONDS)] if stays else []
    )


def test_all_shards_avoid_it_until_then() -> None:
    before = sweep([placed(), record(1, S.WAITING)], status={"attempts": 1})
    first = decide(snapshot(before, REJECTED), NOW)
    assert orders(first) == {1: (NODE,)}
    later = decide(
        snapshot(sweep([record(0, S.WAITING)], status={"avoided": first.status.avoided})), NOW + AVOIDED_SECONDS
    )
    assert orders(later) == {0: ()}
    assert later.status.avoided == ()


def test_a_node_that_is_announced_to_go_is_avoided_by_all() -> None:
    before = sweep([placed(), record(1, S.WAITING)], status={"attempts": 1})
    said = report(notice=NoticeKind.EC2_INTERRUPTION, notice_deadline=float(DEADLINE))
    plan = decide(snapshot(before, pod(), reports={1: said}), NOW)
    assert plan.status.avoided == (
        AvoidedNode(name=NODE, reason="Ec2SpotInterruption", until=float(DEADLINE + OVERDUE_SECONDS)),
    )
    # The heir of the one, and the first attempt of the other.
    assert orders(plan) == {0: (NODE,), 1: (NODE,)}


def test_it_is_avoided_no_more_once_that_is_withdrawn() -> None:
    there = (AvoidedNode(name=NODE, reason="Ec2SpotInterruption", until=float(DEADLINE + OVERDUE_SECONDS)),)
    old = placed(**NOTICED)
    assert avoided(there, before=[old], after=[old], now=NOW + 1) == there
    assert avoided(there, before=[old], after=[old.changed(deadline=0)], now=NOW + 1) == ()


def test_it_is_still_avoided_when_the_attempt_has_been_taken_over() -> None:
    there = (AvoidedNode(name=NODE, reason="Ec2SpotInterruption", until=float(DEADLINE + OVERDUE_SECONDS)),)
    after = record(attempt=2)
    assert avoided(there, before=[placed(**NOTICED, heir=2)], after=[after], now=NOW + 1) == there


def test_only_so_many_nodes_are_avoided() -> None:
    before = [on(f"n-{shard:03}", shard) for shard in range(MOST_NODES + 5)]
    after = [each.changed(state=S.WAITING, signal=Signal.REJECTED) for each in before]
    assert len(avoided((), before=before, after=after, now=NOW)) == MOST_NODES
