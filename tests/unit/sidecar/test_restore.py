from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from resumable_sweep.contract.report import Report, Stage
from sweep_sidecar import layout, restore
from sweep_sidecar.log.entry import NewerSchema
from sweep_sidecar.log.shard_log import LogReader
from sweep_sidecar.restore import report_of, restored_attempt
from sweep_sidecar.restore_progress import RestoreProgress
from sweep_sidecar.room import SnapshotVolumeTooSmall
from sweep_sidecar.store import Unreachable
from unit.sidecar.pods import FOLDER, HEADER, Cluster, last_line, line, never

BIG = 100_000
"""Bytes of a file that goes into a blob."""


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


def files(cluster: Cluster, attempt: int) -> dict[str, bytes]:
    folder = cluster.folder / f"pod-{attempt}"
    found = (path for path in folder.rglob("*") if path.is_file() and ".sweep" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def three_generations(cluster: Cluster) -> list[dict[str, bytes]]:
    """Entries 2, 3 and 4, each with one record more and a new blob; return the files of each."""
    writer = cluster.pod(1)
    seen = []
    for number in range(3):
        cluster.append(1, (b"" if number else HEADER) + line(number))
        (cluster.folder / "pod-1" / "deep").mkdir(exist_ok=True)
        (cluster.folder / "pod-1" / "deep" / "state.bin").write_bytes(bytes([number]) * BIG)
        writer.look()
        seen.append(files(cluster, 1))
    assert cluster.kinds() == ["take", "base", "gen", "gen", "gen"]
    return seen


def blob_of(cluster: Cluster, seq: int) -> str:
    entry = LogReader(cluster.store, FOLDER).read(seq).entry
    (segment,) = entry.body["files"]["deep/state.bin"]["segments"]
    return str(segment["blob"])


def cut(data: bytes) -> bytes:
    return data[:-2]


def flipped(data: bytes) -> bytes:
    return data[:50] + bytes([data[50] ^ 1]) + data[51:]


@pytest.mark.parametrize("harm", [cut, flipped, None])
@pytest.mark.parametrize("what", ["blob", "entry"])
def test_only_what_is_damaged_is_passed_over(
    cluster: Cluster, what: str, harm: Callable[[bytes], bytes] | None
) -> None:
    seen = three_generations(cluster)
    key = blob_of(cluster, 4) if what == "blob" else layout.entry_key(FOLDER, 4)
    if harm is None and what == "entry":
        cluster.restore(2)  # an entry that is gone must not be the newest: nobody would know that it was there
        kept = cluster.objects[key]
        del cluster.objects[key]
        restored = cluster.restore(3)
        assert kept
    else:
        if harm is None:
            del cluster.objects[key]
        else:
            cluster.objects[key] = harm(cluster.objects[key])
        restored = cluster.restore(3)
    assert (restored.generation, restored.items) == (3, 2)
    assert files(cluster, 3) == seen[1]
    assert restored.problem == "CheckpointFellBack"
    assert key in restored.message
    assert "generation 3 with 2 items" in restored.message
    body = cluster.last_body()
    assert body["generation"] == 3
    (skipped,) = body["skipped"]
    assert (skipped["generation"], skipped["object"]) == (4, key)
    assert skipped["reason"]


def test_the_fall_back_goes_as_far_as_it_must(cluster: Cluster) -> None:
    seen = three_generations(cluster)
    del cluster.objects[blob_of(cluster, 4)]
    cluster.objects[layout.entry_key(FOLDER, 3)] = b"torn"
    restored = cluster.restore(2)
    assert restored.generation == 2
    assert files(cluster, 2) == seen[0]
    skipped = cluster.last_body()["skipped"]
    assert [each["generation"] for each in skipped] == [4, 3]


def test_where_nothing_is_left_the_fresh_start_is_said_aloud(cluster: Cluster) -> None:
    three_generations(cluster)
    for seq in (2, 3, 4):
        del cluster.objects[blob_of(cluster, seq)]
    restored = cluster.restore(2)
    assert (restored.generation, restored.items, restored.problem) == (None, 0, "CheckpointLost")
    assert files(cluster, 2) == {}
    assert len(cluster.last_body()["skipped"]) == 3
    assert cluster.mirror(2).report.restore_problem == "CheckpointLost"
    # Nothing of what was given up comes back later.
    assert cluster.restore(3).generation is None


def test_what_cannot_be_read_is_neither_skipped_nor_fresh(cluster: Cluster) -> None:
    three_generations(cluster)
    key = blob_of(cluster, 4)
    cluster.store.fault = lambda call, asked: "lost" if (call, asked) == ("get", key) else None
    with pytest.raises(Unreachable):
        cluster.restore(2)
    cluster.store.fault = lambda call, asked: None
    assert cluster.restore(2).generation == 4
    assert cluster.last_body()["skipped"] == []


def test_a_read_that_was_garbled_once_is_no_damage(cluster: Cluster) -> None:
    seen = three_generations(cluster)
    for key in (blob_of(cluster, 4), layout.entry_key(FOLDER, 4), layout.entry_key(FOLDER, 2)):
        whole = cluster.objects[key]
        reads = 0

        def garble_once(call: str, asked: str, key: str = key, whole: bytes = whole) -> Callable[[], None] | None:
            nonlocal reads
            if (call, asked) != ("get", key):
                return None
            reads += 1
            return lambda: cluster.objects.__setitem__(key, cut(whole) if reads == 1 else whole)

        cluster.store.fault = garble_once
        attempt = cluster.kinds().count("take") + 1
        restored = cluster.restore(attempt)
        assert reads >= 2
        assert (restored.generation, restored.problem) == (4, "")
        assert files(cluster, attempt) == seen[2]


def test_progress_is_held_against_the_generation_that_was_restored(cluster: Cluster) -> None:
    three_generations(cluster)
    del cluster.objects[blob_of(cluster, 4)]
    cluster.restore(2)
    second = cluster.mirror(2)
    assert second.report.items_done == 2
    assert second.report.restore_problem == "CheckpointFellBack"
    cluster.append(2, line(7))  # the lost record is not there, and need not be
    second.look()
    assert second.report.problem == ""
    assert second.report.items_done == 3
    (cluster.folder / "pod-2" / "results.jsonl").write_bytes(HEADER + line(0) + line(7))
    second.look()
    assert second.report.problem == "ProgressWentBackwards"


def test_a_successor_goes_on_from_what_followed_the_fall_back(cluster: Cluster) -> None:
    three_generations(cluster)
    del cluster.objects[blob_of(cluster, 4)]
    cluster.restore(2)
    second = cluster.mirror(2)
    cluster.append(2, line(2) + line(3))
    second.look()
    third = cluster.restore(3)
    assert (third.items, third.problem) == (4, "")


def test_a_damaged_blob_is_not_used_again(cluster: Cluster) -> None:
    """Its name is taken, and a store that keeps the checksum of old would say that it holds these very bytes."""
    seen = three_generations(cluster)
    key = blob_of(cluster, 4)
    whole = cluster.objects[key]
    cluster.objects[key] = flipped(whole)
    cluster.restore(2)
    second = cluster.mirror(2)
    cluster.objects[key] = whole  # what such a store says of it at a create
    (cluster.folder / "pod-2" / "deep" / "state.bin").write_bytes(whole)
    cluster.append(2, line(2))
    second.look()
    cluster.objects[key] = flipped(whole)
    third = cluster.restore(3)
    assert third.problem == ""
    assert files(cluster, 3) == seen[2]


def test_a_restore_that_was_killed_between_files_leaves_none_of_them(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = three_generations(cluster)
    replace = Path.replace
    placed: list[Path] = []

    def killed_after_one(self: Path, target: Path) -> Path:
        if placed and "files" in self.parts:
            raise KeyboardInterrupt
        if "files" in self.parts:
            placed.append(Path(target))
        return replace(self, target)

    def stage_as_before(self: Path, target: Path) -> Path:
        return replace(self, target) if "piecewise" in self.name else killed_after_one(self, target)

    monkeypatch.setattr(Path, "replace", stage_as_before)
    with pytest.raises(KeyboardInterrupt):
        cluster.restore(2)
    monkeypatch.undo()
    assert placed
    assert placed[0].exists()
    # What was being restored is damaged since: the file in place is of no generation that is restored now.
    for seq in (3, 4):
        cluster.objects.pop(blob_of(cluster, seq))
    del cluster.objects[layout.entry_key(FOLDER, 2)]
    assert cluster.restore(2).problem == "CheckpointLost"
    assert files(cluster, 2) == {}
    assert seen


def test_a_missing_old_part_of_the_log_is_one_reason(cluster: Cluster) -> None:
    three_generations(cluster)
    for seq in range(4):
        del cluster.objects[layout.entry_key(FOLDER, seq)]
    del cluster.objects[blob_of(cluster, 4)]
    calls = len(cluster.store.calls)
    assert cluster.restore(2).problem == "CheckpointLost"
    skipped = cluster.last_body()["skipped"]
    assert [(each["generation"], each.get("oldest")) for each in skipped] == [(4, None), (3, 0)]
    assert len(cluster.store.calls) - calls < 30  # pieces that come next are fetched ahead, in vain


def test_generations_that_share_one_damaged_object_are_one_row(cluster: Cluster) -> None:
    writer = cluster.pod(1)
    cluster.append(1, b"x" * BIG, "big")
    for number in range(30):
        cluster.append(1, (b"" if number else HEADER) + line(number))
        writer.look()
    blob = next(key for key in cluster.objects if key.startswith("blobs/"))
    del cluster.objects[blob]
    cluster.store.calls.clear()
    cluster.restore(2)
    (row,) = cluster.last_body()["skipped"]
    assert (row["generation"], row["oldest"], row["object"]) == (31, 2, blob)
    assert cluster.store.calls.count(("get", blob)) == 2


def test_an_entry_of_a_newer_version_is_no_damage(cluster: Cluster) -> None:
    three_generations(cluster)
    cluster.restore(2)
    key = layout.entry_key(FOLDER, 4)
    cluster.objects[key] = cluster.objects[key].replace(b'"schema_version":1', b'"schema_version":2')
    with pytest.raises(NewerSchema, match="use a newer image"):
        cluster.restore(3)


def test_a_shard_whose_complete_is_damaged_runs_again_and_completes_with_the_same(cluster: Cluster) -> None:
    first = cluster.pod(1)
    cluster.append(1, HEADER + line(1) + line(2) + last_line(1, 2))
    first.finish(never)
    assert cluster.kinds()[-1] == "complete"
    key = layout.entry_key(FOLDER, len(cluster.kinds()) - 1)
    cluster.objects[key] = cut(cluster.objects[key])
    restored = cluster.restore(2)
    assert (restored.generation, restored.items) == (2, 2)
    assert restored.problem == "CheckpointFellBack"
    second = cluster.mirror(2)
    second.finish(never)
    assert second.report.stage is Stage.COMPLETE
    assert cluster.last_body()["generation"] == 2


def test_a_mirror_whose_own_generation_is_damaged_leaves_it_to_a_successor(cluster: Cluster) -> None:
    three_generations(cluster)
    cluster.objects[layout.entry_key(FOLDER, 4)] = b"torn"
    again = cluster.mirror(1)
    assert (again.report.stage, again.report.problem) == (Stage.STOPPED, "CheckpointCorrupt")
    assert cluster.restore(2).generation == 3


def test_what_was_passed_over_is_said_also_after_a_kill(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between `base` and the report: the next try goes to what `base` names, and meets nothing damaged."""
    three_generations(cluster)
    del cluster.objects[blob_of(cluster, 4)]
    monkeypatch.setattr(restore, "replace_durably", killed_at("restored-2", restore.replace_durably))
    with pytest.raises(KeyboardInterrupt):
        cluster.restore(2)
    assert cluster.kinds()[-2:] == ["take", "base"]
    # And once more, before there is another `base`.
    base = layout.entry_key(FOLDER, 8)
    cluster.store.fault = lambda call, key: "lost" if (call, key) == ("create", base) else None
    with pytest.raises(Unreachable):
        cluster.restore(2)
    cluster.store.fault = lambda call, key: None
    monkeypatch.undo()
    restored = cluster.restore(2)
    assert (restored.generation, restored.items, restored.problem) == (3, 2, "CheckpointFellBack")
    assert "past 1 damaged entry, the newest 4" in restored.message
    (row,) = cluster.last_body()["skipped"]
    assert row["generation"] == 4
    # A successor starts from a generation that is whole: what its predecessor met is not its news.
    assert cluster.restore(3).problem == ""


def killed_at(name: str, write: Callable[[Path, str], None]) -> Callable[[Path, str], None]:
    def killed(target: Path, text: str) -> None:
        if target.name == name:
            raise KeyboardInterrupt
        write(target, text)

    return killed


def test_progress_counts_every_byte_of_the_generation_that_is_restored(cluster: Cluster) -> None:
    three_generations(cluster)
    told: list[Report] = []
    clock = iter(range(1000))
    progress = RestoreProgress(report_of(cluster.settings(2)), tell=told.append, monotonic=lambda: 10.0 * next(clock))
    restored_attempt(cluster.store, cluster.settings(2), nonce=cluster.nonce, clock=lambda: 1.0, progress=progress)
    size = sum(len(data) for data in files(cluster, 2).values())
    assert [report.restored_bytes for report in told] == sorted(report.restored_bytes for report in told)
    assert {report.restore_bytes for report in told} == {size}
    assert told[-1].restored_bytes == size
    assert {report.stage for report in told} == {Stage.RESTORING}


def test_what_a_fall_back_shares_with_the_damaged_generation_is_not_fetched_again(cluster: Cluster) -> None:
    writer = cluster.pod(1)
    cluster.append(1, b"x" * BIG, "a.bin")
    cluster.append(1, HEADER + line(0))
    writer.look()
    cluster.append(1, b"y" * BIG, "b.bin")
    writer.look()
    blobs = [key for key in cluster.objects if key.startswith("blobs/")]
    del cluster.objects[blobs[1]]
    cluster.store.calls.clear()
    progress = RestoreProgress(report_of(cluster.settings(2)), tell=lambda report: None, monotonic=lambda: 0.0)
    restored_attempt(cluster.store, cluster.settings(2), nonce=cluster.nonce, clock=lambda: 1.0, progress=progress)
    assert cluster.store.calls.count(("get", blobs[0])) == 1
    assert progress.report.restored_bytes == progress.report.restore_bytes == BIG + len(HEADER + line(0))


def test_a_volume_that_is_too_small_is_found_out_before_anything_is_fetched(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    three_generations(cluster)
    system = os.statvfs(cluster.folder)
    fields = list(system)
    fields[4] = 3  # f_bavail, in blocks
    with monkeypatch.context() as context:
        context.setattr(os, "statvfs", lambda folder: os.statvfs_result(fields))
        cluster.store.calls.clear()
        with pytest.raises(SnapshotVolumeTooSmall, match=rf"where {3 * system.f_frsize} are free: ask for that much"):
            cluster.restore(2)
        assert not [key for call, key in cluster.store.calls if key.startswith("blobs/")]
    assert cluster.restore(2).generation == 4


def test_a_file_system_that_does_not_count_is_not_taken_for_full(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    three_generations(cluster)
    nothing = os.statvfs_result([4096, 4096, 0, 0, 0, 0, 0, 0, 0, 255])
    monkeypatch.setattr(os, "statvfs", lambda folder: nothing)
    assert cluster.restore(2).generation == 4


def test_a_disk_that_others_fill_meanwhile_is_no_damage(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = three_generations(cluster)
    fsync = os.fsync

    def full(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().name == "piecewise":
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SnapshotVolumeTooSmall):
        cluster.restore(2)
    monkeypatch.undo()
    assert cluster.restore(2).problem == ""
    assert files(cluster, 2) == seen[2]
