from __future__ import annotations

import pytest
from builders import NOW, crashed, main, pod, record

from sweep_operator.decide.missing import Sought, missing
from sweep_operator.decide.pacing import next_start, quota_retry_at, retry_at, to_start, to_stop
from sweep_operator.model.observed import Creation, PodView
from sweep_operator.model.shard_record import ShardRecord, ShardState

A, L, S, W, C = (
    ShardState.ACTIVE,
    ShardState.LEAVING,
    ShardState.STOPPING,
    ShardState.WAITING,
    ShardState.COMPLETE,
)


def records(*states: ShardState) -> list[ShardRecord]:
    return [record(shard, state) for shard, state in enumerate(states)]


def shards(chosen: list[ShardRecord]) -> list[int]:
    return [each.shard for each in chosen]


@pytest.mark.parametrize(
    ("states", "parallelism", "started"),
    [
        ([W, W, W], 2, [0, 1]),
        ([A, W, W], 2, [1]),
        ([L, S, W], 2, []),
        ([C, C, W], 1, [2]),
        ([A, A, W], 1, []),
        ([W, W], 0, []),
    ],
    ids=[
        "as many as there is room for",
        "running ones take room",
        "leaving and stopping ones still take room",
        "complete ones take none",
        "none where too many run",
        "none while suspended",
    ],
)
def test_starting(states: list[ShardState], parallelism: int, started: list[int]) -> None:
    assert shards(to_start(records(*states), parallelism=parallelism, now=NOW)) == started


def test_shards_that_have_begun_go_first() -> None:
    waiting = [record(0, W), record(1, W, attempt=7), record(2, W, attempt=3)]
    assert shards(to_start(waiting, parallelism=2, now=NOW)) == [1, 2]


def test_a_delayed_shard_waits_its_time() -> None:
    delayed = [record(0, W, not_before=int(NOW) + 1)]
    assert to_start(delayed, parallelism=1, now=NOW) == []
    assert shards(to_start(delayed, parallelism=1, now=NOW + 1)) == [0]
    assert next_start(delayed) == NOW + 1


def test_no_shard_waits_for_a_clock_that_was_set_back() -> None:
    delayed = [record(0, W, not_before=int(NOW) + 86_400)]
    assert shards(to_start(delayed, parallelism=1, now=NOW)) == [0]


def test_nothing_delayed_nothing_to_wait_for() -> None:
    assert next_start(records(A, C)) is None


@pytest.mark.parametrize(
    ("states", "parallelism", "stopped"),
    [
        ([A, A], 2, []),
        ([A, A, A], 2, [2]),
        ([A, A, L, L], 2, []),
        ([A, A, S], 1, [1]),
        ([A, L], 0, [0]),
    ],
    ids=[
        "none where they fit",
        "the last of equals",
        "none for those that are about to leave",
        "in addition to those that are stopping already",
        "all while suspended",
    ],
)
def test_stopping(states: list[ShardState], parallelism: int, stopped: list[int]) -> None:
    assert shards(to_stop(records(*states), parallelism=parallelism)) == stopped


def test_the_attempt_that_has_done_least_is_stopped() -> None:
    running = [record(0, A, base=1, done=5), record(1, A, base=21, done=22), record(2, A, base=1, done=9)]
    assert shards(to_stop(running, parallelism=2)) == [1]


def test_an_attempt_that_has_not_begun_is_stopped_before_one_that_works_on_its_first_item() -> None:
    shards_of = [record(0, A, attempt=1), record(1, A, attempt=2), record(2, A, attempt=3, base=1)]
    pods = {1: pod(1, node="", phase="Pending", mains=(main(started=False),)), 3: pod(3, shard=2)}
    assert shards(to_stop(shards_of, parallelism=2, pods=pods)) == [1]
    assert shards(to_stop(shards_of, parallelism=1, pods=pods)) == [1, 0]


def test_what_those_before_it_have_done_is_none_of_an_attempt_that_has_not_restored_yet() -> None:
    relaunched, at_work = record(0, A, attempt=8, done=50, recorded=50), record(1, A, attempt=2, base=1, done=3)
    assert shards(to_stop([relaunched, at_work], parallelism=1, pods={2: pod(2, shard=1)})) == [0]


def test_what_was_refused_waits_its_time_unless_the_sweep_was_changed() -> None:
    refused = Creation(problem="TemplateInvalid", retry_at=NOW + 15, generation=3)
    assert retry_at(refused, generation=3, now=NOW) == NOW + 15
    assert retry_at(refused, generation=4, now=NOW) == 0


def test_a_clock_that_was_set_back_makes_nothing_wait_for_longer() -> None:
    refused = Creation(problem="ApiUnavailable", refused_at=NOW, retry_at=NOW + 15, generation=3)
    assert retry_at(refused, generation=3, now=NOW) == NOW + 15
    assert retry_at(refused, generation=3, now=NOW - 3600) == 0
    assert quota_retry_at([PROBED], [pod()], generation=1, now=NOW - 3600) == 0
    lost = Creation(uncertain=True, refused_at=NOW, retry_at=NOW + 15)
    assert [missing([record()], pods=[], creations={1: lost}, now=now) for now in (NOW, NOW - 3600)] == [
        [],
        [Sought(0, 1)],
    ]


FIRST = Creation(problem="QuotaExceeded", refused_at=NOW - 60, retry_at=NOW - 55, generation=1)
PROBED = Creation(problem="QuotaExceeded", refused_at=NOW, retry_at=NOW + 40, refusals=4, generation=1)


@pytest.mark.parametrize(
    ("there", "generation", "at"),
    [
        (pod(), 1, NOW + 40),
        (crashed(at=NOW), 1, 0),
        (crashed(at=NOW - 30), 1, NOW + 40),
        (pod(), 2, 0),
    ],
    ids=[
        "nothing has happened",
        "a pod has ended",
        "one had ended before somebody last asked",
        "the sweep was changed",
    ],
)
def test_a_quota_is_asked_for_all_by_what_the_last_one_was_told(there: PodView, generation: int, at: float) -> None:
    assert quota_retry_at([FIRST, PROBED], [there], generation=generation, now=NOW) == at
