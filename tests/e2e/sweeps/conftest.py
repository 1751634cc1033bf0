"""One real cluster with the operator installed, and one undisturbed run that all disturbed ones are held against."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from trial.cluster import wait_until
from trial.ground import Ground, install_operator, local_ground
from trial.observer import Observer
from trial.script import Strike
from trial.sweep import Sweep, manifest_of
from trial.verdict import Verdict, verdict_on

SPOT_NODES = 4
NAMESPACE = "trials"
# Thirty items of a second on three shards: long enough to be struck in the middle, short enough for many runs.
SPEC: dict[str, Any] = {
    "experiment": "pacer",
    "shards": 3,
    "parallelism": 3,
    "items": {"matrix": {"n": list(range(30)), "seconds": [1]}},
}
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A cluster of this session's own, taken down at the end."""
    ground = local_ground(
        nodes=SPOT_NODES + 1, spot=SPOT_NODES, experiment="pacer", state=tmp_path_factory.mktemp("cluster")
    )
    assert ground.testbed is not None
    try:
        install_operator(ground)
        yield ground
    finally:
        ground.testbed.down()


@dataclass
class Trial:
    """A sweep under way, and what watches it."""

    sweep: Sweep
    observer: Observer
    started: float


def all_nodes_of(ground: Ground) -> None:
    """Bring back what an earlier test took away or cordoned."""
    assert ground.testbed is not None
    ground.testbed.up(nodes=SPOT_NODES + 1, spot=SPOT_NODES)
    cluster = ground.cluster()
    for node in cluster.get("/api/v1/nodes")["items"]:
        if node["spec"].get("unschedulable"):
            cluster.patch(f"/api/v1/nodes/{node['metadata']['name']}", {"spec": {"unschedulable": False}})


@pytest.fixture
def start(ground: Ground) -> Iterator[Callable[..., Trial]]:
    """Applies a sweep on a cluster whose nodes are all there, and removes it afterwards."""
    trials: list[Trial] = []

    def apply(**spec: Any) -> Trial:
        all_nodes_of(ground)
        cluster = ground.cluster()
        sweep = Sweep(cluster, namespace=NAMESPACE, name=f"trial-{next(_numbers)}")
        started = time.monotonic()
        sweep.apply(manifest_of(ground, name=sweep.name, namespace=NAMESPACE, **{**SPEC, **spec}))
        trial = Trial(sweep=sweep, observer=Observer(sweep), started=started)
        trials.append(trial)
        return trial

    yield apply
    for trial in trials:
        trial.observer.close()
        trial.sweep.delete()


@pytest.fixture(scope="session")
def reference(ground: Ground) -> Sweep:
    """The undisturbed run."""
    sweep = Sweep(ground.cluster(), namespace=NAMESPACE, name="undisturbed")
    sweep.apply(manifest_of(ground, name=sweep.name, namespace=NAMESPACE, **SPEC))
    sweep.wait_for_phase("Complete", "Failed", seconds=240)
    assert sweep.status()["phase"] == "Complete", sweep.status()
    return sweep


@pytest.fixture
def judge(ground: Ground, reference: Sweep) -> Callable[..., Verdict]:
    """Waits for a trial's end and holds it against the undisturbed run."""

    def decide(trial: Trial, strikes: Sequence[Strike] = ()) -> Verdict:
        status = trial.sweep.wait_for_phase("Complete", "Failed", seconds=300)
        assert status["phase"] == "Complete", status
        verdict = verdict_on(
            trial.sweep,
            reference,
            ground,
            observer=trial.observer,
            strikes=strikes,
            file="results.jsonl",
            wall_s=time.monotonic() - trial.started,
        )
        assert verdict.holds, verdict
        wait_until(lambda: not trial.sweep.pods(), what="the finished pods to be removed", seconds=60)
        return verdict

    return decide
