"""The machines of a namespace: Node objects and their Leases, and which of them are still there."""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime

from fire.kube import Json, Kube, Refused
from fire.statuses import condition

RENEWAL_SECONDS = 1.0
"""A quarter of a Lease, as kubelets have it; theirs is valid for 40 s, this one for four.

Where silence is not what is tried, theirs will do: a hundred machines would send nothing but renewals.
"""
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
SHUTTING_DOWN = "node is shutting down"


@dataclass
class Machine:
    """One machine; `alive` is false once it has lost power, `reachable` once it has lost its network."""

    name: str
    uid: str
    labels: dict[str, str]
    alive: bool = True
    reachable: bool = True
    leaving: bool = False
    pods: set[str] = field(default_factory=set)
    """UIDs of the pods that were bound to it and have not ended."""

    @property
    def is_schedulable(self) -> bool:
        """Whether a scheduler would give it a pod."""
        return self.alive and self.reachable and not self.leaving


class Machines:
    """The machines of one namespace: one more is made wherever none has room.

    Parameters
    ----------
    room:
        How many pods a machine takes.
    renewal:
        Seconds between two renewals of a machine's Lease.
    """

    def __init__(self, kube: Kube, namespace: str, *, room: int, renewal: float = RENEWAL_SECONDS) -> None:
        self._kube = kube
        self._renewal = renewal
        self._namespace = namespace
        self._room = room
        self._numbers = itertools.count(1)
        self._all: dict[str, Machine] = {}
        self._placing = asyncio.Lock()

    def of(self, name: str) -> Machine | None:
        """Return the machine of that name, None where there is none."""
        return self._all.get(name)

    async def place(self, pod: Json) -> Machine:
        """Return the machine for a pod, as a scheduler would choose it, with the pod counted in."""
        spec, uid = pod["spec"], pod["metadata"]["uid"]
        wanted = dict(spec.get("nodeSelector") or {})
        avoided = _avoided(spec)
        async with self._placing:
            fitting = [
                machine
                for machine in self._all.values()
                if machine.is_schedulable
                and len(machine.pods) < self._room
                and wanted.items() <= machine.labels.items()
            ]
            # A preference: where there is nothing else a new machine comes, as with an autoscaler.
            machine = next((each for each in fitting if each.name not in avoided), None) or await self._add(wanted)
            machine.pods.add(uid)
            return machine

    async def _add(self, labels: dict[str, str]) -> Machine:
        name = f"{self._namespace}-{next(self._numbers)}"
        made = await self._kube.create(
            "/api/v1/nodes",
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": name, "labels": {**labels, "kubernetes.io/hostname": name}},
            },
        )
        ready = condition("Ready", True, reason="KubeletReady", message="kubelet is posting ready status")
        info = {"bootID": str(uuid.uuid5(uuid.NAMESPACE_OID, name))}
        await self._kube.patch(f"/api/v1/nodes/{name}/status", {"status": {"conditions": [ready], "nodeInfo": info}})
        machine = self._all[name] = Machine(name=name, uid=made["metadata"]["uid"], labels=labels)
        spec = {"holderIdentity": name, "leaseDurationSeconds": int(4 * self._renewal), "renewTime": _now()}
        owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": machine.uid}
        metadata = {"name": name, "ownerReferences": [owner]}
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
        await self._kube.create(_LEASES, lease)
        return machine

    async def renew(self) -> None:
        """Have all kubelets that can renew their Leases, until cancelled."""
        while True:
            await asyncio.sleep(self._renewal)
            for machine in list(self._all.values()):
                if machine.alive and machine.reachable:
                    try:
                        await self._kube.request(
                            "PATCH",
                            f"{_LEASES}/{machine.name}",
                            {"spec": {"renewTime": _now()}},
                            kind="application/merge-patch+json",
                        )
                    except Refused as error:
                        if error.status not in (0, 404):
                            raise

    async def shut_down(self, machine: Machine) -> None:
        """Have the kubelet say that its machine is shutting down."""
        machine.leaving = True
        ready = condition("Ready", False, reason="KubeletNotReady", message=SHUTTING_DOWN)
        await self._kube.patch(f"/api/v1/nodes/{machine.name}/status", {"status": {"conditions": [ready]}})

    async def remove(self, machine: Machine) -> None:
        """Take a machine away, Node object and all."""
        machine.alive = False
        await self._kube.delete(f"/api/v1/nodes/{machine.name}", {"preconditions": {"uid": machine.uid}})
        await self._kube.delete(f"{_LEASES}/{machine.name}")

    async def remove_all(self) -> None:
        """Take all machines away."""
        for machine in self._all.values():
            await self.remove(machine)


def _avoided(spec: Json) -> set[str]:
    of_nodes = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    preferences = of_nodes.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    return {
        value
        for preference in preferences
        for term in preference["preference"].get("matchFields") or ()
        if term["key"] == "metadata.name" and term["operator"] == "NotIn"
        for value in term["values"]
    }


def _now() -> str:
    return datetime.fromtimestamp(time.time(), tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
