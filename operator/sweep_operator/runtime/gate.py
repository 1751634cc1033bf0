"""Whether a pod may be made: shown to the API server before the first of its kind, and looked at again once made."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sweep_operator.kube import paths
from sweep_operator.kube.client import ApiError, KubeClient
from sweep_operator.model.observed import QUOTA_EXCEEDED, Role
from sweep_operator.model.snapshot import Sweep
from sweep_operator.pods.overreach import Allowance, Overreach, overreaches_of
from sweep_operator.runtime.refusals import WEBHOOK_FAILED, Refusal, refusal_of, refusal_of_overreach

# k8s.io/apiserver, admission/plugin/webhook: what it says of a webhook with side effects, with status 400.
_NO_DRY_RUN = "does not support dry run"


@dataclass(frozen=True, kw_only=True)
class _Verdict:
    generation: int
    refusal: Refusal | None
    valid_until: float


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
        self._asking: dict[tuple[str, Role], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._default_classes: set[str] = set()

    def forget(self, sweep_uid: str) -> None:
        """Drop what is known of a sweep that is gone."""
        for role in Role:
            self._verdicts.pop((sweep_uid, role), None)
            self._asking.pop((sweep_uid, role), None)

    async def refusal_before(self, sweep: Sweep, role: Role, pod: Mapping[str, Any]) -> Refusal | None:
        """Return why a pod must not be made, None where nothing is known against it."""
        found = overreaches_of(pod, allowance=self._allowance)
        if found:
            return refusal_of_overreach(found, role=role, added=False)
        key = (sweep.uid, role)
        # A thousand pods that are due at once wait here for the one of them that asks.
        async with self._asking[key]:
            verdict = self._verdicts.get(key)
            generation = _generation(sweep)
            if verdict is not None and verdict.generation == generation and self._clock() < verdict.valid_until:
                return verdict.refusal
            try:
                admitted = await self._client.create(paths.pods(sweep.namespace), pod, dry_run=True)
            except ApiError as error:
                # 409: there is one of this name. Whose it is, and what to think of it, is for the creation to say.
                if error.status == 409 or (error.status == 400 and _NO_DRY_RUN in error.message):
                    return None
                refusal = refusal_of(error)
                # Room in a quota, and an API server that answers, may come at any time; the rest is the same for all.
                lasting = 400 <= error.status < 500 and error.status != 429 and refusal.reason != QUOTA_EXCEEDED
                # Each pod would wait in turn until a webhook that hangs has used up its time.
                if lasting or refusal.reason == WEBHOOK_FAILED:
                    self._keep(key, generation, refusal)
                return refusal
            return self._keep(key, generation, await self._refusal_of_admitted(admitted, role=role))

    async def refusal_after(self, sweep: Sweep, role: Role, admitted: Mapping[str, Any]) -> Refusal | None:
        """Return why a pod that the API server has just made must go, None where it may stay."""
        refusal = await self._refusal_of_admitted(admitted, role=role)
        if refusal is not None:
            # The next one must not come so far, even where no dry run can tell.
            self._keep((sweep.uid, role), _generation(sweep), refusal)
        return refusal

    def _keep(self, key: tuple[str, Role], generation: int, refusal: Refusal | None) -> Refusal | None:
        until = float("inf") if refusal is None else self._clock() + refusal.retry_seconds
        self._verdicts[key] = _Verdict(generation=generation, refusal=refusal, valid_until=until)
        return refusal

    async def _refusal_of_admitted(self, admitted: Mapping[str, Any], *, role: Role) -> Refusal | None:
        found = overreaches_of(admitted, allowance=self._allowance)
        if any(each.field == "priorityClassName" for each in found):
            found = await self._without_default_class(found, name=admitted["spec"]["priorityClassName"])
        return refusal_of_overreach(found, role=role, added=True) if found else None

    async def _without_default_class(self, found: tuple[Overreach, ...], *, name: str) -> tuple[Overreach, ...]:
        """Leave out the priority class where it is the one that the cluster gives to every pod that names none."""
        if name not in self._default_classes:
            try:
                if (await self._client.get(paths.priority_class(name))).get("globalDefault") is not True:
                    return found
            except ApiError:
                # Not to know it is no leave: the pod is refused, and asked for again.
                return found
            self._default_classes.add(name)
        return tuple(each for each in found if each.field != "priorityClassName")


def _generation(sweep: Sweep) -> int:
    return int(sweep.manifest["metadata"].get("generation", 0))
