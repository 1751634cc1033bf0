from __future__ import annotations

from rig.node import labels, taints
from rig.state import NodeSpec


def test_spot_node_with_gpus_is_labelled_and_tainted_as_such() -> None:
    node = NodeSpec("a", 1, spot=True, gpus=2)

    assert labels(node)["cloud.google.com/gke-spot"] == "true"
    assert taints(node) == [
        {"key": "cloud.google.com/gke-spot", "value": "true", "effect": "NoSchedule"},
        {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"},
    ]


def test_plain_node_takes_any_pod() -> None:
    node = NodeSpec("a", 1, spot=False, gpus=0)

    assert "cloud.google.com/gke-spot" not in labels(node)
    assert taints(node) == []
