"""What is asked of the API server before a pod is made, and what is made of its answers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from builders import NOW, UID, chore, manifest, placed, record, sweep
from builders import pod as view
from fake_api import FakeApi

from sweep_operator.kube import paths
from sweep_operator.kube.client import ApiError
from sweep_operator.model.claims import Claims, Grasp, Reach
from sweep_operator.model.observed import PodView, Role
from sweep_operator.model.shard_record import ShardState
from sweep_operator.model.snapshot import Sweep
from sweep_operator.pods.overreach import Allowance
from sweep_operator.runtime.gate import Gate
from sweep_operator.runtime.refusals import Refusal
from sweep_operator.runtime.translation import sweep_of

PODS = paths.pods("ns")
CLASS = paths.priority_class("everybody")


class Entrance:
    def __init__(self, **allowed: Any) -> None:
        self.api = FakeApi()
        self.now = NOW
        client: Any = self.api
        self.gate = Gate(client, allowance=Allowance(**allowed), clock=lambda: self.now)
        self.sweep = generation(1)

    async def ask(self, role: Role = Role.ATTEMPT, name: str = "p", **spec: Any) -> Refusal | None:
        return await self.gate.refusal_before(self.sweep, role, pod(name, **spec))

    def dry_runs(self) -> int:
        return len(self.api.paths("DRY-RUN"))

    def adds(self, **spec: Any) -> None:
        """Have a webhook add to every pod."""
        self.api.admit = lambda body: {**body, "spec": {**body["spec"], **spec}}


def generation(number: int) -> Sweep:
    body = manifest()
    body["metadata"]["generation"] = number
    return sweep_of(body)


def pod(name: str = "p", **spec: Any) -> dict[str, Any]:
    return {"kind": "Pod", "metadata": {"namespace": "ns", "name": name, "uid": "u"}, "spec": spec}


@pytest.fixture
def entrance() -> Entrance:
    return Entrance()


async def test_one_dry_run_stands_for_all_pods_of_a_generation(entrance: Entrance) -> None:
    assert await asyncio.gather(*(entrance.ask(name=f"p{number}") for number in range(50))) == [None] * 50
    assert entrance.dry_runs() == 1
    assert entrance.api.objects == {}
    assert await entrance.ask(Role.MERGE) is None
    assert entrance.dry_runs() == 2, "another kind of pod is another question"
    entrance.sweep = generation(2)
    assert await entrance.ask() is None
    assert entrance.dry_runs() == 3, "a changed sweep is another question"


async def test_what_the_template_asks_for_is_refused_without_a_request(entrance: Entrance) -> None:
    refusal = await entrance.ask(hostPID=True)
    assert refusal is not None
    assert (refusal.reason, refusal.message.partition(":")[0]) == ("TemplateForbidden", "mend spec.template.spec")
    assert "hostPID is true" in refusal.message
    assert entrance.api.requests == []


async def test_what_admission_adds_is_refused_as_well(entrance: Entrance) -> None:
    entrance.adds(volumes=[{"name": "d", "hostPath": {"path": "/"}}])
    refusal = await entrance.ask()
    assert refusal is not None
    assert refusal.reason == "TemplateForbidden"
    assert "admission (a webhook, or a default) has added" in refusal.message
    assert "volumes d is the hostPath /" in refusal.message


async def test_a_refusal_is_asked_for_again_only_after_a_while(entrance: Entrance) -> None:
    entrance.adds(hostPID=True)
    first = await entrance.ask()
    assert first is not None
    assert await entrance.ask() == first
    assert entrance.dry_runs() == 1
    entrance.adds()
    entrance.now += first.retry_seconds
    assert await entrance.ask() is None


async def test_a_clock_that_was_set_back_makes_no_refusal_last_for_longer(entrance: Entrance) -> None:
    entrance.adds(hostPID=True)
    assert await entrance.ask() is not None
    entrance.adds()
    entrance.now -= 3600
    assert await entrance.ask() is None


@pytest.mark.parametrize(
    ("status", "said"), [(400, "no"), (403, "no"), (422, "no"), (500, 'failed calling webhook "w": timeout')]
)
async def test_what_is_refused_for_longer_is_not_asked_by_every_pod(entrance: Entrance, status: int, said: str) -> None:
    entrance.api.refuse[PODS] = [ApiError(status, said)] * 2
    answers = await asyncio.gather(*(entrance.ask() for _ in range(10)))
    assert len(set(answers)) == 1
    assert answers[0] is not None
    assert entrance.dry_runs() == 1


@pytest.mark.parametrize(("status", "said"), [(403, "exceeded quota: x"), (0, "silence"), (500, "no"), (429, "slow")])
async def test_what_passes_is_asked_for_again_at_once(entrance: Entrance, status: int, said: str) -> None:
    entrance.api.refuse[PODS] = [ApiError(status, said)]
    refusal = await entrance.ask()
    assert refusal is not None
    assert refusal.reason in ("QuotaExceeded", "ApiUnavailable")
    assert await entrance.ask() is None


@pytest.mark.parametrize("error", [(409, "already exists"), (400, 'webhook "w" does not support dry run')])
async def test_where_no_dry_run_can_tell_the_pod_itself_is_looked_at(entrance: Entrance, error: Any) -> None:
    entrance.api.refuse[PODS] = [ApiError(*error)]
    assert await entrance.ask() is None
    refusal = await entrance.gate.refusal_after(entrance.sweep, Role.ATTEMPT, pod(nodeName="n"))
    assert refusal is not None
    assert await entrance.ask() == refusal, "the next one is stopped before it is made"
    assert entrance.dry_runs() == 1


async def test_the_class_that_every_pod_gets_needs_no_leave(entrance: Entrance) -> None:
    entrance.api.objects[CLASS] = {"globalDefault": True}
    entrance.adds(priorityClassName="everybody")
    assert await entrance.ask() is None
    assert await entrance.gate.refusal_after(entrance.sweep, Role.ATTEMPT, pod(priorityClassName="everybody")) is None
    assert entrance.api.paths("GET") == [CLASS], "a thousand pods ask once"
    refusal = await entrance.ask(priorityClassName="everybody")
    assert refusal is not None, "to name a class is another thing than to be given one"


@pytest.mark.parametrize("known", [{}, {"globalDefault": False}, None])
async def test_a_class_that_a_webhook_gives_needs_leave(entrance: Entrance, known: dict[str, Any] | None) -> None:
    if known is None:
        entrance.api.refuse[CLASS] = [ApiError(403, "forbidden")]
    else:
        entrance.api.objects[CLASS] = known
    entrance.adds(priorityClassName="everybody", hostPID=True)
    refusal = await entrance.ask()
    assert refusal is not None
    assert "priorityClassName is everybody" in refusal.message
    assert "hostPID" in refusal.message


def seen(attempt: int = 1, *, shard: int = 0, **fields: Any) -> PodView:
    """A pod as the caches show it."""
    claims = Claims(grasps=(Grasp(Reach.HOST_PATH, "volumes", "d is the hostPath /"),))
    return view(attempt, shard=shard, claims=claims, **fields)


async def test_every_pod_that_the_caches_show_is_looked_at_once(entrance: Entrance) -> None:
    merge = chore(Role.MERGE, claims=seen().claims)
    pods = [seen(1), seen(2, shard=1), view(3, shard=2), seen(4, shard=3, phase="Succeeded"), merge]
    # Of shard 1 the status says where it runs: so an earlier look has seen its pod, and let it stay.
    known = [record(), placed(1, attempt=2), record(2, attempt=3), record(3, attempt=4)]
    of = replace(entrance.sweep, status=sweep(known).status)
    found = await entrance.gate.forbidden(of, pods)
    assert set(found) == {pods[0].uid, merge.uid}
    assert found[pods[0].uid].reason == "TemplateForbidden"
    assert "added to the attempt pod: volumes d is the hostPath /" in found[pods[0].uid].message
    assert entrance.api.requests == []


async def test_one_that_could_not_be_deleted_at_once_is_still_to_go_at_once(entrance: Entrance) -> None:
    # The look that found it has noted where it ran, together with the verdict.
    of = replace(entrance.sweep, status=sweep([placed(state=ShardState.WAITING, attempt=1)]).status)
    assert set(await entrance.gate.forbidden(of, [seen()])) == {seen().uid}


async def test_a_class_is_asked_for_once_for_all_pods_that_have_it(entrance: Entrance) -> None:
    entrance.api.objects[CLASS] = {"globalDefault": False}
    pods = [view(number, shard=number, claims=Claims(priority_class="everybody")) for number in range(100)]
    assert len(await entrance.gate.forbidden(entrance.sweep, pods)) == 100
    assert entrance.api.paths("GET") == [CLASS]


async def test_a_class_that_nobody_can_ask_for_just_now_ends_no_pod(entrance: Entrance) -> None:
    entrance.api.refuse[CLASS] = [ApiError(500, "no")] * 2
    pods = [view(claims=Claims(priority_class="everybody"))]
    with pytest.raises(ApiError):
        await entrance.gate.forbidden(entrance.sweep, pods)
    entrance.adds(priorityClassName="everybody")
    refusal = await entrance.ask()
    assert refusal is not None
    assert refusal.reason == "ApiUnavailable"
    entrance.api.objects[CLASS] = {"globalDefault": True}
    assert await entrance.gate.forbidden(entrance.sweep, pods) == {}
    assert await entrance.ask() is None


async def test_where_a_dry_run_was_untrue_one_pod_at_a_time_is_tried(entrance: Entrance) -> None:
    bad = pod(nodeName="n")

    async def let_through(number: int = 10) -> int:
        return (await asyncio.gather(*(entrance.ask() for _ in range(number)))).count(None)

    assert await let_through() == 10
    for _ in range(10):
        await entrance.gate.refusal_after(entrance.sweep, Role.ATTEMPT, bad)
    pauses = []
    for _ in range(7):
        begun = entrance.now
        while await let_through() == 0:
            entrance.now += 15
        pauses.append(entrance.now - begun)
        assert await let_through() == 0, "all others wait for what becomes of the one"
        assert await entrance.gate.refusal_after(entrance.sweep, Role.ATTEMPT, bad) is not None
    assert pauses == [15, 15, 30, 60, 120, 240, 300]
    entrance.sweep = generation(2)
    assert await let_through() == 1, "who changes the sweep is not kept waiting"
    assert await entrance.gate.refusal_after(entrance.sweep, Role.ATTEMPT, pod()) is None
    assert await let_through() == 10


async def test_one_that_only_the_caches_have_shown_keeps_the_next_away_too(entrance: Entrance) -> None:
    assert await entrance.ask() is None
    await entrance.gate.forbidden(entrance.sweep, [seen()])
    refusal = await entrance.ask()
    assert refusal is not None
    assert refusal.reason == "TemplateForbidden"


async def test_a_sweep_that_is_gone_is_forgotten(entrance: Entrance) -> None:
    await entrance.ask()
    await entrance.gate.refusal_after(entrance.sweep, Role.ATTEMPT, pod(nodeName="n"))
    entrance.gate.forget(UID)
    assert [await entrance.ask() for _ in range(2)] == [None, None]
    assert entrance.dry_runs() == 2
