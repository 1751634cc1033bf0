"""Paths of the API server's collections and objects."""

from __future__ import annotations

import re
from collections.abc import Collection

_SWEEPS = "/apis/resumable.dev/v1alpha1"
PODS = "/api/v1/pods"
NODES = "/api/v1/nodes"
TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
_OBJECT_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")


def node(name: str) -> str:
    """Return one node."""
    return f"{NODES}/{name}"


def node_lease(name: str) -> str:
    """Return the Lease by which a node's kubelet tells that it lives."""
    return lease("kube-node-lease", name)


def leases(namespace: str) -> str:
    """Return the collection of a namespace's Leases."""
    return f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"


def lease(namespace: str, name: str) -> str:
    """Return one Lease."""
    return f"{leases(namespace)}/{name}"


def priority_class(name: str) -> str:
    """Return one priority class."""
    return f"/apis/scheduling.k8s.io/v1/priorityclasses/{name}"


def pods(namespace: str) -> str:
    """Return the collection of a namespace's pods."""
    return f"/api/v1/namespaces/{namespace}/pods"


def pod(namespace: str, name: str) -> str:
    """Return one pod."""
    return f"{pods(namespace)}/{name}"


def config_maps(namespace: str) -> str:
    """Return the collection of a namespace's ConfigMaps."""
    return f"/api/v1/namespaces/{namespace}/configmaps"


def config_map(namespace: str, name: str) -> str:
    """Return one ConfigMap, of which somebody else has written the name.

    Raises
    ------
    ValueError
        Where nothing can have that name: a path with `..` in it would lead into another namespace.
    """
    if not _OBJECT_NAME.fullmatch(name):
        raise ValueError(f"nothing can be called {name!r}: names are lower-case letters, digits, - and . only")
    return f"{config_maps(namespace)}/{name}"


def events(namespace: str) -> str:
    """Return the collection of a namespace's events."""
    return f"/api/v1/namespaces/{namespace}/events"


def sweeps(namespaces: Collection[str]) -> list[str]:
    """Return the collections of the sweeps of these namespaces; of all, where none is named."""
    plural = "resumablesweeps"
    return [f"{_SWEEPS}/namespaces/{namespace}/{plural}" for namespace in namespaces] or [f"{_SWEEPS}/{plural}"]


def sweep(namespace: str, name: str) -> str:
    """Return one sweep."""
    return f"{_SWEEPS}/namespaces/{namespace}/resumablesweeps/{name}"


def sweep_status(namespace: str, name: str) -> str:
    """Return the status of one sweep."""
    return f"{sweep(namespace, name)}/status"
