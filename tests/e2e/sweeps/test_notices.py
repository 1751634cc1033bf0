"""A cloud announces that it takes a machine, and does so or not; what is left equals an undisturbed run."""

from __future__ import annotations

from typing import Any

import pytest

from rig.metadata import NOTICE_SECONDS
from sweep_sidecar.log.entry import Kind
from trial.cluster import wait_until
from trial.ledger import ledger_of
from trial.script import after_items, strike

pytestmark = pytest.mark.e2e


def test_a_shard_whose_machine_is_announced_to_go_is_sealed_before_it_goes(start: Any, judge: Any, ground: Any) -> None:
    trial = start()
    wait_until(after_items(trial.sweep, 5), what="five durable items", seconds=120)
    struck = strike(trial.sweep, ground, trial.observer, how="notice")
    verdict = judge(trial, [struck])

    (hit,) = struck.attempts
    assert hit.exit_code == 143
    log = ledger_of(trial.sweep, environment=ground.local_env).entries(hit.shard)
    (sealed,) = [entry for entry in log if entry.kind is Kind.SEAL and entry.writer.attempt == hit.attempt]
    assert sealed.time < struck.at + NOTICE_SECONDS["gce"]
    # It left between two items, and all that it had done was stored: nobody did any of it again.
    assert verdict.items_rerun == 0
    assert trial.sweep.status()["reclaimsBySignal"] == {"GcePreempted": 1}
    (reclaim,) = verdict.reclaims
    assert reclaim.signal == "GcePreempted"
    # Made at the notice, and not when the machine had gone.
    assert reclaim.to_created_s is not None
    assert reclaim.to_created_s < 10
    node = f"/api/v1/nodes/{struck.node}"
    wait_until(lambda: ground.cluster().find(node) is None, what="the machine to go as announced", seconds=90)


def test_a_notice_that_comes_to_nothing_costs_no_failure(start: Any, judge: Any, ground: Any) -> None:
    trial = start()
    wait_until(after_items(trial.sweep, 5), what="five durable items", seconds=120)
    victim = trial.sweep.working_pods()[0]
    node = victim["spec"]["nodeName"]
    before = ground.cluster().get(f"/api/v1/nodes/{node}")["metadata"]["uid"]
    ground.testbed.announce(node, then="nothing", after=6)
    verdict = judge(trial)

    attempt = int(victim["metadata"]["labels"]["resumable.dev/attempt"])
    (hit,) = [seen for seen in trial.observer.attempts() if seen.attempt == attempt]
    assert hit.exit_code == 143
    assert verdict.items_rerun == 0
    assert trial.sweep.status()["reclaimsBySignal"] == {"GcePreempted": 1}
    assert not trial.sweep.events("ContainerFailed")
    assert ground.cluster().get(f"/api/v1/nodes/{node}")["metadata"]["uid"] == before
