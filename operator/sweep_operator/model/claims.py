"""What a pod asks for that not everybody may have."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reach(StrEnum):
    """What an installer may allow the pods of sweeps; the name of the field that asks for it."""

    HOST_PATH = "hostPath"
    HOST_NETWORK = "hostNetwork"
    HOST_PORTS = "hostPorts"
    HOST_PID = "hostPID"
    HOST_IPC = "hostIPC"
    PRIVILEGED = "privileged"
    NODE_NAME = "nodeName"


@dataclass(frozen=True)
class Grasp:
    """One place where a pod reaches out of its namespace: by which field of its spec, and what that holds."""

    reach: Reach
    field: str
    found: str


@dataclass(frozen=True, kw_only=True)
class Claims:
    """The identity that a pod takes on in its namespace, its priority class (empty: none), and all that it reaches."""

    service_account: str = "default"
    priority_class: str = ""
    grasps: tuple[Grasp, ...] = ()


ORDINARY = Claims()
"""What nearly every pod asks for."""
