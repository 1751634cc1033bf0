"""A sweep's pod template: of the right form, and with the digests that every pod made of it carries."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from resumable_sweep.contract.canonical import canonical_json
from sweep_operator.model.snapshot import Sweep
from sweep_operator.model.template_form import fault_of
from sweep_operator.pods.made_of import made_of_sha256
from sweep_operator.pods.settings import PodSettings


class TemplateInvalid(ValueError):
    """The pod template has not the form of a PodTemplateSpec where a sweep depends on it."""


@dataclass(frozen=True, kw_only=True)
class Template:
    """What is the same in all pods of attempts that are made of one state of a sweep: found once for thousands."""

    content: Any
    sha256: str
    """Tells drift between attempts."""
    program_sha256: str
    made_of_sha256: str


def template_of(sweep: Sweep, *, settings: PodSettings) -> Template:
    """Return the template of a sweep's attempts.

    Raises
    ------
    TemplateInvalid
        Where the template, of which the schema checks little, is not what a PodTemplateSpec is.
    """
    content = checked(sweep.manifest["spec"]["template"], for_attempts=True)
    try:
        return Template(
            content=content,
            sha256=template_sha256(content),
            program_sha256=program_sha256(content),
            made_of_sha256=made_of_sha256(sweep, settings=settings),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise TemplateInvalid(f"not a PodTemplateSpec: {error!r}") from error


def checked(template: Any, *, for_attempts: bool) -> Any:
    """Return the template, of which all is of its type that the operator looks at for such a pod.

    Raises
    ------
    TemplateInvalid
        Where something is not; the message names the field, its value and the mend.
    """
    fault = fault_of(template, for_attempts=for_attempts)
    if fault:
        raise TemplateInvalid(fault)
    return template


def template_sha256(template: Any) -> str:
    """Return the digest of a pod template, by which drift between attempts is told."""
    return hashlib.sha256(canonical_json(template).encode()).hexdigest()


_OF_PROGRAM = ("name", "command", "args", "env", "envFrom", "workingDir", "volumeMounts", "volumeDevices")
"""Fields of a container that decide what it computes. Resources, probes and where it runs do not."""


def program_sha256(template: Any) -> str:
    """Return the digest of what a pod template says of the program, besides the images of its containers.

    Whoever gives a shard more memory or another node pool goes on with the same program.
    """
    spec = template["spec"]
    program = {
        "containers": [_picked(container, _OF_PROGRAM) for container in spec["containers"]],
        "initContainers": [_picked(init, (*_OF_PROGRAM, "image")) for init in spec.get("initContainers") or []],
        "volumes": spec.get("volumes") or [],
    }
    return hashlib.sha256(canonical_json(program).encode()).hexdigest()


def _picked(container: dict[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    return {field: container[field] for field in fields if container.get(field)}
