"""A verdict is made once: neither the operator's restart nor what is seen afterwards changes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from builders import NODE, UID, ended
from fake_cluster import FakeCluster, Shard
from fake_operator import FakeOperator

from sweep_operator.decide.classify import AMBIGUOUS_SECONDS
from sweep_operator.decide.sweep import refresh_seconds
from sweep_operator.model.observed import PodView, Role
from sweep_operator.model.signals import Signal
from sweep_operator.model.snapshot import Spec, SweepStatus

OTHER = "node-b"


class World:
    """One shard, whose first attempt runs on a node of two."""

    def __init__(self) -> None:
        self.cluster = FakeCluster(shards=[Shard()])
        for name in (NODE, OTHER):
            self.cluster.set_node(name, boot_id=f"first of {name}")
        self.operator = FakeOperator(self.cluster, Spec(run_id=UID, shards=1, parallelism=1))
        for _ in range(3):
            self.operator.look()
            for pod in list(self.cluster.pods.values()):
                self.cluster.schedule(pod)
                self.cluster.start(self.cluster.pods[pod.name])
        # Where a pod runs is written a little later than that it was made.
        self.wait(refresh_seconds(1))
        self.node = self.first.node

    @property
    def first(self) -> PodView:
        """The pod of the first attempt."""
        return next(pod for pod in self.cluster.pods.values() if pod.role is Role.ATTEMPT and pod.attempt == 1)

    def wait(self, seconds: float) -> None:
        """Let time pass, with a look at the end of every second."""
        for _ in range(int(seconds)):
            self.cluster.now += 1
            self.operator.look()

    def look(self) -> None:
        self.operator.look()

    def restart(self) -> None:
        self.operator.restart()
        self.operator.look()

    def ends(self, code: int) -> None:
        """Let the kubelet publish that the containers have ended, and the pod with them."""
        main = ended(code, at=self.cluster.now)
        self.cluster.put(replace(self.first, phase="Failed" if code else "Succeeded", mains=(main,)))

    def is_evicted(self) -> None:
        self.cluster.put(replace(self.first, disruption="EvictionByEvictionAPI", deleted=True))

    def loses_node(self) -> None:
        self.cluster.lose_node(self.node)
        del self.cluster.nodes[self.node]
        self.cluster.changes += 1

    def falls_silent(self) -> None:
        self.cluster.set_node(self.node, ready="Unknown")

    def comes_back(self) -> None:
        self.cluster.set_node(self.node, ready="True")

    def reboots(self) -> None:
        self.cluster.set_node(self.node, boot_id="second")


Act = Callable[[World], None]


@dataclass(frozen=True)
class Story:
    """What is seen first, what the verdict is, and what is seen when it is too late to count."""

    first: tuple[Act, ...]
    signal: Signal
    later: tuple[Act, ...]


def then(seconds: float) -> Act:
    return lambda world: world.wait(seconds)


STORIES = {
    "the node is gone, then the pod is said to have crashed": Story(
        (World.loses_node,), Signal.NODE_GONE, (lambda world: world.ends(1),)
    ),
    "a crash, then its node is gone": Story(
        (lambda world: world.ends(1),), Signal.CONTAINER_FAILED, (World.loses_node,)
    ),
    "evicted, then it answers with a code of its own": Story(
        (World.is_evicted, World.look, lambda world: world.ends(1)), Signal.EVICTED, (World.loses_node,)
    ),
    "evicted, then the node boots anew": Story(
        (World.is_evicted, World.look, World.reboots, then(31)), Signal.EVICTED, (lambda world: world.ends(255),)
    ),
    "silent for long, then back": Story(
        (World.falls_silent, then(61)), Signal.NODE_UNREACHABLE, (World.comes_back, lambda world: world.ends(1))
    ),
    "booted anew, then the kubelet tells of lost containers": Story(
        (World.reboots,), Signal.NODE_REBOOTED, (lambda world: world.ends(255), World.loses_node)
    ),
    "killed, and within seconds the node is gone": Story(
        (lambda world: world.ends(137), World.look, World.loses_node), Signal.NODE_GONE, ()
    ),
    "killed, and the node is gone only later": Story(
        (lambda world: world.ends(137), then(AMBIGUOUS_SECONDS + 1)), Signal.CONTAINER_KILLED, (World.loses_node,)
    ),
}


@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize("restarts", [False, True], ids=["goes on", "is started anew"])
def test_the_first_verdict_stands(name: str, restarts: bool) -> None:
    story, world = STORIES[name], World()
    after = world.restart if restarts else world.look
    for act in story.first:
        act(world)
        after()
    first = told(world.operator.status)

    # Whatever is left of the first attempt's pod is looked at again and again, also beside its successor's.
    for act in story.later:
        if any(pod.attempt == 1 for pod in world.cluster.pods.values()):
            act(world)
            after()
    world.wait(40)
    after()

    wanted = {story.signal.value: 1} if story.signal.is_reclaim else {}
    assert first == (story.signal, wanted, int(story.signal is Signal.CONTAINER_FAILED))
    assert told(world.operator.status)[1:] == first[1:]
    assert world.operator.status.attempts == 2, "and has had one consequence"


def told(status: SweepStatus) -> tuple[Signal, dict[str, int], int]:
    """Return the signal of the latest verdict, the reclaims, and the failures held against the experiment."""
    (record,) = status.records
    last = status.last_reclaim.signal if status.last_reclaim else record.signal
    return last, dict(status.reclaims_by_signal), record.user_failures
