"""The form of a pod template, as far as the operator itself looks at it.

The definition leaves a template open, and the API server proves it when it is asked to create a pod: but first the
operator has to make one of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_LONGEST_SHOWN = 64
_KINDS = {dict: "an object", list: "a list", str: "a text", int: "a whole number"}

# k8s.io/apimachinery, pkg/api/resource. The API server says of a text that it is no quantity, and not where it stands.
_QUANTITY = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class _Only:
    """The form of what may be but one of these values."""

    values: tuple[Any, ...]
    must_be: str


# Since Kubernetes 1.35 a container may say by itself that it is run again, whatever its pod says.
_ALONE = "the operator alone runs a shard again, from its checkpoint"
_NOT_BY_ITSELF: dict[str, Any] = {
    "restartPolicy": _Only(("Never",), f"Never or absent: {_ALONE}"),
    "restartPolicyRules": _Only(([],), f"absent: {_ALONE}"),
}

# A type, or _QUANTITY, or an _Only; {name: form} with what else there may be, {"*": form} for all names; [form] for all
# entries.
_CONTAINER: dict[str, Any] = {
    "env": [{}],
    "volumeMounts": list,
    "lifecycle": {},
    "securityContext": {},
    "image": str,
    "resources": {"limits": {"*": _QUANTITY}, "requests": {"*": _QUANTITY}},
}
_OF_ATTEMPTS: dict[str, Any] = {
    "metadata": {"labels": {"*": str}, "annotations": {"*": str}},
    "spec": {
        "containers": [{**_CONTAINER, **_NOT_BY_ITSELF}],
        "initContainers": [_CONTAINER],
        "volumes": list,
        "nodeSelector": {"*": str},
        "tolerations": list,
        "affinity": {},
        "serviceAccountName": str,
        "serviceAccount": str,
        "imagePullSecrets": list,
        "securityContext": {},
        "terminationGracePeriodSeconds": int,
    },
}
_OF_OTHERS: dict[str, Any] = {
    "spec": {
        "containers": [{"securityContext": {}}],
        **{field: _OF_ATTEMPTS["spec"][field] for field in ("serviceAccountName", "serviceAccount")},
        **{field: _OF_ATTEMPTS["spec"][field] for field in ("imagePullSecrets", "securityContext")},
    }
}


def fault_of(template: Any, *, for_attempts: bool) -> str:
    """Return what in a template is not of its type, "" where nothing is: the field, its value and the mend.

    The pods beside the attempts' need little of a template: what is wrong with the rest keeps no results from being
    merged.
    """
    return next(_faults(template, _OF_ATTEMPTS if for_attempts else _OF_OTHERS, path="spec.template"), "")


def _faults(value: Any, form: Any, *, path: str) -> Iterator[str]:
    if isinstance(form, re.Pattern):
        if isinstance(value, bool) or not form.fullmatch(str(value)):
            yield f"{path} is {_shown(value)} and must be a quantity, such as 500m or 2Gi"
        return
    if isinstance(form, _Only):
        if value not in form.values:
            yield f"{path} is {_shown(value)} and must be {form.must_be}"
        return
    kind = form if isinstance(form, type) else type(form)
    if not isinstance(value, kind) or isinstance(value, bool):
        yield f"{path} is {_shown(value)} and must be {_KINDS[kind]}, as core/v1 has it"
    elif isinstance(value, Mapping) and isinstance(form, dict):
        for name, part in value.items():
            within = form.get(name, form.get("*"))
            # Charts leave fields behind as null, and the API server takes that for absent.
            if within is not None and part is not None:
                yield from _faults(part, within, path=f"{path}.{name}")
    elif isinstance(value, list) and isinstance(form, list):
        for number, entry in enumerate(value):
            yield from _faults(entry, form[0], path=f"{path}[{number}]")


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
