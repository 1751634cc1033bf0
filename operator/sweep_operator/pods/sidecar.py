"""The sidecar's containers in an attempt's pod."""

from __future__ import annotations

from typing import Any

from resumable_sweep.contract import environment as names_of
from sweep_operator.pods.settings import PodSettings

RESTORE = "sweep-restore"
MIRROR = "sweep-mirror"
SNAPSHOT_VOLUME = "sweep-snapshot"
TOKEN_VOLUME = "sweep-token"
SNAPSHOT_DIR = names_of.SNAPSHOT_PATH
ITEMS_PATH = f"{SNAPSHOT_DIR}/{names_of.PRIVATE_FOLDER}/items.jsonl"
TOKEN_DIR = "/var/run/secrets/resumable.dev"
PORT = 9810

_TOKEN_SECONDS = 3600
_NOBODY = 65532


def restore_container(
    settings: PodSettings, *, environment: list[dict[str, Any]], identity: dict[str, Any]
) -> dict[str, Any]:
    """Return the init container that restores the checkpoint, once, before anything else runs."""
    return _container(RESTORE, "restore", settings, environment=environment, identity=identity)


def mirror_container(
    settings: PodSettings, *, environment: list[dict[str, Any]], identity: dict[str, Any]
) -> dict[str, Any]:
    """Return the native sidecar that mirrors the snapshot directory while the experiment runs."""
    health = {"httpGet": {"path": "/healthz", "port": PORT}}
    return {
        **_container(MIRROR, "mirror", settings, environment=environment, identity=identity),
        "restartPolicy": "Always",
        "ports": [{"name": "sweep-mirror", "containerPort": PORT}],
        "startupProbe": {**health, "periodSeconds": 1, "failureThreshold": 120},
        "livenessProbe": {**health, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
        "lifecycle": {"preStop": {"httpGet": {"path": "/flush", "port": PORT}}},
    }


def token_volume(name: str) -> dict[str, Any]:
    """Return the volume with a token that names this very pod, of an audience that nothing but the operator accepts."""
    token = {"path": "token", "audience": names_of.TOKEN_AUDIENCE, "expirationSeconds": _TOKEN_SECONDS}
    return {"name": name, "projected": {"sources": [{"serviceAccountToken": token}]}}


def security_context(identity: dict[str, Any]) -> dict[str, Any]:
    """Return what Pod Security's `restricted` asks for, under the experiment's own user where one is named."""
    user = identity.get("runAsUser")
    context: dict[str, Any] = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
        "runAsUser": _NOBODY if user is None else user,
        "runAsNonRoot": user != 0,
    }
    group = identity.get("runAsGroup")
    if group is not None:
        context["runAsGroup"] = group
    return context


def _container(
    name: str, role: str, settings: PodSettings, *, environment: list[dict[str, Any]], identity: dict[str, Any]
) -> dict[str, Any]:
    return {
        "name": name,
        "image": settings.sidecar_image,
        "imagePullPolicy": settings.pull_policy,
        "args": [role],
        "env": [
            *environment,
            {"name": names_of.TOKEN_FILE, "value": f"{TOKEN_DIR}/token"},
            {"name": names_of.SHARED_BY_GROUP, "value": "1" if identity.get("runAsUser") is None else ""},
        ],
        "resources": dict(settings.resources),
        "securityContext": security_context(identity),
        "volumeMounts": [
            {"name": SNAPSHOT_VOLUME, "mountPath": SNAPSHOT_DIR},
            {"name": TOKEN_VOLUME, "mountPath": TOKEN_DIR, "readOnly": True},
        ],
    }
