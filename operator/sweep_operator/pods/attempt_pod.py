"""The pod of one attempt: the user's template, with the sidecar, the environment and the hooks of a sweep in it."""

from __future__ import annotations

import math
from typing import Any

from resumable_sweep.contract import environment as names_of
from sweep_operator.model.image import known_name
from sweep_operator.model.observed import Role
from sweep_operator.model.plan import CreateAttempt
from sweep_operator.model.signals import Signal
from sweep_operator.model.snapshot import Sweep
from sweep_operator.pods import names
from sweep_operator.pods.avoiding import avoid_nodes
from sweep_operator.pods.settings import PodSettings
from sweep_operator.pods.sidecar import (
    ITEMS_PATH,
    PORT,
    SNAPSHOT_DIR,
    SNAPSHOT_VOLUME,
    TOKEN_VOLUME,
    mirror_container,
    restore_container,
    token_volume,
)
from sweep_operator.pods.template import Template, TemplateInvalid, template_of

_FALLBACK_GROUP = 65532

# Taints by which spot nodes and GPU nodes keep other pods away (GKE, AKS; GPUs on every cloud). They are tolerated, so
# that a template needs not name them; a selector still decides where a pod goes.
_TOLERATIONS: tuple[dict[str, str], ...] = (
    {"key": "cloud.google.com/gke-spot", "operator": "Exists", "effect": "NoSchedule"},
    {"key": "kubernetes.azure.com/scalesetpriority", "operator": "Equal", "value": "spot", "effect": "NoSchedule"},
    {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
)

# The cluster autoscaler and Karpenter leave pods alone that say so: moving an experiment costs work.
_ANNOTATIONS = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}


# Google Cloud, EC2 and Azure have their metadata server here, as a machine's own host answers for it.
_METADATA_URL = "http://169.254.169.254"


_STANDING = (Signal.NODE_SILENT, Signal.NODE_UNREACHABLE)
"""After these the scheduler may still take the node for one that lives."""


def pod_for(
    sweep: Sweep, order: CreateAttempt, *, settings: PodSettings, stop_path: str, template: Template | None = None
) -> dict[str, Any]:
    """Return the manifest of an attempt's pod, which shares with the sweep's what is the same in both.

    Parameters
    ----------
    stop_path:
        Unguessable HTTP path of the stop hook, starting with `/`. Containers that have a preStop hook of their own
        keep it; the exit code of such a pod then proves nothing.
    template:
        What `template_of` returns for this sweep and these settings, where many pods are made of it; None: found here.

    Raises
    ------
    TemplateInvalid
        Where the template, of which the schema checks little, is not what a PodTemplateSpec is.
    """
    template = template or template_of(sweep, settings=settings)
    try:
        return _pod(sweep, order, template=template, settings=settings, stop_path=stop_path)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise TemplateInvalid(f"not a PodTemplateSpec: {error!r}") from error


def _pod(
    sweep: Sweep, order: CreateAttempt, *, template: Template, settings: PodSettings, stop_path: str
) -> dict[str, Any]:
    metadata = template.content.get("metadata") or {}
    # What is changed is copied, and nothing below it: a template may be long, and thousands of pods are made of it.
    spec = dict(template.content["spec"])
    mains = [dict(main) for main in spec["containers"]]
    inits = [dict(init) for init in spec.get("initContainers") or []]
    spec["containers"] = mains
    public = _public_environment(sweep, order)
    hooked = all(not (main.get("lifecycle") or {}).get("preStop") for main in mains)
    for main in mains:
        _prepare(main, public=public, stop_path=stop_path if hooked else "")
    for init in inits:
        _prepare(init, public=public, stop_path="")
    identity = identity_of(spec)
    if spec.get("terminationGracePeriodSeconds") is None:
        spec["terminationGracePeriodSeconds"] = math.ceil(sweep.spec.flush_seconds)
    private = _private_environment(sweep, settings=settings, spec=spec, template=template)
    if order.while_empty:
        allowed = private[names_of.ALLOW_DRIFT]
        private[names_of.ALLOW_DRIFT] = f"{allowed},{names_of.WHILE_EMPTY}" if allowed else names_of.WHILE_EMPTY
    if order.take_after is not None:
        private[names_of.TAKE_AFTER] = str(order.take_after)
    private[names_of.STOP_PATH] = stop_path if hooked else ""
    sidecar_environment = [
        *_variables(public | private),
        {"name": names_of.POD_NAME, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": names_of.POD_UID, "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        *(sweep.manifest["spec"]["checkpoint"].get("env") or []),
    ]
    own = [
        restore_container(settings, environment=sidecar_environment, identity=identity),
        mirror_container(settings, environment=sidecar_environment, identity=identity),
    ]
    # Restored files must be there before the user's own init containers look for them.
    spec["initContainers"] = [*own, *inits]
    spec["volumes"] = [
        *(spec.get("volumes") or []),
        {"name": SNAPSHOT_VOLUME, "emptyDir": {}},
        token_volume(TOKEN_VOLUME),
    ]
    spec["restartPolicy"] = "Never"
    _place(spec, sweep)
    replaced = order.replaces
    avoided = list(order.avoid)
    if replaced is not None and replaced.node and (order.take_after is not None or replaced.signal in _STANDING):
        avoided.append(replaced.node)
    avoid_nodes(spec, list(dict.fromkeys(avoided)))
    if identity.get("runAsUser") is None:
        # Nobody says as whom the experiment runs: a common group lets the sidecar read what it may.
        context = spec.get("securityContext") or {}
        if context.get("fsGroup") is None:
            spec["securityContext"] = {**context, "fsGroup": _FALLBACK_GROUP}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": names.attempt_pod_name(
                sweep=sweep.name, sweep_uid=sweep.uid, shard=order.shard, attempt=order.attempt
            ),
            "namespace": sweep.namespace,
            "labels": {
                **(metadata.get("labels") or {}),
                **names.labels(sweep=sweep.name, sweep_uid=sweep.uid, role=Role.ATTEMPT),
                names.SHARD: str(order.shard),
                names.ATTEMPT: str(order.attempt),
                names.RANK: "0",
            },
            "annotations": {
                **_ANNOTATIONS,
                **(metadata.get("annotations") or {}),
                names.TEMPLATE: template.sha256,
                names.MADE_OF: template.made_of_sha256,
            },
            "ownerReferences": [owner_reference(sweep)],
        },
        "spec": spec,
    }


def owner_reference(sweep: Sweep) -> dict[str, Any]:
    """Return the reference by which the garbage collector removes what belonged to a deleted sweep.

    It does not block the owner's deletion: a pod on a dead node would hold it up for ever.
    """
    return {
        "apiVersion": "resumable.dev/v1alpha1",
        "kind": "ResumableSweep",
        "name": sweep.name,
        "uid": sweep.uid,
        "controller": True,
    }


def store_url(sweep: Sweep) -> str:
    """Return the run's folder in the store."""
    base = str(sweep.manifest["spec"]["checkpoint"]["url"]).rstrip("/")
    return f"{base}/{sweep.namespace}/{sweep.name}/{sweep.spec.run_id}"


def _public_environment(sweep: Sweep, order: CreateAttempt) -> dict[str, str]:
    public = {
        names_of.NAME: sweep.name,
        names_of.NAMESPACE: sweep.namespace,
        names_of.RUN_ID: sweep.spec.run_id,
        names_of.SHARD: str(order.shard),
        names_of.SHARDS: str(sweep.spec.shards),
        names_of.ATTEMPT: str(order.attempt),
        names_of.SNAPSHOT_DIR: SNAPSHOT_DIR,
        names_of.MADDENING_SNAPSHOT_DIR: SNAPSHOT_DIR,
        names_of.NOTICE_FILE: f"{SNAPSHOT_DIR}/{names_of.PRIVATE_FOLDER}/{names_of.NOTICE_NAME}",
    }
    if sweep.spec.has_items:
        public[names_of.ITEMS] = ITEMS_PATH
    if order.resumes:
        source = f"file://{SNAPSHOT_DIR}/{sweep.manifest['spec']['checkpoint']['file']}"
        public[names_of.RESUME_FROM] = source
        public[names_of.MADDENING_RESUME_FROM] = source
    return public


def _private_environment(
    sweep: Sweep, *, settings: PodSettings, spec: dict[str, Any], template: Template
) -> dict[str, str]:
    checkpoint = sweep.manifest["spec"]["checkpoint"]
    return {
        names_of.STORE_URL: store_url(sweep),
        names_of.CHECKPOINT_FILE: str(checkpoint["file"]),
        names_of.INTERVAL: str(sweep.spec.interval_seconds),
        names_of.FLUSH_TIMEOUT: str(max(1, spec["terminationGracePeriodSeconds"])),
        names_of.COMMIT: "\n".join(checkpoint.get("commit") or []),
        names_of.APPEND: "\n".join(checkpoint.get("append") or []),
        names_of.PROGRESS: str(checkpoint.get("progress") or ""),
        names_of.COMPLETION: str(sweep.manifest["spec"].get("completion") or ""),
        names_of.ITEMS_SHA256: sweep.status.items_sha256,
        names_of.PORT: str(PORT),
        names_of.REPORT_URL: settings.report_url,
        names_of.METADATA_URL: _METADATA_URL,
        names_of.TEMPLATE_SHA256: template.sha256,
        names_of.PROGRAM_SHA256: template.program_sha256,
        names_of.ALLOW_DRIFT: ",".join(sweep.manifest["spec"].get("allowDrift") or []),
        names_of.START_FROM: sweep.spec.resume_from,
        names_of.IMAGES: ",".join(
            known_name(str(main.get("image", "")), sweep.status.images) for main in spec["containers"]
        ),
    }


def _variables(environment: dict[str, str]) -> list[dict[str, Any]]:
    return [{"name": name, "value": value} for name, value in environment.items()]


def _prepare(container: dict[str, Any], *, public: dict[str, str], stop_path: str) -> None:
    theirs = [variable for variable in container.get("env") or [] if variable.get("name") not in public]
    container["env"] = [*_variables(public), *theirs]
    container["volumeMounts"] = [
        *(container.get("volumeMounts") or []),
        {"name": SNAPSHOT_VOLUME, "mountPath": SNAPSHOT_DIR},
    ]
    if stop_path:
        lifecycle = container.get("lifecycle") or {}
        container["lifecycle"] = {**lifecycle, "preStop": {"httpGet": {"path": stop_path, "port": PORT}}}


def identity_of(spec: dict[str, Any]) -> dict[str, Any]:
    """Return the user and group of the first container, which the sidecar shares so that it can read the files."""
    pod = spec.get("securityContext") or {}
    main = spec["containers"][0].get("securityContext") or {}
    # What a container leaves open the pod says; null is as good as absent to the API server.
    return {field: pod.get(field) if main.get(field) is None else main[field] for field in ("runAsUser", "runAsGroup")}


def _place(spec: dict[str, Any], sweep: Sweep) -> None:
    pools = (sweep.manifest["spec"].get("placement") or {}).get("pools") or [{}]
    pool = pools[0]
    selector = {**(spec.get("nodeSelector") or {}), **(pool.get("nodeSelector") or {})}
    if selector:
        spec["nodeSelector"] = selector
    tolerations = [*(spec.get("tolerations") or []), *(pool.get("tolerations") or [])]
    tolerations += [toleration for toleration in _TOLERATIONS if toleration not in tolerations]
    spec["tolerations"] = tolerations
