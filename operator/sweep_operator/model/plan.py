"""What shall be done about a sweep: data, carried out elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

from sweep_operator.model.observed import PodView, Role
from sweep_operator.model.reclaim import Reclaim
from sweep_operator.model.snapshot import SweepStatus


@dataclass(frozen=True, kw_only=True)
class CreateAttempt:
    """Make the pod of an attempt; `replaces` is the reclaim that made it necessary, or will.

    `avoid` names nodes that it is kept away from, as far as there are others. `take_after` is None, or how many seconds
    its restore may wait for the attempt before it to end: then it is made ahead of time.
    """

    shard: int
    attempt: int
    resumes: bool
    replaces: Reclaim | None = None
    avoid: tuple[str, ...] = ()
    take_after: int | None = None
    while_empty: bool = False
    """Whether no program of the sweep can have started so far: it may differ from before, while nothing is stored."""


@dataclass(frozen=True, kw_only=True)
class CreateHousekeeping:
    """Make the pod that resolves the items, merges the results or deletes what is not kept."""

    role: Role


@dataclass(frozen=True, kw_only=True)
class DeletePod:
    """Delete one pod, known by its UID; `grace_seconds` None leaves the pod its own."""

    pod: PodView
    reason: str
    grace_seconds: int | None = None


@dataclass(frozen=True)
class DeleteSweep:
    """Delete the sweep itself, known by its UID: what it owns goes with it."""


@dataclass(frozen=True, kw_only=True)
class SweepEvent:
    """A Kubernetes event on the sweep: a CamelCase reason and a sentence."""

    reason: str
    message: str
    warning: bool = False


Action = CreateAttempt | CreateHousekeeping | DeletePod | DeleteSweep


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The next status, then what to create and delete, then what to say.

    `look_again_at` (Unix seconds) is when the same snapshot could lead to another plan, None where only news can.
    """

    status: SweepStatus
    actions: tuple[Action, ...] = ()
    events: tuple[SweepEvent, ...] = ()
    look_again_at: float | None = None
