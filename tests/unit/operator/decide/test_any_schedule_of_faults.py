"""Whatever goes wrong, in whatever order: nothing is done twice, nothing unfinished counts, and all ends well.

The operator is driven by `decide` alone against a cluster in memory. After a schedule of faults that hypothesis has
chosen they cease, and the sweep must complete: the operator then looks only when there is news or when it has asked to.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from builders import NODE, UID
from fake_cluster import ITEMS, FakeCluster, Shard
from fake_operator import FakeOperator, Faults
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resumable_sweep.contract.report import NoticeKind, Report
from sweep_operator.model.observed import PodView, Role
from sweep_operator.model.snapshot import Allowance, Spec

CALM_SECONDS = 3000
NODES = (NODE, "node-b")


class World:
    """The cluster, the operator, and what may happen to them: each method is one event."""

    def __init__(self, *, shards: int, parallelism: int, has_items: bool) -> None:
        self.cluster = FakeCluster(shards=[Shard() for _ in range(shards)])
        for name in NODES:
            self.cluster.set_node(name, boot_id="first")
        spec = Spec(
            run_id=UID,
            shards=shards,
            parallelism=parallelism,
            has_items=has_items,
            user_failures=1000,
            infrastructure=Allowance(300, 600.0),
            no_progress_attempts=0,
            unexplained=1000,
        )
        self.operator = FakeOperator(self.cluster, spec)
        self.operator.look()

    def pick(self, index: int) -> PodView | None:
        pods = sorted(self.cluster.pods.values(), key=lambda pod: pod.name)
        return pods[index % len(pods)] if pods else None

    # What goes as it should.

    def go_on(self, stored: bool, heard: bool) -> None:
        """Let all pods come one step further; what they record may not be stored yet, and reports may be lost."""
        for pod in list(self.cluster.pods.values()):
            report = self.advance(pod, stored=stored)
            if heard and self.operator.hear(report).may_take:
                self.cluster.processes[pod.uid].may_take = True

    def advance(self, pod: PodView, *, stored: bool) -> Report | None:
        cluster = self.cluster
        if not pod.node:
            cluster.schedule(pod)
        elif pod.phase == "Pending":
            cluster.start(pod)
            return cluster.ask_for_turn(cluster.pods[pod.name])
        elif pod.role is not Role.ATTEMPT:
            cluster.do_chore(pod)
        elif cluster.processes[pod.uid].recorded == ITEMS:
            return cluster.finish(pod)
        else:
            cluster.work(pod)
            return cluster.mirror(pod, stored=stored)
        return None

    def reap(self, heard: bool) -> None:
        for pod in list(self.cluster.pods.values()):
            report = self.cluster.reap(pod)
            if heard:
                self.operator.hear(report)

    # What happens to the operator.

    def look(self, seconds: float) -> None:
        self.cluster.now += seconds
        self.operator.look()

    def look_with_faults(self, seconds: float, creation: str, **wrong: Any) -> None:
        self.cluster.now += seconds
        self.operator.look(Faults(creations=(creation,), **wrong))

    def restart_operator(self) -> None:
        self.operator.restart()

    def a_late_creation_arrives(self) -> None:
        if self.operator.late:
            self.operator.late.pop()()

    # What people do.

    def change(self, suspend: bool, parallelism: int) -> None:
        self.operator.spec = replace(self.operator.spec, suspend=suspend, parallelism=parallelism)
        self.cluster.changes += 1

    def use_quota_up(self, used_up: bool) -> None:
        self.cluster.quota_is_used_up = used_up

    # What happens to pods and nodes.

    def end_early(self, index: int, code: int, heard: bool) -> None:
        """The program ends before its items are done: exit 0, a crash, or a kill."""
        pod = self.pick(index)
        if pod is not None and pod.role is Role.ATTEMPT:
            report = self.cluster.finish(pod, code=code)
            if heard:
                self.operator.hear(report)

    def delete_pod(self, index: int, forced: bool) -> None:
        pod = self.pick(index)
        if pod is not None:
            if forced:
                self.cluster.processes[pod.uid].alive = False
            self.cluster.delete(pod, 0 if forced else None)

    def lose_node(self, name: str) -> None:
        if self.cluster.nodes.pop(name, None):
            self.cluster.cut_off.discard(name)
            self.cluster.lose_node(name)
            self.cluster.changes += 1

    def bring_node(self, name: str) -> None:
        """A node comes, recovers, or takes the name of one that is gone."""
        self.cluster.cut_off.discard(name)
        self.cluster.set_node(name, ready="True", shutting_down=False, terminating="")

    def cut_off(self, name: str, dead: bool) -> None:
        """A machine falls silent, and Kubernetes has not noticed yet: dead, or with pods that go on and store."""
        if name in self.cluster.nodes:
            self.cluster.cut_off.add(name)
            if dead:
                self.cluster.lose_node(name)

    def stutter(self, name: str, seconds: int) -> None:
        """A machine stands still for a while, and goes on."""
        self.cut_off(name, dead=False)
        for _ in range(seconds):
            self.look(1)
        self.reconnect(name)
        self.go_on(stored=True, heard=True)

    def reconnect(self, name: str) -> None:
        """A machine that was silent is heard again before Kubernetes has noticed anything."""
        self.cluster.cut_off.discard(name)

    def silence_node(self, name: str, dead: bool) -> None:
        """A node that does not answer: dead, or cut off while its pods go on."""
        if name in self.cluster.nodes:
            self.cluster.set_node(name, ready="Unknown")
            if dead:
                self.cluster.lose_node(name)

    def reset_machine(self, name: str, boot: str, looked: bool) -> None:
        """A machine is started anew where it stands: it tells of its boot, and then of the containers that it lost."""
        if name not in self.cluster.nodes or name in self.cluster.cut_off:
            return
        pods = [pod for pod in self.cluster.pods.values() if pod.node == name and pod.role is Role.ATTEMPT]
        running = [pod for pod in pods if pod.is_running and self.cluster.processes[pod.uid].alive]
        self.operator.excused |= {pod.attempt for pod in running}
        self.cluster.lose_node(name)
        self.cluster.set_node(name, ready="True", shutting_down=False, terminating="", boot_id=boot)
        if looked:
            self.operator.look()
        for pod in running:
            if pod.name in self.cluster.pods:
                lost = tuple(replace(main, exit_code=255, exit_reason="Unknown") for main in pod.mains)
                self.cluster.put(replace(self.cluster.pods[pod.name], phase="Failed", mains=lost))

    def shut_node_down(self, name: str, published: bool, heard: bool) -> None:
        """A graceful shutdown: its last word on each pod may be lost."""
        if name not in self.cluster.nodes:
            return
        self.cluster.set_node(name, ready="False", shutting_down=True)
        for pod in [pod for pod in self.cluster.pods.values() if pod.node == name and pod.role is Role.ATTEMPT]:
            report = self.cluster.finish(pod, code=143, disruption="TerminationByKubelet", published=published)
            if heard:
                self.operator.hear(report)

    # What the cloud announces; whether it comes true is for the other events to say.

    def announce(self, name: str, kind: NoticeKind, seconds: float) -> None:
        if name in self.cluster.nodes:
            self.cluster.notices[name] = (kind, self.cluster.now + seconds)

    def withdraw(self, name: str) -> None:
        self.cluster.notices.pop(name, None)

    def stop_for_notice(self, index: int, code: int, published: bool, heard: bool) -> None:
        """The program stops between two items because its machine is announced to go."""
        noticed = [pod for pod in self.cluster.pods.values() if pod.is_running and pod.node in self.cluster.notices]
        if noticed:
            pod = noticed[index % len(noticed)]
            record = self.operator.status.records[pod.shard]
            if record.attempt == pod.attempt and record.notice.is_hard:
                self.operator.excused.add(pod.attempt)
            report = self.cluster.finish(pod, code=code, published=published)
            if heard:
                self.operator.hear(report)

    # How it must end.

    def calm_down(self) -> None:
        """Let nothing go wrong any more, and wait for the end."""
        # A new node comes; those that are shutting down go, and those that are silent stay so for ever.
        self.bring_node("node-c")
        for name in self.cluster.cut_off:
            self.cluster.set_node(name, ready="Unknown")
        for name in [name for name, node in self.cluster.nodes.items() if node.shutting_down]:
            self.lose_node(name)
        self.cluster.quota_is_used_up = False
        while self.operator.late:
            self.a_late_creation_arrives()
        self.change(suspend=False, parallelism=2)
        for _ in range(CALM_SECONDS):
            if self.operator.status.phase == "Complete":
                return
            self.go_on(stored=True, heard=True)
            self.reap(heard=True)
            if self.operator.is_due:
                self.operator.look()
            self.cluster.now += 1


BOTH = (True, False)
SECONDS = (0, 0.3, 2, 6, 31, 61)
INDICES = tuple(range(8))
STATUS = (*["ok"] * 6, "conflict", "answer lost", "crash after")
NOTICES = (NoticeKind.GCE_PREEMPTED, NoticeKind.EC2_INTERRUPTION, NoticeKind.EC2_REBALANCE)
CREATION = ("answer lost, made", "answer lost, not made", "made later", "crash")

# What may happen: its weight, and the values of its arguments. What goes well is more frequent than what does not:
# else nothing would ever get far enough to be spoilt.
EVENTS: dict[str, tuple[int, dict[str, tuple[Any, ...]]]] = {
    "look": (8, {"seconds": SECONDS}),
    "go_on": (12, {"stored": BOTH, "heard": BOTH}),
    "reap": (3, {"heard": BOTH}),
    "look_with_faults": (
        5,
        {"seconds": SECONDS, "cache_lags": BOTH, "status": STATUS, "creation": CREATION, "deletions_fail": BOTH},
    ),
    "restart_operator": (1, {}),
    "a_late_creation_arrives": (1, {}),
    "use_quota_up": (2, {"used_up": BOTH}),
    "change": (2, {"suspend": (False, False, True), "parallelism": (1, 2, 3)}),
    "announce": (6, {"name": NODES, "kind": NOTICES, "seconds": (1, 30, 120)}),
    "withdraw": (1, {"name": NODES}),
    "stop_for_notice": (4, {"index": INDICES, "code": (0, 143), "published": BOTH, "heard": BOTH}),
    "end_early": (2, {"index": INDICES, "code": (0, 1, 137), "heard": BOTH}),
    "delete_pod": (2, {"index": INDICES, "forced": BOTH}),
    "lose_node": (1, {"name": NODES}),
    "bring_node": (4, {"name": NODES}),
    "silence_node": (1, {"name": NODES, "dead": BOTH}),
    "cut_off": (3, {"name": NODES, "dead": BOTH}),
    "reconnect": (2, {"name": NODES}),
    "reset_machine": (2, {"name": NODES, "boot": ("first", "second", "third", ""), "looked": BOTH}),
    "shut_node_down": (1, {"name": NODES, "published": BOTH, "heard": BOTH}),
}
Event = tuple[str, dict[str, Any]]


def play(world: World, schedule: Iterable[Event]) -> None:
    """Let happen what the schedule says, then calm down, and check the end."""
    for name, arguments in schedule:
        getattr(world, name)(**arguments)
    world.calm_down()
    status = world.operator.status
    assert status.phase == "Complete", f"stuck: {status}, {world.cluster.pods}"
    assert status.merged is not None
    assert status.merged.items == ITEMS * len(world.cluster.shards)


def strategy_of(name: str, values: dict[str, tuple[Any, ...]]) -> st.SearchStrategy[Event]:
    arguments = st.fixed_dictionaries({argument: st.sampled_from(choices) for argument, choices in values.items()})
    return st.tuples(st.just(name), arguments)


def drawn(events: dict[str, tuple[int, dict[str, tuple[Any, ...]]]], chance: random.Random, length: int) -> list[Event]:
    weights = [weight for weight, _ in events.values()]
    return [
        (name, {argument: chance.choice(choices) for argument, choices in events[name][1].items()})
        for name in chance.choices(list(events), weights, k=length)
    ]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    shards=st.integers(1, 3),
    parallelism=st.integers(1, 3),
    has_items=st.booleans(),
    schedule=st.lists(
        st.one_of(*(strategy_of(name, values) for name, (weight, values) in EVENTS.items() for _ in range(weight))),
        min_size=20,
        max_size=60,
    ),
)
def test_any_schedule_of_faults(shards: int, parallelism: int, has_items: bool, schedule: list[Event]) -> None:
    play(World(shards=shards, parallelism=parallelism, has_items=has_items), schedule)


@pytest.mark.parametrize("seed", range(150))
def test_a_long_schedule_of_faults(seed: int) -> None:
    """What is drawn evenly goes further than what hypothesis draws, which in turn finds the shortest schedule."""
    chance = random.Random(seed)
    schedule = drawn(EVENTS, chance, 200)
    play(World(shards=chance.choice((2, 4)), parallelism=chance.choice((1, 2, 4)), has_items=seed % 2 == 0), schedule)


SILENCES: dict[str, tuple[int, dict[str, tuple[Any, ...]]]] = {
    "look": (20, {"seconds": (0.3, 2, 6)}),
    "go_on": (4, {"stored": BOTH, "heard": (True, True, False)}),
    "cut_off": (2, {"name": NODES, "dead": BOTH}),
    "reconnect": (4, {"name": NODES}),
    "stutter": (1, {"name": NODES, "seconds": (20, 45)}),
    "bring_node": (1, {"name": NODES}),
    "silence_node": (1, {"name": NODES, "dead": BOTH}),
    "restart_operator": (1, {}),
    "reap": (1, {"heard": (True, True, False)}),
    "look_with_faults": (
        1,
        {"seconds": (2,), "cache_lags": BOTH, "status": STATUS, "creation": CREATION, "deletions_fail": BOTH},
    ),
}


def test_machines_that_fall_silent() -> None:
    """Dead ones, ones that are cut off while their pods go on, false alarms, and an operator that is restarted."""
    presumed_dead = false_alarms = 0
    for seed in range(20):
        chance = random.Random(seed)
        world = World(shards=4, parallelism=4, has_items=False)
        for name, arguments in drawn(SILENCES, chance, 150):
            getattr(world, name)(**arguments)
            false_alarms += sum(record.false_alarms for record in world.operator.status.records)
        play(world, [])
        presumed_dead += len(world.operator.silenced)
    assert presumed_dead > 10
    assert false_alarms > 10
