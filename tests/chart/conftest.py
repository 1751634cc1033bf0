"""Helm, the values that the chart is tried with, and a control plane to install it on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from chart.helm import NAMESPACE, Helm
from chart.namespaced import IN_NAMESPACES
from rig.api import Api
from rig.binaries import binaries
from rig.control_plane import ControlPlane
from rig.progress import keep_quiet

DIGEST = f"sha256:{'0123456789abcdef' * 4}"
VALUES: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "everything": {
        "nameOverride": "sweeper",
        "imagePullSecrets": [{"name": "registry"}],
        "operator": {
            "image": {"registry": "registry.example:5000", "repository": "ml/operator", "tag": "1.2.3"},
            "logLevel": "debug",
            "extraEnv": [{"name": "TZ", "value": "UTC"}],
            "podAnnotations": {"note": "hello"},
            "nodeSelector": {"pool": "system"},
            "tolerations": [{"key": "CriticalAddonsOnly", "operator": "Exists"}],
            "priorityClassName": "system-cluster-critical",
        },
        "sidecar": {"image": {"registry": "registry.example:5000", "pullPolicy": "Always"}},
        "serviceAccount": {"name": "sweeper", "annotations": {"note": "hello"}},
        "service": {"port": 9000},
        "networkPolicy": {"enabled": True},
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "alerts": {"enabled": True, "labels": {"release": "prometheus"}},
    },
    "three operators": {"operator": {"replicas": 3}, "networkPolicy": {"enabled": True}},
    "two namespaces": {"operator": {"watchNamespaces": ["team-a", "team-b"]}},
    "images by digest": {"operator": {"image": {"digest": DIGEST}}, "sidecar": {"image": {"digest": DIGEST}}},
    "rights from elsewhere": {
        "rbac": {"create": False, "aggregate": False},
        "serviceAccount": {"create": False, "name": "theirs"},
    },
    "definition from elsewhere": {"crds": {"enabled": False}},
    "definition that goes": {"crds": {"keep": False}},
    "in its namespaces alone": IN_NAMESPACES,
    "closed networks": {"networkPolicy": {"enabled": True, "egress": {"namespaces": ["team-a", "team-b"]}}},
}


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm(program=binaries(["helm"], report=keep_quiet)["helm"], home=tmp_path_factory.mktemp("helm"))


@pytest.fixture(params=VALUES.values(), ids=list(VALUES))
def values(request: pytest.FixtureRequest) -> dict[str, Any]:
    chosen: dict[str, Any] = request.param
    return chosen


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """A control plane that does not know ResumableSweeps, so that the chart can install them."""
    with ControlPlane(controllers=True) as running:
        for name in (NAMESPACE, "team-a", "team-b"):
            running.api.create("/api/v1/namespaces", {"metadata": {"name": name}})
        yield running


@pytest.fixture(scope="session")
def api(control_plane: ControlPlane) -> Api:
    return control_plane.api
