"""A sweep that has ended: what is still to be deleted, in the cluster and in the store."""

from __future__ import annotations

from dataclasses import replace

from sweep_operator.decide import cleanup, housekeeping, platform, summary
from sweep_operator.model.observed import Role
from sweep_operator.model.plan import Action, DeletePod, DeleteSweep, Plan
from sweep_operator.model.snapshot import Snapshot


def after_the_end(snapshot: Snapshot, now: float) -> Plan:
    """Return what is to be done about a sweep that has ended: no attempt is made any more, and last the sweep goes."""
    spec, status = snapshot.sweep.spec, snapshot.sweep.status
    deletions: list[Action] = [
        *cleanup.forbidden(snapshot),
        *cleanup.deletions(snapshot.presence.pods, status, over=True, keep_pods=spec.keep_pods),
    ]
    goes_at = cleanup.goes_at(status, spec)
    if goes_at is not None and now >= goes_at:
        return Plan(status=status, actions=(DeleteSweep(),))
    if status.phase == "Failed":
        deletions += [
            DeletePod(pod=pod, reason="Settled")
            for pod in snapshot.presence.pods
            if pod.role is Role.RETAIN and not pod.deleted
        ]
        return Plan(status=status, actions=tuple(deletions), look_again_at=goes_at)
    retention = housekeeping.retain(status, snapshot, now=now)
    status = retention.status
    said = retention.condition
    if said is None and spec.keep is not None:
        # Nothing else tells of a sweep that has ended what keeps this pod from working.
        found = platform.chore_problems(Role.RETAIN, snapshot, now=now)[:1]
        said = next((housekeeping.not_retained(problem, now=now) for problem in found), None)
    if said is not None or spec.keep is None:
        others = [condition for condition in status.conditions if condition.type != housekeeping.RETAINED]
        wanted = others if said is None else [*others, said]
        status = replace(status, conditions=summary.with_conditions(status.conditions, wanted))
    times = (retention.again_at, cleanup.goes_at(status, spec), platform.next_step(snapshot, now=now))
    looks = [at for at in times if at is not None]
    return Plan(status=status, actions=(*deletions, *retention.actions), look_again_at=min(looks, default=None))
