"""What is seen of pods and nodes, reduced to what decisions need."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from resumable_sweep.contract.outcome import Outcome
from resumable_sweep.contract.report import Report, parsed_report
from sweep_operator.model.claims import ORDINARY, Claims
from sweep_operator.model.image import digest_of, is_pinned
from sweep_operator.model.reclaim import Reclaim

OUT_OF_MEMORY = "OOMKilled"
"""A kubelet's word for a container that was ended at its memory limit: it leaves no word of its own."""


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
    """One pod of a sweep; times are Unix seconds, empty strings mean absent.

    It outlasts many looks, each of which asks the same of thousands: what takes long to tell is worked out once.
    """

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
    def has_restored(self) -> bool:
        """Whether its checkpoint was restored, so that its experiment may begin."""
        return self.restore is not None and self.restore.exit_code == 0

    @cached_property
    def is_running(self) -> bool:
        """Whether the experiment itself runs."""
        return self.phase == "Running" and any(main.started and main.exit_code is None for main in self.mains)

    @cached_property
    def has_started(self) -> bool:
        """Whether each of the user's containers was started."""
        return bool(self.mains) and all(main.started for main in self.mains)

    @property
    def goes_its_way(self) -> bool:
        """Whether nothing has come of it yet but what is expected: it is made, finds a node, starts, runs."""
        ended = (
            self.is_terminal
            or self.mirror_outcome is not None
            or any(each.exit_code is not None for each in self.mains)
        )
        return not (ended or self.deleted or self.disruption or self.reason)

    @cached_property
    def runs_undisturbed(self) -> bool:
        """Whether all of it runs as it is to run, and nobody has said anything against it."""
        at_work = self.mains if self.mirror is None else (*self.mains, self.mirror)
        spoken_against = self.deleted or self.disruption or self.reason or self.mirror_outcome is not None
        return (
            self.phase == "Running"
            and not spoken_against
            and bool(self.mains and self.node)
            and (self.restore is None or self.has_restored)
            and all(each.started and each.exit_code is None and not each.waiting_reason for each in at_work)
        )

    @cached_property
    def digests(self) -> tuple[tuple[ContainerView, str], ...]:
        """The user's containers whose image may come to be another one, each with the digest that it runs now."""
        told = ((main, digest_of(main.image_id)) for main in self.mains if not is_pinned(main.image))
        return tuple((main, digest) for main, digest in told if digest)

    @cached_property
    def last_words(self) -> tuple[Report, ...]:
        """What its own containers have left behind as reports.

        What is not in our form is not from our sidecar: the pod's phase and exit codes still speak.
        """
        said = []
        for outcome in (self.restore_outcome, self.mirror_outcome):
            if outcome is not None and "stage" in outcome.details:
                with contextlib.suppress(ValueError):
                    said.append(parsed_report(outcome.details))
        return tuple(said)

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

    @property
    def is_going(self) -> bool:
        """Whether somebody has said that it is about to end."""
        return bool(self.shutting_down or self.terminating or self.deleted)

    @cached_property
    def is_well(self) -> bool:
        """Whether nobody says anything against it."""
        return self.ready == "True" and not self.is_going

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

    def again_at(self, *, now: float) -> float:
        """Return when it may be tried again (Unix seconds); by a clock that was set back since, at once."""
        return 0.0 if now < self.refused_at else self.retry_at


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
