from __future__ import annotations

from typing import Any

import pytest

from rig.reclaim import _keeps_a_drain_waiting


def _pod(*, owner: str = "ReplicaSet", phase: str = "Running", is_being_deleted: bool = False) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": "a", "ownerReferences": [{"kind": owner}]}
    if is_being_deleted:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {"metadata": metadata, "status": {"phase": phase}}


@pytest.mark.parametrize(
    ("pod", "waits"),
    [
        (_pod(), True),
        (_pod(phase="Pending"), True),
        (_pod(is_being_deleted=True), True),
        (_pod(phase="Succeeded", is_being_deleted=True), True),
        (_pod(phase="Succeeded"), False),
        (_pod(phase="Failed"), False),
        (_pod(owner="DaemonSet"), False),
    ],
)
def test_drain_waits_for_pods_that_run_or_are_going(pod: dict[str, Any], waits: bool) -> None:
    assert _keeps_a_drain_waiting(pod) is waits
