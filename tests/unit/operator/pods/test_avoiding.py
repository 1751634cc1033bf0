from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from builders import NOW, manifest

from sweep_operator.model.plan import CreateAttempt
from sweep_operator.model.reclaim import Reclaim
from sweep_operator.model.signals import Signal
from sweep_operator.pods.attempt_pod import pod_for
from sweep_operator.pods.avoiding import avoid_nodes
from sweep_operator.pods.settings import PodSettings
from sweep_operator.runtime.translation import sweep_of

AWAY = {"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["n"]}]}
RECLAIM = Reclaim(time=NOW, node="n", shard=0, attempt=1, signal=Signal.GCE_PREEMPTED, items_safe=0)
ZONE = {"weight": 5, "preference": {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}}


def built(**order: Any) -> dict[str, Any]:
    attempt = CreateAttempt(shard=0, attempt=2, resumes=True, **order)
    settings = PodSettings(sidecar_image="sidecar:1")
    return pod_for(sweep_of(manifest()), attempt, settings=settings, stop_path="/stop")


def test_a_successor_made_ahead_of_time_is_kept_from_the_machine_that_goes() -> None:
    affinity = built(replaces=RECLAIM, take_after=35)["spec"]["affinity"]
    assert affinity == {
        "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": AWAY}]}
    }


@pytest.mark.parametrize("signal", [Signal.NODE_SILENT, Signal.NODE_UNREACHABLE])
def test_a_successor_is_kept_from_a_node_that_only_looks_alive(signal: Signal) -> None:
    assert AWAY in [
        each["preference"]
        for each in built(replaces=replace(RECLAIM, signal=signal))["spec"]["affinity"]["nodeAffinity"][
            "preferredDuringSchedulingIgnoredDuringExecution"
        ]
    ]


@pytest.mark.parametrize("order", [{}, {"replaces": RECLAIM}], ids=["a first attempt", "one whose machine has gone"])
def test_others_go_anywhere(order: dict[str, Any]) -> None:
    assert "affinity" not in built(**order)["spec"]


def test_what_the_template_says_of_affinity_stays() -> None:
    required = {"nodeSelectorTerms": [{"matchExpressions": []}]}
    spec: dict[str, Any] = {
        "affinity": {
            "podAntiAffinity": {"x": 1},
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": required,
                "preferredDuringSchedulingIgnoredDuringExecution": [ZONE],
            },
        }
    }
    avoid_nodes(spec, ["n"])
    assert spec["affinity"]["podAntiAffinity"] == {"x": 1}
    of_nodes = spec["affinity"]["nodeAffinity"]
    assert of_nodes["requiredDuringSchedulingIgnoredDuringExecution"] == required
    assert of_nodes["preferredDuringSchedulingIgnoredDuringExecution"] == [ZONE, {"weight": 100, "preference": AWAY}]
