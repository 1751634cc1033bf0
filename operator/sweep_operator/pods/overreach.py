"""What a pod asks for that the author of a sweep may not have through the operator.

The operator creates pods with its own rights, whoever wrote the sweep. So whatever reaches beyond the namespace, or
takes on another identity in it, is refused unless the installer allows it.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sweep_operator.model.claims import Claims, Grasp, Reach


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What the installer allows the pods of sweeps.

    `service_accounts` are patterns of `namespace/name`, `priority_classes` patterns of names, each with `*` for
    anything.
    """

    service_accounts: tuple[str, ...] = ("*/default",)
    reaches: frozenset[Reach] = frozenset()
    priority_classes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Overreach:
    """One thing that is not allowed: the field of the pod's spec, what it holds, and what to do about it."""

    field: str
    found: str
    mend: str

    def __str__(self) -> str:
        return f"{self.field} {self.found}: {self.mend}"


def overreaches_of(pod: Mapping[str, Any], *, allowance: Allowance) -> tuple[Overreach, ...]:
    """Return what in a pod's manifest is not allowed; what is not of a pod's form is left for the API server."""
    namespace = str(_object(pod.get("metadata")).get("namespace"))
    return overreaches_in(claims_of(pod), namespace=namespace, allowance=allowance)


def overreaches_in(claims: Claims, *, namespace: str, allowance: Allowance) -> tuple[Overreach, ...]:
    """Return what of a pod's claims is not allowed."""
    return (
        *_identity(claims.service_account, namespace=namespace, allowance=allowance),
        *_priority(claims.priority_class, allowance=allowance),
        *(
            Overreach(
                field=grasp.field,
                found=grasp.found,
                mend=f"leave it out, or have {grasp.reach} allowed by whoever installed",
            )
            for grasp in claims.grasps
            if grasp.reach not in allowance.reaches
        ),
    )


def claims_of(pod: Mapping[str, Any]) -> Claims:
    """Return what a pod asks for, by its manifest or as the API server has it."""
    spec = _object(pod.get("spec"))
    claims = Claims(
        # `serviceAccount` is the older name of the field: the API server takes it where the newer one is empty.
        service_account=str(spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"),
        priority_class=str(spec.get("priorityClassName") or ""),
        grasps=tuple(_grasps(spec, is_scheduled=_is_scheduled(pod))),
    )
    return _shared(claims)


@lru_cache(maxsize=1024)
def _shared(claims: Claims) -> Claims:
    """Return the one object for all pods with these claims: they are kept for thousands, which differ in nothing."""
    return claims


def _is_scheduled(pod: Mapping[str, Any]) -> bool:
    """Return whether a pod has its node from the scheduler, or is with a kubelet already, which tells the same."""
    return any(
        condition.get("type") == "PodScheduled" and condition.get("status") == "True"
        for condition in _objects(_object(pod.get("status")).get("conditions"))
    )


def _identity(name: str, *, namespace: str, allowance: Allowance) -> Iterator[Overreach]:
    if not _matches(f"{namespace}/{name}", allowance.service_accounts):
        yield Overreach(
            field="serviceAccountName",
            found=f"is {name}",
            mend=f"name a service account that sweeps may use, or have {namespace}/{name} allowed by whoever installed",
        )


def _priority(name: str, *, allowance: Allowance) -> Iterator[Overreach]:
    if name and not _matches(name, allowance.priority_classes):
        yield Overreach(
            field="priorityClassName",
            found=f"is {name}",
            mend=f"leave it out, or have the priority class {name} allowed by whoever installed",
        )


def _grasps(spec: Mapping[str, Any], *, is_scheduled: bool) -> Iterator[Grasp]:
    for reach in (Reach.HOST_NETWORK, Reach.HOST_PID, Reach.HOST_IPC):
        if spec.get(reach):
            yield Grasp(reach, reach, "is true")
    if spec.get("nodeName") and not is_scheduled:
        yield Grasp(Reach.NODE_NAME, "nodeName", f"is {spec['nodeName']}")
    for volume in _objects(spec.get("volumes")):
        if "hostPath" in volume and volume["hostPath"] is not None:
            path = _object(volume["hostPath"]).get("path")
            yield Grasp(Reach.HOST_PATH, "volumes", f"{volume.get('name')} is the hostPath {path}")
    if _is_host_process(spec):
        yield Grasp(Reach.PRIVILEGED, "securityContext", "has hostProcess")
    for kind in ("initContainers", "containers"):
        for container in _objects(spec.get(kind)):
            name = container.get("name")
            if _object(container.get("securityContext")).get("privileged"):
                yield Grasp(Reach.PRIVILEGED, kind, f"{name} is privileged")
            if _is_host_process(container):
                yield Grasp(Reach.PRIVILEGED, kind, f"{name} has hostProcess")
            # On the host's network every port is one of the host's, and the API server fills them in.
            ports = [] if spec.get("hostNetwork") else _objects(container.get("ports"))
            for port in ports:
                if port.get("hostPort"):
                    yield Grasp(Reach.HOST_PORTS, kind, f"{name} has the hostPort {port['hostPort']}")


def _is_host_process(holder: Mapping[str, Any]) -> bool:
    """Return whether a container of Windows runs as the host's own processes do, which is its way to be privileged."""
    options = _object(_object(holder.get("securityContext")).get("windowsOptions"))
    return bool(options.get("hostProcess"))


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []
