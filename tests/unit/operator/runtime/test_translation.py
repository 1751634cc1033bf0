from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from builders import NODE, NOW, UID, manifest, placed, record, report, sweep
from hypothesis import given
from hypothesis import strategies as st

from resumable_sweep.contract.report import parsed_report
from sweep_operator import api
from sweep_operator.model.reclaim import Reclaim
from sweep_operator.model.shard_record import ShardState
from sweep_operator.model.signals import Signal
from sweep_operator.model.snapshot import Condition, Keep, Merged, SweepStatus
from sweep_operator.runtime.translation import lasting_part, status_manifest, status_of, sweep_of

HEALTHY = Condition(type="Healthy", status=True, reason="AsExpected", message="", since=NOW)


def there_and_back(status: SweepStatus) -> SweepStatus:
    of = sweep(status.records)
    written = api.ResumableSweepStatus.model_validate(status_manifest(status, of))
    return status_of(written, shards=len(status.records))


def test_the_specification_with_all_defaults() -> None:
    read = sweep_of(manifest())
    assert (read.namespace, read.name, read.uid, read.deleting) == ("ns", "lr", UID, False)
    spec = read.spec
    assert (spec.run_id, spec.shards, spec.parallelism, spec.suspend) == (UID, 2, 2, False)
    assert (spec.has_items, spec.user_failures, spec.interval_seconds) == (False, 3, 10)
    assert (spec.flush_seconds, spec.keep) == (300, None)
    assert read.status == SweepStatus(records=(record(0, ShardState.WAITING), record(1, ShardState.WAITING)))


def test_the_specification_with_all_fields() -> None:
    spec = sweep_of(
        manifest(
            runId="grid-1",
            parallelism=1,
            suspend=True,
            items={"list": [1]},
            budgets={"userFailures": 0},
            checkpoint={
                "url": "gs://b",
                "file": "r.jsonl",
                "interval": "1m30s",
                "flushTimeout": "20s",
                "keep": {"generations": 5, "after": "36h"},
            },
        )
    ).spec
    assert (spec.run_id, spec.parallelism, spec.suspend, spec.has_items) == ("grid-1", 1, True, True)
    assert (spec.user_failures, spec.interval_seconds, spec.flush_seconds) == (0, 90, 20)
    assert spec.keep == Keep(generations=5, after_seconds=36 * 3600)


def test_what_is_kept_is_kept_for_a_week() -> None:
    spec = sweep_of(manifest(checkpoint={"url": "gs://b", "file": "r", "keep": {"generations": 1}})).spec
    assert spec.keep == Keep(generations=1, after_seconds=7 * 24 * 3600)


@pytest.mark.parametrize(
    ("allowed", "may_drift"), [([], False), (["Program"], False), (["Program", "Images"], True), (["All"], True)]
)
def test_images_may_drift_where_that_is_allowed(allowed: list[str], may_drift: bool) -> None:
    assert sweep_of(manifest(allowDrift=allowed)).spec.images_may_drift is may_drift


def test_a_sweep_that_is_being_deleted() -> None:
    deleted = manifest()
    deleted["metadata"]["deletionTimestamp"] = "2026-10-01T12:00:00Z"
    assert sweep_of(deleted).deleting


def test_a_full_status_reads_back() -> None:
    status = SweepStatus(
        phase="Complete",
        attempts=9,
        items_total=12,
        items_sha256="abc",
        done=12,
        running=1,
        lost=2,
        eta="3m20s",
        started_at=NOW,
        completed_at=NOW + 60,
        merged=Merged(url="u", sha256="s", items=12, provenance_url="p"),
        reclaims_by_signal={"NodeGone": 2},
        last_reclaim=Reclaim(
            time=NOW, node="n", shard=1, attempt=4, signal=Signal.NODE_GONE, items_safe=3, relaunch_seconds=0.4
        ),
        records=(placed(done=3), record(1, ShardState.COMPLETE, attempt=9, done=9, recorded=9)),
        images={"r/main:1": ("sha256:a", "sha256:b")},
        conditions=(HEALTHY,),
    )
    assert there_and_back(status) == status
    assert status_manifest(status, sweep(status.records))["reclaims"] == 2


@given(
    attempts=st.integers(0, 10**6),
    total=st.none() | st.integers(0, 10**6),
    done=st.integers(0, 10**6),
    started=st.none() | st.integers(0, 2_000_000_000).map(float),
    signals=st.dictionaries(st.sampled_from([signal.value for signal in Signal if signal]), st.integers(1, 99)),
)
def test_any_status_reads_back(
    attempts: int, total: int | None, done: int, started: float | None, signals: dict[str, int]
) -> None:
    status = SweepStatus(
        attempts=attempts,
        items_total=total,
        done=done,
        started_at=started,
        reclaims_by_signal=signals,
        records=(placed(attempt=max(1, attempts)),),
    )
    assert there_and_back(status) == status


def test_shards_are_told_as_ranges_for_people() -> None:
    states = [ShardState.COMPLETE, ShardState.COMPLETE, ShardState.LEAVING, ShardState.WAITING, ShardState.FAILED]
    records = [record(shard, state) for shard, state in enumerate(states)]
    written = status_manifest(SweepStatus(records=tuple(records)), sweep(records))
    assert written["shards"] == {"complete": "0-1", "running": "2", "waiting": "3", "failed": "4"}


@pytest.mark.parametrize(
    ("reason", "written"),
    [("StoreUnreachable", "StoreUnreachable"), ("not a reason", "Other"), ("", "Other"), ("9Lives", "Other")],
    ids=["a word", "words", "nothing", "a number first"],
)
def test_a_reason_from_outside_cannot_make_the_status_invalid(reason: str, written: str) -> None:
    status = SweepStatus(records=(record(),), conditions=(replace(HEALTHY, reason=reason, message="x" * 5000),))
    (condition,) = status_manifest(status, sweep())["conditions"]
    assert condition["reason"] == written
    assert len(condition["message"]) == 1024


def test_words_from_outside_that_have_no_form_in_utf_8_are_written_as_their_escapes() -> None:
    """A program's keys may be any JSON texts, and a sidecar names the keys that it misses."""
    said = parsed_report({**asdict(report()), "message": json.loads(r'"\ud800 \u00e9"')}).message
    status = SweepStatus(records=(record(),), conditions=(replace(HEALTHY, message=said),))
    (condition,) = status_manifest(status, sweep())["conditions"]
    assert condition["message"] == "\\ud800 \u00e9"


def written_with(**fields: Any) -> dict[str, Any]:
    records = fields.pop("records", (placed(),))
    return status_manifest(SweepStatus(records=records, **fields), sweep(records))


@pytest.mark.parametrize(
    "change",
    [
        {"done": 5},
        {"eta": "5s"},
        {"running": 1},
        {"items_total": 7},
        {"records": (placed(done=5, recorded=6, base=1),)},
    ],
    ids=["items done", "the estimate", "pods", "the total", "a shard's counts"],
)
def test_what_moves_all_the_time_can_wait(change: dict[str, Any]) -> None:
    assert lasting_part(written_with(**change)) == lasting_part(written_with())


@pytest.mark.parametrize(
    "change",
    [
        {"attempts": 3},
        {"lost": 1},
        {"reclaims_by_signal": {"NodeGone": 1}},
        {"conditions": (HEALTHY,)},
        {"records": (placed(attempt=2),)},
        {"records": (placed(state=ShardState.LEAVING),)},
        {"records": (placed(signal=Signal.NODE_GONE),)},
        {"items_sha256": "abc"},
    ],
    ids=["attempts", "losses", "reclaims", "conditions", "an attempt", "a state", "a signal", "the items"],
)
def test_what_must_survive_a_restart_cannot(change: dict[str, Any]) -> None:
    assert lasting_part(written_with(**change)) != lasting_part(written_with())


def test_how_long_a_relaunch_took_can_wait() -> None:
    last = Reclaim(time=NOW, node=NODE, shard=0, attempt=1, signal=Signal.NODE_GONE, items_safe=3)
    told = lasting_part(written_with(last_reclaim=last))
    assert lasting_part(written_with(last_reclaim=replace(last, relaunch_seconds=1.5))) == told
    assert lasting_part(written_with(last_reclaim=replace(last, attempt=2))) != told
    assert lasting_part(written_with()) != told


def test_a_large_table_is_compared_by_what_lasts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweep_operator.model.shard_record.PACKED_FROM_CHARACTERS", -1)
    assert lasting_part(written_with(records=(placed(done=5),))) == lasting_part(written_with())
    assert lasting_part(written_with(records=(placed(attempt=2),))) != lasting_part(written_with())
