"""Paths of the API server's collections and objects."""

from __future__ import annotations

_SWEEPS = "/apis/resumable.dev/v1alpha1"
PODS = "/api/v1/pods"
NODES = "/api/v1/nodes"
TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"


def pods(namespace: str) -> str:
    """Return the collection of a namespace's pods."""
    return f"/api/v1/namespaces/{namespace}/pods"


def pod(namespace: str, name: str) -> str:
    """Return one pod."""
    return f"{pods(namespace)}/{name}"


def config_maps(namespace: str) -> str:
    """Return the collection of a namespace's ConfigMaps."""
    return f"/api/v1/namespaces/{namespace}/configmaps"


def events(namespace: str) -> str:
    """Return the collection of a namespace's events."""
    return f"/api/v1/namespaces/{namespace}/events"


def sweep(namespace: str, name: str) -> str:
    """Return one sweep."""
    return f"{_SWEEPS}/namespaces/{namespace}/resumablesweeps/{name}"


def sweep_status(namespace: str, name: str) -> str:
    """Return the status of one sweep."""
    return f"{sweep(namespace, name)}/status"
