"""What is seen of pods and nodes, reduced to what decisions need."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from resumable_sweep.contract.outcome import Outcome
from sweep_operator.model.claims import ORDINARY, Claims
from sweep_operator.model.reclaim import Reclaim


class Role(StrEnum):
    """What a pod of a sweep is for; the value of its label."""

    ATTEMPT = "attempt"
    RESOLVE = "resolve"
    MERGE = "merge"
    RETAIN = "retain"


@dataclass(frozen=True, kw_only=True)
class ContainerView:
    """One container of a pod.

    `exit_code` is None while it has not ended. `started_at`, of one that runs, and `finished_at` are in Unix seconds.
    """

    name: str
    image: str = ""
    """Its image as the pod's specification names it."""
    image_id: str = ""
    """What the runtime says that the image is, once the container was started."""
    started: bool = False
    waiting_reason: str = ""
    waiting_message: str = ""
    exit_code: int | None = None
    exit_reason: str = ""
    started_at: float | None = None
    finished_at: float | None = None
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class PodView:
    """One pod of a sweep; times are Unix seconds, empty strings mean absent."""

    namespace: str
    name: str
    uid: str
    sweep: str
    sweep_uid: str
    role: Role
    shard: int = 0
    attempt: int = 0
    node: str = ""
    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    created_at: float = 0.0
    deleted: bool = False
    """Whether somebody has asked for its deletion."""
    deleted_at: float = 0.0
    """When that was, by the API server's clock; 0 where it is not known."""
    disruption: str = ""
    """Reason of a true DisruptionTarget condition."""
    unschedulable: str = ""
    """The scheduler's message where it finds no node."""
    gated: bool = False
    """Whether somebody has put a gate on it, so that no scheduler looks at it."""
    scheduled_at: float = 0.0
    """When it got its node, Unix seconds."""
    claims: Claims = ORDINARY
    """What it asks for that not everybody may have."""
    made_of: str = ""
    """Digest of what the operator has made it of, empty where the pod does not say."""
    mains: tuple[ContainerView, ...] = ()
    """The user's own containers."""
    inits: tuple[ContainerView, ...] = ()
    """The user's own init containers, without those that are sidecars: of those no exit code ends a pod."""
    restore: ContainerView | None = None
    mirror: ContainerView | None = None
    restore_outcome: Outcome | None = None
    mirror_outcome: Outcome | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether none of its containers will ever run again."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def is_running(self) -> bool:
        """Whether the experiment itself runs."""
        return self.phase == "Running" and any(main.started and main.exit_code is None for main in self.mains)

    @property
    def outcome(self) -> Outcome | None:
        """What a housekeeping pod's one container said at its end."""
        return self.mirror_outcome


@dataclass(frozen=True, kw_only=True)
class NodeView:
    """One node."""

    name: str
    uid: str
    boot_id: str = ""
    """Which boot of its machine it is, empty where nobody says."""
    ready: str = "True"
    """Status of the Ready condition: True, False or Unknown."""
    ready_since: float = 0.0
    """When that status last changed, Unix seconds."""
    shutting_down: bool = False
    terminating: str = ""
    """Key of a taint by which a cloud announces the node's end, empty where there is none."""
    deleted: bool = False
    """Whether somebody has asked for its deletion, and a finalizer keeps it: an autoscaler that drains it."""

    @cached_property
    def incarnation(self) -> str:
        """Which of the nodes of this name it is, and in which boot: short, because a table of them is kept.

        Clouds use names again, and some are so fast that a new machine takes over the Node object of the one before.
        """
        of_object = hashlib.sha256(self.uid.encode()).hexdigest()[:6]
        return f"{of_object}.{hashlib.sha256(self.boot_id.encode()).hexdigest()[:3]}" if self.boot_id else of_object

    def is_object_of(self, incarnation: str) -> bool:
        """Return whether it has the Node object of that incarnation, in whatever boot."""
        return self.incarnation.partition(".")[0] == incarnation.partition(".")[0]

    def has_rebooted_since(self, incarnation: str) -> bool:
        """Return whether its machine is in another boot than that incarnation of it, or is another one.

        Not where one of them does not say: an earlier version has written that down, or nobody knows.
        """
        before, now = incarnation.partition(".")[2], self.incarnation.partition(".")[2]
        return self.is_object_of(incarnation) and bool(before) and bool(now) and before != now


QUOTA_EXCEEDED = "QuotaExceeded"
"""The problem of a creation that the namespace's quota forbids."""


@dataclass(frozen=True)
class Creation:
    """What this process knows of the pod of an attempt that it has allocated itself.

    `resumes` and `replaces` are those of the order, for when it has to be given again.
    """

    created_at: float | None = None
    """When the API server took the pod, Unix seconds; None while it has not."""
    retry_at: float = 0.0
    problem: str = ""
    message: str = ""
    seen: bool = False
    """Whether the pod has been seen: when the cache shows it no more, it is gone."""
    uncertain: bool = False
    """Whether the API server may have taken the pod although it did not say so: the attempt is not tried again."""
    resumes: bool = False
    replaces: Reclaim | None = None
    refused_at: float = 0.0
    """When the API server last refused it (Unix seconds)."""
    refusals: int = 0
    """How often in a row a quota has forbidden it."""
    generation: int = 0
    """The sweep's generation that was refused, 0 where none was."""
    version: int = 0
    """The pod's resourceVersion as the API server took it, 0 where it is not known."""


@dataclass(frozen=True)
class Presence:
    """Pods and nodes as the operator's caches show them."""

    pods: tuple[PodView, ...] = ()
    nodes: dict[str, NodeView] = field(default_factory=dict)
    nodes_visible: bool = True
    """False where the operator may not read nodes: it then works from what pods say."""

    def has_node_of(self, incarnation: str) -> bool:
        """Return whether the Node object of that incarnation still exists."""
        return incarnation.partition(".")[0] in self._objects

    @cached_property
    def _objects(self) -> frozenset[str]:
        return frozenset(node.incarnation.partition(".")[0] for node in self.nodes.values())
