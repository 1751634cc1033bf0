"""The short pods that work on the store for the operator: they resolve the items, merge the results, and delete."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from resumable_sweep.contract.outcome import Exit, Outcome
from sweep_operator.decide.classify import Finding, node_finding
from sweep_operator.decide.missing import CACHE_LAG_SECONDS
from sweep_operator.decide.pacing import quota_retry_at, retry_at
from sweep_operator.decide.platform import is_outdated
from sweep_operator.model.observed import QUOTA_EXCEEDED, Creation, PodView, Role
from sweep_operator.model.plan import Action, CreateHousekeeping, DeletePod, SweepEvent
from sweep_operator.model.problem import Problem
from sweep_operator.model.snapshot import Condition, Merged, Snapshot, SweepStatus

_LOOK_AT_CREATION_SECONDS = 1.0
RETAINED = "Retained"
"""The condition that says how retention went last."""
RETAIN_EVERY_SECONDS = 86_400.0
"""From the end of one retention of a sweep under way to the next; the first is so long after its start."""
RETAIN_AGAIN_SECONDS = 3_600.0
"""From a retention that has failed to the next, before the sweep's end: it may have read all that is kept."""
_LEFT_ALONE = "LeftAlone"
"""The reason of a retention that has found something which no other look will change."""
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
    """A failure that is not the end: it is tried again."""
    again_at: float | None = None
    condition: Condition | None = None
    """What is to be said of retention from now on."""


def resolve(status: SweepStatus, snapshot: Snapshot, *, now: float) -> Housekeeping:
    """Return the next step of resolving the items into the store."""
    result = _look(Role.RESOLVE, status, snapshot, now=now)
    if result.outcome is None:
        return result.housekeeping
    try:
        details = result.outcome.details
        total, digest = int(details["items"]), str(details["items_sha256"])
    except (KeyError, TypeError, ValueError):
        return Housekeeping(status=status, trouble=_unreadable(Role.RESOLVE, result.outcome))
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
    try:
        details = result.outcome.details
        merged = Merged(
            url=str(details["url"]),
            sha256=str(details["sha256"]),
            items=int(details["items"]),
            provenance_url=str(details["provenance_url"]),
        )
        skipped, left_open = int(details.get("skipped", 0)), int(details.get("open", 0))
    except (KeyError, TypeError, ValueError):
        return Housekeeping(status=status, trouble=_unreadable(Role.MERGE, result.outcome))
    message = f"{merged.items} results in {merged.url}"
    if skipped:
        message += f"; the program has skipped {skipped} items, they are in {details.get('skipped_url')}"
    if left_open:
        message += f"; {left_open} items have no result, their shards are complete by exit code alone"
    return replace(
        result.housekeeping,
        status=replace(status, merged=merged, done=merged.items + skipped),
        events=(SweepEvent(reason="Merged", message=message),),
    )


def retain(status: SweepStatus, snapshot: Snapshot, *, now: float) -> Housekeeping:
    """Return the next step of deleting what is not kept: once a day, and once the results are merged.

    Whatever becomes of it is said, and is never the end of the sweep.
    """
    nothing = Housekeeping(status=status)
    pod = next((pod for pod in snapshot.presence.pods if pod.role is Role.RETAIN), None)
    if snapshot.sweep.spec.keep is None:
        # Whoever takes it back wants nothing deleted any more.
        if pod is None or pod.deleted:
            return nothing
        return replace(nothing, actions=(DeletePod(pod=pod, reason="Settled"),))
    if pod is None:
        due = _retention_due(status)
        if due is None or now < due:
            return replace(nothing, again_at=due)
        return _create(Role.RETAIN, status, snapshot, now=now)
    if pod.deleted:
        return nothing
    remove = (DeletePod(pod=pod, reason="Settled"),)
    if _made_at(pod, snapshot.housekeeping.get(Role.RETAIN)) <= max(
        status.retained_at or 0.0, status.completed_at or 0.0
    ):
        # Its end stands in the status; or it has begun before the sweep's, after which there is more to delete.
        return replace(nothing, actions=remove)
    outcome, exit_code = pod.outcome, pod.mirror.exit_code if pod.mirror else None
    of_node = _node_finding(pod, snapshot, now=now)
    if not pod.is_terminal and exit_code is None:
        if of_node.ended:
            return replace(nothing, actions=(DeletePod(pod=pod, reason=of_node.signal, grace_seconds=0),))
        if is_outdated(pod, snapshot, now=now):
            return replace(nothing, actions=(DeletePod(pod=pod, reason="Outdated"),))
        return replace(nothing, again_at=of_node.again_at)
    if outcome is None:
        outcome = Outcome("OutcomeUnreadable", f"pod {pod.name} has not said how it ended ({pod.reason or exit_code})")
    succeeded = exit_code == 0 and outcome.reason == RETAINED
    condition = Condition(type=RETAINED, status=succeeded, reason=outcome.reason, message=outcome.message, since=now)
    after = replace(status, retained_at=now)
    again_at = _retention_due(replace(after, conditions=(condition,)))
    return Housekeeping(status=after, actions=remove, again_at=again_at, condition=condition)


def _made_at(pod: PodView, creation: Creation | None) -> float:
    """Return when a pod was made, by the clock that writes the status where that is known.

    By the API server's, were that behind, each pod made after the sweep's end would seem to be one of before.
    """
    if creation is None or creation.created_at is None or creation.seen:
        return pod.created_at
    return float(int(creation.created_at))  # whole seconds, as the status keeps them


def not_retained(problem: Problem, *, now: float) -> Condition:
    """Return what is said where retention cannot even begin."""
    return Condition(type=RETAINED, status=False, reason=problem.reason, message=problem.message, since=now)


def _retention_due(status: SweepStatus) -> float | None:
    """Return when retention is due, None where it is not any more, or not yet to be told."""
    said = next((condition for condition in status.conditions if condition.type == RETAINED), None)
    failed = said is not None and not said.status and said.reason != _LEFT_ALONE
    if status.completed_at is not None:
        if status.retained_at is None or status.retained_at < status.completed_at:
            return status.completed_at
        return status.retained_at + RETAIN_EVERY_SECONDS if failed else None
    since = status.retained_at or status.started_at
    return None if since is None else since + (RETAIN_AGAIN_SECONDS if failed else RETAIN_EVERY_SECONDS)


@dataclass(frozen=True, kw_only=True)
class _Look:
    housekeeping: Housekeeping
    outcome: Outcome | None = None


def _node_finding(pod: PodView, snapshot: Snapshot, *, now: float) -> Finding:
    patience = snapshot.sweep.spec.unreachable_seconds
    return node_finding(pod, incarnation="", presence=snapshot.presence, unreachable_after=patience, now=now)


def _unreadable(role: Role, outcome: Outcome) -> Outcome:
    message = f"the {role} pod's outcome is {outcome.details}: do operator and sidecar have the same version?"
    return Outcome("OutcomeUnreadable", message)


def _look(role: Role, status: SweepStatus, snapshot: Snapshot, *, now: float) -> _Look:
    pod = next((pod for pod in snapshot.presence.pods if pod.role is role), None)
    if pod is None:
        return _Look(housekeeping=_create(role, status, snapshot, now=now))
    container, outcome = pod.mirror, pod.outcome
    remove = (DeletePod(pod=pod, reason="Settled"),)
    # What counts of a pod is in the status before it is deleted. So a merge that goes may have been begun before failed
    # shards were retried, and a failure before the sweep was; only items are the same whoever has resolved them.
    counts = not pod.deleted or role is Role.RESOLVE
    if pod.phase == "Succeeded" and outcome is not None and counts:
        return _Look(housekeeping=Housekeeping(status=status, actions=() if pod.deleted else remove), outcome=outcome)
    if container is not None and container.exit_code in _FATAL and not pod.deleted:
        failure = outcome or Outcome(Exit(container.exit_code).name, f"{role} exited {container.exit_code}")
        return _Look(housekeeping=Housekeeping(status=status, actions=remove, failure=failure))
    of_node = _node_finding(pod, snapshot, now=now)
    if of_node.ended:
        # Nobody is left to confirm the pod's end, and its name is wanted. A twin would do no harm: what these pods
        # write is the same whoever writes it.
        return _Look(
            housekeeping=Housekeeping(
                status=status, actions=(DeletePod(pod=pod, reason=of_node.signal, grace_seconds=0),)
            )
        )
    if pod.deleted:
        return _Look(housekeeping=Housekeeping(status=status, again_at=of_node.again_at))
    if pod.is_terminal:
        return _Look(housekeeping=Housekeeping(status=status, actions=remove, trouble=outcome))
    if is_outdated(pod, snapshot, now=now):
        return _Look(housekeeping=Housekeeping(status=status, actions=(DeletePod(pod=pod, reason="Outdated"),)))
    trouble = outcome if container is not None and container.exit_code else None
    return _Look(housekeeping=Housekeeping(status=status, trouble=trouble, again_at=of_node.again_at))


def _create(role: Role, status: SweepStatus, snapshot: Snapshot, *, now: float) -> Housekeeping:
    creation = snapshot.housekeeping.get(role)
    refused_until = _refused_until(creation, snapshot, now=now) if creation is not None else 0.0
    if creation is None or (creation.created_at is None and now >= refused_until):
        # Soon, because a refusal is only known after this look.
        return Housekeeping(
            status=status, actions=(CreateHousekeeping(role=role),), again_at=now + _LOOK_AT_CREATION_SECONDS
        )
    again_at = refused_until if creation.created_at is None else creation.created_at + CACHE_LAG_SECONDS
    return Housekeeping(status=status, again_at=again_at)


def _refused_until(creation: Creation, snapshot: Snapshot, *, now: float) -> float:
    generation = snapshot.sweep.generation
    if creation.problem == QUOTA_EXCEEDED:
        return quota_retry_at([creation], snapshot.presence.pods, generation=generation, now=now)
    return retry_at(creation, generation=generation, now=now)
