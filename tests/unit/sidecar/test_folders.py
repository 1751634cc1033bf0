from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from resumable_sweep._state_files import manifest_of
from sweep_sidecar.capture.names import TEMPORARY, fits, is_temporary
from unit.sidecar.captured_shard import HEADER, Shard, keys, line


def shard_with(tmp_path: Path, *commit: str) -> Shard:
    return Shard(tmp_path / "snapshot", commit=commit, sleep=lambda seconds: None)


def write(shard: Shard, path: str, data: bytes = b"x", *, at: int) -> None:
    """Write a file that has its time stamp from the number `at`."""
    shard.write(path, data)
    os.utime(shard.root / path, ns=(at * 10**9, at * 10**9))


def looked(shard: Shard) -> set[str]:
    look = shard.capturer.look()
    assert look.refusal is None
    assert not look.is_torn
    shard.publish(look)
    return set(look.files)


@pytest.mark.parametrize(
    ("path", "pattern", "does"),
    [
        ("a/DONE", "*/DONE", True),
        ("a/b/DONE", "*/DONE", False),
        ("a/b/DONE", "**/DONE", True),
        ("DONE", "**/DONE", True),
        ("a/b/c", "a/**", True),
        ("a/x1/c", "a/x[0-9]/?", True),
        ("a/xy/c", "a/x[!y]/c", False),
        ("a.b", "a?b", True),
        ("a/b", "a?b", False),
        ("a[b", "a[b", True),
    ],
)
def test_patterns(path: str, pattern: str, does: bool) -> None:
    assert fits(path, pattern) is does


def test_temporary_names() -> None:
    for _, examples in TEMPORARY:
        assert all(is_temporary(name) for name in examples)
    for name in ("x.tmpl", "tmp", "tmp.json", "x.locked", "step-7", ".metadata", "_CHECKPOINT_METADATA", "x.tmp.json"):
        assert not is_temporary(name), name


def test_a_folder_counts_only_with_its_marker(tmp_path: Path) -> None:
    shard = shard_with(tmp_path, "steps/*/DONE")
    write(shard, "steps/1/a", at=1)
    write(shard, "steps/notes.txt", at=1)
    assert looked(shard) == {"steps/notes.txt"}
    write(shard, "steps/1/DONE", at=2)
    assert looked(shard) == {"steps/notes.txt", "steps/1/a", "steps/1/DONE"}
    write(shard, "steps/2/a", at=3)
    assert looked(shard) == {"steps/notes.txt", "steps/1/a", "steps/1/DONE"}
    shutil.rmtree(shard.root / "steps/1")
    assert looked(shard) == {"steps/notes.txt"}


def test_a_folder_that_is_written_again_stays_as_it_was_until_its_marker_is_the_youngest(tmp_path: Path) -> None:
    shard = shard_with(tmp_path, "x/DONE")
    write(shard, "x/a", b"old", at=1)
    write(shard, "x/DONE", b"1", at=2)
    looked(shard)
    write(shard, "x/a", b"new", at=3)
    looked(shard)
    assert shard.stored() == {"x/a": b"old", "x/DONE": b"1"}
    write(shard, "x/DONE", b"2", at=4)
    looked(shard)
    assert shard.stored() == {"x/a": b"new", "x/DONE": b"2"}


def test_what_a_restore_has_placed_needs_no_order(tmp_path: Path) -> None:
    marker = tmp_path / "restored"
    shard = Shard(tmp_path / "snapshot", commit=("x/DONE",), restored_marker=marker)
    write(shard, "x/DONE", at=1)
    write(shard, "x/a", at=2)
    assert looked(shard) == set()
    marker.touch()
    os.utime(marker, ns=(3 * 10**9, 3 * 10**9))
    shard.capturer = shard.new_capturer()
    assert looked(shard) == {"x/DONE", "x/a"}


@pytest.mark.parametrize("entry", ["torch-dcp", "*/.metadata"])
def test_folders_of_torch_distributed_checkpoint(tmp_path: Path, entry: str) -> None:
    shard = shard_with(tmp_path, entry)
    write(shard, "7/__0_0.distcp", at=1)
    write(shard, "7/.metadata.tmp", at=2)
    write(shard, "log.txt", at=1)
    assert looked(shard) == {"log.txt"}
    (shard.root / "7/.metadata.tmp").rename(shard.root / "7/.metadata")
    assert looked(shard) == {"log.txt", "7/__0_0.distcp", "7/.metadata"}


def test_orbax_needs_nothing_to_be_said(tmp_path: Path) -> None:
    shard = shard_with(tmp_path)
    for name in ("7.orbax-checkpoint-tmp", "8.orbax-checkpoint-tmp-1700000000"):
        write(shard, f"{name}/_CHECKPOINT_METADATA", at=1)
        write(shard, f"{name}/default.orbax-checkpoint-tmp/d/data", at=1)
    assert looked(shard) == set()
    (shard.root / "7.orbax-checkpoint-tmp/default.orbax-checkpoint-tmp").rename(
        shard.root / "7.orbax-checkpoint-tmp/default"
    )
    (shard.root / "7.orbax-checkpoint-tmp").rename(shard.root / "7")
    assert looked(shard) == {"7/_CHECKPOINT_METADATA", "7/default/d/data"}


def test_an_orbax_folder_that_is_being_removed_stays_until_it_is_gone(tmp_path: Path) -> None:
    shard = shard_with(tmp_path, "orbax")
    write(shard, "7/_CHECKPOINT_METADATA", at=1)
    write(shard, "7/default/data", at=2)
    whole = {"7/_CHECKPOINT_METADATA", "7/default/data"}
    assert looked(shard) == whole
    (shard.root / "7/_CHECKPOINT_METADATA").unlink()
    assert looked(shard) == whole
    (shard.root / "7/default/data").unlink()
    write(shard, "7/default/new", at=3)
    assert looked(shard) == whole
    shutil.rmtree(shard.root / "7")
    assert looked(shard) == set()


def test_a_pattern_for_any_depth_leaves_the_folders_above_alone(tmp_path: Path) -> None:
    shard = shard_with(tmp_path, "**/DONE")
    write(shard, "results.bin", at=1)
    write(shard, "runs/readme", at=1)
    write(shard, "runs/1/a", at=1)
    write(shard, "runs/1/DONE", at=2)
    write(shard, "runs/2/a", at=1)
    assert looked(shard) == {"results.bin", "runs/readme", "runs/1/a", "runs/1/DONE"}


def test_the_whole_directory_may_be_one_checkpoint(tmp_path: Path) -> None:
    shard = shard_with(tmp_path, "DONE")
    write(shard, "a", at=1)
    write(shard, "deep/b", at=1)
    assert looked(shard) == set()
    write(shard, "DONE", at=2)
    assert looked(shard) == {"a", "deep/b", "DONE"}


def test_a_folder_without_its_marker_is_a_problem_once_nothing_comes_any_more(tmp_path: Path) -> None:
    shard = shard_with(tmp_path, "x/DONE")
    for number in range(8):
        write(shard, f"x/{number}", at=number)
        assert shard.capturer.look().unsettled is None
    problems = [shard.capturer.look().unsettled for _ in range(4)]
    assert [problem is None for problem in problems] == [True, True, True, False]
    assert problems[-1] is not None
    assert problems[-1].reason == "CheckpointUnstable"
    assert "x has no commit marker" in problems[-1].message
    last = shard.capturer.look(last=True).unsettled
    assert last is not None


def test_a_file_that_is_only_named_like_the_manifest_of_a_folder_vouches_for_nothing(tmp_path: Path) -> None:
    shard = shard_with(tmp_path)
    shard.write("out.manifest.json", b'{"mine": true}')
    shard.write("out/results.jsonl", HEADER + line(1))
    shard.write("file.manifest.json", b"{}")
    (shard.root / "file").mkdir()
    assert looked(shard) == {"out.manifest.json", "out/results.jsonl", "file.manifest.json"}
    assert shard.capturer.look().counted.keys == keys(1)


def test_a_folder_that_is_no_checkpoint_any_more_is_one_like_others_in_the_end(tmp_path: Path) -> None:
    shard = shard_with(tmp_path, "orbax")
    write(shard, "7/_CHECKPOINT_METADATA", at=1)
    write(shard, "7/data", at=2)
    looked(shard)
    (shard.root / "7/_CHECKPOINT_METADATA").unlink()
    for number in range(5):
        write(shard, f"7/{number}", at=number)
        assert looked(shard) == {"7/_CHECKPOINT_METADATA", "7/data"}
    assert looked(shard) == {"7/data", *(f"7/{number}" for number in range(5))}


def test_of_manifests_that_are_gone_nothing_is_remembered(tmp_path: Path) -> None:
    shard = Shard(tmp_path / "snapshot")
    for step in range(5):
        shard.write(f"step-{step}/weights", b"data")
        manifest = manifest_of(shard.root / f"step-{step}", {}).to_json().encode()
        shard.write(f"step-{step}.manifest.json", manifest)
        shard.publish(shard.capturer.look())
        assert f"step-{step}.manifest.json" in shard.stored()
        shutil.rmtree(shard.root / f"step-{step}")
        (shard.root / f"step-{step}.manifest.json").unlink()
        assert len(shard.capturer._manifests) == 1
