"""Nodes and pods are really taken away; what is left equals an undisturbed run."""

from __future__ import annotations

from typing import Any

import pytest

from trial.cluster import wait_until
from trial.script import after_items, strike

pytestmark = pytest.mark.e2e

# What may win, by what was done. Which evidence is seen first can differ from run to run.
SIGNALS = {
    "kill": {"NodeGone", "NodeUnreachable", "DeletionByPodGC"},
    "shutdown": {"NodeShuttingDown", "TerminationByKubelet"},
    "delete-pod": {"PodDeleted", "PodVanished"},
}


@pytest.mark.parametrize("how", SIGNALS)
def test_a_reclaimed_shard_goes_on_where_it_was(start: Any, judge: Any, ground: Any, how: str) -> None:
    trial = start()
    wait_until(after_items(trial.sweep, 5), what="five durable items", seconds=120)
    struck = strike(trial.sweep, ground, trial.observer, how=how)
    verdict = judge(trial, [struck])
    assert {each.signal for each in verdict.reclaims} <= SIGNALS[how]
    assert all(each.to_created_s is not None for each in verdict.reclaims)
    assert trial.sweep.status()["reclaims"] == len(verdict.reclaims)
    # The item at hand, and at most what one interval of the mirror held back: never all of the shard's.
    assert verdict.items_rerun <= 4


def test_a_drained_node(start: Any, judge: Any, ground: Any) -> None:
    trial = start()
    wait_until(after_items(trial.sweep, 5), what="five durable items", seconds=120)
    victim = trial.sweep.working_pods()[0]
    ground.testbed.reclaim(victim["spec"]["nodeName"], how="drain")
    judge(trial)
    assert trial.sweep.status()["reclaimsBySignal"] == {"EvictionByEvictionAPI": 1}


@pytest.mark.parametrize("comes_back", ["reboot", "replace"])
def test_a_machine_that_comes_back_under_its_node_object(start: Any, judge: Any, ground: Any, comes_back: str) -> None:
    trial = start()
    wait_until(after_items(trial.sweep, 5), what="five durable items", seconds=120)
    node = trial.sweep.working_pods()[0]["spec"]["nodeName"]
    path = f"/api/v1/nodes/{node}"
    uid = ground.testbed.api.get(path)["metadata"]["uid"]
    if comes_back == "reboot":
        ground.testbed.reboot(node)
    else:
        ground.testbed.replace(node, keep_object=True)
    judge(trial)
    assert ground.testbed.api.get(path)["metadata"]["uid"] == uid
    signals = trial.sweep.status()["reclaimsBySignal"]
    assert sum(signals.values()) == 1, "and no failure is held against the experiment"
    assert signals.keys() <= {"NodeRebooted", "ContainerLost"}


def test_everything_at_once(start: Any, judge: Any, ground: Any) -> None:
    trial = start()
    wait_until(after_items(trial.sweep, 3), what="three durable items", seconds=120)
    strikes = [strike(trial.sweep, ground, trial.observer, how="kill")]
    strikes.append(strike(trial.sweep, ground, trial.observer, how="delete-pod", spare=[strikes[0].node]))
    wait_until(after_items(trial.sweep, 12), what="twelve durable items", seconds=180)
    gone = [each.node for each in strikes]
    strikes.append(strike(trial.sweep, ground, trial.observer, how="shutdown", spare=gone))
    judge(trial, strikes)
