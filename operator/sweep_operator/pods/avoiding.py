"""Keeping a pod away from nodes that fail pods, or whose machines are about to go."""

from __future__ import annotations

from typing import Any

_MOST_WEIGHT = 100


def avoid_nodes(spec: dict[str, Any], nodes: list[str]) -> None:
    """Have the scheduler prefer any other node to these, in a pod's specification.

    A preference only: clouds use names again, and in a small pool the machine that comes next may be the only one.
    The name is told as a field, because the label `kubernetes.io/hostname` may differ from it.
    """
    if not nodes:
        return
    # A field is compared with one value only (core/v1 NodeSelectorTerm.matchFields); all comparisons must hold.
    away = [{"key": "metadata.name", "operator": "NotIn", "values": [node]} for node in nodes]
    elsewhere = {"matchFields": away}
    affinity = spec.get("affinity") or {}
    of_nodes = affinity.get("nodeAffinity") or {}
    preferred = of_nodes.get("preferredDuringSchedulingIgnoredDuringExecution") or []
    preferred = [*preferred, {"weight": _MOST_WEIGHT, "preference": elsewhere}]
    of_nodes = {**of_nodes, "preferredDuringSchedulingIgnoredDuringExecution": preferred}
    spec["affinity"] = {**affinity, "nodeAffinity": of_nodes}
