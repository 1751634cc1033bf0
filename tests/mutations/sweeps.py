"""The sweeps that are changed: between them they have every field of the definition."""

from __future__ import annotations

import copy
from typing import Any

SHARDS = 2
ITEMS = ["a", "b", "c", "d"]
CONFIG_MAP = {"name": "items", "key": "items.json"}
"""Where the items are that are read from a ConfigMap."""
_CONTAINER = {
    "name": "main",
    "image": "main:test",
    "command": ["run"],
    "env": [{"name": "THEIRS", "value": "1"}],
    "resources": {"limits": {"memory": "1Gi"}, "requests": {"cpu": "1"}},
    "securityContext": {"runAsUser": 10001},
    "lifecycle": {},
    "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
}
_ENVIRONMENT: list[dict[str, Any]] = [
    {"name": "PLAIN", "value": "1"},
    {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "store", "key": "key", "optional": True}}},
    {"name": "REGION", "valueFrom": {"configMapKeyRef": {"name": "store", "key": "region", "optional": True}}},
    {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name", "apiVersion": "v1"}}},
]
_FULL: dict[str, Any] = {
    "shards": SHARDS,
    "parallelism": SHARDS,
    "suspend": False,
    "runId": "run-1",
    "items": {"list": ITEMS},
    "checkpoint": {
        "url": "gs://bucket/sweeps",
        "file": "results.jsonl",
        "interval": "10s",
        "flushTimeout": "30s",
        "commit": ["orbax"],
        "append": ["*.csv"],
        "progress": "Sweep",
        "env": _ENVIRONMENT,
        # A list of its own: a copy of the whole keeps what is shared in it shared.
        "keep": {"generations": 3, "after": "48h", "serviceAccountName": "default", "env": copy.deepcopy(_ENVIRONMENT)},
    },
    "completion": "Recorded",
    "allowDrift": ["Images"],
    "placement": {
        "pools": [
            {
                "name": "spot",
                "nodeSelector": {"kind": "spot"},
                "tolerations": [
                    {"key": "kind", "operator": "Equal", "value": "spot", "effect": "NoExecute", "tolerationSeconds": 9}
                ],
            }
        ]
    },
    "budgets": {
        "userFailures": 3,
        "infrastructure": {"limit": 100, "window": "24h"},
        "reclaims": {"limit": 100, "window": "24h"},
        "noProgressAttempts": 5,
        "unexplained": 5,
    },
    "onShardFailure": "Fail",
    "ttlSecondsAfterFinished": 86_400,
    "keepPods": 5,
    # On a busy machine kubelets that are played may fall silent: nobody is to conclude anything from that.
    "reclaim": {"unreachableAfter": "1h", "silentAfter": "0s"},
    "template": {
        "metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}},
        "spec": {
            "restartPolicy": "Never",
            "containers": [_CONTAINER],
            "initContainers": [{"name": "prepare", "image": "main:test"}],
            "volumes": [{"name": "scratch", "emptyDir": {}}],
            "nodeSelector": {"zone": "a"},
            "tolerations": [{"key": "a", "operator": "Exists"}],
            "affinity": {},
            "serviceAccountName": "default",
            "imagePullSecrets": [{"name": "registry"}],
            "terminationGracePeriodSeconds": 30,
            "activeDeadlineSeconds": 86_400,
            "hostNetwork": False,
            "securityContext": {"runAsUser": 10001, "fsGroup": 10001},
        },
    },
}


def sweep_with(field: str, *, phase: str = "") -> dict[str, Any]:
    """Return the spec of a sweep that has `field`, or a place for it, and that can come to `phase`.

    Items are named in one way, so each way has its own sweep.
    """
    spec = copy.deepcopy(_FULL)
    if field.startswith("items.matrix"):
        spec["items"] = {"matrix": {"letter": ITEMS}}
    elif field.startswith("items.configMapKeyRef"):
        spec["items"] = {"configMapKeyRef": dict(CONFIG_MAP)}
    elif field == "checkpoint.flushTimeout":
        # It is what counts where the template says nothing.
        del spec["template"]["spec"]["terminationGracePeriodSeconds"]
    if phase == "failed":
        spec["budgets"]["userFailures"] = 0
    return spec
