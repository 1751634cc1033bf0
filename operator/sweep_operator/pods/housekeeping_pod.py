"""The pods that resolve a sweep's items, merge its results and delete what is not kept, and its items' ConfigMap."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from resumable_sweep.contract import environment as names_of
from sweep_operator.model.observed import Role
from sweep_operator.model.shard_record import ShardState
from sweep_operator.model.snapshot import Sweep
from sweep_operator.pods import names
from sweep_operator.pods.attempt_pod import identity_of, owner_reference, store_url
from sweep_operator.pods.made_of import made_of_sha256
from sweep_operator.pods.settings import PodSettings
from sweep_operator.pods.sidecar import security_context
from sweep_operator.pods.template import checked

_ITEMS_DIR = "/sweep/items"
_INLINE_KEY = "items.json"
_VOLUME = "sweep-items"
_SCRATCH = "sweep-scratch"
_SCRATCH_SIZE = "50Gi"
"""Most of a node's disk that a merge may use; it needs a few times as much as the results have."""


def items_config_map(sweep: Sweep) -> dict[str, Any] | None:
    """Return the immutable ConfigMap that holds inline items, None where the sweep has none."""
    items = sweep.manifest["spec"].get("items") or {}
    inline = {kind: items[kind] for kind in ("list", "matrix") if items.get(kind) is not None}
    if not inline:
        return None
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": names.items_config_map_name(sweep=sweep.name, sweep_uid=sweep.uid),
            "namespace": sweep.namespace,
            "labels": names.labels(sweep=sweep.name, sweep_uid=sweep.uid, role=Role.RESOLVE),
            "ownerReferences": [owner_reference(sweep)],
        },
        "immutable": True,
        "data": {_INLINE_KEY: json.dumps(inline)},
    }


def housekeeping_pod_for(sweep: Sweep, role: Role, *, settings: PodSettings) -> dict[str, Any]:
    """Return the manifest of a housekeeping pod: the sidecar's image under the sweep's own ServiceAccount.

    It asks for no GPU and for no spot node: it is short, and what it does must not be lost.

    Raises
    ------
    TemplateInvalid
        Where the template is not what a PodTemplateSpec is.
    """
    spec = sweep.manifest["spec"]
    template = checked(spec["template"], for_attempts=False)["spec"]
    environment = {
        names_of.STORE_URL: store_url(sweep),
        names_of.NAMESPACE: sweep.namespace,
        names_of.NAME: sweep.name,
        names_of.RUN_ID: sweep.spec.run_id,
        names_of.SHARDS: str(sweep.spec.shards),
        names_of.ITEMS_SHA256: sweep.status.items_sha256,
    }
    container: dict[str, Any] = {
        "name": f"sweep-{role}",
        "image": settings.sidecar_image,
        "imagePullPolicy": settings.pull_policy,
        "args": [role.value],
        "env": [
            *({"name": name, "value": value} for name, value in environment.items()),
            *(_environment(spec["checkpoint"], role)),
        ],
        "resources": dict(settings.resources),
        "securityContext": security_context(identity_of(template)),
    }
    volumes: list[dict[str, Any]] = []
    keep = spec["checkpoint"].get("keep") or {}
    if role is Role.RETAIN and sweep.spec.keep is not None:
        kept = sweep.spec.keep
        container["args"] += ["--generations", str(kept.generations), "--after", f"{kept.after_seconds:.0f}"]
    if role is Role.RESOLVE:
        reference = (spec.get("items") or {}).get("configMapKeyRef")
        key = reference["key"] if reference else _INLINE_KEY
        name = reference["name"] if reference else names.items_config_map_name(sweep=sweep.name, sweep_uid=sweep.uid)
        source = {"name": name, "items": [{"key": key, "path": key}]}
        volumes.append({"name": _VOLUME, "configMap": source})
        container["args"] = [role.value, "--items", f"{_ITEMS_DIR}/{key}"]
        container["volumeMounts"] = [{"name": _VOLUME, "mountPath": _ITEMS_DIR, "readOnly": True}]
    if role is Role.MERGE and any(record.state is ShardState.FAILED for record in sweep.status.records):
        container["args"] += ["--partial"]
    if role is Role.MERGE:
        # Its root file system is read-only, and without a place for its tables it would hold all results in memory.
        volumes.append({"name": _SCRATCH, "emptyDir": {"sizeLimit": _SCRATCH_SIZE}})
        container["volumeMounts"] = [{"name": _SCRATCH, "mountPath": "/tmp"}]
    pod: dict[str, Any] = {
        # The kubelet tries again by itself, with growing pauses: the verbs are idempotent. Retention may read all that
        # is kept before it fails: it waits longer.
        "restartPolicy": "Never" if role is Role.RETAIN else "OnFailure",
        "containers": [container],
        "volumes": volumes,
    }
    own = keep.get("serviceAccountName") if role is Role.RETAIN else None
    # `serviceAccount` is the older name of the field: the API server takes it where the newer one is empty.
    account = own or template.get("serviceAccountName") or template.get("serviceAccount")
    if account:
        pod["serviceAccountName"] = account
    if template.get("imagePullSecrets"):
        pod["imagePullSecrets"] = template["imagePullSecrets"]
    group = (template.get("securityContext") or {}).get("fsGroup")
    if group is not None:
        pod["securityContext"] = {"fsGroup": group}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": names.housekeeping_pod_name(sweep=sweep.name, sweep_uid=sweep.uid, role=role),
            "namespace": sweep.namespace,
            "labels": names.labels(sweep=sweep.name, sweep_uid=sweep.uid, role=role),
            "annotations": {names.MADE_OF: made_of_sha256(sweep, settings=settings)},
            "ownerReferences": [owner_reference(sweep)],
        },
        "spec": pod,
    }


def _environment(checkpoint: Mapping[str, Any], role: Role) -> list[dict[str, Any]]:
    """Return the store's credentials and endpoints: retention may have others than the attempts."""
    keep = checkpoint.get("keep") or {}
    environment = keep.get("env") if role is Role.RETAIN else None
    return list(checkpoint.get("env") or [] if environment is None else environment)
