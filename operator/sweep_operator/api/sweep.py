"""The custom resource as a whole."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict

from sweep_operator.api.model import ApiModel
from sweep_operator.api.names import API_VERSION, KIND
from sweep_operator.api.rule import Rule, checked_by
from sweep_operator.api.spec import ResumableSweepSpec
from sweep_operator.api.status import ResumableSweepStatus

MAX_NAME_LENGTH = 40
"""Pods are called NAME-HASH-SHARD-ATTEMPT and must stay DNS labels: 63 characters."""


class ResumableSweep(ApiModel):
    """A parameter sweep that runs on preemptible nodes, and finishes."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule(
                check=f"self.metadata.name.size() <= {MAX_NAME_LENGTH}",
                static=f"metadata.name may have {MAX_NAME_LENGTH} characters at most: choose a shorter one",
                message=(
                    "'metadata.name is ' + self.metadata.name + ' and its pods are named after it: "
                    f"choose a name of {MAX_NAME_LENGTH} characters at most'"
                ),
            ),
            Rule(
                check="self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
                static="metadata.name must be a DNS label: lower-case letters, digits and -",
                message=(
                    "'metadata.name is ' + self.metadata.name + ' and must be a DNS label, its pods are named after "
                    "it: lower-case letters, digits and - only'"
                ),
            ),
        )
    )

    api_version: Literal["resumable.dev/v1alpha1"] = API_VERSION
    kind: Literal["ResumableSweep"] = KIND
    metadata: dict[str, Any]
    spec: ResumableSweepSpec
    """What is to be run, on what, and where its results are kept."""
    status: ResumableSweepStatus = ResumableSweepStatus()
    """How far the sweep has come, and what happened to it. Written by the operator alone."""
