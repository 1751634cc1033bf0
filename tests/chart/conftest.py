"""Helm, the values that the chart is tried with, and a control plane to install it on."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from rig.api import Api
from rig.binaries import binaries
from rig.control_plane import ControlPlane
from rig.progress import keep_quiet

CHART = Path(__file__).resolve().parents[2] / "charts" / "resumable-sweep"
RELEASE, NAMESPACE = "demo", "sweeps"
# Helm takes the version of a cluster it is not connected to from its own build, which `go build` leaves out.
KUBERNETES = "1.35.4"

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
    },
    "two namespaces": {"operator": {"watchNamespaces": ["team-a", "team-b"]}},
    "images by digest": {"operator": {"image": {"digest": DIGEST}}, "sidecar": {"image": {"digest": DIGEST}}},
    "rights from elsewhere": {
        "rbac": {"create": False, "aggregate": False},
        "serviceAccount": {"create": False, "name": "theirs"},
    },
    "definition from elsewhere": {"crds": {"enabled": False}},
    "definition that goes": {"crds": {"keep": False}},
}


@dataclass(frozen=True)
class Helm:
    """The chart under `helm`."""

    program: Path
    home: Path

    def run(self, *words: str, values: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.program), *words, *(["--values", "-"] if values else [])],
            input=json.dumps(values) if values else "",
            # A home of its own, so that no plug-in and no repository of whoever runs the tests has a say.
            env={"PATH": os.environ["PATH"], "HOME": str(self.home)},
            capture_output=True,
            text=True,
            check=False,
        )

    def manifest(self, values: dict[str, Any]) -> str:
        """Return the text of all objects that the chart makes of `values`."""
        words = ("template", RELEASE, str(CHART), "--namespace", NAMESPACE, "--kube-version", KUBERNETES)
        done = self.run(*words, values=values)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def objects(self, values: dict[str, Any]) -> list[dict[str, Any]]:
        return [each for each in yaml.safe_load_all(self.manifest(values)) if each]

    def object(self, values: dict[str, Any], kind: str, name: str = "") -> dict[str, Any]:
        found = [
            each for each in self.objects(values) if each["kind"] == kind and name in ("", each["metadata"]["name"])
        ]
        assert len(found) == 1, f"{len(found)} objects are a {kind} {name}"
        return found[0]

    def refusal(self, values: dict[str, Any]) -> str:
        """Return what Helm says when it refuses `values`."""
        words = ("template", RELEASE, str(CHART), "--kube-version", KUBERNETES)
        done = self.run(*words, values=values)
        assert done.returncode != 0, "Helm took the values"
        return done.stderr


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm(program=binaries(["helm"], report=keep_quiet)["helm"], home=tmp_path_factory.mktemp("helm"))


@pytest.fixture(params=VALUES.values(), ids=VALUES)
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
