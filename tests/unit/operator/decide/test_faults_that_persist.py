"""A fault that does not go away costs a bounded number of pods, never many at once, and nothing once it is gone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from builders import NODE, UID, ended
from fake_cluster import ITEMS, FakeCluster, Shard
from fake_operator import FakeOperator

from sweep_operator.model.observed import PodView, Role
from sweep_operator.model.shard_record import ShardState
from sweep_operator.model.snapshot import Allowance, Spec

SHARDS = 3
DAY = 86_400
SECONDS_A_ROUND = 7


GENEROUS: dict[str, Any] = {
    "user_failures": 1000,
    "infrastructure": Allowance(300, 600.0),
    "no_progress_attempts": 0,
    "unexplained": 1000,
}


class World:
    """A cluster of one node and an operator that looks only when there is news, or when it has asked to."""

    def __init__(self, **budgets: Any) -> None:
        self.cluster = FakeCluster(shards=[Shard() for _ in range(SHARDS)])
        self.cluster.set_node(NODE)
        spec = Spec(run_id=UID, shards=SHARDS, parallelism=2, **{**GENEROUS, **budgets})
        self.operator = FakeOperator(self.cluster, spec)
        self.operator.look()

    def advance(self, pod: PodView) -> None:
        """Let a pod come one step further, as it should."""
        cluster = self.cluster
        if not pod.node:
            cluster.schedule(pod)
        elif pod.phase == "Pending":
            cluster.start(pod)
        elif pod.role is not Role.ATTEMPT:
            cluster.do_chore(pod)
        elif cluster.processes[pod.uid].recorded == ITEMS:
            self.operator.hear(cluster.finish(pod))
        else:
            cluster.work(pod)
            self.operator.hear(cluster.mirror(pod, stored=True))

    def live(self, fault: Callable[[World, PodView], None] | None = None, *, seconds: float) -> list[float]:
        """Let time pass, all attempts suffer from a fault if there is one, and return when attempts were made."""
        until = self.cluster.now + seconds
        made: list[float] = []
        while self.operator.status.phase not in ("Complete", "Failed") and self.cluster.now < until:
            for pod in list(self.cluster.pods.values()):
                if fault is not None and pod.node and pod.role is Role.ATTEMPT:
                    fault(self, pod)
                else:
                    self.advance(pod)
            for pod in [pod for pod in self.cluster.pods.values() if pod.deleted]:
                self.operator.hear(self.cluster.reap(pod))
            if self.operator.is_due:
                self.operator.look()
            made += [self.cluster.now] * (len(self.cluster.made) - len(made))
            self.cluster.now += SECONDS_A_ROUND
            if all(pod.is_terminal for pod in self.cluster.pods.values()) and self.operator.look_again_at:
                self.cluster.now = max(self.cluster.now, self.operator.look_again_at)
        return made


def reject(world: World, pod: PodView) -> None:
    if pod.node and pod.phase == "Pending":
        world.cluster.put(replace(pod, phase="Failed", reason="OutOfcpu"))
        world.cluster.processes[pod.uid].alive = False


def end_with(code: int) -> Callable[[World, PodView], None]:
    def end(world: World, pod: PodView) -> None:
        if pod.is_running:
            world.operator.hear(world.cluster.finish(pod, code=code))
        else:
            world.advance(pod)

    return end


def kill_long_ago(world: World, pod: PodView) -> None:
    if pod.is_running:
        world.operator.hear(world.cluster.finish(pod, code=137))
        gone = world.cluster.pods[pod.name]
        world.cluster.put(replace(gone, mains=(ended(137, at=world.cluster.now - 60),)))
    else:
        world.advance(pod)


def take_away(world: World, pod: PodView) -> None:
    """End a pod that runs before it has stored anything, as an eviction does."""
    if pod.is_running:
        report = world.cluster.finish(pod, code=143, disruption="EvictionByEvictionAPI")
        world.operator.hear(report)
    else:
        world.advance(pod)


FAULTS: dict[str, tuple[Callable[[World, PodView], None], dict[str, Any], int]] = {
    "every node refuses the pods": (reject, {"infrastructure": Allowance(6, 3600.0)}, 7),
    "the program crashes": (end_with(1), {"user_failures": 4}, 5),
    "something kills the program": (kill_long_ago, {"unexplained": 4}, 5),
    "the program exits 0 too early": (end_with(0), {"unexplained": 4}, 5),
    "no machine lasts for an item": (take_away, {"no_progress_attempts": 4}, 4),
    "machines are taken away for ever": (take_away, {"reclaims": Allowance(4, 3600.0)}, 5),
}


@pytest.mark.parametrize(("fault", "budgets", "attempts"), FAULTS.values(), ids=FAULTS.keys())
def test_a_shard_is_given_up_and_finishes_once_the_fault_is_gone(
    fault: Callable[[World, PodView], None], budgets: dict[str, Any], attempts: int
) -> None:
    world = World(**budgets)
    world.live(fault, seconds=DAY)
    status = world.operator.status
    assert status.phase == "Failed"
    assert {record.state for record in status.records} == {ShardState.FAILED}
    # What comes back of a budget while attempts are spread over time allows a few more.
    assert SHARDS * attempts <= len(world.cluster.made) <= SHARDS * (attempts + 4)
    world.operator.retry = "all"
    world.operator.look()
    world.live(seconds=DAY)
    done = world.operator.status
    assert (done.phase, done.retried) == ("Complete", "all")
    assert done.merged is not None
    assert done.merged.items == SHARDS * ITEMS


@pytest.mark.parametrize(("fault", "budgets", "attempts"), FAULTS.values(), ids=FAULTS.keys())
def test_without_a_bound_it_is_tried_for_ever_but_slowly(
    fault: Callable[[World, PodView], None], budgets: dict[str, Any], attempts: int
) -> None:
    del budgets, attempts
    world = World()
    made = world.live(fault, seconds=DAY / 8)
    assert world.operator.status.phase == "Running"
    late = [at for at in made if at > made[0] + 3600]
    assert late, "it was given up"
    # From the seventh failure in a row on there are five minutes between two attempts of a shard.
    assert len(late) <= SHARDS * (DAY / 8 - 3600) / 300 + SHARDS


def test_other_shards_run_to_their_end_and_what_there_is_is_merged() -> None:
    world = World(user_failures=1, continues=True)
    crash = end_with(1)

    def crash_the_first(of: World, pod: PodView) -> None:
        if pod.shard == 0:
            crash(of, pod)
        else:
            of.advance(pod)

    world.cluster.partial_merges = True
    world.live(crash_the_first, seconds=DAY)
    status = world.operator.status
    assert status.phase == "Complete"
    (complete,) = [condition for condition in status.conditions if condition.type == "Complete"]
    assert (complete.status, complete.reason) == (True, "MergedPartially")
    assert complete.message.startswith(f"{2 * ITEMS} results merged; shards 0 failed")
