"""What is said of the pods that a look has made: of a few at once, of many together, and of all of them."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable

import pytest
from builders import NOW

from sweep_operator.model.plan import CreateAttempt, SweepEvent
from sweep_operator.model.reclaim import Reclaim
from sweep_operator.model.shard_record import indices_of
from sweep_operator.model.signals import Signal
from sweep_operator.runtime.creation_events import SINGLY, CreationEvents
from sweep_operator.runtime.events import MESSAGE_LENGTH


def first(shard: int) -> CreateAttempt:
    return CreateAttempt(shard=shard, attempt=shard + 1, resumes=False)


def replacing(
    shard: int,
    *,
    attempt: int = 0,
    node: str = "n",
    signal: Signal = Signal.NODE_GONE,
    since: float = NOW,
    take_after: int | None = None,
) -> CreateAttempt:
    reclaim = Reclaim(time=since, node=node, shard=shard, attempt=shard + 1, signal=signal, items_safe=2)
    attempt = attempt or 1000 + shard
    return CreateAttempt(shard=shard, attempt=attempt, resumes=True, replaces=reclaim, take_after=take_after)


def told_of(orders: Iterable[CreateAttempt], *, made: Iterable[CreateAttempt] | None = None) -> list[SweepEvent]:
    """Return what is said where all of `orders`, or only those that were `made`, come true two seconds after `NOW`."""
    said: list[SweepEvent] = []
    orders = list(orders)
    events = CreationEvents(orders, say=said.append)
    for order in orders if made is None else made:
        events.made(order, at=NOW + 2)
    events.tell_rest()
    return said


def shards_in(events: Iterable[SweepEvent]) -> list[int]:
    """Return the shards that the messages name."""
    found: list[int] = []
    for event in events:
        (ranges,) = re.findall(r"shards ([0-9,-]+)$", event.message)
        found += indices_of(ranges)
    return found


@pytest.mark.parametrize("build", [first, replacing])
def test_a_few_are_told_each_by_itself_and_at_once(build: type) -> None:
    said: list[SweepEvent] = []
    orders = [build(shard) for shard in range(SINGLY)]
    events = CreationEvents(orders, say=said.append)
    for number, order in enumerate(orders, start=1):
        events.made(order, at=NOW + 1)
        assert len(said) == number
        assert f"shard {order.shard}" in said[-1].message
    events.tell_rest()
    assert len(said) == SINGLY


def test_many_first_attempts_are_one_event() -> None:
    (event,) = told_of(first(shard) for shard in range(1000))
    assert (event.reason, event.warning) == ("AttemptCreated", False)
    assert event.message == "1000 shards: attempts 1-1000 created, for shards 0-999"


def test_many_reclaims_are_one_event_that_says_what_was_lost_and_why() -> None:
    orders = [replacing(n, node=f"spot-{n % 2}", since=NOW - n / 10) for n in (*range(30), 40)]
    (event,) = told_of(orders)
    assert (event.reason, event.warning) == ("Reclaimed", True)
    assert event.message == (
        "31 shards were reclaimed from nodes spot-0, spot-1 (NodeGone): 62 items safe, "
        "attempts 1000-1029,1040 created within 6.0 s, for shards 0-29,40"
    )


def test_each_signal_has_its_own() -> None:
    gone = [replacing(n) for n in range(20)]
    silent = [replacing(n, signal=Signal.NODE_SILENT) for n in range(20, 40)]
    one = [replacing(50, signal=Signal.POD_DELETED)]
    said = told_of([*gone, *silent, *one])
    assert sorted(re.findall(r"\((\w+)\)", "".join(event.message for event in said))) == [
        "NodeGone",
        "NodeSilent",
        "PodDeleted",
    ]
    assert said[0].message.startswith("shard 50 was reclaimed from node n (PodDeleted)"), "a single one does not wait"


def test_what_is_made_ahead_of_time_is_no_reclaim() -> None:
    orders = [replacing(n, signal=Signal.GCE_PREEMPTED, take_after=20) for n in range(12)]
    (event,) = told_of([*orders, replacing(99)])[1:]
    assert (event.reason, event.warning) == ("AttemptCreated", False)
    assert event.message == (
        "12 shards: attempts 1000-1011 created within 2.0 s after GcePreempted was announced, to take over shards 0-11"
    )


def test_what_was_not_made_is_not_told() -> None:
    orders = [first(shard) for shard in range(100)]
    assert shards_in(told_of(orders, made=orders[20:40])) == list(range(20, 40))
    assert [event.message for event in told_of(orders, made=orders[7:8])] == ["shard 7: attempt 8 created"]
    assert told_of(orders, made=()) == []


@pytest.mark.parametrize("name", ["n-{}", "gke-a-cluster-a-spot-pool-4f7c2a91-{:05}", "n" * 245 + "{:05}"])
def test_however_scattered_they_are_all_shards_are_told_within_what_a_message_holds(name: str) -> None:
    chance = random.Random(1)
    shards = sorted(chance.sample(range(10_000), 1000))
    attempts = chance.sample(range(10_000, 20_000), 1000)
    said = told_of(
        replacing(shard, attempt=attempt, node=name.format(shard % 100))
        for shard, attempt in zip(shards, attempts, strict=True)
    )
    assert all(len(event.message) <= MESSAGE_LENGTH for event in said)
    assert shards_in(said) == shards
    assert len(said) < 50
    assert sum(int(event.message.split()[0]) for event in said) == len(shards)
    assert all(re.search(r" and \d+ others \(NodeGone\)", event.message) for event in said)
