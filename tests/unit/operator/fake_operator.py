"""The operator's loop around `decide`, reduced to its memory, its caches and the order of its writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from builders import UID, manifest
from fake_cluster import FakeCluster

from resumable_sweep.contract.report import Answer, Report
from sweep_operator import api
from sweep_operator.decide import decide
from sweep_operator.decide.missing import is_on_its_way, missing
from sweep_operator.decide.silence import listened_to, suspects
from sweep_operator.decide.sweep import refresh_seconds
from sweep_operator.model.lease import LeaseView
from sweep_operator.model.observed import QUOTA_EXCEEDED, Creation, NodeView, PodView, Presence, Role
from sweep_operator.model.plan import CreateAttempt, CreateHousekeeping, DeletePod, Plan
from sweep_operator.model.shard_record import ShardState
from sweep_operator.model.snapshot import Snapshot, Spec, Sweep, SweepStatus
from sweep_operator.runtime.attempts import Attempts
from sweep_operator.runtime.report_board import ReportBoard
from sweep_operator.runtime.server import answer_to
from sweep_operator.runtime.translation import lasting_part, status_manifest, status_of

HOLDING = (ShardState.ACTIVE, ShardState.LEAVING)


class Crashed(Exception):
    """The operator's process has ended in the middle of its work."""


@dataclass(frozen=True)
class Faults:
    """What goes wrong in one look; `creations` is consulted for each creation in turn."""

    cache_lags: bool = False
    status: str = "ok"  # ok | conflict | answer lost | crash after
    creations: tuple[str, ...] = ()  # ok | answer lost, made | answer lost, not made | made later | crash
    deletions_fail: bool = False


NO_FAULTS = Faults()


@dataclass
class FakeOperator:
    cluster: FakeCluster
    spec: Spec
    stored: dict[str, Any] = field(default_factory=dict)
    """The status as the API server has it."""
    retry: str = ""
    """What somebody wants to be retried."""
    look_again_at: float | None = None
    late: list[Callable[[], object]] = field(default_factory=list)
    """Creations that are still under way, although nobody waits for them any more."""

    def __post_init__(self) -> None:
        self.judged: set[int] = set()
        self.silenced: set[int] = set()
        """Attempts that were presumed dead."""
        self.excused: set[int] = set()
        """Attempts that have stopped for a notice that was noted, or whose machine was started anew under them."""
        self._read: tuple[dict[str, Any], SweepStatus] | None = None
        self.restart()

    def restart(self) -> None:
        """Forget all that is not stored."""
        self.attempts, self.reports = Attempts(), ReportBoard(clock=lambda: self.cluster.now)
        self.attentive_since = self.cluster.now
        self.unrenewed_since: dict[str, float] = {}
        self.cached: dict[str, PodView] | None = None
        self.written_at = 0.0
        self.seen_changes = -1

    @property
    def status(self) -> SweepStatus:
        if self._read is None or self._read[0] is not self.stored:
            self._read = (self.stored, self._read_status())
        return self._read[1]

    def _read_status(self) -> SweepStatus:
        return status_of(api.ResumableSweepStatus.model_validate(self.stored), shards=self.spec.shards)

    @property
    def is_due(self) -> bool:
        """Whether there is news, or the time to look again has come."""
        late = self.look_again_at is not None and self.cluster.now >= self.look_again_at
        return late or self.seen_changes != self.cluster.changes or bool(self._suspected_nodes())

    def hear(self, report: Report | None) -> Answer:
        """Take a report in as the server does, and answer by what is written."""
        if report is None:
            return Answer()
        record = self.status.records[report.shard]
        pod = next((pod for pod in self.cluster.pods.values() if pod.attempt == report.attempt), None)
        if pod is not None and pod.node in self.cluster.cut_off:
            return Answer()
        if report.attempt in listened_to(record):
            is_telling = self.reports.post(UID, report)
            if is_telling or report.attempt == record.silenced:
                self.cluster.changes += 1
        return Answer() if pod is None else answer_to(report, record, pod=pod, node=self.cluster.nodes.get(pod.node))

    def look(self, faults: Faults = NO_FAULTS) -> None:
        """Gather, decide, execute."""
        self.seen_changes = self.cluster.changes
        snapshot = self._gather(faults)
        plan = decide(snapshot, self.cluster.now)
        self.look_again_at = plan.look_again_at
        try:
            self._execute(snapshot, plan, faults)
        except Crashed:
            self.restart()

    def _gather(self, faults: Faults) -> Snapshot:
        cluster = self.cluster
        if self.cached is None or not faults.cache_lags:
            self.cached = dict(cluster.pods)
        sweep = self._sweep()
        current = {attempt for record in sweep.status.records for attempt in record.attempts}
        self.attempts.keep_only(UID, current)
        self.reports.keep_only(UID, {attempt for record in sweep.status.records for attempt in listened_to(record)})
        pods = list(self.cached.values())
        self.attempts.saw(UID, {pod.attempt for pod in pods if pod.role is Role.ATTEMPT})
        asked = missing(sweep.status.records, pods=pods, creations=self.attempts.of(UID), now=cluster.now)
        live = {pod.attempt: pod for pod in cluster.pods.values() if pod.role is Role.ATTEMPT}
        pods += [live[record.attempt] for record in asked if record.attempt in live]
        self.attempts.saw(UID, set(live) & {record.attempt for record in asked})
        roles = {pod.role for pod in pods}
        for role, creation in self.attempts.housekeeping_of(UID).items():
            if role not in roles and not is_on_its_way(creation, now=cluster.now):
                self.attempts.forget_housekeeping(UID, role)
        nodes: dict[str, NodeView] = dict(cluster.nodes)
        self.attempts.saw_on(UID, pods, nodes)
        return Snapshot(
            sweep=sweep,
            presence=Presence(pods=tuple(pods), nodes=nodes),
            reports=self.reports.of(UID),
            creations=self.attempts.of(UID),
            placements=self.attempts.placements(UID),
            absent=frozenset(record.attempt for record in asked if record.attempt not in live),
            housekeeping=self.attempts.housekeeping_of(UID),
            heard_at=self.reports.heard_at(UID),
            attentive_since=self.attentive_since,
            leases=self._leases(),
        )

    def _sweep(self) -> Sweep:
        return Sweep(
            namespace="ns",
            name="lr",
            uid=UID,
            generation=1,
            deleting=False,
            spec=self.spec,
            status=self.status,
            retry=self.retry,
            manifest=manifest(),
        )

    def _suspected_nodes(self) -> set[str]:
        heard_at, now = self.reports.heard_at(UID), self.cluster.now
        found = suspects(self._sweep(), heard_at=heard_at, attentive_since=self.attentive_since, now=now)
        attempts = {record.attempt for record in found}
        return {pod.node for pod in self.cluster.pods.values() if pod.attempt in attempts and not pod.is_terminal}

    def _leases(self) -> dict[str, LeaseView]:
        """Read the Leases of suspects: a machine that is not cut off has always just renewed its own."""
        now = self.cluster.now
        nodes = self._suspected_nodes() & self.cluster.nodes.keys()
        self.unrenewed_since = {
            node: self.unrenewed_since.get(node, now) if node in self.cluster.cut_off else now for node in nodes
        }
        return {
            node: LeaseView(unrenewed_seconds=now - since, renewal_seconds=10.0)
            for node, since in self.unrenewed_since.items()
        }

    def _execute(self, snapshot: Snapshot, plan: Plan, faults: Faults) -> None:
        if not self._write(snapshot, plan, faults):
            # Tried again soon, as after every look that has failed.
            self.look_again_at = self.cluster.now
            return
        orders = [action for action in plan.actions if isinstance(action, CreateAttempt)]
        for order in orders:
            known = snapshot.creations.get(order.attempt)
            fresh = Creation(resumes=order.resumes, replaces=order.replaces)
            self.attempts.note(UID, order.attempt, known or fresh)
        ways = iter([*faults.creations, *["ok"] * len(plan.actions)])
        for order in orders:
            creation = self._create(_pod_of(order), next(ways), take_after=order.take_after)
            noted = replace(creation, resumes=order.resumes, replaces=order.replaces)
            self.attempts.note(UID, order.attempt, noted)
        for chore in plan.actions:
            if isinstance(chore, CreateHousekeeping):
                self.attempts.note_housekeeping(UID, chore.role, self._create(_pod_of(chore), next(ways)))
        for deletion in plan.actions:
            if isinstance(deletion, DeletePod) and not faults.deletions_fail:
                self._check_deletion(deletion.pod)
                self.cluster.delete(deletion.pod, deletion.grace_seconds)

    def _write(self, snapshot: Snapshot, plan: Plan, faults: Faults) -> bool:
        wanted = status_manifest(plan.status, snapshot.sweep)
        due_at = self.written_at + refresh_seconds(self.spec.shards)
        if wanted == self.stored:
            return True
        if self.cluster.now < due_at and lasting_part(wanted) == lasting_part(self.stored):
            self.look_again_at = min(due_at, self.look_again_at or due_at)
            return True
        if faults.status == "conflict":
            return False
        self._check_write(plan.status)
        self.stored = wanted
        self.written_at = self.cluster.now
        if faults.status == "crash after":
            raise Crashed
        return faults.status != "answer lost"

    def _create(self, pod: PodView, way: str, *, take_after: int | None = None) -> Creation:
        now = self.cluster.now
        if way == "crash":
            raise Crashed
        if self.cluster.quota_is_used_up:
            return Creation(retry_at=now + 5, problem=QUOTA_EXCEEDED, message="exceeded quota", refused_at=now)
        if way != "ok":
            if way == "answer lost, made":
                self.cluster.create(pod, take_after=take_after)
            elif way == "made later":
                self.late.append(lambda: self.cluster.create(pod, take_after=take_after))
            return Creation(retry_at=now + 1, problem="ApiUnavailable", message="no answer", uncertain=True)
        was_free = self.cluster.create(pod, take_after=take_after)
        return Creation(created_at=now, seen=not was_free)

    # What must hold at every step.

    def _check_write(self, wanted: SweepStatus) -> None:
        before = self.status
        assert wanted.attempts >= before.attempts, "attempt numbers went backwards"
        ended = set()
        for old, new in zip(before.records, wanted.records, strict=True):
            assert new.attempt >= old.attempt
            if old.state in HOLDING and (new.attempt != old.attempt or new.state not in HOLDING):
                assert old.attempt not in self.judged, f"attempt {old.attempt} is judged twice"
                ended.add(old.attempt)
            if new.silenced not in (0, old.silenced):
                node = next(pod.node for pod in self.cluster.pods.values() if pod.attempt == new.silenced)
                assert node in self.cluster.cut_off, "presumed dead although its machine was never silent"
                self.silenced.add(new.silenced)
            if new.user_failures > old.user_failures:
                assert old.attempt not in self.excused, "held against a program that is excused"
            store = self.cluster.shards[new.shard]
            assert new.done <= store.items, "counted as durable what is not"
            if new.state is ShardState.COMPLETE:
                assert store.complete, f"shard {new.shard} is not complete"
        false_alarms = sum(new.false_alarms for new in wanted.records)
        assert false_alarms <= len(self.silenced), "more false alarms than alarms"
        assert 0 <= wanted.reclaims - before.reclaims <= len(ended), "a reclaim that no attempt has suffered"
        assert wanted.reclaims <= len(self.cluster.made), "more reclaims than pods"
        self.judged |= ended
        current = [attempt for record in wanted.records for attempt in record.attempts]
        for new in wanted.records:
            if new.live_heir:
                assert new.notice.is_hard, "an heir without a notice"
                assert new.state in HOLDING, "an heir of nobody"
                assert new.heir > new.attempt
        assert len(current) == len(set(current)), "two shards share an attempt"
        limit = 0 if self.spec.suspend else self.spec.parallelism
        resolved = wanted.items_sha256 or not self.spec.has_items
        active = sum(record.state is ShardState.ACTIVE for record in wanted.records)
        assert active <= limit or not resolved, "more attempts than parallelism allows"

    def _check_deletion(self, pod: PodView) -> None:
        """A pod is deleted only when its verdict stands in the status, or to stop it."""
        if pod.role is Role.ATTEMPT:
            record = self.status.records[pod.shard]
            assert pod.attempt not in record.attempts or record.state not in HOLDING, "deleted without a verdict"


def _pod_of(action: CreateAttempt | CreateHousekeeping) -> PodView:
    if isinstance(action, CreateAttempt):
        name, role, shard, attempt = f"lr-{action.shard}-{action.attempt}", Role.ATTEMPT, action.shard, action.attempt
    else:
        name, role, shard, attempt = f"lr-{action.role}", action.role, 0, 0
    return PodView(
        namespace="ns", name=name, uid="", sweep="lr", sweep_uid=UID, role=role, shard=shard, attempt=attempt
    )
