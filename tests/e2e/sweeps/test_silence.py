"""Machines that fall silent: no Node object is deleted, and Kubernetes does not say for long that anything is wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from resumable_sweep.contract.outcome import parsed_outcome
from trial.cluster import Cluster, wait_until
from trial.ledger import ledger_of
from trial.observer import Observer
from trial.script import Strike, after_items, reclaim_signals
from trial.sweep import Sweep

pytestmark = pytest.mark.e2e

# The deadline of both tests: Kubernetes itself needs 40 to 50 s to call a node Unknown, and 300 s more to evict.
RELAUNCHED_SECONDS = 30.0
SILENT = "NodeSilent"


def test_a_machine_that_dies_without_a_word_is_replaced_within_half_a_minute(
    start: Any, judge: Any, ground: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = start()
    wait_until(after_items(trial.sweep, 5), what="five durable items", seconds=120)
    struck = silence(
        trial.sweep, trial.observer, lambda node: ground.testbed.reclaim(node, how="kill", node_delete_after=900)
    )
    successors = relaunched(trial.sweep, trial.observer, struck)
    with capsys.disabled():
        print(f"\nrelaunched {', '.join(f'{seconds:.1f}' for seconds in successors)} s after a silent death")
    assert max(successors) < RELAUNCHED_SECONDS
    verdict = judge(trial, [struck])
    assert {each.signal for each in verdict.reclaims} == {SILENT}
    assert trial.sweep.status()["reclaimsBySignal"] == {SILENT: len(verdict.reclaims)}
    assert not trial.sweep.events("FalseAlarm")


def test_a_machine_that_is_cut_off_goes_on_in_vain(start: Any, judge: Any, ground: Any) -> None:
    trial = start()
    wait_until(after_items(trial.sweep, 5), what="five durable items", seconds=120)
    struck = silence(trial.sweep, trial.observer, lambda node: ground.testbed.reclaim(node, how="partition"))
    try:
        successors = relaunched(trial.sweep, trial.observer, struck)
        assert max(successors) < RELAUNCHED_SECONDS
        status = trial.sweep.wait_for_phase("Complete", "Failed", seconds=180)
        assert status["phase"] == "Complete", status
        zombies = [seen.pod for seen in struck.attempts]
        there = [pod for name in zombies if (pod := find(trial.sweep, name)) is not None]
        # Nobody can confirm their end, and nothing waits for it.
        assert [pod["status"]["phase"] for pod in there] == ["Running"] * len(zombies)
        assert all("deletionTimestamp" in pod["metadata"] for pod in there)
        with ThreadPoolExecutor() as pool:
            words = [pool.submit(last_word, trial.sweep, name) for name in zombies]
            ground.testbed.heal(struck.node)
            assert [word.result() for word in words] == ["Superseded"] * len(zombies)
    except BaseException:
        ground.testbed.replace(struck.node)
        raise
    for seen in struck.attempts:
        entries = ledger_of(trial.sweep, environment=ground.local_env).entries(seen.shard)
        taken = next(place for place, entry in enumerate(entries) if entry.writer.attempt > seen.attempt)
        assert seen.attempt not in {entry.writer.attempt for entry in entries[taken:]}, "the zombie has written again"
    verdict = judge(trial, [struck])
    assert {each.signal for each in verdict.reclaims} == {SILENT}


def silence(sweep: Sweep, observer: Observer, strike: Callable[[str], Any]) -> Strike:
    """Strike the node of the pod that works on the first shard, and return what ran there."""
    pod = wait_until(sweep.working_pods, what="a working pod to strike", seconds=60)[0]
    node = pod["spec"]["nodeName"]
    there = tuple(seen for seen in observer.attempts() if seen.node == node)
    at = time.time()
    strike(node)
    return Strike(how="silence", at=at, node=node, attempts=there)


def relaunched(sweep: Sweep, observer: Observer, struck: Strike) -> list[float]:
    """Wait for the successors of what was struck, and return how many seconds after the strike they were made."""

    def all_made() -> bool:
        return all(observer.successor_of(hit.shard, hit.attempt) is not None for hit in struck.attempts)

    wait_until(all_made, what="the successors", seconds=90, clue=lambda: f"{sweep.status()} {reclaim_signals(sweep)}")
    successors = [observer.successor_of(hit.shard, hit.attempt) for hit in struck.attempts]
    return [each.created_at - struck.at for each in successors if each is not None]


def find(sweep: Sweep, pod: str) -> dict[str, Any] | None:
    return sweep.cluster.find(f"/api/v1/namespaces/{sweep.namespace}/pods/{pod}")


def last_word(sweep: Sweep, pod: str) -> str:
    """Wait until a pod is gone, and return why its mirror said that it ended."""
    path = f"/api/v1/namespaces/{sweep.namespace}/pods"
    query = {"fieldSelector": f"metadata.name={pod}", "watch": "true", "timeoutSeconds": "180"}
    for line in Cluster(sweep.cluster.kubeconfig).lines(path, **query):
        event = json.loads(line)
        if event["type"] == "DELETED":
            statuses = event["object"]["status"]["initContainerStatuses"]
            (mirror,) = [each for each in statuses if each["name"] == "sweep-mirror"]
            outcome = parsed_outcome(mirror["state"]["terminated"]["message"])
            assert outcome is not None
            return outcome.reason
    raise AssertionError(f"pod {pod} is still there")
