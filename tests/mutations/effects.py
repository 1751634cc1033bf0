"""When a changed field takes effect: found by what the operator makes of a sweep before and after the change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mutations.fields import Field, is_frozen
from mutations.mutation import mutations_of
from mutations.sweeps import sweep_with
from sweep_operator.model.observed import Role
from sweep_operator.model.plan import CreateAttempt
from sweep_operator.pods import names
from sweep_operator.pods.attempt_pod import pod_for
from sweep_operator.pods.housekeeping_pod import housekeeping_pod_for
from sweep_operator.pods.settings import PodSettings
from sweep_operator.pods.template import TemplateInvalid
from sweep_operator.runtime.translation import sweep_of

REFUSED = "refused"
AT_ONCE = "at once"
NEXT_ATTEMPTS = "next attempts"
NEXT_RETENTION = "next retention"
_SETTINGS = PodSettings(sidecar_image="sidecar:test")
_ORDER = CreateAttempt(shard=0, attempt=1, resumes=True)


def effects(field: Field) -> set[str]:
    """Return when a change of `field` takes effect: the union over all ways in which it can be changed."""
    if is_frozen(field):
        return {REFUSED}
    spec = sweep_with(str(field))
    before = _made_of(spec)
    found = set()
    for mutation in mutations_of(field, spec):
        try:
            after = _made_of(mutation.applied(spec))
        except (ValueError, TemplateInvalid):
            continue  # the API server refuses it, or no pod can be made of it
        found |= {effect for effect in before if before[effect] != after[effect]}
    return found


def _made_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {"namespace": "team", "name": "lr", "uid": "uid", "generation": 1}
    sweep = sweep_of({"metadata": metadata, "spec": spec})
    # Of these the operator makes pods and words, and decides nothing.
    kept = replace(sweep.spec.keep, generations=1, after_seconds=0.0) if sweep.spec.keep is not None else None
    decided = replace(sweep.spec, interval_seconds=0.0, flush_seconds=0.0, pool="", keep=kept)
    return {
        AT_ONCE: decided,
        NEXT_ATTEMPTS: _without_digest(pod_for(sweep, _ORDER, settings=_SETTINGS, stop_path="/stop")),
        NEXT_RETENTION: _retention(spec),
    }


def _retention(spec: Mapping[str, Any]) -> Any:
    """Return what the pod that deletes is made of beside what all pods are made of."""
    keep = spec["checkpoint"].get("keep")
    if not isinstance(keep, dict):
        return keep
    base = sweep_with("")
    alone = {**base, "checkpoint": {**base["checkpoint"], "keep": keep}}
    sweep = sweep_of({"metadata": {"namespace": "team", "name": "lr", "uid": "uid"}, "spec": alone})
    return _without_digest(housekeeping_pod_for(sweep, Role.RETAIN, settings=_SETTINGS))


def _without_digest(pod: dict[str, Any]) -> dict[str, Any]:
    del pod["metadata"]["annotations"][names.MADE_OF]
    return pod
