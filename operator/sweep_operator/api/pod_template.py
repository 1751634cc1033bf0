"""The pod template: kept as it was written, checked only where a sweep depends on it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, WithJsonSchema

from sweep_operator.api.rule import Rule, checked_by

_ANY_FIELDS = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}

# The whole PodTemplateSpec inlined would be over half a megabyte, beyond what client-side apply can annotate. The API
# server proves the rest of a template when the operator asks it, by a dry run, to create the pod made from it.
_SCHEMA: dict[str, Any] = {
    **_ANY_FIELDS,
    "required": ["spec"],
    "properties": {
        "metadata": {
            **_ANY_FIELDS,
            "description": "Labels and annotations for the pods; name and namespace are the operator's.",
        },
        "spec": {
            **_ANY_FIELDS,
            "description": (
                "An ordinary pod spec (core/v1 PodSpec). The operator adds its own init container and sidecar, the "
                "environment of the sweep, the snapshot volume, and the node selector and tolerations of the pool."
            ),
            "required": ["containers"],
            "properties": {
                "restartPolicy": {
                    "type": "string",
                    "maxLength": 16,
                    "description": "Never, or absent.",
                },
                "containers": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": 32,
                    "description": "The experiment's containers; none of them may start again by itself.",
                    "items": {
                        **_ANY_FIELDS,
                        "description": "A container (core/v1 Container).",
                        "required": ["name", "image"],
                        "properties": {
                            "name": {"type": "string", "minLength": 1, "maxLength": 63, "description": "Its name."},
                            "image": {
                                "type": "string",
                                "minLength": 1,
                                "maxLength": 1024,
                                "description": "Its image. By digest every attempt is sure to run the same.",
                            },
                        },
                    },
                },
            },
            **checked_by(
                Rule(
                    check="!has(self.restartPolicy) || self.restartPolicy == 'Never'",
                    static="restartPolicy must be Never or absent: the operator alone runs a shard again",
                    message=(
                        "'restartPolicy is ' + self.restartPolicy + ' and must be Never or absent: "
                        "the operator alone runs a shard again, from its checkpoint'"
                    ),
                    field=".restartPolicy",
                ),
            ),
        },
    },
}


def _with_containers(template: dict[str, Any]) -> dict[str, Any]:
    spec = template.get("spec")
    containers = spec.get("containers") if isinstance(spec, dict) else None
    if not isinstance(containers, list) or not containers:
        raise ValueError("template.spec.containers is missing or empty: name at least one container with its image")
    return template


PodTemplate = Annotated[dict[str, Any], AfterValidator(_with_containers), WithJsonSchema(_SCHEMA)]
"""A core/v1 PodTemplateSpec as decoded JSON."""
