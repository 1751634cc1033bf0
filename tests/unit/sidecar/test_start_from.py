"""A run that starts from another one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sweep_sidecar import layout
from sweep_sidecar.log.shard_log import LogReader
from sweep_sidecar.restore import Restored, SourceInvalid, restored_attempt
from sweep_sidecar.store import Store, Unreachable
from unit.sidecar.memory_store import MemoryStore
from unit.sidecar.pods import FOLDER, HEADER, Cluster, line

URL = "gs://bucket/ns/sweep/run"
RUN_FOLDER = FOLDER
"""The shard's folder in the run that is started from, whose run id is `run` too."""


class Elsewhere(MemoryStore):
    @property
    def url(self) -> str:
        return URL


@pytest.fixture
def source(tmp_path: Path) -> Cluster:
    (tmp_path / "source").mkdir()
    return Cluster(tmp_path / "source")


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    (tmp_path / "here").mkdir()
    return Cluster(tmp_path / "here")


def restored(
    cluster: Cluster, attempt: int, source: Cluster, *, fault: Callable[[str, str], str | None] = lambda call, key: None
) -> Restored:
    def open_run(url: str) -> Store:
        assert url == URL
        store = Elsewhere(source.objects)
        store.fault = fault
        return store

    settings = replace(cluster.settings(attempt), start_from=URL)
    return restored_attempt(cluster.store, settings, nonce=cluster.nonce, clock=lambda: 1.0, open_run=open_run)


def log_of(cluster: Cluster, attempt: int) -> bytes:
    return (cluster.folder / f"pod-{attempt}" / "results.jsonl").read_bytes()


def three_records(source: Cluster) -> None:
    writer = source.pod(1)
    for number in range(3):
        source.append(1, (b"" if number else HEADER) + line(number))
        (source.folder / "pod-1" / "big").write_bytes(bytes([number]) * 100_000)
        writer.look()


def test_a_shard_without_anything_of_its_own_starts_from_the_other_run(cluster: Cluster, source: Cluster) -> None:
    three_records(source)
    there = dict(source.objects)
    found = restored(cluster, 1, source)
    assert (found.generation, found.items, found.source, found.problem) == (None, 3, URL, "")
    assert log_of(cluster, 1) == log_of(source, 1)
    body = cluster.last_body()
    assert body == {"generation": None, "skipped": [], "source": {"url": URL, "generation": 4}}
    writer = cluster.mirror(1)
    assert writer.report.items_restored == 3
    cluster.append(1, line(3))
    writer.look()
    assert source.objects == there
    # From now on the shard has its own, and needs the other run no more.
    second = restored(cluster, 2, Cluster(source.folder))
    assert (second.generation, second.items, second.source) == (2, 4, "")
    assert log_of(cluster, 2) == log_of(cluster, 1)


def test_a_shard_that_stored_nothing_there_starts_afresh(cluster: Cluster, source: Cluster) -> None:
    source.pod(1)
    found = restored(cluster, 1, source)
    assert (found.generation, found.items, found.source) == (None, 0, "")
    assert cluster.last_body() == {"generation": None, "skipped": []}


def test_damage_there_is_passed_over_and_said(cluster: Cluster, source: Cluster) -> None:
    three_records(source)
    newest = LogReader(source.store, RUN_FOLDER).read(4).entry
    del source.objects[newest.body["files"]["big"]["segments"][0]["blob"]]
    found = restored(cluster, 1, source)
    assert (found.items, found.problem) == (2, "CheckpointFellBack")
    assert URL in found.message or "generation 3" in found.message


def test_what_cannot_be_read_there_is_no_fresh_start(cluster: Cluster, source: Cluster) -> None:
    three_records(source)
    with pytest.raises(Unreachable):
        restored(cluster, 1, source, fault=lambda call, key: "lost" if call == "get" else None)
    assert "base" not in cluster.kinds()


def test_a_folder_without_a_run_is_a_mistake(cluster: Cluster, source: Cluster) -> None:
    with pytest.raises(SourceInvalid, match=f"resumeFrom is {URL}, where there is no run: name the folder of one"):
        restored(cluster, 1, source)


def test_a_run_of_another_shape_is_refused(cluster: Cluster, source: Cluster) -> None:
    three_records(source)
    key = layout.run_key(0)
    fields = json.loads(source.objects[key]) | {"shards": 3}
    del fields["record_sha256"]
    source.objects[key] = json.dumps(fields).encode()
    with pytest.raises(SourceInvalid, match="a run of 3 shards, and this one has 1"):
        restored(cluster, 1, source)


def test_what_the_other_run_gives_up_while_it_is_read_is_no_damage(source: Cluster, cluster: Cluster) -> None:
    """The other run goes on: retention deletes the blobs that its new generations have left behind."""
    writer = source.pod(1)
    source.append(1, HEADER + line(0))
    (source.folder / "pod-1" / "big").write_bytes(b"0" * 70_000)
    writer.look()
    first = {key for key in source.objects if key.startswith("blobs/")}

    def fault(call: str, key: str) -> str | None:
        if call == "get" and key in first and key in source.objects:
            (source.folder / "pod-1" / "big").write_bytes(b"1" * 70_000)
            writer.look()
            del source.objects[key]
        return None

    found = restored(cluster, 1, source, fault=fault)
    assert found.problem == ""
    assert (cluster.folder / "pod-1" / "big").read_bytes() == b"1" * 70_000
