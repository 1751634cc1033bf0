"""The operator is asked to end in the middle of its work: it ends soon, and the next one goes on from there."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from integration.sweeps.operator_process import OperatorProcess

pytestmark = pytest.mark.integration

SHARDS = 120


def test_an_end_in_the_middle_of_a_look_makes_no_twins(
    stage: Any, operator: OperatorProcess, record_property: Callable[[str, object], None]
) -> None:
    spec = {
        "shards": SHARDS,
        "checkpoint": {"url": "gs://bucket/sweeps", "file": "results.jsonl"},
        "template": {"spec": {"containers": [{"name": "main", "image": "main:test"}]}},
    }
    head = {"apiVersion": "resumable.dev/v1alpha1", "kind": "ResumableSweep", "metadata": {"name": "lr"}}
    stage.api.create(stage.sweeps, {**head, "spec": spec})
    stage.wait(stage.pods, "the first pods to be made")
    since = time.monotonic()
    assert operator.end(signal.SIGTERM) == 0
    took = time.monotonic() - since
    record_property("seconds until it had ended", took)
    record_property("pods that were made by then", len(stage.pods()))
    made = {pod["metadata"]["uid"] for pod in stage.pods()}
    operator.start()
    stage.wait(lambda: len(stage.live()) == SHARDS, "a pod for each shard", seconds=60)
    labels = [pod["metadata"]["labels"] for pod in stage.pods()]
    assert sorted(int(each["resumable.dev/shard"]) for each in labels) == list(range(SHARDS))
    assert len({each["resumable.dev/attempt"] for each in labels}) == SHARDS
    assert made <= {pod["metadata"]["uid"] for pod in stage.pods()}, "what was made is kept"
    assert stage.status().get("reclaims", 0) == 0
    assert took < 5
