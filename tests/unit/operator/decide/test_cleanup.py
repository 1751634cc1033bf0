from __future__ import annotations

from typing import Any

import pytest
from builders import chore, crashed, ended, pod, record

from sweep_operator.decide.cleanup import LOST_GRACE_SECONDS, STOP_GRACE_SECONDS, deletions
from sweep_operator.model.observed import PodView, Role
from sweep_operator.model.shard_record import ShardRecord, ShardState
from sweep_operator.model.signals import Signal
from sweep_operator.model.snapshot import SweepStatus

S = ShardState
KEPT = 3


def deleted(*pods: PodView, records: list[ShardRecord], over: bool = False, **status: Any) -> list[tuple[str, Any]]:
    due = deletions(pods, SweepStatus(records=tuple(records), **status), over=over, keep_pods=KEPT)
    return [(deletion.pod.uid, deletion.grace_seconds) for deletion in due]


@pytest.mark.parametrize("state", [S.ACTIVE, S.LEAVING], ids=["active", "leaving"])
def test_a_current_attempt_keeps_its_pod_even_when_it_has_ended(state: S) -> None:
    assert deleted(pod(), records=[record(0, state)]) == []
    assert deleted(crashed(), records=[record(0, state)]) == []


def test_a_stopped_attempt_gets_time_to_flush() -> None:
    assert deleted(pod(), records=[record(0, S.STOPPING)]) == [("pod-0-1", STOP_GRACE_SECONDS)]


@pytest.mark.parametrize(
    "now", [record(0, S.COMPLETE), record(0, S.WAITING, attempt=1), record(0, attempt=2)], ids=["done", "ended", "next"]
)
def test_a_pod_whose_verdict_stands_is_deleted(now: ShardRecord) -> None:
    assert deleted(pod(), records=[now]) == [("pod-0-1", STOP_GRACE_SECONDS)]


@pytest.mark.parametrize("signal", [Signal.NODE_SILENT, Signal.NODE_UNREACHABLE])
@pytest.mark.parametrize("now", [record(0, S.WAITING, attempt=1), record(0, attempt=2)], ids=["ended", "next"])
def test_a_pod_that_nobody_may_confirm_the_end_of_is_soon_off_the_quota(now: ShardRecord, signal: Signal) -> None:
    assert deleted(pod(), records=[now.changed(signal=signal)]) == [("pod-0-1", LOST_GRACE_SECONDS)]
    assert 0 < LOST_GRACE_SECONDS < STOP_GRACE_SECONDS


def test_what_is_being_deleted_is_let_be() -> None:
    assert deleted(pod(deleted=True), records=[record(0, S.COMPLETE)]) == []


def test_a_pod_of_no_shard_is_deleted() -> None:
    assert deleted(pod(shard=7), records=[record()]) == [("pod-7-1", STOP_GRACE_SECONDS)]


def test_the_last_failed_pods_stay() -> None:
    pods = [crashed(attempt=attempt) for attempt in (4, 1, 3, 5, 2)]
    gone = deleted(*pods, records=[record(0, S.FAILED, attempt=5)])
    assert gone == [("pod-0-1", None), ("pod-0-2", None)]
    assert len(pods) - len(gone) == KEPT


def test_a_failed_init_container_is_worth_a_look_too() -> None:
    failed = pod(phase="Failed", mains=(), inits=(ended(1, name="prepare"),))
    assert deleted(failed, records=[record(0, S.FAILED)]) == []


@pytest.mark.parametrize(
    "fields",
    [{"disruption": "TerminationByKubelet", "mains": (ended(143),)}, {"reason": "OutOfcpu", "mains": ()}],
    ids=["reclaimed", "rejected"],
)
def test_failed_pods_that_did_not_fail_by_themselves_are_deleted(fields: Any) -> None:
    assert len(deleted(pod(phase="Failed", **fields), records=[record(0, S.WAITING, attempt=1)])) == 1


@pytest.mark.parametrize(
    ("code", "signal", "goes"),
    [
        (143, Signal.GCE_PREEMPTED, True),
        (137, Signal.NODE_GONE, True),
        (1, Signal.GCE_PREEMPTED, False),
        (143, Signal.CONTAINER_KILLED, False),
    ],
    ids=["stopped for a notice", "killed with its node", "an earlier crash", "killed, nobody knows by whom"],
)
def test_a_pod_that_a_signal_ended_is_kept_only_where_it_was_no_reclaim(code: int, signal: Signal, goes: bool) -> None:
    for now in (record(0, S.WAITING, attempt=1, signal=signal), record(0, attempt=2, signal=signal)):
        assert bool(deleted(crashed(code), records=[now])) is goes


def test_the_resolving_pod_is_deleted_once_its_result_stands() -> None:
    assert deleted(chore(Role.RESOLVE), records=[record()]) == []
    assert deleted(chore(Role.RESOLVE), records=[record()], items_sha256="0") == [("pod-resolve", None)]


def test_the_merging_pod_is_deleted_at_the_end() -> None:
    assert deleted(chore(Role.MERGE), records=[record(0, S.COMPLETE)]) == []
    assert deleted(chore(Role.MERGE), records=[record(0, S.COMPLETE)], over=True) == [("pod-merge", None)]
