from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from resumable_sweep._statistics import (
    LabelInvalid,
    Stats,
    metrics_text,
    read_statistics,
    statistics_path,
    write_metrics,
    write_statistics,
)

STATS = Stats(
    total=100,
    completed=40,
    failed=3,
    skipped=5,
    in_progress=2,
    missing=50,
    replayed=30,
    recorded=10,
    removed=1,
    resumes=4,
    fall_backs=1,
    seconds=20.0,
    seconds_saved=61.5,
)


def test_rate_and_what_is_left_follow_from_this_run_alone() -> None:
    assert STATS.rate == 0.5
    assert STATS.eta_s == 110.0
    assert replace(STATS, recorded=0).eta_s is None
    assert replace(STATS, seconds=0.0).rate == 0.0
    assert replace(STATS, total=None).eta_s is None
    assert replace(STATS, total=45, recorded=0).eta_s == 0.0


def test_the_file_holds_every_number(tmp_path: Path) -> None:
    log = tmp_path / "results.jsonl"
    log.write_bytes(b"x" * 17)
    write_statistics(log, STATS, {"run_id": "ä"})
    content = json.loads(statistics_path(log).read_text())
    assert content == {
        "schema_version": 1,
        "log_size_bytes": 17,
        **json.loads(STATS.to_json()),
        "extra": {"run_id": "ä"},
    }
    assert (content["completed"], content["rate"], content["eta_s"]) == (40, 0.5, 110.0)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["results.jsonl", "results.jsonl.stats.json"]


@pytest.mark.parametrize("stats", [STATS, replace(STATS, total=None)], ids=["total", "no total"])
def test_it_is_read_back_while_it_speaks_of_the_log(tmp_path: Path, stats: Stats) -> None:
    log = tmp_path / "results.jsonl"
    assert read_statistics(log) is None
    log.write_bytes(b"x")
    write_statistics(log, stats)
    assert read_statistics(log) == stats
    log.write_bytes(b"xx")
    assert read_statistics(log) is None


@pytest.mark.parametrize("old", [b'"completed": 40', b'"total": 100', b"{", b'"log_size_bytes": 1'])
@pytest.mark.parametrize("new", [b"", b'"x": 1', b'"completed": true', b'"total": "a"', b"\xff"])
def test_a_file_that_is_damaged_is_as_good_as_none(tmp_path: Path, old: bytes, new: bytes) -> None:
    log = tmp_path / "results.jsonl"
    log.write_bytes(b"x")
    write_statistics(log, STATS)
    data = statistics_path(log).read_bytes()
    assert old in data
    statistics_path(log).write_bytes(data.replace(old, new, 1))
    # Without its total it reads as one that nobody knew.
    assert read_statistics(log) in (None, replace(STATS, total=None))


def test_prometheus_reads_every_metric(tmp_path: Path) -> None:
    labels = {"run_id": '3f"0\\c\n', "shard": "2"}
    write_metrics(tmp_path / "sweep.prom", STATS, labels)
    text = (tmp_path / "sweep.prom").read_text()
    assert text == metrics_text(STATS, labels)
    found = {}
    for family in text_string_to_metric_families(text):
        assert (family.type, bool(family.documentation)) == ("gauge", True)
        for sample in family.samples:
            own = dict(sample.labels)
            assert {name: own.pop(name) for name in labels} == labels
            found[sample.name.removeprefix("resumable_sweep_"), own.pop("state", None)] = sample.value
            assert not own
    assert found == {
        ("items", "completed"): 40,
        ("items", "failed"): 3,
        ("items", "skipped"): 5,
        ("items", "in_progress"): 2,
        ("items", "missing"): 50,
        ("items_replayed", None): 30,
        ("resumes", None): 4,
        ("fall_backs", None): 1,
        ("seconds_saved", None): 61.5,
    }
    assert [file.name for file in tmp_path.iterdir()] == ["sweep.prom"]


def test_without_labels_it_is_read_as_well() -> None:
    families = text_string_to_metric_families(metrics_text(STATS, {}))
    assert sum(len(family.samples) for family in families) == 9


@pytest.mark.parametrize("name", ["", "a-b", "1a", "state", "__name__", "a\n", "ä"])
def test_a_label_that_prometheus_would_refuse_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(LabelInvalid, match="cannot be the name of a label"):
        write_metrics(tmp_path / "sweep.prom", STATS, {name: "x"})
    assert list(tmp_path.iterdir()) == []
