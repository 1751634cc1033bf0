"""The chart under `helm`."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).resolve().parents[2] / "charts" / "resumable-sweep"
RELEASE, NAMESPACE = "demo", "sweeps"
NAME = f"{RELEASE}-{CHART.name}"
"""Name of the release's objects."""
# Helm takes the version of a cluster it is not connected to from its own build, which `go build` leaves out.
_KUBERNETES = "1.35.4"


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

    def manifest(self, values: dict[str, Any], *, kubernetes: str = _KUBERNETES) -> str:
        """Return the text of all objects that the chart makes of `values`."""
        words = ("template", RELEASE, str(CHART), "--namespace", NAMESPACE, "--kube-version", kubernetes)
        done = self.run(*words, values=values)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def objects(self, values: dict[str, Any], *, kubernetes: str = _KUBERNETES) -> list[dict[str, Any]]:
        return [each for each in yaml.safe_load_all(self.manifest(values, kubernetes=kubernetes)) if each]

    def object(self, values: dict[str, Any], kind: str, name: str = "") -> dict[str, Any]:
        found = [
            each for each in self.objects(values) if each["kind"] == kind and name in ("", each["metadata"]["name"])
        ]
        assert len(found) == 1, f"{len(found)} objects are a {kind} {name}"
        return found[0]

    def refusal(self, values: dict[str, Any]) -> str:
        """Return what Helm says when it refuses `values`."""
        words = ("template", RELEASE, str(CHART), "--kube-version", _KUBERNETES)
        done = self.run(*words, values=values)
        assert done.returncode != 0, "Helm took the values"
        return done.stderr
