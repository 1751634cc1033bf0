"""Keeping a pod away from a node whose machine is about to go."""

from __future__ import annotations

from typing import Any

_MOST_WEIGHT = 100


def avoid_node(spec: dict[str, Any], node: str) -> None:
    """Have the scheduler prefer any other node to `node`, in a pod's specification.

    A preference only: clouds use names again, and in a small pool the machine that comes next may be the only one.
    The name is told as a field, because the label `kubernetes.io/hostname` may differ from it.
    """
    elsewhere = {"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": [node]}]}
    affinity = spec.get("affinity") or {}
    of_nodes = affinity.get("nodeAffinity") or {}
    preferred = of_nodes.get("preferredDuringSchedulingIgnoredDuringExecution") or []
    preferred = [*preferred, {"weight": _MOST_WEIGHT, "preference": elsewhere}]
    of_nodes = {**of_nodes, "preferredDuringSchedulingIgnoredDuringExecution": preferred}
    spec["affinity"] = {**affinity, "nodeAffinity": of_nodes}
