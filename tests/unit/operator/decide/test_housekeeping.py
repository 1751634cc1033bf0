from __future__ import annotations

from typing import Any

import pytest
from builders import NOW, chore, node, snapshot, sweep

from resumable_sweep.contract.outcome import Exit, Outcome
from sweep_operator.decide.housekeeping import Housekeeping, merge, resolve
from sweep_operator.decide.missing import CACHE_LAG_SECONDS
from sweep_operator.model.observed import Creation, PodView, Role
from sweep_operator.model.plan import CreateHousekeeping, DeletePod
from sweep_operator.model.snapshot import Merged

RESOLVED = Outcome("Resolved", "", {"items": 12, "items_sha256": "abc"})
MERGED = Outcome("Merged", "", {"url": "gs://m", "sha256": "def", "items": 12, "provenance_url": "gs://p"})
TROUBLE = Outcome("StoreUnreachable", "no answer", {})


def resolving(*pods: PodView, **fields: Any) -> Housekeeping:
    of = sweep(has_items=True)
    return resolve(of.status, snapshot(of, *pods, **fields), now=NOW)


def grace(result: Housekeeping) -> list[int | None]:
    return [action.grace_seconds for action in result.actions if isinstance(action, DeletePod)]


@pytest.mark.parametrize(
    ("creation", "created", "again_at"),
    [
        (None, True, NOW + 1),
        (Creation(created_at=NOW), False, NOW + CACHE_LAG_SECONDS),
        (Creation(retry_at=NOW + 9, problem="QuotaExceeded"), False, NOW + 9),
        (Creation(retry_at=NOW, problem="QuotaExceeded"), True, NOW + 1),
    ],
    ids=["never asked for", "on its way", "refused a moment ago", "refused a while ago"],
)
def test_a_pod_is_made(creation: Creation | None, created: bool, again_at: float) -> None:
    result = resolving(housekeeping={} if creation is None else {"resolve": creation})
    assert result.actions == ((CreateHousekeeping(role=Role.RESOLVE),) if created else ())
    assert result.again_at == again_at


def test_items_are_resolved() -> None:
    result = resolving(chore(Role.RESOLVE, phase="Succeeded", code=0, outcome=RESOLVED))
    assert (result.status.items_total, result.status.items_sha256) == (12, "abc")
    assert [event.reason for event in result.events] == ["ItemsResolved"]
    assert grace(result) == [None]


def test_results_are_merged() -> None:
    of = sweep()
    done = chore(Role.MERGE, phase="Succeeded", code=0, outcome=MERGED)
    result = merge(of.status, snapshot(of, done), now=NOW)
    assert result.status.merged == Merged(url="gs://m", sha256="def", items=12, provenance_url="gs://p")
    assert result.status.done == 12
    assert [event.message for event in result.events] == ["12 results in gs://m"]


def test_skipped_items_are_done_with_and_open_ones_spoken_of() -> None:
    of = sweep()
    details = {**MERGED.details, "items": 10, "skipped": 2, "skipped_url": "gs://s", "open": 3}
    done = chore(Role.MERGE, phase="Succeeded", code=0, outcome=Outcome("Merged", "", details))
    result = merge(of.status, snapshot(of, done), now=NOW)
    assert result.status.done == 12
    assert result.status.merged == Merged(url="gs://m", sha256="def", items=10, provenance_url="gs://p")
    expected = "10 results in gs://m; the program has skipped 2 items, they are in gs://s; "
    expected += "3 items have no result, their shards are complete by exit code alone"
    assert [event.message for event in result.events] == [expected]


@pytest.mark.parametrize("code", [Exit.ITEMS_INVALID, Exit.ITEMS_CHANGED, Exit.USAGE, Exit.DUPLICATE_KEYS])
def test_what_trying_again_cannot_mend_fails_the_sweep(code: Exit) -> None:
    result = resolving(chore(Role.RESOLVE, code=code, outcome=Outcome("ItemsInvalid", "same key twice", {})))
    assert result.failure is not None
    assert result.failure.message == "same key twice"


def test_a_failure_without_words_is_named_by_its_exit_code() -> None:
    result = resolving(chore(Role.RESOLVE, code=Exit.ITEMS_INVALID))
    assert result.failure == Outcome("ITEMS_INVALID", "resolve exited 65", {})


def test_a_passing_failure_is_told_and_left_to_the_kubelet() -> None:
    result = resolving(chore(Role.RESOLVE, code=Exit.STORE_UNREACHABLE, outcome=TROUBLE))
    assert (result.actions, result.failure, result.trouble) == ((), None, TROUBLE)


def test_a_pod_that_has_ended_without_a_result_is_removed_to_be_made_again() -> None:
    assert grace(resolving(chore(Role.RESOLVE, phase="Failed", reason="Evicted"))) == [None]
    assert grace(resolving(chore(Role.RESOLVE, phase="Succeeded", code=0))) == [None]


def test_a_result_of_another_version_is_told_not_thrown_away() -> None:
    result = resolving(chore(Role.RESOLVE, phase="Succeeded", code=0, outcome=Outcome("Resolved", "", {"n": 1})))
    assert result.trouble is not None
    assert result.trouble.reason == "OutcomeUnreadable"
    assert result.actions == ()
    of = sweep()
    odd = chore(Role.MERGE, phase="Succeeded", code=0, outcome=RESOLVED)
    assert merge(of.status, snapshot(of, odd), now=NOW).trouble is not None


@pytest.mark.parametrize("deleted", [False, True], ids=["running", "being deleted"])
@pytest.mark.parametrize("nodes", [[], [node(ready="Unknown", ready_since=NOW - 60)]], ids=["gone", "silent for long"])
def test_a_pod_whose_node_is_dead_is_forced_away(nodes: Any, deleted: bool) -> None:
    assert grace(resolving(chore(Role.RESOLVE, deleted=deleted), nodes=nodes)) == [0]


def test_a_pod_on_a_silent_node_is_looked_at_again() -> None:
    result = resolving(chore(Role.RESOLVE), nodes=[node(ready="Unknown", ready_since=NOW - 10)])
    assert (result.actions, result.again_at) == ((), NOW + 50)


def test_a_pod_that_is_being_deleted_keeps_its_name_until_it_is_gone() -> None:
    result = resolving(chore(Role.RESOLVE, deleted=True), housekeeping={})
    assert result.actions == ()


def test_a_result_counts_even_if_its_pod_is_being_deleted() -> None:
    result = resolving(chore(Role.RESOLVE, phase="Succeeded", code=0, outcome=RESOLVED, deleted=True))
    assert result.status.items_sha256 == "abc"
    assert result.actions == ()


def test_a_pod_that_waits_for_a_node_is_let_be() -> None:
    result = resolving(chore(Role.RESOLVE, phase="Pending", node=""), nodes=[])
    assert result == Housekeeping(status=sweep().status)


def test_what_a_merge_has_found_counts_no_more_once_its_pod_is_being_deleted() -> None:
    # Failed shards were retried since, and have come to their end: that pod has merged without them.
    of = sweep()
    before = chore(Role.MERGE, phase="Succeeded", code=0, outcome=MERGED, deleted=True)
    result = merge(of.status, snapshot(of, before), now=NOW)
    assert (result.status.merged, result.failure, result.actions) == (None, None, ())
    failed = chore(Role.MERGE, code=Exit.DUPLICATE_KEYS, deleted=True)
    assert merge(of.status, snapshot(of, failed), now=NOW).failure is None
    assert grace(merge(of.status, snapshot(of, before, nodes=[]), now=NOW)) == [0]
