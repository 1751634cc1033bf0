from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from resumable_sweep.contract.acknowledgement import (
    Acknowledgement,
)
from resumable_sweep.contract.canonical import identity, sha256_of_keys
from resumable_sweep.contract.items import items_of_list, lines_of
from resumable_sweep.contract.log_format import line_of
from resumable_sweep.contract.report import Experiment, Report, Stage
from sweep_sidecar.capture.passing import Pass, Torn
from sweep_sidecar.capture.tree import Tree
from sweep_sidecar.housekeeping import resolve
from sweep_sidecar.log.fencing import Misplaced, ShardComplete, Superseded
from sweep_sidecar.mirror.writer import AttemptWriter
from sweep_sidecar.restore import Restored, ResumeFileMissing
from sweep_sidecar.store import Unreachable
from unit.sidecar.memory_store import MemoryStore
from unit.sidecar.pods import HEADER, Cluster, last_line, line, never


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


def test_a_fresh_start_restores_nothing(cluster: Cluster) -> None:
    assert cluster.restore(1) == Restored(generation=None, items=0, items_total=None)
    assert cluster.kinds() == ["take", "base"]
    assert cluster.last_body() == {"generation": None, "skipped": []}


def test_a_successor_finds_the_files_where_they_were(cluster: Cluster) -> None:
    first = cluster.pod(1)
    cluster.append(1, HEADER + line(1))
    (cluster.folder / "pod-1" / "deep").mkdir()
    cluster.append(1, b"\x00" * 200_000, "deep/state.bin")
    (cluster.folder / "pod-1" / "deep" / "state.bin").chmod(0o750)
    first.look()
    assert cluster.restore(2) == Restored(generation=2, items=1, items_total=None)
    target = cluster.folder / "pod-2"
    assert (target / "results.jsonl").read_bytes() == HEADER + line(1)
    assert (target / "deep" / "state.bin").read_bytes() == b"\x00" * 200_000
    assert (target / "deep" / "state.bin").stat().st_mode & 0o777 == 0o750
    assert sorted(path.name for path in (target / ".sweep").iterdir()) == ["restored-2"]


def test_a_restore_started_again_in_its_pod_leaves_the_experiments_files_alone(cluster: Cluster) -> None:
    first = cluster.pod(1)
    cluster.append(1, HEADER)
    first.look()
    again = cluster.restore(2)
    cluster.append(2, line(5))
    assert cluster.restore(2) == again
    assert (cluster.folder / "pod-2" / "results.jsonl").read_bytes() == HEADER + line(5)
    assert cluster.kinds() == ["take", "base", "gen", "take", "base"]


def test_a_restore_that_died_half_way_is_done_again(cluster: Cluster) -> None:
    first = cluster.pod(1)
    cluster.append(1, HEADER + line(1))
    first.look()
    writes = 0

    def fail_at_base(call: str, key: str) -> str | None:
        nonlocal writes
        writes += call == "create" and "/log/" in key
        return "unanswered" if writes == 2 else None

    cluster.store.fault = fail_at_base
    with pytest.raises(Unreachable):
        cluster.restore(2)
    cluster.store.fault = lambda call, key: None
    assert cluster.restore(2).generation == 2
    assert cluster.kinds() == ["take", "base", "gen", "take", "base", "take", "base"]


def test_a_relaunch_without_its_file_fails_aloud(cluster: Cluster) -> None:
    first = cluster.pod(1)
    cluster.append(1, HEADER)
    first.look()
    cluster.named, cluster.allow_drift = "reslts.jsonl", "CheckpointFile"
    with pytest.raises(ResumeFileMissing, match=r"names 'reslts.jsonl'.*results.jsonl"):
        cluster.restore(2)


def test_nothing_is_written_where_nothing_changed(cluster: Cluster) -> None:
    writer = cluster.pod(1)
    writer.look()
    cluster.append(1, HEADER)
    writer.look()
    kinds = cluster.kinds()
    writer.look()
    cluster.append(1, b'{"kind":"do')
    writer.look()
    assert cluster.kinds() == kinds == ["take", "base", "gen"]


@pytest.mark.parametrize("start", [b"", HEADER[:-9]], ids=["empty", "a torn header"])
def test_other_records_do_not_count_for_a_named_log_that_was_only_just_made(cluster: Cluster, start: bytes) -> None:
    writer = cluster.pod(1)
    cluster.append(1, HEADER + line(1) + line(2), "before.jsonl")
    writer.look()
    cluster.append(1, start)
    writer.look()
    assert writer.report.items_done == 0
    cluster.append(1, (HEADER + line(7))[len(start) :])
    writer.look()
    assert (writer.report.problem, writer.report.items_done) == ("", 1)


def test_writes_are_counted_for_the_sweeps_budget(cluster: Cluster) -> None:
    writer = cluster.pod(1)
    cluster.append(1, HEADER)
    counts = []
    for big in (None, b"x" * 100_000, None):
        if big:
            cluster.append(1, big, "big")
        before, calls = writer.writes, len(cluster.objects)
        writer.look()
        counts.append(writer.writes - before)
        assert counts[-1] == len(cluster.objects) - calls
    assert counts == [1, 2, 0]


def test_a_relaunch_that_records_nothing_writes_no_generation(cluster: Cluster) -> None:
    first = cluster.pod(1)
    cluster.append(1, HEADER + line(1))
    cluster.append(1, b"state", "state.bin")
    first.look()
    cluster.pod(2).look()
    assert cluster.kinds() == ["take", "base", "gen", "take", "base"]


def test_progress_is_told_when_it_is_durable(cluster: Cluster) -> None:
    told: list[Report] = []
    cluster.restore(1)
    writer = cluster.mirror(1, told)
    assert [report.items_done for report in told] == [0]
    cluster.append(1, HEADER + line(1) + line(2))
    writer.look()
    assert [(report.items_recorded, report.items_done) for report in told[1:]] == [(2, 0), (2, 2)]
    assert told[-1].generation == 2
    cluster.restore(2)
    told.clear()
    cluster.mirror(2, told)
    assert [(one.items_restored, one.items_done, one.items_recorded) for one in told] == [(2, 2, 2)]


def test_progress_that_went_backwards_is_not_published(cluster: Cluster) -> None:
    writer = cluster.pod(1)
    cluster.append(1, HEADER + line(1) + line(2))
    writer.look()
    log = cluster.folder / "pod-1" / "results.jsonl"
    log.write_bytes(HEADER + line(2) + line(3))
    writer.look()
    assert writer.report.problem == "ProgressWentBackwards"
    assert cluster.kinds() == ["take", "base", "gen"]
    log.write_bytes(HEADER + line(2) + line(3) + line(1))
    writer.look()
    assert writer.report.problem == ""
    assert writer.report.items_done == 3
    assert cluster.kinds() == ["take", "base", "gen", "gen"]


def test_progress_is_held_against_what_was_restored(cluster: Cluster) -> None:
    first = cluster.pod(1)
    cluster.append(1, HEADER + line(1))
    first.look()
    second = cluster.pod(2)
    (cluster.folder / "pod-2" / "results.jsonl").write_bytes(HEADER)
    second.finish(never)
    assert second.report.problem == "ProgressWentBackwards"
    assert second.report.stage is Stage.SEALED
    assert cluster.kinds()[-2:] == ["base", "seal"]


def test_nothing_is_published_that_a_relaunch_could_not_go_on_from(cluster: Cluster) -> None:
    writer = cluster.pod(1)
    cluster.append(1, b"{}", "config.json")
    writer.look()
    assert cluster.kinds() == ["take", "base"]
    writer.finish(lambda: Experiment.UNKNOWN)
    assert cluster.kinds() == ["take", "base", "seal"]
    assert writer.report.problem == "ResumeFileMissing"
    assert cluster.restore(2).generation is None


def test_a_checkpoint_may_be_a_directory(cluster: Cluster) -> None:
    cluster.named = "checkpoints"
    writer = cluster.pod(1)
    cluster.append(1, b"{}", "checkpoints.json")
    writer.look()
    assert cluster.kinds() == ["take", "base"]
    (cluster.folder / "pod-1" / "checkpoints" / "12").mkdir(parents=True)
    cluster.append(1, b"weights", "checkpoints/12/part")
    writer.look()
    assert cluster.kinds() == ["take", "base", "gen"]
    assert cluster.restore(2).generation == 2
    assert (cluster.folder / "pod-2" / "checkpoints" / "12" / "part").read_bytes() == b"weights"


def test_the_librarys_word_completes_the_shard(cluster: Cluster) -> None:
    writer = cluster.pod(1)
    cluster.append(1, HEADER + line(1) + line(2) + last_line(1, 2))
    writer.finish(never)
    assert writer.report.stage is Stage.COMPLETE
    assert cluster.kinds() == ["take", "base", "gen", "complete"]
    assert cluster.last_body() == {"generation": 2, "proof": "log", "items": 2, "keys_sha256": sha256_of_keys([1, 2])}
    with pytest.raises(ShardComplete):
        cluster.restore(2)


def test_the_librarys_word_must_fit_what_is_recorded(cluster: Cluster) -> None:
    writer = cluster.pod(1)
    cluster.append(1, HEADER + line(1) + last_line(1, 2))
    writer.finish(never)
    assert writer.report.stage is Stage.SEALED


@pytest.mark.parametrize(("recorded", "stage"), [(4, Stage.COMPLETE), (3, Stage.SEALED)])
def test_records_that_cover_the_items_complete_the_shard(cluster: Cluster, recorded: int, stage: Stage) -> None:
    text = json.dumps([{"key": key} for key in range(4)])
    cluster.items_sha256 = resolve(cluster.store, text).sha256
    writer = cluster.pod(1)
    assert writer.report.items_total == 4
    own = (cluster.folder / "pod-1" / ".sweep" / "items.jsonl").read_text()
    assert own == "".join(lines_of(items_of_list(json.loads(text))))
    cluster.append(1, HEADER + b"".join(line(key) for key in range(recorded)))
    writer.finish(never)
    assert writer.report.stage is stage
    assert writer.report.items_done == recorded


def test_a_relaunch_with_nothing_left_to_do_completes_what_is_stored(cluster: Cluster) -> None:
    cluster.items_sha256 = resolve(cluster.store, '[{"key": 1}]').sha256
    first = cluster.pod(1)
    cluster.append(1, HEADER + line(1))
    first.look()
    second = cluster.pod(2)
    second.finish(never)
    assert second.report.stage is Stage.COMPLETE
    assert cluster.last_body()["generation"] == 2


@pytest.mark.parametrize(
    ("ended", "stage"),
    [
        (Experiment.SUCCEEDED, Stage.COMPLETE),
        (Experiment.FAILED, Stage.SEALED),
        (Experiment.UNKNOWN, Stage.SEALED),
    ],
)
def test_an_exit_of_its_own_accord_completes_a_shard_that_nothing_else_can(
    cluster: Cluster, ended: Experiment, stage: Stage
) -> None:
    writer = cluster.pod(1)
    cluster.append(1, b"any format", "out.bin")

    def ask() -> Experiment:
        assert cluster.kinds()[-1] == "base"  # nothing is written before the answer
        return ended

    writer.finish(ask)
    assert writer.report.stage is stage
    assert cluster.kinds()[-1] == ("complete" if stage is Stage.COMPLETE else "seal")
    assert ("gen" in cluster.kinds()) is (stage is Stage.COMPLETE)


def test_an_exit_proves_nothing_where_not_all_is_stored(cluster: Cluster) -> None:
    cluster.named = "state.bin"
    writer = cluster.pod(1)
    cluster.append(1, b"x", "state.bin")
    cluster.append(1, b"torn", "state.bin.manifest.json")
    writer.finish(never)
    assert writer.report.stage is Stage.SEALED
    assert writer.report.problem == "CheckpointUnstable"


def test_an_exit_proves_nothing_where_the_last_look_was_torn(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container that outlives the experiment may write to its directory without end."""
    cluster.named = "state.bin"
    writer = cluster.pod(1)
    cluster.append(1, b"of step 1", "state.bin")
    writer.look()
    cluster.append(1, b" and of step 2", "state.bin")

    def torn(one: Pass, first: Tree) -> None:
        raise Torn("x was renamed or removed")

    monkeypatch.setattr(Pass, "run", torn)
    writer.finish(lambda: Experiment.SUCCEEDED)
    assert writer.report.stage is Stage.SEALED
    assert writer.report.problem == "CheckpointUnstable"


def test_a_zombie_stops_for_good(cluster: Cluster) -> None:
    zombie = cluster.pod(1)
    cluster.append(1, HEADER)
    zombie.look()
    cluster.restore(2)
    cluster.append(1, line(1))
    zombie.look()
    assert (zombie.report.stage, zombie.report.problem) == (Stage.STOPPED, "Superseded")
    cluster.append(1, line(2))
    zombie.look()
    zombie.finish(never)
    assert zombie.report.stage is Stage.STOPPED
    assert cluster.kinds() == ["take", "base", "gen", "take", "base"]
    cluster.settings(1).restored_marker.unlink()
    with pytest.raises(Superseded):
        cluster.restore(1)


def test_a_hint_is_checked_in_the_store(cluster: Cluster) -> None:
    writer = cluster.pod(1)
    writer.check_standing()
    assert writer.report.stage is Stage.MIRRORING
    cluster.restore(2)
    writer.check_standing()
    assert writer.report.stage is Stage.STOPPED


def test_a_mirror_needs_its_restore(cluster: Cluster) -> None:
    with pytest.raises(Misplaced, match="run `restore` first"):
        cluster.mirror(1)


@pytest.mark.parametrize("fault", ["lost", "unanswered"])
@pytest.mark.parametrize("failing", [0, 1, 2])
def test_the_end_is_written_whatever_reply_is_lost(cluster: Cluster, fault: str, failing: int) -> None:
    writer = cluster.pod(1)
    store = writer._store
    assert isinstance(store, MemoryStore)
    cluster.append(1, HEADER + line(1))
    cluster.append(1, b"x" * 100_000, "big")
    calls = 0

    def fail_once(call: str, key: str) -> str | Callable[[], None] | None:
        nonlocal calls
        calls += call == "create"
        return fault if call == "create" and calls == failing + 1 else None

    store.fault = fail_once
    cluster.append(1, last_line(1))
    with pytest.raises(Unreachable):
        writer.finish(never)
    writer.finish(never)
    assert writer.report.stage is Stage.COMPLETE
    assert cluster.kinds() == ["take", "base", "gen", "complete"]
    assert writer.report.items_done == 1


def test_nothing_follows_an_end_whose_reply_was_lost(cluster: Cluster) -> None:
    writer = cluster.pod(1)
    store = writer._store
    assert isinstance(store, MemoryStore)
    cluster.append(1, HEADER + line(1))
    writer.look()
    store.fault = lambda call, key: "unanswered" if call == "create" else None
    with pytest.raises(Unreachable):
        writer.finish(never)
    store.fault = lambda call, key: None
    # Where a machine shuts down without its kubelet, the experiment may outlive the mirror's last look.
    cluster.append(1, line(2))
    writer.finish(never)
    assert writer.report.stage is Stage.SEALED
    assert cluster.kinds() == ["take", "base", "gen", "seal"]


def test_a_generation_whose_reply_was_lost_is_followed_by_what_came_after(cluster: Cluster) -> None:
    writer = cluster.pod(1)
    store = writer._store
    assert isinstance(store, MemoryStore)
    cluster.append(1, HEADER + line(1))
    store.fault = lambda call, key: "unanswered" if call == "create" else None
    with pytest.raises(Unreachable):
        writer.look()
    assert writer.report.items_done == 0
    store.fault = lambda call, key: None
    cluster.append(1, line(2))
    writer.look()
    assert cluster.kinds() == ["take", "base", "gen", "gen"]
    assert writer.report.items_done == 2
    restored = cluster.restore(2)
    assert restored.items == 2
    assert (cluster.folder / "pod-2" / "results.jsonl").read_bytes() == HEADER + line(1) + line(2)


def test_a_mirror_started_again_in_place_goes_on(cluster: Cluster) -> None:
    first = cluster.pod(1)
    cluster.append(1, HEADER + line(1))
    first.look()
    cluster.append(1, line(2))
    second = cluster.mirror(1)
    second.look()
    assert second.report.items_done == 2
    assert cluster.kinds() == ["take", "base", "gen", "gen"]
    second.finish(never)
    third = cluster.mirror(1)
    assert third.report.stage is Stage.SEALED
    third.finish(never)
    assert cluster.kinds() == ["take", "base", "gen", "gen", "seal"]


def test_identities_keep_types_apart(cluster: Cluster) -> None:
    cluster.items_sha256 = resolve(cluster.store, '[{"key": 1}, {"key": "1"}]').sha256
    writer = cluster.pod(1)
    cluster.append(1, HEADER + line(1))
    writer.finish(never)
    assert identity(1) != identity("1")
    assert writer.report.stage is Stage.SEALED


def test_what_is_acknowledged_is_what_a_successor_finds(cluster: Cluster) -> None:
    writer = cluster.pod(1)
    assert cluster.said(1) == Acknowledgement(attempt=1, generation=None)
    for number in range(4):
        cluster.append(1, (b"" if number else HEADER) + line(number) + b'{"kind":"do')
        writer.look()
        cluster.append(1, b'ne","key":0,"result":0}\n')
        (cluster.folder / "pod-1" / "state.bin").write_bytes(b"s" * number)
        assert cluster.said(1).generation == 2 + number
        assert cluster.said(1).files == cluster.found_by_a_successor(2 + number)


def test_a_successor_starts_with_what_it_has_restored(cluster: Cluster) -> None:
    first = cluster.pod(1)
    cluster.append(1, HEADER + line(1))
    first.look()
    cluster.pod(2)
    assert cluster.said(2) == replace(cluster.said(1), attempt=2)


def test_nothing_is_acknowledged_while_the_write_is_on_its_way(cluster: Cluster) -> None:
    writer = cluster.pod(1)
    store = writer._store
    assert isinstance(store, MemoryStore)
    cluster.append(1, HEADER + line(1))
    cluster.ask(1)
    faults = iter(["lost", "unanswered"])
    store.fault = lambda call, key: next(faults) if call == "create" else None
    for _ in range(2):
        with pytest.raises(Unreachable) as caught:
            writer.look()
        writer.cannot_write(caught.value)
        said = cluster.said(1)
        assert (said.generation, said.files, said.requests, said.refused, said.stopped) == (None, {}, 0, "", "")
        assert said.message == str(caught.value)
    store.fault = lambda call, key: None
    writer.look()
    assert cluster.sizes(1) == {"results.jsonl": len(HEADER + line(1))}
    assert (cluster.said(1).requests, cluster.said(1).message) == (1, "")


def test_a_request_is_answered_by_a_look_that_began_after_it(cluster: Cluster) -> None:
    writer = cluster.pod(1)
    store = writer._store
    assert isinstance(store, MemoryStore)
    assert not writer.is_asked
    cluster.append(1, HEADER)
    cluster.ask(1)
    assert writer.is_asked

    def record_and_ask() -> None:
        """Be the experiment, which goes on while the look is under way."""
        cluster.append(1, line(1))
        cluster.ask(1)

    store.fault = lambda call, key: record_and_ask if call == "create" else None
    writer.look()
    store.fault = lambda call, key: None
    assert cluster.said(1).requests == 1
    assert cluster.sizes(1) == {"results.jsonl": len(HEADER)}
    assert writer.is_asked
    writer.look()
    assert cluster.said(1).requests == 2
    assert not writer.is_asked


def test_a_look_that_finds_nothing_new_answers_too(cluster: Cluster) -> None:
    writer = cluster.pod(1)
    cluster.append(1, HEADER + line(1))
    writer.look()
    before = cluster.said(1)
    cluster.ask(1)
    writer.look()
    assert cluster.said(1) == replace(before, requests=1)
    assert cluster.kinds() == ["take", "base", "gen"]


def test_a_look_that_was_torn_answers_nobody(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = cluster.pod(1)
    cluster.append(1, HEADER)
    cluster.ask(1)

    def torn(one: Pass, first: Tree) -> None:
        raise Torn("x was renamed or removed")

    with monkeypatch.context() as patched:
        patched.setattr(Pass, "run", torn)
        for _ in range(5):
            assert writer.report.problem == ""
            writer.look()
            assert cluster.said(1).requests == 0
            assert writer.is_asked
    assert writer.report.problem == "CheckpointUnstable"
    assert cluster.kinds() == ["take", "base"]
    writer.look()
    assert (cluster.said(1).requests, writer.report.problem) == (1, "")
    assert cluster.kinds() == ["take", "base", "gen"]


def test_a_volume_that_is_nearly_full_is_told_and_stops_nothing(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = cluster.pod(1)
    cluster.append(1, HEADER)
    room = os.statvfs_result((4096, 4096, 1 << 20, 100, 100, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: room)
    writer.look()
    assert writer.report.problem == "SnapshotVolumeNearlyFull"
    assert cluster.kinds() == ["take", "base", "gen"]


def test_a_log_written_anew_and_shorter_is_acknowledged_as_it_is(cluster: Cluster) -> None:
    writer = cluster.pod(1)
    cluster.append(1, HEADER + line(1) + line(1) + line(2))
    writer.look()
    log = cluster.folder / "pod-1" / "results.jsonl"
    log.write_bytes(HEADER + line(1) + line(2))
    cluster.ask(1)
    writer.look()
    assert cluster.sizes(1) == {"results.jsonl": log.stat().st_size}
    assert (cluster.said(1).generation, cluster.said(1).requests) == (3, 1)


def test_a_refused_look_says_so_and_leaves_the_rest_as_it_was(cluster: Cluster) -> None:
    writer = cluster.pod(1)
    cluster.append(1, HEADER + line(1) + line(2))
    writer.look()
    before = cluster.said(1)
    log = cluster.folder / "pod-1" / "results.jsonl"
    log.write_bytes(HEADER + line(2))
    cluster.ask(1)
    writer.look()
    said = cluster.said(1)
    assert said == replace(before, requests=1, refused="ProgressWentBackwards", message=writer.report.message)
    assert "the stored checkpoint has 1 more (1)" in said.message
    log.write_bytes(HEADER + line(2) + line(1))
    writer.look()
    assert (cluster.said(1).refused, cluster.said(1).message) == ("", "")


def test_that_the_named_checkpoint_is_missing_is_said_to_whoever_waits(cluster: Cluster) -> None:
    cluster.named = "state.bin"
    writer = cluster.pod(1)
    cluster.append(1, HEADER + line(1))
    cluster.ask(1)
    writer.look()
    said = cluster.said(1)
    assert (said.generation, said.requests, said.refused) == (None, 1, "ResumeFileMissing")
    assert "'state.bin', which the experiment has not written; it wrote results.jsonl" in said.message
    assert writer.report.problem == ""


def test_a_mirror_started_again_takes_nothing_back(cluster: Cluster) -> None:
    first = cluster.pod(1)
    cluster.append(1, HEADER + line(1))
    cluster.ask(1)
    first.look()
    before = cluster.said(1)
    again = AttemptWriter(
        MemoryStore(cluster.objects), cluster.settings(1), nonce=cluster.nonce, clock=lambda: 1.0, tell=lambda _: None
    )
    store = again._store
    assert isinstance(store, MemoryStore)
    store.fault = lambda call, key: "lost"
    with pytest.raises(Unreachable) as caught:
        again.begin()
    again.cannot_write(caught.value)
    assert cluster.said(1) == replace(before, message=str(caught.value))
    store.fault = lambda call, key: None
    again.begin()
    again.look()
    assert cluster.said(1) == before


def test_a_mirror_started_again_says_what_its_last_write_came_to(cluster: Cluster) -> None:
    first = cluster.pod(1)
    store = first._store
    assert isinstance(store, MemoryStore)
    cluster.append(1, HEADER + line(1))
    store.fault = lambda call, key: "unanswered" if call == "create" else None
    with pytest.raises(Unreachable):
        first.look()
    assert cluster.sizes(1) == {}
    cluster.mirror(1)
    assert cluster.said(1).files == cluster.found_by_a_successor(2)


def test_the_experiment_is_told_that_another_attempt_has_taken_over(cluster: Cluster) -> None:
    zombie = cluster.pod(1)
    cluster.append(1, HEADER)
    zombie.look()
    before = cluster.said(1)
    cluster.restore(2)
    cluster.append(1, line(1))
    cluster.ask(1)
    zombie.look()
    said = cluster.said(1)
    assert said == replace(before, stopped="Superseded", message=said.message)
    assert "attempt 2 (pod pod-2) has taken the shard" in said.message


@pytest.mark.parametrize(("records", "stopped"), [(1, "Sealed"), (2, "Complete")])
def test_the_end_is_said(cluster: Cluster, records: int, stopped: str) -> None:
    cluster.items_sha256 = resolve(cluster.store, '[{"key": 0}, {"key": 1}]').sha256
    writer = cluster.pod(1)
    cluster.append(1, HEADER + b"".join(line(key) for key in range(records)))
    writer.finish(never)
    assert (cluster.said(1).stopped, cluster.said(1).generation) == (stopped, 2)
    cluster.mirror(1)
    assert cluster.said(1).stopped == stopped


def skip(key: int) -> bytes:
    return line_of({"kind": "skipped", "key": key, "why": "w", "attempt": 1, "host": "h", "at": 1.0})


def fail(key: int) -> bytes:
    return line_of({"kind": "failed", "key": key, "error": "e", "traceback": "", "attempt": 1, "host": "h"})


def test_skipped_items_are_covered_and_counted(cluster: Cluster) -> None:
    cluster.items_sha256 = resolve(cluster.store, '[{"key": 0}, {"key": 1}, {"key": 2}]').sha256
    writer = cluster.pod(1)
    cluster.append(1, HEADER + line(0) + skip(1))
    writer.look()
    assert (writer.report.items_done, writer.report.items_recorded) == (2, 2)
    assert cluster.restore(2).items == 2
    second = cluster.mirror(2)
    cluster.append(2, skip(2))
    second.finish(never)
    assert second.report.stage is Stage.COMPLETE
    assert cluster.last_body()["proof"] == "items"


def test_the_librarys_word_is_over_done_and_skipped(cluster: Cluster) -> None:
    writer = cluster.pod(1)
    complete = line_of({"kind": "complete", "total": 2, "keys_sha256": sha256_of_keys([0, 1]), "skipped": 1})
    cluster.append(1, HEADER + line(0) + skip(1) + complete)
    writer.finish(never)
    assert writer.report.stage is Stage.COMPLETE
    digest = sha256_of_keys([0, 1])
    assert cluster.last_body() == {"generation": 2, "proof": "log", "items": 2, "keys_sha256": digest}


def test_a_failed_item_is_not_covered(cluster: Cluster) -> None:
    cluster.items_sha256 = resolve(cluster.store, '[{"key": 0}, {"key": 1}]').sha256
    writer = cluster.pod(1)
    cluster.append(1, HEADER + line(0) + skip(1))
    writer.look()
    cluster.append(1, fail(1) + fail(0))
    writer.finish(never)
    # Taken up again after all, so it counts no more; the other one's result stands.
    assert (writer.report.stage, writer.report.problem, writer.report.items_done) == (Stage.SEALED, "", 1)
    assert cluster.kinds() == ["take", "base", "gen", "gen", "seal"]


def test_a_line_that_does_not_fit_its_check_is_not_mirrored(cluster: Cluster) -> None:
    writer = cluster.pod(1)
    whole = line_of({"kind": "done", "key": 1, "result": 1})
    cluster.append(1, HEADER + line_of({"kind": "done", "key": 0, "result": 0}))
    writer.look()
    cluster.append(1, whole.replace(b'"result":1', b'"result":7'))
    cluster.ask(1)
    writer.look()
    assert writer.report.problem == cluster.said(1).refused == "CheckpointInvalid"
    assert "line 1 does not fit its checksum" in writer.report.message
    assert cluster.kinds() == ["take", "base", "gen"]
