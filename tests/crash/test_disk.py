"""The model of the disk: what it may lose, and what it may not."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from crash.disk import Disk, Op, Tree, lay_out, tree_of
from crash.life import Tell, lived
from crash.power import recorded
from crash.programs import CALL_BY_CALL
from crash.recorder import Recorder

TRIES = 60


def outcomes(script: Callable[[Path], None], tmp_path: Path) -> list[Tree]:
    """Return what may be left of what `script` did to a folder, as far as chance shows."""
    start: Tree = {"there": b"a" * 600}
    root = tmp_path / "root"
    tmp_path.mkdir(exist_ok=True)
    lay_out(start, root)
    recorder = Recorder(root)

    def run(root: Path, tell: Tell) -> None:
        script(root)

    life = lived(run, root, recorder, at_end=lambda send: send("ops", recorder.ops))
    assert life.status == 0, life
    disk = Disk(start)
    for op in life.values("ops")[0]:
        disk.apply(op)
    assert disk.live() == tree_of(root)
    rng = random.Random(0)
    return [disk.after_power_loss(rng) for _ in range(TRIES)]


def append(path: Path, data: bytes, *, sync: bool) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, data)
    if sync:
        os.fsync(file)
    os.close(file)


def sync_folder(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.close(file)


def test_what_was_synced_stays(tmp_path: Path) -> None:
    def script(root: Path) -> None:
        append(root / "there", b"b" * 1000, sync=True)

    assert all(tree == {"there": b"a" * 600 + b"b" * 1000} for tree in outcomes(script, tmp_path))


def test_what_was_not_synced_may_be_lost_torn_at_sectors_or_full_of_nuls(tmp_path: Path) -> None:
    def script(root: Path) -> None:
        append(root / "there", b"b" * 1000, sync=False)

    found = {tree["there"] for tree in outcomes(script, tmp_path)}
    assert all(content is not None and content.startswith(b"a" * 600) for content in found)
    whole = b"a" * 600 + b"b" * 1000
    assert b"a" * 600 in found
    assert whole in found
    assert b"a" * 600 + b"b" * 424 in found
    assert b"a" * 600 + bytes(1000) in found
    assert b"a" * 600 + bytes(424) + b"b" * 512 + b"b" * 64 in found


def test_a_name_needs_its_folder_synced(tmp_path: Path) -> None:
    def script(root: Path) -> None:
        append(root / "new", b"x", sync=True)

    assert {tree.get("new") for tree in outcomes(script, tmp_path)} == {None, b"x"}

    def careful(root: Path) -> None:
        script(root)
        sync_folder(root)

    assert {tree.get("new") for tree in outcomes(careful, tmp_path / "careful")} == {b"x"}


def test_a_rename_happens_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    def script(root: Path) -> None:
        append(root / "new", b"new", sync=True)
        sync_folder(root)
        (root / "new").replace(root / "there")

    old, new = {"there": b"a" * 600, "new": b"new"}, {"there": b"new"}
    found = outcomes(script, tmp_path)
    assert all(tree in (old, new) for tree in found)
    assert old in found
    assert new in found


def test_a_rename_may_come_to_the_disk_before_the_data(tmp_path: Path) -> None:
    def script(root: Path) -> None:
        append(root / "new", b"new", sync=False)
        (root / "new").replace(root / "there")

    assert {"there": b""} in outcomes(script, tmp_path)


def test_what_is_in_a_folder_that_was_lost_is_lost(tmp_path: Path) -> None:
    def script(root: Path) -> None:
        (root / "folder").mkdir()
        append(root / "folder" / "file", b"x", sync=True)
        sync_folder(root / "folder")

    assert {tuple(tree) for tree in outcomes(script, tmp_path)} == {("there",), ("there", "folder", "folder/file")}


def test_after_a_sync_that_failed_a_later_one_vouches_for_nothing(tmp_path: Path) -> None:
    disk = Disk({})
    opened = [Op(what="open", path="log", opened=0, made=True), Op(what="open", path="", opened=1)]
    for op in [*opened, Op(what="sync", opened=1), Op(what="write", opened=0, data=b"x" * 10)]:
        disk.apply(op)
    disk.apply(Op(what="unsynced", opened=0))
    disk.apply(Op(what="write", opened=0, offset=5000, data=b"y"))
    disk.apply(Op(what="sync", opened=0))
    found = {disk.after_power_loss(random.Random(seed))["log"] for seed in range(TRIES)}
    assert found == {b"x" * 10 + bytes(4990) + b"y", bytes(5000) + b"y"}
    disk.apply(Op(what="write", opened=0, offset=10, data=b"z"))  # the same page again
    disk.apply(Op(what="sync", opened=0))
    found = {disk.after_power_loss(random.Random(seed))["log"] for seed in range(TRIES)}
    assert found == {b"x" * 10 + b"z" + bytes(4989) + b"y"}


@pytest.mark.parametrize("name", CALL_BY_CALL)
def test_the_library_changes_nothing_behind_the_harness_back(name: str, tmp_path: Path) -> None:
    program = CALL_BY_CALL[name]
    root = tmp_path / "root"
    root.mkdir()
    lived(lambda root, tell: program.prepare(root), root)
    disk = Disk(tree_of(root))
    life, ops = recorded(program, root)
    assert life.status == 0, life
    for op in ops:
        disk.apply(op)
    assert disk.live() == tree_of(root)
