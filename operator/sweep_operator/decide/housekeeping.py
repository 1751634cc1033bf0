"""The two short pods that work on the store for the operator: one resolves the items, one merges the results."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from resumable_sweep.contract.outcome import Exit, Outcome
from sweep_operator.model.observed import PodView, Role
from sweep_operator.model.plan import Action, CreateHousekeeping, DeletePod, SweepEvent
from sweep_operator.model.snapshot import Merged, Snapshot, SweepStatus

_FATAL = frozenset(
    {
        Exit.USAGE,
        Exit.ITEMS_INVALID,
        Exit.ITEMS_CHANGED,
        Exit.CHECKPOINT_CORRUPT,
        Exit.STORE_NOT_CREATE_ONLY,
        Exit.INCOMPLETE,
        Exit.DUPLICATE_KEYS,
    }
)


class Chore(Protocol):
    """One of the functions below."""

    def __call__(self, status: SweepStatus, snapshot: Snapshot, *, now: float) -> Housekeeping: ...


@dataclass(frozen=True, kw_only=True)
class Housekeeping:
    """The status after a look at a housekeeping pod, what to do, and the failure that ends the sweep, if any."""

    status: SweepStatus
    actions: tuple[Action, ...] = ()
    events: tuple[SweepEvent, ...] = ()
    failure: Outcome | None = None
    trouble: Outcome | None = None
    """A failure that the pod goes on to retry."""


def resolve(status: SweepStatus, snapshot: Snapshot, *, now: float) -> Housekeeping:
    """Return the next step of resolving the items into the store."""
    result = _look(Role.RESOLVE, status, snapshot, now=now)
    if result.outcome is None:
        return result.housekeeping
    details = result.outcome.details
    total, digest = int(details["items"]), str(details["items_sha256"])
    return replace(
        result.housekeeping,
        status=replace(status, items_total=total, items_sha256=digest),
        events=(SweepEvent(reason="ItemsResolved", message=f"{total} items, sha256 {digest[:12]}"),),
    )


def merge(status: SweepStatus, snapshot: Snapshot, *, now: float) -> Housekeeping:
    """Return the next step of merging the results of all shards."""
    result = _look(Role.MERGE, status, snapshot, now=now)
    if result.outcome is None:
        return result.housekeeping
    details = result.outcome.details
    merged = Merged(
        url=str(details["url"]),
        sha256=str(details["sha256"]),
        items=int(details["items"]),
        provenance_url=str(details["provenance_url"]),
    )
    return replace(
        result.housekeeping,
        status=replace(status, merged=merged, done=merged.items),
        events=(SweepEvent(reason="Merged", message=f"{merged.items} results in {merged.url}"),),
    )


@dataclass(frozen=True, kw_only=True)
class _Look:
    housekeeping: Housekeeping
    outcome: Outcome | None = None


def _look(role: Role, status: SweepStatus, snapshot: Snapshot, *, now: float) -> _Look:
    pod = next((pod for pod in snapshot.presence.pods if pod.role is role and not pod.deleted), None)
    if pod is None:
        creation = snapshot.housekeeping.get(role)
        due = creation is None or (creation.created_at is None and now >= creation.retry_at)
        actions = (CreateHousekeeping(role=role),) if due else ()
        return _Look(housekeeping=Housekeeping(status=status, actions=actions))
    remove = (DeletePod(pod=pod, reason="Settled"),)
    container, outcome = pod.mirror, pod.outcome
    if pod.phase == "Succeeded" and outcome is not None:
        return _Look(housekeeping=Housekeeping(status=status, actions=remove), outcome=outcome)
    if container is not None and container.exit_code in _FATAL:
        failure = outcome or Outcome(Exit(container.exit_code).name, f"{role} exited {container.exit_code}")
        return _Look(housekeeping=Housekeeping(status=status, actions=remove, failure=failure))
    if pod.is_terminal or _is_lost(pod, snapshot):
        return _Look(housekeeping=Housekeeping(status=status, actions=remove))
    trouble = outcome if container is not None and container.exit_code else None
    return _Look(housekeeping=Housekeeping(status=status, trouble=trouble))


def _is_lost(pod: PodView, snapshot: Snapshot) -> bool:
    presence = snapshot.presence
    return bool(pod.node) and presence.nodes_visible and pod.node not in presence.nodes
