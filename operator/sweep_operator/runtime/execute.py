"""Carrying a plan out: status first, then creations, then deletions. The only place that writes."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, replace
from typing import Any

from sweep_operator.decide.sweep import refresh_seconds
from sweep_operator.kube import paths
from sweep_operator.kube.client import ApiError, KubeClient
from sweep_operator.model.observed import QUOTA_EXCEEDED, Creation, Role
from sweep_operator.model.plan import CreateAttempt, CreateHousekeeping, DeletePod, DeleteSweep, Plan
from sweep_operator.model.shard_record import ShardRecord, ShardState
from sweep_operator.model.signals import Signal
from sweep_operator.model.snapshot import Snapshot, Sweep
from sweep_operator.pods import names
from sweep_operator.pods.attempt_pod import pod_for
from sweep_operator.pods.housekeeping_pod import housekeeping_pod_for, items_config_map
from sweep_operator.pods.settings import PodSettings
from sweep_operator.pods.template import Template, TemplateInvalid, template_of
from sweep_operator.runtime.attempts import Attempts
from sweep_operator.runtime.beside import beside_the_loop
from sweep_operator.runtime.creation_events import CreationEvents
from sweep_operator.runtime.events import EventPoster
from sweep_operator.runtime.gate import Gate
from sweep_operator.runtime.metrics import Metrics
from sweep_operator.runtime.metrics.figures import ENDED
from sweep_operator.runtime.refusals import (
    WEBHOOK_FAILED,
    Refusal,
    is_name_taken,
    quota_retry_seconds,
    refusal_of,
    refusal_of_items,
)
from sweep_operator.runtime.sweep_store import SweepStore
from sweep_operator.runtime.translation import lasting_part, status_manifest

logger = logging.getLogger(__name__)

REQUESTS_IN_FLIGHT = 50
CREATING_SECONDS = 4.0
"""So long a look makes pods: thousands of them must not keep the sweep from being looked at when one is lost."""

CREATING_TIMES = 4.0
"""Or so many times as long as all before that has taken: where looks are slow, most of the time goes to the pods."""


@dataclass
class _Batch:
    """Creations that are ordered together, and what all of them have learned."""

    events: CreationEvents
    until: float
    """When no further one is begun (Unix seconds)."""
    quota: Creation | None = None
    """The refusal of one that a quota forbids."""
    template: Template | None = None
    """What all are made of, from the first on."""
    is_cut_short: bool = False
    """Whether some were left to the next look."""


def _counted(creation: Creation, *, before: Creation | None) -> Creation:
    """Return a creation with how often a quota has forbidden it, which is asked less often each time."""
    if creation.problem != QUOTA_EXCEEDED:
        return creation
    refusals = 1 + (before.refusals if before is not None else 0)
    return replace(creation, refusals=refusals, retry_at=creation.refused_at + quota_retry_seconds(refusals))


def _has_failed(old: ShardRecord, new: ShardRecord) -> bool:
    """Return whether the attempt of a record has ended, other than well, by a reclaim or by our own will."""
    if not new.signal or new.signal.is_reclaim or new.signal is Signal.STOPPED or new.state is ShardState.LEAVING:
        return False
    return old.state is ShardState.LEAVING or (old.signal, old.since) != (new.signal, new.since)


def _is_the_same(wanted: dict[str, Any], current: dict[str, Any]) -> bool:
    """Return whether two statuses differ in nothing that must be written at once."""
    return lasting_part(wanted) == lasting_part(current)


class StatusConflict(Exception):
    """Somebody has changed the sweep since it was read: look again before doing anything."""


class Executor:
    """Writes what plans ask for. `clock` gives Unix seconds, `token` an unguessable URL-safe string."""

    def __init__(
        self,
        *,
        client: KubeClient,
        gate: Gate,
        sweeps: SweepStore,
        attempts: Attempts,
        events: EventPoster,
        metrics: Metrics,
        settings: PodSettings,
        clock: Callable[[], float],
        token: Callable[[], str],
    ) -> None:
        self._client = client
        self._gate = gate
        self._sweeps = sweeps
        self._attempts = attempts
        self._events = events
        self._metrics = metrics
        self._settings = settings
        self._clock = clock
        self._token = token
        self._in_flight = asyncio.Semaphore(REQUESTS_IN_FLIGHT)
        self._written_at: dict[str, float] = {}
        sweeps.call_when_gone(self.forget)

    def forget(self, sweep_uid: str) -> None:
        """Drop what is known of a sweep that is gone."""
        self._written_at.pop(sweep_uid, None)

    async def execute(self, snapshot: Snapshot, plan: Plan, *, spent: float = 0.0) -> float | None:
        """Carry `plan` out, and return when to look for the rest of it (Unix seconds), None where nothing was left.

        That may be a part of the status that is not due yet, pods for which there was no time, or deletions that the
        API server did not take; `spent` is how long the look has taken so far (seconds).

        Raises
        ------
        StatusConflict
            Where the status could not be written because the sweep has changed; nothing else was done then.
        ApiError
            Where the API server did not take the status; nothing else was done then.
        """
        writing = self._clock()
        sweep, writable_at = await self._write_status(snapshot.sweep, plan)
        orders = [action for action in plan.actions if isinstance(action, CreateAttempt)]
        for order in orders:
            # From here on the attempt is this process' own: nobody else will ever make its pod.
            known = snapshot.creations.get(order.attempt)
            self._attempts.note(
                sweep.uid, order.attempt, known or Creation(resumes=order.resumes, replaces=order.replaces)
            )
        for event in plan.events:
            self._events.post(snapshot.sweep, event)
        self._count(snapshot, plan)
        deletions = [action for action in plan.actions if isinstance(action, DeletePod)]
        looks = [] if writable_at is None else [writable_at]
        # What must not run a moment longer does not wait until a thousand others are made.
        await self._all(self._delete(deletion, looks) for deletion in deletions if deletion.grace_seconds == 0)
        spent += self._clock() - writing
        # What has run before waits no longer than what has not begun.
        orders.sort(key=lambda order: order.replaces is None)
        events = CreationEvents(orders, say=lambda event: self._events.post(sweep, event))
        batch = _Batch(events=events, until=self._clock() + max(CREATING_SECONDS, CREATING_TIMES * spent))
        try:
            await self._all(self._create_attempt(sweep, order, batch) for order in orders)
        finally:
            events.tell_rest()
        chores = [action for action in plan.actions if isinstance(action, CreateHousekeeping)]
        await self._all(self._create_housekeeping(sweep, chore) for chore in chores)
        await self._all(self._delete(deletion, looks) for deletion in deletions if deletion.grace_seconds != 0)
        if any(isinstance(action, DeleteSweep) for action in plan.actions):
            await self._delete_sweep(sweep)
        return self._clock() if batch.is_cut_short else min(looks, default=None)

    async def _write_status(self, sweep: Sweep, plan: Plan) -> tuple[Sweep, float | None]:
        """Write the status, and return the sweep with it; what moves all the time may have to wait until a time."""
        shards = sweep.spec.shards
        wanted = await beside_the_loop(shards, status_manifest, plan.status, sweep)
        current = sweep.manifest.get("status") or {}
        after = replace(sweep, status=plan.status)
        if wanted == current:
            return after, None
        pause = refresh_seconds(shards)
        due_at = self._written_at.get(sweep.uid, 0.0) + pause
        # A clock that was set back must not hold anything back for longer.
        # What is said now would be said again by the next look, from the status as it was.
        may_wait = not plan.events and 0 < due_at - self._clock() <= pause
        if may_wait and await beside_the_loop(shards, _is_the_same, wanted, current):
            return after, due_at
        metadata = {name: value for name, value in sweep.manifest["metadata"].items() if name != "managedFields"}
        body = {**sweep.manifest, "metadata": metadata, "status": wanted}
        try:
            self._sweeps.written(await self._client.replace(paths.sweep_status(sweep.namespace, sweep.name), body))
        except ApiError as error:
            if error.status == 404:
                self._sweeps.gone(dict(sweep.manifest))
                raise StatusConflict("the sweep is gone") from error
            if error.status == 409:
                await self._read_again(sweep)
                raise StatusConflict("the sweep has changed meanwhile") from error
            raise
        self._written_at[sweep.uid] = self._clock()
        self._metrics.status_bytes.observe(len(json.dumps(wanted, separators=(",", ":"))))
        return after, None

    async def _read_again(self, sweep: Sweep) -> None:
        try:
            self._sweeps.written(await self._client.get(paths.sweep(sweep.namespace, sweep.name)))
        except ApiError as error:
            if error.status != 404:
                raise
            self._sweeps.gone(dict(sweep.manifest))

    async def _create_attempt(self, sweep: Sweep, order: CreateAttempt, batch: _Batch) -> None:
        if self._clock() >= batch.until:
            batch.is_cut_short = True
            return
        if batch.quota is not None:
            # One refusal tells as much as a thousand: this one is not asked for until there may be room.
            creation = replace(batch.quota, resumes=order.resumes, replaces=order.replaces)
            self._attempts.note(sweep.uid, order.attempt, creation)
            return
        before = self._attempts.get(sweep.uid, order.attempt)
        try:
            batch.template = batch.template or template_of(sweep, settings=self._settings)
            stop_path = f"/stopping/{self._token()}"
            pod = pod_for(sweep, order, settings=self._settings, stop_path=stop_path, template=batch.template)
        except TemplateInvalid as error:
            creation = self._refused(sweep, refusal_of(ApiError(422, str(error))))
        else:
            creation = await self._create_pod(sweep, Role.ATTEMPT, pod)
        creation = _counted(creation, before=before)
        if creation.problem == QUOTA_EXCEEDED and creation.created_at is None:
            batch.quota = creation
        creation = replace(creation, resumes=order.resumes, replaces=order.replaces)
        self._attempts.note(sweep.uid, order.attempt, creation)
        if creation.created_at is None:
            return
        batch.events.made(order, at=creation.created_at)
        if order.replaces is not None:
            since = order.replaces.time
            self._metrics.relaunch_seconds.observe(max(0.0, creation.created_at - since))
            self._metrics.first_items.relaunched(sweep.uid, shard=order.shard, attempt=order.attempt, since=since)

    async def _create_housekeeping(self, sweep: Sweep, chore: CreateHousekeeping) -> None:
        creation = await self._provide_items(sweep) if chore.role is Role.RESOLVE else Creation()
        if not creation.problem:
            try:
                pod = housekeeping_pod_for(sweep, chore.role, settings=self._settings)
            except TemplateInvalid as error:
                creation = self._refused(sweep, refusal_of(ApiError(422, str(error))))
            else:
                creation = await self._create_pod(sweep, chore.role, pod)
        before = self._attempts.housekeeping_of(sweep.uid).get(chore.role)
        self._attempts.note_housekeeping(sweep.uid, chore.role, _counted(creation, before=before))

    async def _provide_items(self, sweep: Sweep) -> Creation:
        """See to it that the pod which resolves the items can start: without its ConfigMap it would wait mutely."""
        config_map = items_config_map(sweep)
        if config_map is not None:
            return await self._create(sweep, paths.config_maps(sweep.namespace), config_map)
        reference = sweep.manifest["spec"]["items"]["configMapKeyRef"]
        try:
            there = await self._client.get(paths.config_map(sweep.namespace, reference["name"]))
        except ValueError as error:
            return self._refused(sweep, refusal_of_items(ApiError(404, str(error)), name=reference["name"]))
        except ApiError as error:
            return self._refused(sweep, refusal_of_items(error, name=reference["name"]))
        if reference["key"] not in {**(there.get("data") or {}), **(there.get("binaryData") or {})}:
            lacking = ApiError(404, f"it has no key {reference['key']}")
            return self._refused(sweep, refusal_of_items(lacking, name=reference["name"]))
        return Creation()

    async def _create_pod(self, sweep: Sweep, role: Role, pod: dict[str, Any]) -> Creation:
        refusal = await self._gate.refusal_before(sweep, role, pod)
        if refusal is not None:
            return self._refused(sweep, refusal)
        return await self._create(sweep, paths.pods(sweep.namespace), pod, role=role)

    async def _create(self, sweep: Sweep, path: str, manifest: dict[str, Any], *, role: Role | None = None) -> Creation:
        """Create an object and return what came of it; one of this very sweep that is there already will do."""
        name = manifest["metadata"]["name"]
        try:
            try:
                created = await self._client.create(path, manifest)
            except ApiError as error:
                if not is_name_taken(error):
                    raise
                # The reply to an earlier try was lost, or the cache lags: names are made from the sweep's UID.
                if not await self._is_ours(f"{path}/{name}", sweep):
                    raise
                return Creation(created_at=self._clock(), seen=True)
            version = int(created["metadata"].get("resourceVersion", 0))
            creation = Creation(created_at=self._clock(), version=version)
            if role is not None:
                self._metrics.pods_created.labels(role=role.value).inc()
            return creation if role is None else await self._looked_at(sweep, role, created, creation)
        except ApiError as error:
            refused = self._refused(sweep, refusal_of(error))
            # A webhook is asked before anything is stored.
            answered = 0 < error.status < 500 or refused.problem == WEBHOOK_FAILED
            return replace(refused, uncertain=not answered)

    async def _looked_at(self, sweep: Sweep, role: Role, pod: dict[str, Any], creation: Creation) -> Creation:
        """Delete a pod that admission made another one than by the dry run, and return what is to be said of it.

        Its attempt is over: it has had its pod.
        """
        try:
            refusal = await self._gate.refusal_after(sweep, role, pod)
        except ApiError as error:
            logger.warning("%s: looked at again when the caches show it: %s", pod["metadata"]["name"], error)
            return creation
        if refusal is None:
            return creation
        refused = self._refused(sweep, refusal)
        path = paths.pod(sweep.namespace, pod["metadata"]["name"])
        try:
            await self._client.delete(path, uid=pod["metadata"]["uid"], grace_seconds=0)
            self._metrics.pods_deleted.labels(role=role.value).inc()
        except ApiError as error:
            # Whatever is left of it is seen at the next look.
            logger.warning("%s, which is not allowed, not deleted: %s", path, error)
        return replace(creation, problem=refused.problem, message=refused.message)

    async def _is_ours(self, path: str, sweep: Sweep) -> bool:
        try:
            there = await self._client.get(path)
        except ApiError as error:
            if error.status != 404:
                raise
            # Deleted since: it was there, and must not be made a second time.
            return True
        return (there["metadata"].get("labels") or {}).get(names.SWEEP_UID) == sweep.uid

    def _refused(self, sweep: Sweep, refusal: Refusal) -> Creation:
        logger.warning("%s/%s: not created: %s: %s", sweep.namespace, sweep.name, refusal.reason, refusal.message)
        self._metrics.refusals.labels(reason=refusal.reason).inc()
        now = self._clock()
        return Creation(
            retry_at=now + refusal.retry_seconds,
            problem=refusal.reason,
            message=refusal.message,
            refused_at=now,
            generation=sweep.generation,
        )

    async def _delete(self, deletion: DeletePod, looks: list[float]) -> None:
        """Delete a pod, or add to `looks` when to try again."""
        pod = deletion.pod
        try:
            path = paths.pod(pod.namespace, pod.name)
            logger.info("deleting pod %s/%s: %s", pod.namespace, pod.name, deletion.reason)
            await self._client.delete(path, uid=pod.uid, grace_seconds=deletion.grace_seconds)
            self._metrics.pods_deleted.labels(role=pod.role.value).inc()
        except ApiError as error:
            # 404 and 409: it is gone, or another pod has its name.
            if error.status not in (404, 409):
                logger.warning("pod %s/%s not deleted: %s", pod.namespace, pod.name, error)
                # Nothing else may ever call for a look: of a sweep that has ended nothing changes any more.
                looks.append(self._clock() + refusal_of(error).retry_seconds)

    async def _delete_sweep(self, sweep: Sweep) -> None:
        logger.info("deleting %s/%s: its time after its end is over", sweep.namespace, sweep.name)
        try:
            await self._client.delete(paths.sweep(sweep.namespace, sweep.name), uid=sweep.uid)
        except ApiError as error:
            # 404 and 409: it is gone, or another sweep has its name.
            if error.status not in (404, 409):
                raise

    async def _all(self, work: Iterable[Coroutine[Any, Any, None]]) -> None:
        # Ten thousand tasks that wait for their turn would take more memory than all that is known of their pods.
        pieces = iter(work)

        async def worker() -> None:
            for piece in pieces:
                async with self._in_flight:
                    await piece

        async with asyncio.TaskGroup() as group:
            for _ in range(REQUESTS_IN_FLIGHT):
                group.create_task(worker())

    def _count(self, snapshot: Snapshot, plan: Plan) -> None:
        for old, new in zip(snapshot.sweep.status.records, plan.status.records, strict=True):
            if new is old:
                continue  # so it is with nearly all of thousands
            if new.notice and new.noticed_at != old.noticed_at:
                self._metrics.notices.labels(kind=new.notice.value).inc()
            self._metrics.false_alarms.inc(max(0, new.false_alarms - old.false_alarms))
            if _has_failed(old, new):
                self._metrics.failures.labels(signal=new.signal.value).inc()
        phase = plan.status.phase
        if phase in ENDED and phase != snapshot.sweep.status.phase:
            self._metrics.sweeps_ended.labels(phase=phase).inc()
        before = snapshot.sweep.status.reclaims_by_signal
        for signal, count in plan.status.reclaims_by_signal.items():
            self._metrics.reclaims.labels(signal=signal).inc(count - before.get(signal, 0))
