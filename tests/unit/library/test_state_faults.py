"""Kills, power losses, disk faults and damage at every moment of a save: one whole state is found, always."""

from __future__ import annotations

import errno
import random
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from crash.disk import Disk, Op, Tree, lay_out, tree_of
from crash.interposer import Director, FailFrom, KillAt
from crash.life import Life, Tell, lived
from crash.recorder import Recorder
from resumable_sweep import _state
from resumable_sweep._state import CheckpointFellBack, load_state, save_state
from resumable_sweep._state_files import backups_of
from resumable_sweep._state_search import CheckpointDamaged
from unit.library.state_cases import ARRAYS, BYTES, CASES, FOLDER, Case

OLDER, OLD, NEW, NEXT = 1, 2, 3, 4


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder in memory where there is one: what is tried here is the order of calls, a thousand times over."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)
    _state._verified.clear()


def saved(root: Path, case: Case, number: int, keep: int) -> None:
    save_state(root / case.name, case.state(number), {"number": number}, keep=keep)


def number_in(root: Path, case: Case) -> int | None:
    """Load, and return which state it is, having compared all of it with what was saved."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CheckpointFellBack)
        loaded = load_state(root / case.name)
    if loaded is None:
        return None
    number: int = loaded.extra["number"]
    assert case.read(loaded) == case.expected(number)
    return number


def numbers_kept(root: Path, case: Case) -> list[int]:
    loaded = [load_state(path) for path in (root / case.name, *backups_of(root / case.name))]
    return [one.extra["number"] for one in loaded if one is not None]


def prepared(root: Path, case: Case, numbers: tuple[int, ...], keep: int) -> Path:
    start = root / "start"
    start.mkdir()
    for number in numbers:
        saved(start, case, number, keep)
    return start


def life_of_a_save(root: Path, case: Case, number: int, keep: int, director: Director) -> Life:
    def run(folder: Path, tell: Tell) -> None:
        saved(folder, case, number, keep)
        tell("saved", number)

    return lived(run, root, director)


def assert_tidy(root: Path, case: Case, keep: int) -> None:
    """Nothing but the checkpoint, its backups, and their manifests."""
    names = {path.name for path in root.iterdir()}
    checkpoints = {name for name in names if not name.endswith(".manifest.json")}
    assert names == checkpoints | {f"{name}.manifest.json" for name in checkpoints}
    assert len(checkpoints) <= keep
    assert all(name == case.name or name.startswith(f"{case.name}.backup-") for name in checkpoints)


@pytest.mark.parametrize(
    ("case", "before", "keep"),
    [
        (BYTES, (), 2),
        (BYTES, (OLDER, OLD), 1),
        (ARRAYS, (OLDER, OLD), 3),
        (FOLDER, (), 1),
        (FOLDER, (OLDER, OLD), 3),
    ],
    ids=str,
)
def test_a_kill_at_any_call_leaves_the_old_or_the_new(
    root: Path, case: Case, before: tuple[int, ...], keep: int
) -> None:
    start = prepared(root, case, before, keep)
    seen = set()
    number = 0
    while True:
        there = root / "there"
        shutil.copytree(start, there)
        life = life_of_a_save(there, case, NEW, keep, KillAt(number, "before" if number % 3 else 100))
        assert life.killed or life.status == 0, life
        found = number_in(there, case)
        assert found in ({NEW} if life.values("saved") else {NEW, before[-1] if before else None})
        assert not list(there.glob("*.corrupt-*"))
        saved(there, case, NEXT, keep)
        assert numbers_kept(there, case) == [NEXT, *([NEW] if found == NEW else []), *reversed(before)][:keep]
        assert_tidy(there, case, keep)
        seen.add(found)
        shutil.rmtree(there)
        if not life.killed:
            break
        number += 1
    assert number > 15
    assert len(seen) == 2


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_kill_while_a_damaged_one_is_set_aside_loses_nothing(root: Path, case: Case) -> None:
    start = prepared(root, case, (OLD, NEW), keep=2)
    damage(start, case)
    number = 0
    while True:
        there = root / "there"
        shutil.copytree(start, there)
        life = lived(lambda folder, tell: tell("number", number_in(folder, case)), there, KillAt(number, "before"))
        assert life.killed or life.values("number") == [OLD], life
        assert number_in(there, case) == OLD
        assert (there / f"{case.name}.corrupt-1").exists()
        shutil.rmtree(there)
        if not life.killed:
            break
        number += 1
    assert number >= 4


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_power_loss_while_a_damaged_one_is_set_aside_loses_nothing(root: Path, case: Case) -> None:
    damage(prepared(root, case, (OLD, NEW), keep=2), case)
    start = tree_of(root / "start")
    ops = recorded(root / "start", lambda folder, tell: tell("number", number_in(folder, case)))
    rng = random.Random(str(case))
    for at in range(len(ops) + 1):
        for _ in range(10):
            there = laid_out(root, start, ops[:at], rng)
            assert number_in(there, case) == OLD
            shutil.rmtree(there)


def damage(root: Path, case: Case) -> None:
    """Change the last byte of the newest checkpoint."""
    file = root / case.name if case is not FOLDER else root / case.name / "inner" / "data"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def recorded(root: Path, run: Callable[[Path, Tell], None]) -> list[Op]:
    """Let `run` happen at `root`, and return its changes and words."""
    recorder = Recorder(root)
    life = lived(run, root, recorder, heard=recorder.heard, at_end=lambda send: send("ops", recorder.ops))
    assert life.status == 0, life
    (ops,) = life.values("ops")
    return list(ops)


def laid_out(root: Path, start: Tree, ops: Sequence[Op], rng: random.Random, **how: Any) -> Path:
    """Return a folder as the power loss after `ops` may leave it."""
    disk = Disk(start)
    for op in ops:
        disk.apply(op)
    lay_out(disk.after_power_loss(rng, **how), root / "there")
    return root / "there"


@pytest.mark.parametrize(
    ("case", "keep", "chances"), [(BYTES, 1, 25), (ARRAYS, 2, 2), (FOLDER, 1, 2), (FOLDER, 2, 2)], ids=str
)
def test_a_power_loss_at_any_moment_leaves_the_last_one_saved_or_the_next(
    root: Path, case: Case, keep: int, chances: int
) -> None:
    start = tree_of(prepared(root, case, (OLDER, OLD), keep))

    def run(folder: Path, tell: Tell) -> None:
        for number in (NEW, NEXT):
            saved(folder, case, number, keep)
            tell("saved", number)

    ops = recorded(root / "start", run)
    rng = random.Random(f"{case} {keep}")
    seen = set()
    for at in range(len(ops) + 1):
        last = max([OLD, *(op.said[1] for op in ops[:at] if op.said is not None)])
        for how in [{"kept": 0.0, "sizes": 0.0}, {"kept": 0.0, "sizes": 1.0}, *[{}] * chances]:
            there = laid_out(root, start, ops[:at], rng, **how)
            found = number_in(there, case)
            assert found in (last, last + 1)
            seen.add(found)
            shutil.rmtree(there)
    assert seen == {OLD, NEW, NEXT}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_power_loss_in_the_save_after_a_kill_leaves_a_whole_one(root: Path, case: Case) -> None:
    start = tree_of(prepared(root, case, (OLD,), 2))
    ops = recorded(root / "start", lambda folder, tell: saved(folder, case, NEW, 2))
    rng = random.Random(str(case))
    for _ in range(20):
        killed_at = rng.randrange(len(ops))
        disk = Disk(start)
        for op in ops[:killed_at]:
            disk.apply(op)
        lay_out(disk.live(), root / "live")
        after = recorded(root / "live", lambda folder, tell: saved(folder, case, NEXT, 2))
        shutil.rmtree(root / "live")
        there = laid_out(root, start, [*ops[:killed_at], *after[: rng.randrange(len(after) + 1)]], rng)
        assert number_in(there, case) in {OLD, NEW, NEXT}
        shutil.rmtree(there)


@pytest.mark.parametrize(
    ("case", "code"), [(BYTES, errno.EIO), (ARRAYS, errno.ENOSPC), (FOLDER, errno.ENOSPC)], ids=str
)
def test_a_disk_that_fails_at_any_call_leaves_a_whole_one_and_the_next_save_works(
    root: Path, case: Case, code: int
) -> None:
    start = prepared(root, case, (OLDER, OLD), keep=2)
    number = 0
    while True:
        there = root / "there"
        shutil.copytree(start, there)
        fault = FailFrom(number, code, lasting=code == errno.ENOSPC, kept=700)

        def run(folder: Path, tell: Tell, fault: FailFrom = fault) -> None:
            try:
                saved(folder, case, NEW, 2)
            except OSError as error:
                tell("failed", error.errno)
            tell("found", number_in(folder, case))
            fault.mended()
            saved(folder, case, NEXT, 2)
            tell("found", number_in(folder, case))

        life = lived(run, there, fault)
        assert life.status == 0, life
        failed = life.values("failed")
        assert failed in ([], [code])
        between, after = life.values("found")
        assert between in ({OLD, NEW} if failed else {NEW})
        assert after == NEXT
        assert_tidy(there, case, keep=2)
        shutil.rmtree(there)
        if not failed:
            break
        number += 1
    assert number > 15


@pytest.mark.parametrize("case", CASES, ids=str)
def test_no_flipped_bit_of_any_file_passes_for_a_state(root: Path, case: Case) -> None:
    start = prepared(root, case, (OLD, NEW), keep=2)
    rng = random.Random(str(case))
    files = sorted(path.relative_to(start) for path in start.rglob("*") if path.is_file())
    fell_back = 0
    for file in files:
        data = (start / file).read_bytes()
        for place in range(rng.randrange(11), len(data), 11):
            there = root / "there"
            shutil.copytree(start, there)
            damaged = bytearray(data)
            damaged[place] ^= 1 << rng.randrange(8)
            (there / file).write_bytes(damaged)
            newest = ".backup-" not in file.parts[0]
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                loaded = load_state(there / case.name)
            assert loaded is not None
            assert case.read(loaded) == case.expected(loaded.extra["number"])
            assert loaded.extra["number"] == (NEW if loaded.fell_back is None else OLD)
            kept = there / f"{case.name}.corrupt-1"
            if loaded.fell_back is None:
                assert not caught
                assert not kept.exists()
            else:
                fell_back += 1
                assert newest
                assert [warning.category for warning in caught] == [CheckpointFellBack]
                assert str(caught[0].message) == str(loaded.fell_back)
                assert loaded.fell_back.kept_as == kept
                set_aside = kept.with_name(file.parts[0].replace(case.name, kept.name)).joinpath(*file.parts[1:])
                assert set_aside.read_bytes() == damaged
            shutil.rmtree(there)
    assert fell_back > 30


def test_where_nothing_is_whole_it_says_so_and_changes_nothing(root: Path) -> None:
    for case in CASES:
        saved(root, case, OLD, keep=1)
        (root / f"{case.name}.manifest.json").write_text("torn")
        before = tree_of(root)
        for _ in range(2):
            with pytest.raises(
                CheckpointDamaged, match=f"{case.name} is not whole: its manifest is damaged.*no older one"
            ):
                load_state(root / case.name)
        assert tree_of(root) == before


@pytest.mark.parametrize("case", [BYTES, FOLDER, ARRAYS], ids=str)
def test_a_damaged_one_that_is_about_to_be_replaced_does_not_push_out_the_last_good_one(root: Path, case: Case) -> None:
    for number in (OLDER, OLD):
        saved(root, case, number, keep=2)
    _state._verified.clear()  # as in another process
    (root / f"{case.name}.manifest.json").write_text("torn")
    with pytest.warns(CheckpointFellBack, match="about to be replaced, is not whole: its manifest is damaged"):
        saved(root, case, NEW, keep=2)
    assert number_in(root, case) == NEW
    (root / f"{case.name}.manifest.json").write_text("torn as well")
    assert number_in(root, case) == OLDER
