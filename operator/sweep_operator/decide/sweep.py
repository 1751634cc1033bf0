"""The decision about one sweep, top to bottom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sweep_operator.decide import cleanup, housekeeping, orders, pacing, platform, rate, summary
from sweep_operator.decide.avoiding import avoided
from sweep_operator.decide.budgets import begun
from sweep_operator.decide.conditions import Result, conditions_of, may_merge, phase_of
from sweep_operator.decide.finished import after_the_end
from sweep_operator.decide.images import known_images
from sweep_operator.decide.retry import retried
from sweep_operator.decide.shard import step_of
from sweep_operator.decide.succession import needs_heir, without_notice
from sweep_operator.model.observed import Role
from sweep_operator.model.plan import Action, DeletePod, Plan, SweepEvent
from sweep_operator.model.problem import Problem
from sweep_operator.model.reclaim import Reclaim
from sweep_operator.model.shard_record import UNDER_WAY, ShardRecord, ShardState
from sweep_operator.model.snapshot import Condition, Snapshot, Sweep, SweepStatus

_REFRESH_SECONDS_SMALL = 2.0
_REFRESH_SECONDS_LARGE = 30.0
_SMALL_SWEEP_SHARDS = 100


def decide(snapshot: Snapshot, now: float) -> Plan:
    """Return what shall be done about a sweep.

    Level-triggered: the same snapshot gives the same plan, whatever events led to it or were missed.
    """
    if snapshot.sweep.deleting:
        # The garbage collector removes the pods, with their own grace.
        return Plan(status=snapshot.sweep.status, actions=tuple(cleanup.forbidden(snapshot)))
    retry = retried(snapshot.sweep)
    sweep, snapshot = retry.sweep, replace(snapshot, sweep=retry.sweep)
    said = [] if retry.event is None else [retry.event]
    if sweep.status.phase in ("Complete", "Failed"):
        return replace(after_the_end(snapshot, now), events=tuple(said))
    draft = _Draft(
        sweep=sweep, snapshot=snapshot, now=now, status=sweep.status, records=list(sweep.status.records), events=said
    )
    draft.step_shards()
    if sweep.spec.has_items and not draft.status.items_sha256 and not sweep.spec.suspend:
        draft.keep_house(housekeeping.resolve)
    if not sweep.spec.has_items or draft.status.items_sha256:
        draft.stop_or_start()
    if may_merge(draft.records, sweep.spec):
        draft.keep_house(housekeeping.merge)
    draft.keep_house(housekeeping.retain)
    draft.remake_pods()
    draft.clean_up()
    return draft.plan()


def refresh_seconds(shards: int) -> float:
    """Return how often the fast-moving part of a status (DONE, ETA) is written, by the size of the sweep."""
    if shards <= _SMALL_SWEEP_SHARDS:
        return _REFRESH_SECONDS_SMALL
    return min(_REFRESH_SECONDS_LARGE, _REFRESH_SECONDS_SMALL * shards / _SMALL_SWEEP_SHARDS)


@dataclass(kw_only=True)
class _Draft:
    """The plan in the making."""

    sweep: Sweep
    snapshot: Snapshot
    now: float
    status: SweepStatus
    records: list[ShardRecord]
    actions: list[Action] = field(default_factory=list)
    events: list[SweepEvent] = field(default_factory=list)
    looks: list[float] = field(default_factory=list)
    failure: Problem | None = None
    trouble: list[Problem] = field(default_factory=list)
    reclaims: dict[int, Reclaim] = field(default_factory=dict)
    retained: Condition | None = None
    untouched: bool = False

    def step_shards(self) -> None:
        """Take every shard one step further, and count what was reclaimed or lost."""
        self._note_numbers()
        self._note_images()
        by_signal = dict(self.status.reclaims_by_signal)
        records_before = tuple(self.records)
        for index, before in enumerate(self.records):
            step = step_of(before, self.snapshot, now=self.now, images=self.status.images)
            self.records[index] = step.record
            self.events += step.events
            self.look_again(step.again_at)
            if step.newly_lost or step.head_attempt > self.status.attempts:
                self.status = replace(
                    self.status,
                    lost=self.status.lost + step.newly_lost,
                    attempts=max(self.status.attempts, step.head_attempt),
                )
            if step.reclaim is not None:
                by_signal[step.reclaim.signal] = by_signal.get(step.reclaim.signal, 0) + 1
                self.status = replace(self.status, last_reclaim=step.reclaim)
        away = avoided(self.status.avoided, before=records_before, after=self.records, now=self.now)
        new = sum(by_signal.values()) - self.status.reclaims
        recent = rate.counted(self.status.recent_reclaims, new=new, now=self.now)
        self.status = replace(self.status, reclaims_by_signal=by_signal, recent_reclaims=recent, avoided=away)
        self.look_again(rate.look_again_at(recent))
        self._note_relaunch()

    def _note_numbers(self) -> None:
        """Count on from the highest number that a pod has, should the status have been lost or set back.

        Two pods of one number, for different shards even, could be taken for each other.
        """
        numbers = (pod.attempt for pod in self.snapshot.presence.pods if pod.role is Role.ATTEMPT)
        self.status = replace(self.status, attempts=max([self.status.attempts, *numbers]))

    def _note_images(self) -> None:
        pods = (self.snapshot.pod_of(record.attempt) for record in self.records if record.state in UNDER_WAY)
        images = known_images(
            self.status.images,
            [pod for pod in pods if pod is not None],
            may_drift=self.sweep.spec.images_may_drift,
        )
        self.status = replace(self.status, images=images)

    def _note_relaunch(self) -> None:
        last = self.status.last_reclaim
        if last is None or last.relaunch_seconds is not None or self.records[last.shard].attempt <= last.attempt:
            return
        attempt = self.records[last.shard].attempt
        creation, pod = self.snapshot.creations.get(attempt), self.snapshot.pod_of(attempt)
        # The status keeps whole seconds; what this process remembers, or else the pod itself, knows better.
        since = creation.replaces.time if creation and creation.replaces else last.time
        created_at = creation.created_at if creation else pod.created_at if pod else None
        if created_at is not None:
            seconds = max(0.0, round(created_at - since, 1))
            self.status = replace(self.status, last_reclaim=replace(last, relaunch_seconds=seconds))

    def keep_house(self, chore: housekeeping.Chore) -> None:
        """Do a chore in a housekeeping pod."""
        result = chore(self.status, self.snapshot, now=self.now)
        self.status = result.status
        self.actions += result.actions
        self.events += result.events
        if result.failure is not None:
            self.failure = Problem(reason=result.failure.reason, message=result.failure.message)
        if result.trouble is not None:
            self.trouble.append(Problem(reason=result.trouble.reason, message=result.trouble.message))
        self.retained = result.condition or self.retained
        self.look_again(result.again_at)

    def stop_or_start(self) -> None:
        """End the attempts that must go, or allocate one for each shard that there is room for."""
        spec = self.sweep.spec
        parallelism = 0 if spec.suspend else spec.parallelism
        self.untouched = platform.is_untouched(self.snapshot, self.records)
        outdated = platform.outdated(self.snapshot, self.records, now=self.now)
        self._stop(outdated)
        # Only now: those that stop anyway make room.
        self._stop(pacing.to_stop(self.records, parallelism=parallelism, pods=self.snapshot.pods_by_attempt))
        if spec.suspend:
            self.records = [record.changed(heir_ended=True) if record.live_heir else record for record in self.records]
            return
        for record in [record for record in self.records if needs_heir(record, now=self.now)]:
            self._allocate_heir(record)
        if platform.awaits_outdated(self.snapshot, self.records):
            return
        for record in pacing.to_start(self.records, parallelism=parallelism, now=self.now):
            self._allocate(record)
        delayed = pacing.next_start(self.records)
        if delayed is not None and delayed > self.now:
            self.look_again(delayed)

    def _stop(self, records: Sequence[ShardRecord]) -> None:
        for record in records:
            self.records[record.shard] = record.changed(
                state=ShardState.STOPPING, heir_ended=record.heir_ended or bool(record.heir)
            )

    def _allocate(self, record: ShardRecord) -> None:
        attempt = self.status.attempts + 1
        self.status = replace(self.status, attempts=attempt, started_at=self.status.started_at or self.now)
        self.records[record.shard] = begun(without_notice(record)).changed(
            state=ShardState.ACTIVE, attempt=attempt, base=0, node="", not_before=0
        )
        self.actions.append(
            orders.order_of(record, attempt, sweep=self.sweep, status=self.status, while_empty=self.untouched)
        )

    def _allocate_heir(self, record: ShardRecord) -> None:
        attempt = self.status.attempts + 1
        self.status = replace(self.status, attempts=attempt)
        self.records[record.shard] = record.changed(heir=attempt)
        self.actions.append(orders.heir_order_of(record, attempt, status=self.status, now=self.now))

    def remake_pods(self) -> None:
        """Ask again for the pods of attempts of ours that the API server has refused so far."""
        again = orders.orders_again(
            self.snapshot, self.records, status=self.status, while_empty=self.untouched, now=self.now
        )
        self.actions += again.orders
        self.looks += again.looks

    def clean_up(self) -> None:
        """Delete pods that have served their purpose."""
        forbidden = cleanup.forbidden(self.snapshot)
        at_once = {deletion.pod.uid for deletion in forbidden}
        later = [each for each in self.actions if not isinstance(each, DeletePod) or each.pod.uid not in at_once]
        self.actions = [*forbidden, *later]
        status = replace(self.status, records=tuple(self.records))
        over = self.failure is not None or self.status.merged is not None
        deleted = {action.pod.uid for action in self.actions if isinstance(action, DeletePod)}
        due = cleanup.deletions(self.snapshot.presence.pods, status, over=over, keep_pods=self.sweep.spec.keep_pods)
        self.actions += [deletion for deletion in due if deletion.pod.uid not in deleted]

    def look_again(self, at: float | None) -> None:
        """Ask for another look at a time (Unix seconds)."""
        if at is not None:
            self.looks.append(at)

    def plan(self) -> Plan:
        """Return the finished plan."""
        result = Result(
            snapshot=self.snapshot, status=self.status, records=self.records, failure=self.failure, now=self.now
        )
        phase, condition = phase_of(result)
        others = conditions_of(result, phase, trouble=self.trouble, retained=self.retained)
        self.look_again(platform.next_step(self.snapshot, now=self.now))
        total = summary.total_items(self.status, self.snapshot, self.records)
        done = self.status.merged.items if self.status.merged else sum(record.done for record in self.records)
        ended = phase in ("Complete", "Failed")
        running = summary.running_pods(self.snapshot, self.records)
        eta = summary.eta_text(done=done, total=total, started_at=self.status.started_at, now=self.now)
        self.status = replace(
            self.status,
            phase=phase,
            items_total=total,
            done=done,
            running=0 if ended else running,
            recent_reclaims=() if ended else self.status.recent_reclaims,
            eta=eta if phase == "Running" and not self.sweep.spec.suspend else "",
            completed_at=(self.status.completed_at or self.now) if ended else None,
            records=tuple(self.records),
            conditions=summary.with_conditions(self.sweep.status.conditions, [condition, *others]),
        )
        if phase != self.sweep.status.phase and ended:
            self.events.append(SweepEvent(reason=phase, message=condition.message, warning=phase == "Failed"))
        if phase == "Running":
            self.look_again(self.now + refresh_seconds(self.sweep.spec.shards))
        if ended:
            # What comes after the end is decided from a status that has it; our own writes wake nobody.
            self.look_again(self.now)
        return Plan(
            status=self.status,
            actions=tuple(self.actions),
            events=tuple(self.events),
            look_again_at=min(self.looks, default=None),
        )
