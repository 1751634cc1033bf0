from __future__ import annotations

from typing import Any

import pytest
from builders import NOW, pod, record

from sweep_operator.decide.missing import CACHE_LAG_SECONDS, LONGEST_LAG_SECONDS, Sought, missing
from sweep_operator.model.observed import Creation
from sweep_operator.model.shard_record import ShardState

S = ShardState


@pytest.mark.parametrize(
    ("state", "pods", "creation", "asked"),
    [
        (S.ACTIVE, (pod(),), None, False),
        (S.ACTIVE, (), None, True),
        (S.LEAVING, (), None, True),
        (S.STOPPING, (), None, True),
        (S.WAITING, (), None, False),
        (S.COMPLETE, (), None, False),
        (S.ACTIVE, (), Creation(created_at=NOW), False),
        (S.ACTIVE, (), Creation(created_at=NOW - CACHE_LAG_SECONDS), True),
        (S.ACTIVE, (), Creation(created_at=NOW, seen=True), True),
        (S.ACTIVE, (), Creation(retry_at=NOW), False),
        (S.STOPPING, (), Creation(retry_at=NOW), True),
        (S.ACTIVE, (), Creation(uncertain=True, retry_at=NOW + 1), False),
        (S.ACTIVE, (), Creation(uncertain=True, retry_at=NOW), True),
    ],
    ids=[
        "not for a pod that the cache shows",
        "for an attempt of another process",
        "for a leaving attempt",
        "for a stopping attempt",
        "not for a waiting shard",
        "not for a complete one",
        "not just after its creation",
        "when the cache should show it",
        "when the cache shows it no more",
        "not while a refused creation is to be tried again",
        "where a refused creation is not to be tried again",
        "not at once where the answer was lost",
        "after a while where the answer was lost",
    ],
)
def test_the_api_server_is_asked(state: S, pods: Any, creation: Creation | None, asked: bool) -> None:
    current = record(0, state, attempt=1)
    creations = {} if creation is None else {1: creation}
    assert missing([current], pods=pods, creations=creations, now=NOW) == ([Sought(0, 1)] if asked else [])


@pytest.mark.parametrize(
    ("cached_to", "age", "asked"),
    [
        (7, CACHE_LAG_SECONDS, True),
        (6, CACHE_LAG_SECONDS, False),
        (6, LONGEST_LAG_SECONDS, True),
        (0, CACHE_LAG_SECONDS, True),
    ],
    ids=["where the cache has come so far", "not where it is behind", "where it stays behind", "where nobody knows"],
)
def test_the_api_server_is_asked_after_a_created_pod(cached_to: int, age: float, asked: bool) -> None:
    creations = {1: Creation(created_at=NOW - age, version=7)}
    found = missing([record(0, S.ACTIVE, attempt=1)], pods=(), creations=creations, now=NOW, cached_to=cached_to)
    assert found == ([Sought(0, 1)] if asked else [])
