from __future__ import annotations

import asyncio
from typing import Any

import pytest
from builders import manifest
from fake_api import FakeApi

from sweep_operator.kube.client import ApiError
from sweep_operator.kube.informer import Informer
from sweep_operator.runtime.election import Alone
from sweep_operator.runtime.health import Health
from sweep_operator.runtime.loop_lag import LoopLag
from sweep_operator.runtime.resync import Resync
from sweep_operator.runtime.sweep_store import SweepStore
from sweep_operator.runtime.work_queue import WorkQueue

PODS, SWEEPS = "/api/v1/pods", "/apis/resumable.dev/v1alpha1/resumablesweeps"
EMPTY: dict[str, Any] = {"metadata": {"resourceVersion": "1"}, "items": []}


class Operator:
    """What the health of an operator is read from, at a time that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.api = FakeApi()
        self.queue = WorkQueue(clock=self.clock)
        self.sweeps = SweepStore(self.queue)
        self.leadership = Alone()
        self.informer: Informer[str] = Informer(
            self.api,  # type: ignore[arg-type]
            PODS,
            project=lambda entry: "",
            changed=lambda old, new: None,
            clock=self.clock,
            sleep=self.sleep,
        )
        self.resync = Resync(self.api, self.sweeps, self.queue, namespaces=(), clock=self.clock)  # type: ignore[arg-type]
        self.lag = LoopLag(clock=self.clock, sleep=self.sleep)
        self.health = Health(
            queue=self.queue,
            informers=[self.informer],
            resync=self.resync,
            lag=self.lag,
            leadership=self.leadership,
            clock=self.clock,
        )

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        await asyncio.Event().wait()

    async def list_pods(self) -> None:
        """Let the informer list, and wait for what its watch brings: nothing."""
        self.api.lists.append(EMPTY)
        await self.run_informer()

    async def run_informer(self) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await self.informer.run()

    async def list_sweeps(self, *versions: int) -> None:
        items = [_sweep(version) for version in versions]
        self.api.objects[SWEEPS] = {"metadata": {}, "items": items or None}
        assert await self.resync.look()

    async def tick(self, late: float = 0.0) -> None:
        """Let the probe of the loop run; the sleep takes longer than it should."""
        probing = asyncio.ensure_future(self.lag.run())
        await asyncio.sleep(0)
        self.now += 1 + late
        probing.cancel()

    @property
    def complaints(self) -> list[str]:
        # The loop's lag is looked at in tests of its own.
        return [each for each in self.health.complaints() if not each.startswith("within")]


def _sweep(version: int) -> dict[str, Any]:
    sweep = manifest()
    sweep["metadata"]["resourceVersion"] = str(version)
    return sweep


@pytest.fixture
def it() -> Operator:
    return Operator()


async def test_before_the_first_listing_it_is_not_ready(it: Operator) -> None:
    assert it.complaints == [f"the first listing of {PODS} is not done"]
    it.api.lists.append(ApiError(0, "connection refused"))
    await it.run_informer()
    assert it.complaints == [f"the first listing of {PODS} is not done: connection refused"]
    await it.list_pods()
    assert it.complaints == []


async def test_a_watch_that_is_silent_is_named(it: Operator) -> None:
    await it.list_pods()
    it.now += 180
    assert it.complaints == []
    it.now += 1
    assert it.complaints == [f"the API server has been silent about {PODS} for 181 s"]
    assert it.health.defects() == []


async def test_a_watch_that_fails_is_told_of_earlier_and_with_the_cause(it: Operator) -> None:
    it.api.watches.append([ApiError(0, "connection reset")])
    await it.list_pods()
    it.now += 60
    assert it.complaints == []
    it.now += 1
    assert it.complaints == [f"the API server has been silent about {PODS} for 61 s: connection reset"]


@pytest.mark.parametrize("leads", [True, False])
async def test_a_queue_that_stands_still_is_the_leaders_matter(it: Operator, leads: bool) -> None:
    await it.list_pods()
    it.leadership.is_held = leads
    it.queue.add(("ns", "lr"), delay=0)
    it.now += 60
    assert it.complaints == []
    it.now += 1
    assert it.complaints == (["a sweep has been waiting for a look for 61 s"] if leads else [])


async def test_a_watch_of_sweeps_that_does_not_bring_what_is_there_is_noticed(it: Operator) -> None:
    await it.list_pods()
    it.sweeps.seen(_sweep(5))
    await it.list_sweeps(5)
    it.now += 1000
    it.informer.heard_at = it.now
    assert it.complaints == [], "nothing has changed: there was nothing to bring"
    await it.list_sweeps(6)
    # An own write is answered with a newer version yet, which proves nothing of the watch.
    it.sweeps.written(_sweep(7))
    it.now += 90
    assert it.complaints == []
    it.now += 1
    await it.list_sweeps(7)
    assert it.complaints == ["the watch of sweeps is 91 s behind what listing them shows"]
    assert it.health.defects() == []
    it.now += 600
    it.informer.heard_at = it.now
    assert it.health.defects() == ["the watch of sweeps has not brought for 691 s what listing them shows"]
    it.sweeps.seen(_sweep(6))
    it.sweeps.seen(_sweep(7))
    assert (it.complaints, it.health.defects()) == ([], [])


async def test_a_sweep_that_came_and_went_is_not_waited_for(it: Operator) -> None:
    await it.list_pods()
    await it.list_sweeps(6)
    it.sweeps.seen(_sweep(6))
    it.sweeps.gone(_sweep(6))
    it.now += 60
    await it.list_sweeps()
    it.now += 100
    it.informer.heard_at = it.now
    assert it.complaints == []


async def test_sweeps_that_cannot_be_listed_are_no_defect_of_the_process(it: Operator) -> None:
    await it.list_pods()
    await it.list_sweeps(6)
    it.api.refuse[SWEEPS] = [ApiError(404, "the server could not find the requested resource")]
    assert not await it.resync.look()
    it.now += 700
    it.informer.heard_at = it.now
    assert it.complaints == [
        "the sweeps could not be listed for 700 s: 404 : the server could not find the requested resource"
    ]
    assert it.health.defects() == []


async def test_a_loop_that_lags_is_not_ready_for_a_while(it: Operator) -> None:
    await it.list_pods()
    await it.tick(late=4.9)
    assert it.health.complaints() == []
    it = Operator()
    await it.list_pods()
    await it.tick(late=5.5)
    assert it.health.complaints() == ["within the last 30 s nothing was done for 6 s"]


async def test_what_keeps_it_from_standing_for_the_lease_is_told(it: Operator) -> None:
    await it.list_pods()
    it.leadership.trouble = "the Lease cannot be read"
    assert it.complaints == ["the Lease cannot be read"]
