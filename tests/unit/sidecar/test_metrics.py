from __future__ import annotations

import re

import pytest

from resumable_sweep.contract.report import Report, Stage
from sweep_sidecar.mirror.metrics import Metrics

REPORT = Report(run_id="run", shard=0, attempt=1, sequence=0, stage=Stage.MIRRORING)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def metrics(clock: Clock) -> Metrics:
    return Metrics(monotonic=clock)


def samples(metrics: Metrics) -> dict[str, float]:
    lines = [line for line in metrics.text().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_every_sample_has_its_help_and_type_right_before_it(metrics: Metrics) -> None:
    metrics.note_report(Report(**{**vars(REPORT), "items_total": 3, "problem": "StoreUnreachable"}))
    metrics.note_call("get", "ok", seconds=1.0)
    metrics.note_look(held=True, seconds=1.0)
    text = metrics.text()
    assert text.endswith("\n")
    family = ""
    for line in text.splitlines():
        if match := re.fullmatch(r"# (HELP|TYPE) (\w+) .+", line):
            family = match[2]
            continue
        assert re.fullmatch(rf'{family}(\{{\w+="\w+"(,\w+="\w+")*\}})? [0-9.e+-]+', line), line


def test_the_generation_that_an_attempt_starts_from_is_none_of_its_own(metrics: Metrics, clock: Clock) -> None:
    metrics.note_report(Report(**{**vars(REPORT), "generation": 7}))
    found = samples(metrics)
    assert found["resumable_sweep_mirror_generations_total"] == 0
    assert "resumable_sweep_mirror_generation_age_seconds" not in found
    clock.now = 10
    metrics.note_report(Report(**{**vars(REPORT), "generation": 8, "items_done": 4}))
    metrics.note_report(Report(**{**vars(REPORT), "generation": 8, "items_done": 4, "items_recorded": 5}))
    clock.now = 12.5
    found = samples(metrics)
    assert found["resumable_sweep_mirror_generations_total"] == 1
    assert found["resumable_sweep_mirror_generation_age_seconds"] == 2.5
    assert found["resumable_sweep_mirror_items_done"] == 4
    assert found["resumable_sweep_mirror_items_recorded"] == 5
    assert "resumable_sweep_mirror_items" not in found


def test_calls_are_counted_by_what_came_of_them(metrics: Metrics) -> None:
    metrics.note_call("create", "created", seconds=0.5, size=100)
    metrics.note_call("create", "exists", seconds=0.25)
    metrics.note_call("get", "unreachable", seconds=60)
    found = samples(metrics)
    prefix = "resumable_sweep_mirror_store"
    assert found[f'{prefix}_calls_total{{call="create",outcome="created"}}'] == 1
    assert found[f'{prefix}_calls_total{{call="create",outcome="exists"}}'] == 1
    assert found[f'{prefix}_calls_total{{call="get",outcome="unreachable"}}'] == 1
    assert found[f'{prefix}_call_seconds_total{{call="create"}}'] == 0.75
    assert found["resumable_sweep_mirror_stored_bytes_total"] == 100


def test_a_problem_is_there_for_as_long_as_it_lasts(metrics: Metrics) -> None:
    metrics.note_report(Report(**{**vars(REPORT), "problem": "StoreUnreachable"}))
    assert samples(metrics)['resumable_sweep_mirror_problem{reason="StoreUnreachable"}'] == 1
    metrics.note_report(REPORT)
    assert not [name for name in samples(metrics) if "problem" in name]


def test_the_longest_look_is_kept(metrics: Metrics) -> None:
    metrics.note_look(held=True, seconds=9.0)
    metrics.note_look(held=False, seconds=2.0)
    found = samples(metrics)
    assert found["resumable_sweep_mirror_look_seconds"] == 2
    assert found["resumable_sweep_mirror_longest_look_seconds"] == 9
    assert found['resumable_sweep_mirror_looks_total{outcome="unreachable"}'] == 1
