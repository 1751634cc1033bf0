"""The decision about one sweep, top to bottom."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sweep_operator.decide import cleanup, housekeeping, pacing, platform, rate, summary, under_way
from sweep_operator.decide.avoiding import avoided
from sweep_operator.decide.budgets import begun
from sweep_operator.decide.images import known_images
from sweep_operator.decide.retry import retried
from sweep_operator.decide.shard import reclaim_of, step_of
from sweep_operator.decide.sight import blind_spots
from sweep_operator.decide.succession import needs_heir, take_after_seconds, without_notice
from sweep_operator.model.observed import QUOTA_EXCEEDED, Creation, Role
from sweep_operator.model.plan import Action, CreateAttempt, DeletePod, DeleteSweep, Plan, SweepEvent
from sweep_operator.model.problem import Problem
from sweep_operator.model.reclaim import Reclaim
from sweep_operator.model.shard_record import UNDER_WAY, ShardRecord, ShardState, index_ranges
from sweep_operator.model.signals import Signal
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
        return Plan(status=snapshot.sweep.status)
    retry = retried(snapshot.sweep)
    sweep, snapshot = retry.sweep, replace(snapshot, sweep=retry.sweep)
    said = [] if retry.event is None else [retry.event]
    if sweep.status.phase in ("Complete", "Failed"):
        return replace(_finished(snapshot, now), events=tuple(said))
    draft = _Draft(
        sweep=sweep, snapshot=snapshot, now=now, status=sweep.status, records=list(sweep.status.records), events=said
    )
    draft.step_shards()
    if sweep.spec.has_items and not draft.status.items_sha256 and not sweep.spec.suspend:
        draft.keep_house(housekeeping.resolve)
    if not sweep.spec.has_items or draft.status.items_sha256:
        draft.stop_or_start()
    if draft.may_merge:
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


def _finished(snapshot: Snapshot, now: float) -> Plan:
    """No attempt is made any more; in the end the sweep itself goes."""
    spec, status = snapshot.sweep.spec, snapshot.sweep.status
    deletions: list[Action] = list(
        cleanup.deletions(snapshot.presence.pods, status, over=True, keep_pods=spec.keep_pods)
    )
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
    if said is not None:
        others = [condition for condition in status.conditions if condition.type != housekeeping.RETAINED]
        status = replace(status, conditions=summary.with_conditions(status.conditions, [*others, said]))
    times = (retention.again_at, cleanup.goes_at(status, spec), platform.next_step(snapshot, now=now))
    looks = [at for at in times if at is not None]
    return Plan(status=status, actions=(*deletions, *retention.actions), look_again_at=min(looks, default=None))


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

    @property
    def may_merge(self) -> bool:
        """Whether nothing more is expected of any shard, and there are results to be merged."""
        states = {record.state for record in self.records}
        return states == {ShardState.COMPLETE} or (
            self.sweep.spec.continues and states <= {ShardState.COMPLETE, ShardState.FAILED}
        )

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
        for record in [*outdated, *pacing.to_stop(self.records, parallelism=parallelism)]:
            self.records[record.shard] = record.changed(
                state=ShardState.STOPPING, heir_ended=record.heir_ended or bool(record.heir)
            )
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

    def _allocate(self, record: ShardRecord) -> None:
        attempt = self.status.attempts + 1
        self.status = replace(self.status, attempts=attempt, started_at=self.status.started_at or self.now)
        self.records[record.shard] = begun(without_notice(record)).changed(
            state=ShardState.ACTIVE, attempt=attempt, base=0, node="", not_before=0
        )
        # A run id of the user's own may go on with what an earlier sweep has stored. Where nothing is stored the file
        # that the program is told of is absent, which means a fresh start.
        spec = self.sweep.spec
        resumes = bool(record.attempt or spec.resume_from) or spec.run_id != self.sweep.uid
        replaces = self._replaced_by(record) if record.signal.is_reclaim else None
        self.actions.append(
            CreateAttempt(
                shard=record.shard,
                attempt=attempt,
                resumes=resumes,
                replaces=replaces,
                avoid=self._names_to_avoid(),
                while_empty=self.untouched,
            )
        )

    def _allocate_heir(self, record: ShardRecord) -> None:
        """Make a shard's next attempt ahead of time, in the room of the one that is about to go."""
        attempt = self.status.attempts + 1
        self.status = replace(self.status, attempts=attempt)
        self.records[record.shard] = record.changed(heir=attempt)
        announced = replace(reclaim_of(record), time=record.noticed_at, signal=Signal(record.notice.value))
        self.actions.append(
            CreateAttempt(
                shard=record.shard,
                attempt=attempt,
                resumes=True,
                replaces=announced,
                avoid=self._names_to_avoid(),
                take_after=take_after_seconds(record, now=self.now),
            )
        )

    def _names_to_avoid(self) -> tuple[str, ...]:
        return tuple(node.name for node in self.status.avoided)

    def _replaced_by(self, record: ShardRecord) -> Reclaim:
        """Return the reclaim for which the shard gets its next attempt; attempts without a pod lie between them."""
        last = self.status.last_reclaim
        if last is not None and (last.shard, int(last.time)) == (record.shard, int(record.since)):
            return replace(last, time=record.since)
        return reclaim_of(record)

    def remake_pods(self) -> None:
        """Ask again for the pods of attempts of ours that the API server has refused so far."""
        generation, pods = self.sweep.generation, self.snapshot.presence.pods
        by_quota = [each for each in self.snapshot.creations.values() if each.problem == QUOTA_EXCEEDED]
        quota_at = pacing.quota_retry_at(by_quota, pods, generation=generation)
        quota_is_probed = False
        for record, attempt in [(each, attempt) for each in self.records for attempt in each.attempts]:
            creation = self.snapshot.creations.get(attempt)
            unmade = creation is not None and creation.created_at is None and self.snapshot.pod_of(attempt) is None
            wanted = record.state is ShardState.ACTIVE or (
                record.state is ShardState.LEAVING and attempt == record.heir
            )
            if creation is None or not unmade or not wanted:
                continue
            waits_for_quota = creation.problem == QUOTA_EXCEEDED
            at = quota_at if waits_for_quota else pacing.retry_at(creation, generation=generation)
            if self.now < at:
                self.look_again(at)
            elif not creation.uncertain and not (quota_is_probed and waits_for_quota):
                # While a quota is used up one request tells as much as a thousand.
                quota_is_probed = quota_is_probed or waits_for_quota
                order = _same_order(
                    record,
                    attempt,
                    creation,
                    avoid=self._names_to_avoid(),
                    while_empty=self.untouched,
                    now=self.now,
                )
                self.actions.append(order)

    def clean_up(self) -> None:
        """Delete pods that have served their purpose."""
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
        phase, condition = self._phase()
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
            conditions=summary.with_conditions(self.sweep.status.conditions, [condition, *self._conditions(phase)]),
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

    def _phase(self) -> tuple[str, Condition]:
        states = [record.state for record in self.records]
        failed = [record for record in self.records if record.state is ShardState.FAILED]
        if self.failure is not None:
            return "Failed", self._complete(False, self.failure.reason, self.failure.message)
        if self.status.merged is not None:
            results = f"{self.status.merged.items} results merged"
            if failed:
                return "Complete", self._complete(True, "MergedPartially", f"{results}; {self._failed_text(failed)}")
            return "Complete", self._complete(True, "Merged", results)
        if failed and self.may_merge:
            message = f"what there is of the results is being merged; {self._failed_text(failed)}"
            return "Merging", self._complete(False, "Merging", message)
        if failed and all(state in (ShardState.COMPLETE, ShardState.FAILED) for state in states):
            return "Failed", self._complete(False, "ShardsFailed", self._failed_text(failed))
        if all(state is ShardState.COMPLETE for state in states):
            return "Merging", self._complete(False, "Merging", "all shards are complete, the results are being merged")
        active = any(state in UNDER_WAY for state in states)
        if self.sweep.spec.suspend:
            message = "attempts are flushing and ending" if active else "no attempt runs"
            return "Running" if active else "Suspended", self._complete(False, "Suspended", message)
        if not self.status.attempts:
            return "Pending", self._complete(False, "Resolving", "the items are being written to the store")
        left = sum(state is not ShardState.COMPLETE for state in states)
        said = [f"{left} of {len(states)} shards to go", *under_way.told(self.snapshot, self.records)]
        return "Running", self._complete(False, "Running", "; ".join(said))

    def _failed_text(self, failed: list[ShardRecord]) -> str:
        first, total = failed[0], summary.total_items(self.status, self.snapshot, self.records)
        done = self.status.done if self.status.merged else sum(record.done for record in self.records)
        missing = f", {total - done} of {total} items are missing" if total is not None else ""
        which = index_ranges([record.shard for record in failed])
        why = first.signal.value or Signal.CONTAINER_FAILED
        return f"shards {which} failed{missing}; shard {first.shard}: {why}"

    def _complete(self, status: bool, reason: str, message: str) -> Condition:
        return Condition(type="Complete", status=status, reason=reason, message=message, since=self.now)

    def _conditions(self, phase: str) -> list[Condition]:
        failed = self.failure is not None or phase == "Failed"
        reason = self.failure.reason if self.failure else "ShardsFailed" if failed else "NotFailed"
        message = self.failure.message if self.failure else "see the condition Complete" if failed else ""
        conditions = [Condition(type="Failed", status=failed, reason=reason, message=message, since=self.now)]
        suspended = phase == "Suspended"
        conditions.append(
            Condition(
                type="Suspended",
                status=suspended,
                reason="Suspended" if suspended else "NotSuspended",
                message="",
                since=self.now,
            )
        )
        problems = [*self.trouble, *summary.problems_of(self.snapshot, self.records, now=self.now)]
        worst = problems[0] if problems and phase not in ("Complete", "Failed") else None
        conditions.append(
            Condition(
                type="Healthy",
                status=worst is None,
                reason=worst.reason if worst else "AsExpected",
                message=summary.told(problems) if worst else "",
                since=self.now,
            )
        )
        said = (each for each in self.status.conditions if each.type == housekeeping.RETAINED)
        retained = self.retained or next(said, None)
        if retained is not None and self.sweep.spec.keep is not None:
            conditions.append(retained)
        return [*conditions, *blind_spots(self.snapshot, now=self.now)]


def _same_order(
    record: ShardRecord,
    attempt: int,
    creation: Creation,
    *,
    avoid: tuple[str, ...],
    while_empty: bool,
    now: float,
) -> CreateAttempt:
    return CreateAttempt(
        shard=record.shard,
        attempt=attempt,
        resumes=creation.resumes,
        replaces=creation.replaces,
        avoid=avoid,
        take_after=take_after_seconds(record, now=now) if attempt == record.heir else None,
        while_empty=while_empty,
    )
