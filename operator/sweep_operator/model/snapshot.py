"""All that a decision about one sweep rests upon, gathered beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from resumable_sweep.contract.report import Report
from sweep_operator.model.lease import LeaseView
from sweep_operator.model.observed import Creation, PodView, Presence
from sweep_operator.model.problem import Problem
from sweep_operator.model.reclaim import Reclaim
from sweep_operator.model.shard_record import ShardRecord, ShardState


@dataclass(frozen=True, kw_only=True)
class Keep:
    """What of a run's history retention leaves in the store: so many generations, and all that is younger."""

    generations: int
    after_seconds: float


@dataclass(frozen=True)
class Allowance:
    """A budget whose parts come back: `limit` at once, all of them again within `window_seconds`."""

    limit: int
    window_seconds: float


@dataclass(frozen=True, kw_only=True)
class Spec:
    """The specification as decisions see it, defaults filled in."""

    run_id: str
    shards: int
    parallelism: int
    suspend: bool = False
    pool: str = ""
    """Name of the pool that pods are placed in, empty where the specification names none."""
    has_items: bool = False
    """Whether the specification names the items; else only the program knows them."""
    user_failures: int = 3
    infrastructure: Allowance = Allowance(100, 86_400.0)
    reclaims: Allowance | None = None
    """None where a shard may be reclaimed as often as it takes."""
    no_progress_attempts: int = 5
    """0: any number."""
    unexplained: int = 5
    continues: bool = False
    """Whether the results are merged although shards have failed."""
    ttl_seconds: int | None = None
    keep_pods: int = 5
    interval_seconds: float = 10.0
    flush_seconds: float = 300.0
    resume_from: str = ""
    """Folder of another run that the shards start from, empty where there is none."""
    images_may_drift: bool = False
    """Whether an image may come to be another one under the same name."""
    keep: Keep | None = None
    """None where nothing is ever deleted."""
    unreachable_seconds: float = 60.0
    """How long a node may be `Unknown` before its pods are presumed dead."""
    silent_seconds: float = 25.0
    """How long a pod and its node may both be silent before it is presumed dead; 0: for ever."""


@dataclass(frozen=True, kw_only=True)
class Merged:
    """Where the merged results lie."""

    url: str
    sha256: str
    items: int
    provenance_url: str


@dataclass(frozen=True, kw_only=True)
class AvoidedNode:
    """A node that new attempts are kept away from, until a time in Unix seconds."""

    name: str
    reason: str
    until: float


@dataclass(frozen=True)
class ReclaimCount:
    """How many reclaims there were in the five minutes from `begin` (Unix seconds)."""

    begin: float
    count: int


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A condition of the sweep; `since` is in Unix seconds."""

    type: str
    status: bool
    reason: str
    message: str
    since: float


@dataclass(frozen=True, kw_only=True)
class SweepStatus:
    """The status as decisions see it: what was written before, or what shall be written."""

    phase: str = "Pending"
    attempts: int = 0
    """Highest attempt number ever allocated."""
    items_total: int | None = None
    items_sha256: str = ""
    done: int = 0
    running: int = 0
    lost: int = 0
    eta: str = ""
    started_at: float | None = None
    completed_at: float | None = None
    retained_at: float | None = None
    """When retention ended last, in whatever way."""
    merged: Merged | None = None
    reclaims_by_signal: Mapping[str, int] = field(default_factory=dict)
    last_reclaim: Reclaim | None = None
    recent_reclaims: tuple[ReclaimCount, ...] = ()
    """Those of the last hour."""
    images: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What attempts have run: digests that count as the same, by the image's name in the template."""
    avoided: tuple[AvoidedNode, ...] = ()
    retried: str = ""
    """The wish to retry failed shards that was last acted upon."""
    records: tuple[ShardRecord, ...] = ()
    conditions: tuple[Condition, ...] = ()

    @property
    def is_settled(self) -> bool:
        """Whether every shard has come to its end, in whatever way."""
        return all(record.state in (ShardState.COMPLETE, ShardState.FAILED) for record in self.records)

    @property
    def reclaims(self) -> int:
        """How often an attempt of this sweep was taken away."""
        return sum(self.reclaims_by_signal.values())


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """One ResumableSweep: its identity, specification and status."""

    namespace: str
    name: str
    uid: str
    generation: int
    deleting: bool
    spec: Spec
    status: SweepStatus
    retry: str = ""
    """Which failed shards somebody wants to be run again, in their own words."""
    manifest: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """The object itself, for the builders of pods; decisions do not look at it."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One sweep and all that is known about it at one moment.

    `reports` holds the newest report of each attempt by its number, `creations` what this process knows of the
    attempts that it has allocated, `absent` the attempts whose pod the API server itself has denied, `forbidden` the
    UIDs of pods that must go, with what they reach for and may not, and
    `housekeeping` the creations of the housekeeping pods by role. `heard_at` is when each attempt last reported,
    `listening_since` since when reports can have come (Unix seconds), None where pods are told nobody to report to;
    `attentive_since` is the same, but since the operator was last unable to hear. `leases` holds the nodes whose Leases
    are watched, by name, because something there has missed a report.
    `placements` holds the incarnation of the node that this process first saw each attempt's pod on, by number.
    `made_of` is the digest of what a pod would be made of now.
    """

    sweep: Sweep
    presence: Presence = field(default_factory=Presence)
    reports: Mapping[int, Report] = field(default_factory=dict)
    creations: Mapping[int, Creation] = field(default_factory=dict)
    placements: Mapping[int, str] = field(default_factory=dict)
    absent: frozenset[int] = frozenset()
    forbidden: Mapping[str, Problem] = field(default_factory=dict)
    housekeeping: Mapping[str, Creation] = field(default_factory=dict)
    heard_at: Mapping[int, float] = field(default_factory=dict)
    listening_since: float | None = None
    attentive_since: float | None = None
    leases: Mapping[str, LeaseView] = field(default_factory=dict)
    made_of: str = ""

    def pod_of(self, attempt: int) -> PodView | None:
        """Return the pod of an attempt, None where the caches show none."""
        return self.pods_by_attempt.get(attempt)

    @cached_property
    def pods_by_attempt(self) -> dict[int, PodView]:
        """The attempts' pods by attempt number."""
        return {pod.attempt: pod for pod in self.presence.pods if pod.role == "attempt"}
