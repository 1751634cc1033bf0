from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from sweep_operator.kube.client import ApiError
from sweep_operator.runtime.election import (
    ADDRESS,
    CALL_SECONDS,
    LEASE_SECONDS,
    RENEW_DEADLINE_SECONDS,
    RENEW_SECONDS,
    Candidacy,
    Elector,
    LeadershipLost,
)

PATH = "/apis/coordination.k8s.io/v1/namespaces/ops/leases/sweeps"


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


class Leases:
    """One Lease as the API server keeps it. `cut` holds who cannot reach it; `mute` loses the answers to writes."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] = {}
        self.cut: set[str] = set()
        self.mute = 0
        self._version = 0

    def _store(self, body: Mapping[str, Any]) -> dict[str, Any]:
        self._version += 1
        metadata = {**body["metadata"], "uid": "u", "resourceVersion": str(self._version)}
        self.lease = {**body, "metadata": metadata}
        if self.mute:
            self.mute -= 1
            raise ApiError(0, "connection reset")
        return self.lease

    def client(self, name: str) -> Client:
        return Client(self, name)


class Client:
    """One candidate's way to the Lease."""

    def __init__(self, leases: Leases, name: str) -> None:
        self._leases = leases
        self._name = name

    def _reach(self) -> None:
        if self._name in self._leases.cut:
            raise ApiError(0, "no route to host")

    async def get(self, path: str) -> dict[str, Any]:
        self._reach()
        assert path == PATH
        if not self._leases.lease:
            raise ApiError(404, "not found")
        return self._leases.lease

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        self._reach()
        assert path == PATH.rpartition("/")[0]
        if self._leases.lease:
            raise ApiError(409, "already exists")
        return self._leases._store(body)

    async def replace(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        self._reach()
        assert path == PATH
        if not self._leases.lease:
            raise ApiError(404, "not found")
        if body["metadata"].get("resourceVersion") != self._leases.lease["metadata"]["resourceVersion"]:
            raise ApiError(409, "the object has been modified")
        return self._leases._store(body)


class Play:
    def __init__(self) -> None:
        self.clock = Clock()
        self.leases = Leases()

    def candidate(self, name: str) -> Elector:
        candidacy = Candidacy(namespace="ops", lease="sweeps", name=name, address=f"http://{name}")
        client: Any = self.leases.client(name)
        return Elector(client, candidacy, clock=self.clock, wall=lambda: 1.5, sleep=self.clock.sleep)


@pytest.fixture
def play() -> Play:
    return Play()


async def test_the_first_one_leads_and_the_second_knows_where_it_is(play: Play) -> None:
    first, second = play.candidate("a"), play.candidate("b")
    await first.acquire()
    assert first.is_held
    assert play.leases.lease["spec"] == {
        "holderIdentity": "a",
        "leaseDurationSeconds": LEASE_SECONDS,
        "acquireTime": "1970-01-01T00:00:01.500000Z",
        "renewTime": "1970-01-01T00:00:01.500000Z",
        "leaseTransitions": 1,
    }
    assert play.leases.lease["metadata"]["annotations"] == {ADDRESS: "http://a"}
    assert not await second._is_won()
    assert (second.is_held, second.leader_address) == (False, "http://a")
    assert first.leader_address == ""


async def test_a_holder_that_falls_silent_is_replaced_only_after_it_has_stopped(play: Play) -> None:
    first, second = play.candidate("a"), play.candidate("b")
    await first.acquire()
    stopped_at = play.clock.now + RENEW_DEADLINE_SECONDS
    await second.acquire()
    assert play.clock.now >= stopped_at + CALL_SECONDS, "what the first one had sent out must be over"
    assert play.clock.now <= stopped_at + (LEASE_SECONDS - RENEW_DEADLINE_SECONDS) + 1.5
    assert (first.is_held, second.is_held) == (False, True)


async def test_a_holder_that_renews_is_not_replaced(play: Play) -> None:
    first, second = play.candidate("a"), play.candidate("b")
    await first.acquire()
    holding, standing = asyncio.ensure_future(first.hold()), asyncio.ensure_future(second.acquire())
    until = play.clock.now + 20 * LEASE_SECONDS
    while play.clock.now < until:
        await asyncio.sleep(0)
        assert first.is_held
        assert not second.is_held
    for task in (holding, standing):
        task.cancel()
    await asyncio.gather(holding, standing, return_exceptions=True)


async def test_a_holder_that_cannot_renew_stops_in_time(play: Play) -> None:
    first = play.candidate("a")
    await first.acquire()
    since = play.clock.now
    play.leases.cut.add("a")
    with pytest.raises(LeadershipLost, match=r"was not renewed for 8 s: no route to host"):
        await first.hold()
    assert since + RENEW_SECONDS < play.clock.now <= since + RENEW_DEADLINE_SECONDS
    assert not first.is_held


async def test_a_short_silence_is_survived(play: Play) -> None:
    first = play.candidate("a")
    await first.acquire()
    holding = asyncio.ensure_future(first.hold())
    play.leases.cut.add("a")
    until = play.clock.now + RENEW_DEADLINE_SECONDS - 1
    while play.clock.now < until:
        await asyncio.sleep(0)
        assert first.is_held
    play.leases.cut.clear()
    until = play.clock.now + 2 * RENEW_DEADLINE_SECONDS
    while play.clock.now < until:
        assert first.is_held
        await asyncio.sleep(0)
    assert not holding.done()
    holding.cancel()


async def test_a_pause_of_the_process_ends_its_leadership_at_once(play: Play) -> None:
    first = play.candidate("a")
    await first.acquire()
    play.clock.now += LEASE_SECONDS
    assert not first.is_held, "what it was about to write must not be written"
    with pytest.raises(LeadershipLost):
        await first.hold()


async def test_a_lease_in_other_hands_ends_it_at_once(play: Play) -> None:
    first = play.candidate("a")
    await first.acquire()
    play.leases.lease = {**play.leases.lease, "spec": {"holderIdentity": "b"}}
    play.leases.lease["metadata"] = {**play.leases.lease["metadata"], "resourceVersion": "77"}
    since = play.clock.now
    with pytest.raises(LeadershipLost, match="is held by b"):
        await first.hold()
    assert play.clock.now <= since + RENEW_SECONDS


async def test_a_lease_that_is_deleted_ends_it_at_once(play: Play) -> None:
    first = play.candidate("a")
    await first.acquire()
    play.leases.lease = {}
    with pytest.raises(LeadershipLost, match="is held by nobody"):
        await first.hold()


@pytest.mark.parametrize("lost", [1, 2], ids=["the first one's", "two in a row"])
async def test_an_answer_that_was_lost_costs_no_leadership(play: Play, lost: int) -> None:
    first = play.candidate("a")
    play.leases.mute = lost
    await first.acquire()
    assert first.is_held
    play.leases.mute = lost
    holding = asyncio.ensure_future(first.hold())
    until = play.clock.now + 3 * RENEW_DEADLINE_SECONDS
    while play.clock.now < until:
        await asyncio.sleep(0)
        assert first.is_held
    holding.cancel()


async def test_a_lease_that_is_released_is_free_at_once(play: Play) -> None:
    first, second = play.candidate("a"), play.candidate("b")
    await first.acquire()
    assert not await second._is_won()
    await first.release()
    assert not first.is_held
    since = play.clock.now
    await second.acquire()
    assert play.clock.now == since
    assert play.leases.lease["spec"]["leaseTransitions"] == 2


async def test_a_renewal_that_was_cut_off_keeps_nobody_from_releasing(play: Play) -> None:
    first = play.candidate("a")
    await first.acquire()
    play.leases.mute = 1
    assert not await first._is_renewed()
    await first.release()
    assert play.leases.lease["spec"]["holderIdentity"] == ""


async def test_what_somebody_else_has_taken_meanwhile_is_not_released(play: Play) -> None:
    first = play.candidate("a")
    await first.acquire()
    taken = {**play.leases.lease, "spec": {"holderIdentity": "b"}}
    play.leases._store(taken)
    await first.release()
    assert play.leases.lease["spec"] == {"holderIdentity": "b"}


async def test_releasing_what_is_not_held_takes_it_from_nobody(play: Play) -> None:
    first, second = play.candidate("a"), play.candidate("b")
    await first.acquire()
    await second.release()
    play.clock.now += RENEW_DEADLINE_SECONDS
    await first.release()
    assert play.leases.lease["spec"]["holderIdentity"] == "a"


async def test_of_two_at_once_one_wins(play: Play) -> None:
    candidates = [play.candidate("a"), play.candidate("b")]
    tasks = [asyncio.ensure_future(each.acquire()) for each in candidates]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert [each.is_held for each in candidates].count(True) == 1
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_trouble_is_told_when_it_lasts(play: Play) -> None:
    first = play.candidate("a")
    play.leases.cut.add("a")
    assert not await first._is_won()
    assert first.trouble == ""
    play.clock.now += 31
    assert first.trouble == f"the Lease {PATH} has not been readable and writable for 31 s: no route to host"
    play.leases.cut.clear()
    await first.acquire()
    assert first.trouble == ""


async def test_a_holder_that_is_gone_is_no_place_for_reports(play: Play) -> None:
    first, second = play.candidate("a"), play.candidate("b")
    await first.acquire()
    await second._is_won()
    play.clock.now += LEASE_SECONDS
    assert second.leader_address == ""
