"""Whether a pod may be made: shown to the API server before the first of its kind, and looked at again once made.

The second look is taken at every pod that the caches show, not only at what a creation has answered: that answer may
have been lost, or the process that waited for it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sweep_operator.kube import paths
from sweep_operator.kube.client import ApiError, KubeClient
from sweep_operator.model.claims import Claims
from sweep_operator.model.observed import QUOTA_EXCEEDED, PodView, Role
from sweep_operator.model.problem import Problem
from sweep_operator.model.shard_record import UNDER_WAY
from sweep_operator.model.snapshot import Sweep
from sweep_operator.pods.overreach import Allowance, Overreach, claims_of, overreaches_in, overreaches_of
from sweep_operator.runtime.refusals import WEBHOOK_FAILED, Refusal, refusal_of, refusal_of_overreach

# k8s.io/apiserver, admission/plugin/webhook: what it says of a webhook with side effects, with status 400.
_NO_DRY_RUN = "does not support dry run"

_LONGEST_PAUSE_SECONDS = 300.0
"""Between two pods that are made to see whether the next one would be what the dry run shows, which was untrue."""


@dataclass(frozen=True, kw_only=True)
class _Verdict:
    generation: int
    refusal: Refusal | None
    given_at: float
    valid_until: float


@dataclass(frozen=True, kw_only=True)
class _Untruth:
    """That a pod was another one than by its dry run: why it had to go, and how many were made since as a trial."""

    generation: int
    refusal: Refusal
    tried: int = 0


class Gate:
    """Keeps pods away that reach further than the installer allows. `clock` gives Unix seconds.

    What counts is the pod as the API server has it, with all that defaults and webhooks have put into it: an author
    can have a webhook add what the template may not hold. Pods of one generation of a sweep differ in nothing that
    counts here, so one dry run stands for all of them.
    """

    def __init__(self, client: KubeClient, *, allowance: Allowance, clock: Callable[[], float]) -> None:
        self._client = client
        self._allowance = allowance
        self._clock = clock
        self._verdicts: dict[tuple[str, Role], _Verdict] = {}
        self._untruths: dict[tuple[str, Role], _Untruth] = {}
        self._asking: dict[tuple[str, Role], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._default_classes: set[str] = set()

    def forget(self, sweep_uid: str) -> None:
        """Drop what is known of a sweep that is gone."""
        for role in Role:
            self._verdicts.pop((sweep_uid, role), None)
            self._untruths.pop((sweep_uid, role), None)
            self._asking.pop((sweep_uid, role), None)

    async def refusal_before(self, sweep: Sweep, role: Role, pod: Mapping[str, Any]) -> Refusal | None:
        """Return why a pod must not be made, None where nothing is known against it."""
        key, generation = (sweep.uid, role), _generation(sweep)
        found = overreaches_of(pod, allowance=self._allowance)
        if found:
            return refusal_of_overreach(found, role=role, added=False)
        verdict = self._valid(key, generation)
        if verdict is not None:
            return verdict.refusal
        # A thousand pods that are due at once wait here for the one of them that asks.
        async with self._asking[key]:
            verdict = self._valid(key, generation)
            if verdict is not None:
                return verdict.refusal
            try:
                admitted = await self._client.create(paths.pods(sweep.namespace), pod, dry_run=True)
                refusal = await self._refusal_of_admitted(claims_of(admitted), sweep, role)
            except ApiError as error:
                # 409: there is one of this name. Whose it is, and what to think of it, is for the creation to say.
                if error.status == 409 or (error.status == 400 and _NO_DRY_RUN in error.message):
                    self._await_trial(key, generation)
                    return None
                refusal = refusal_of(error)
                # Room in a quota, and an API server that answers, may come at any time; the rest is the same for all.
                lasting = 400 <= error.status < 500 and error.status != 429 and refusal.reason != QUOTA_EXCEEDED
                # Each pod would wait in turn until a webhook that hangs has used up its time.
                if lasting or refusal.reason == WEBHOOK_FAILED:
                    self._keep(key, generation, refusal)
                return refusal
            if refusal is None and self._await_trial(key, generation):
                return None
            return self._keep(key, generation, refusal)

    def _valid(self, key: tuple[str, Role], generation: int) -> _Verdict | None:
        """Return the verdict on pods of this generation, None where there is none, or its time is over."""
        verdict = self._verdicts.get(key)
        if verdict is None or verdict.generation != generation:
            return None
        # A clock that was set back must not make it last for longer.
        return verdict if verdict.given_at <= self._clock() < verdict.valid_until else None

    def _await_trial(self, key: tuple[str, Role], generation: int) -> bool:
        """Let one pod be made where a dry run was untrue before, and have all others wait for what becomes of it."""
        known = self._untruths.get(key)
        if known is None:
            return False
        tried = known.tried + 1 if known.generation == generation else 1
        self._untruths[key] = replace(known, generation=generation, tried=tried)
        self._keep(key, generation, known.refusal, pauses=tried)
        return True

    async def refusal_after(self, sweep: Sweep, role: Role, admitted: Mapping[str, Any]) -> Refusal | None:
        """Return why a pod that the API server has just made must go, None where it may stay.

        Raises
        ------
        ApiError
            Where that cannot be told at present: the next look at the sweep asks again.
        """
        refusal = await self._refusal_of_admitted(claims_of(admitted), sweep, role)
        if refusal is not None:
            self._note_untruth(sweep, role, refusal)
        elif self._untruths.pop((sweep.uid, role), None) is not None:
            self._keep((sweep.uid, role), _generation(sweep), None)
        return refusal

    async def forbidden(self, sweep: Sweep, pods: Iterable[PodView]) -> dict[str, Problem]:
        """Return which of a sweep's pods must go, by UID, and why.

        Where the status tells of the node or restore of an attempt that goes on, an earlier look has seen its pod, and
        found nothing against it. It is not asked about again: what was allowed when it was made may not be so any more.

        Raises
        ------
        ApiError
            Where that cannot be told at present.
        """
        seen = {
            record.attempt
            for record in sweep.status.records
            if record.state in UNDER_WAY and (record.node or record.base)
        }
        judged: dict[tuple[Role, Claims], Refusal | None] = {}
        found = {}
        for pod in pods:
            if pod.is_terminal or (pod.role is Role.ATTEMPT and pod.attempt in seen):
                continue
            kind = (pod.role, pod.claims)
            if kind not in judged:
                judged[kind] = await self._refusal_of_admitted(pod.claims, sweep, pod.role)
            refusal = judged[kind]
            if refusal is not None:
                self._note_untruth(sweep, pod.role, refusal)
                found[pod.uid] = Problem(reason=refusal.reason, message=refusal.message)
        return found

    def _note_untruth(self, sweep: Sweep, role: Role, refusal: Refusal) -> None:
        """Have the next pods wait: they must not come so far, even where no dry run can tell."""
        key, generation = (sweep.uid, role), _generation(sweep)
        known = self._untruths.get(key)
        if known is None or known.generation != generation:
            known = _Untruth(generation=generation, refusal=refusal)
        self._untruths[key] = replace(known, refusal=refusal)
        self._keep(key, generation, refusal, pauses=known.tried)

    def _keep(
        self, key: tuple[str, Role], generation: int, refusal: Refusal | None, *, pauses: int = 0
    ) -> Refusal | None:
        now, until = self._clock(), float("inf")
        if refusal is not None:
            pause = refusal.retry_seconds * 2 ** min(max(0, pauses - 1), 10)
            until = now + min(pause, _LONGEST_PAUSE_SECONDS)
        self._verdicts[key] = _Verdict(generation=generation, refusal=refusal, given_at=now, valid_until=until)
        return refusal

    async def _refusal_of_admitted(self, claims: Claims, sweep: Sweep, role: Role) -> Refusal | None:
        found = overreaches_in(claims, namespace=sweep.namespace, allowance=self._allowance)
        if any(each.field == "priorityClassName" for each in found):
            found = await self._without_default_class(found, name=claims.priority_class)
        return refusal_of_overreach(found, role=role, added=True) if found else None

    async def _without_default_class(self, found: tuple[Overreach, ...], *, name: str) -> tuple[Overreach, ...]:
        """Leave out the priority class where it is the one that the cluster gives to every pod that names none."""
        if name not in self._default_classes:
            try:
                if (await self._client.get(paths.priority_class(name))).get("globalDefault") is not True:
                    return found
            except ApiError as error:
                if error.status not in (403, 404):
                    raise
                # Never to know it is no leave.
                return found
            self._default_classes.add(name)
        return tuple(each for each in found if each.field != "priorityClassName")


def _generation(sweep: Sweep) -> int:
    return int(sweep.manifest["metadata"].get("generation", 0))
