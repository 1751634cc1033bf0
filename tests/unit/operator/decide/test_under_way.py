from __future__ import annotations

from typing import Any

import pytest
from builders import NOW, placed, pod, record, report, restore, snapshot, sweep

from resumable_sweep.contract.report import NoticeKind, Stage
from sweep_operator.decide import decide
from sweep_operator.decide.under_way import size_text, told
from sweep_operator.model.shard_record import ShardState
from sweep_operator.runtime.translation import lasting_part, status_manifest

GB = 10**9


def restoring(attempt: int, **fields: Any) -> Any:
    return report(attempt, stage=Stage.RESTORING, **fields)


def test_a_restore_is_told_in_the_condition_of_a_running_sweep() -> None:
    of = sweep([record(), record(1, ShardState.COMPLETE, attempt=2)])
    waiting = pod(phase="Pending", mains=(), **restore(None))
    reports = {1: restoring(1, restored_bytes=3_100_000_000, restore_bytes=12 * GB)}
    plan = decide(snapshot(of, waiting, reports=reports), NOW)
    complete = next(each for each in plan.status.conditions if each.type == "Complete")
    assert (complete.reason, complete.status) == ("Running", False)
    assert complete.message == "1 of 2 shards to go; shard 0 restoring 3.1 of 12 GB"
    assert plan.status.phase == "Running"
    assert next(each for each in plan.status.conditions if each.type == "Healthy").status


def test_several_restores_are_summed_up() -> None:
    records = [record(shard, attempt=shard + 1) for shard in range(3)]
    reports = {attempt: restoring(attempt, restored_bytes=GB, restore_bytes=2 * GB) for attempt in (1, 2, 3)}
    assert told(snapshot(sweep(records), reports=reports), records) == ["shards 0-2 restoring 3 of 6 GB"]


def test_a_restore_that_is_over_or_knows_no_size_is_not_told() -> None:
    records = [record()]
    over = snapshot(sweep(records), pod(), reports={1: restoring(1, restored_bytes=2, restore_bytes=2)})
    assert told(over, records) == []
    assert told(snapshot(sweep(records), reports={1: restoring(1)}), records) == []


def test_a_machine_that_is_about_to_go_is_told() -> None:
    notice = {"notice": NoticeKind.AZURE_PREEMPT, "noticed_at": NOW, "deadline": int(NOW) + 30}
    records = [placed(**notice, heir=2), placed(1, attempt=3, **notice), placed(2, attempt=4)]
    known = snapshot(sweep(records), pod(2, phase="Pending", mains=()))
    assert told(known, records) == ["shards 0-1 losing machines (AzurePreempt), 1 of 2 successors made"]
    assert told(snapshot(sweep(records)), [records[0].changed(heir_ended=True)]) == []
    assert told(snapshot(sweep(records)), [records[0].changed(deadline=0)]) == []


def test_how_far_a_restore_is_can_wait_to_be_written_but_a_notice_cannot() -> None:
    of = sweep([placed()])

    def lasting(*reports: Any) -> Any:
        status = decide(snapshot(of, pod(), reports=dict(enumerate(reports, 1))), NOW).status
        return lasting_part(status_manifest(status, of))

    near, far = (restoring(1, restored_bytes=done, restore_bytes=9) for done in (1, 5))
    assert lasting(near) == lasting(far)
    before, after = placed(notice=NoticeKind.EC2_REBALANCE, noticed_at=NOW), placed()
    tables = [lasting_part(status_manifest(sweep([each]).status, of)) for each in (before, after)]
    assert tables[0] != tables[1]


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 1, "0 of 1 bytes"),
        (400, 999, "400 of 999 bytes"),
        (2_500, 5_000, "2.5 of 5 kB"),
        (123_456_789, 999_000_000, "123 of 999 MB"),
        (500_000_000, 12_345_678_901, "0.5 of 12.3 GB"),
        (10**12, 2 * 10**12, "1 of 2 TB"),
    ],
)
def test_sizes_are_told_in_decimal_units(part: int, whole: int, text: str) -> None:
    assert size_text(part, whole) == text
