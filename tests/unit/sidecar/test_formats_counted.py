"""Records in the format that the specification names, from one attempt to the next."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from resumable_sweep.contract.report import Experiment, Stage
from unit.sidecar.pods import HEADER, Cluster, gmat, last_line, line, never

NAMED = "out/manifest.jsonl"


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    cluster = Cluster(tmp_path)
    cluster.progress, cluster.named = "Gmat", NAMED
    return cluster


def write(cluster: Cluster, attempt: int, data: bytes) -> None:
    target = cluster.folder / f"pod-{attempt}" / NAMED
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(data)


def append(cluster: Cluster, attempt: int, run_id: int, status: str) -> None:
    cluster.append(attempt, json.dumps({"run_id": run_id, "status": status}).encode() + b"\n", NAMED)


def test_runs_are_counted_on_through_mirrors_and_attempts(cluster: Cluster) -> None:
    first = cluster.pod(1)
    write(cluster, 1, gmat("ok", "failed", "skipped") + b'{"run_id": 3, "sta')
    first.look()
    assert (first.report.items_done, first.report.items_recorded) == (2, 2)
    again = cluster.mirror(1)
    assert again.report.items_done == 2
    write(cluster, 1, gmat("ok", "failed", "skipped"))
    append(cluster, 1, 1, "ok")
    again.look()
    assert (again.report.items_done, again.report.problem) == (3, "")
    assert cluster.restore(2).items == 3
    second = cluster.mirror(2)
    append(cluster, 2, 3, "ok")
    second.look()
    assert second.report.items_done == 4


def test_what_a_predecessor_recorded_must_not_get_lost(cluster: Cluster) -> None:
    first = cluster.pod(1)
    write(cluster, 1, gmat("ok", "ok"))
    first.look()
    second = cluster.pod(2)
    write(cluster, 2, gmat("ok"))
    second.look()
    assert (second.report.items_done, second.report.problem) == (2, "ProgressWentBackwards")
    append(cluster, 2, 1, "ok")
    second.look()
    assert (second.report.items_done, second.report.problem) == (2, "")


def test_a_run_that_went_back_to_failed_is_not_published(cluster: Cluster) -> None:
    writer = cluster.pod(1)
    write(cluster, 1, gmat("ok", "ok"))
    writer.look()
    append(cluster, 1, 1, "failed")
    writer.look()
    assert (writer.report.items_done, writer.report.problem) == (2, "ProgressWentBackwards")
    append(cluster, 1, 1, "ok")
    writer.look()
    assert (writer.report.items_done, writer.report.problem) == (2, "")


def test_a_damaged_line_stops_the_mirroring(cluster: Cluster) -> None:
    writer = cluster.pod(1)
    write(cluster, 1, gmat("ok"))
    writer.look()
    cluster.append(1, b'{"run_id": 1, "sta\n', NAMED)
    append(cluster, 1, 2, "ok")
    writer.look()
    assert (writer.report.items_done, writer.report.problem) == (1, "CheckpointInvalid")
    assert NAMED in writer.report.message
    assert cluster.kinds()[-1] == "gen"


def test_where_nothing_is_counted_files_are_stored_all_the_same(cluster: Cluster) -> None:
    cluster.progress, cluster.named, cluster.completion = "None", "results.jsonl", "ExitCode"
    writer = cluster.pod(1)
    cluster.append(1, HEADER + line(1) + last_line(1))
    writer.look()
    assert (writer.report.items_done, writer.report.items_recorded) == (0, 0)
    assert cluster.last_body()["progress"] == []
    writer.finish(lambda: Experiment.SUCCEEDED)
    assert (writer.report.stage, cluster.last_body()["proof"]) == (Stage.COMPLETE, "exit")


def test_another_format_s_files_do_not_count(cluster: Cluster) -> None:
    cluster.progress, cluster.named = "Mime", "results.jsonl"
    writer = cluster.pod(1)
    cluster.append(1, HEADER + line(1) + last_line(1))
    cluster.completion = "Recorded"
    writer.finish(lambda: Experiment.UNKNOWN)
    assert (writer.report.stage, writer.report.items_done) == (Stage.SEALED, 0)
    cluster.progress = "Sweep"
    second = cluster.pod(2)
    second.finish(never)
    assert (second.report.stage, second.report.items_done) == (Stage.COMPLETE, 1)
