"""What the builders of pods need to know of the installation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class PodSettings:
    """How the sidecar is run; `resources` is a Kubernetes ResourceRequirements."""

    sidecar_image: str
    report_url: str = ""
    pull_policy: str = "IfNotPresent"
    resources: Mapping[str, Any] = field(
        default_factory=lambda: {
            "requests": {"cpu": "50m", "memory": "256Mi"},
            "limits": {"cpu": "1", "memory": "256Mi"},
        }
    )
