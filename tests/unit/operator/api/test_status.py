from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from sweep_operator.api import Condition, Phase, Reclaim, ResumableSweep, ResumableSweepStatus

NOON = datetime(2026, 11, 22, 12, 0, 0, 987_654, tzinfo=UTC)


def test_nothing_is_written_of_what_is_not_known() -> None:
    assert ResumableSweepStatus().to_json() == {}
    assert ResumableSweepStatus(phase=Phase.PENDING, done=0).to_json() == {"phase": "Pending", "done": 0}


@pytest.mark.parametrize("moment", [NOON, NOON.astimezone(timezone(timedelta(hours=5)))])
def test_times_are_written_as_kubernetes_writes_them(moment: datetime) -> None:
    assert ResumableSweepStatus(start_time=moment).to_json() == {"startTime": "2026-11-22T12:00:00Z"}


def test_a_time_has_a_zone() -> None:
    with pytest.raises(ValidationError, match="timezone"):
        ResumableSweepStatus(start_time=NOON.replace(tzinfo=None))


def test_what_is_written_is_read_again() -> None:
    status = ResumableSweepStatus(
        phase=Phase.RUNNING,
        last_reclaim=Reclaim(time=NOON, shard=3, attempt=7, signal="NodeGone", items_safe=2, relaunch_seconds=0.5),
        reclaims_by_signal={"NodeGone": 1},
        conditions=[
            Condition(type="Complete", status="False", reason="Running", message="", last_transition_time=NOON)
        ],
    )
    written = status.to_json()
    assert written["lastReclaim"] == {
        "time": "2026-11-22T12:00:00Z",
        "shard": 3,
        "attempt": 7,
        "signal": "NodeGone",
        "itemsSafe": 2,
        "relaunchSeconds": 0.5,
    }
    assert ResumableSweepStatus.model_validate(written).to_json() == written


def test_an_assignment_is_checked() -> None:
    status = ResumableSweepStatus()
    with pytest.raises(ValidationError):
        status.done = -1
    assert status.done is None


def test_two_new_sweeps_share_no_status() -> None:
    body = {
        "metadata": {"name": "a"},
        "spec": {
            "shards": 1,
            "checkpoint": {"url": "gs://b", "file": "f"},
            "template": {"spec": {"containers": [{"name": "a", "image": "b"}]}},
        },
    }
    one, other = ResumableSweep.model_validate(body), ResumableSweep.model_validate(body)
    one.status.done = 5
    assert other.status.done is None
