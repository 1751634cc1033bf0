"""Entering a sweep: what an attempt to enter that failed leaves behind, what is noticed, and what is not kept open."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

from resumable_sweep import CheckpointFellBack, Drifted, DriftWarning, ResumableSweep, SourceUnreachable
from resumable_sweep.contract.log_format import completion_of, entries_of
from resumable_sweep.contract.manifest import manifest_path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "before" / "results.jsonl"


def entries(path: Path, kind: str) -> list[dict[str, Any]]:
    return [entry for entry in entries_of(path.read_bytes()) if entry["kind"] == kind]


def seeds(path: Path, stop_after: int = 100, **parameters: Any) -> list[Any]:
    """Run a sweep whose results are the items' seeds; return all of them."""
    with ResumableSweep(range(4), checkpoint_path=path, **parameters) as sweep:
        for count, item in enumerate(sweep.pending):
            if count == stop_after:
                break
            sweep.record(item, sweep.seed_of(item).integer())
        return [result for _, result in sweep.results()]


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Function that makes every source one that cannot be read, until the patch is undone."""

    def strike() -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise SourceUnreachable("the store does not answer")

        monkeypatch.setattr("resumable_sweep._resuming.fetched", refuse)

    return strike


def test_a_source_that_could_not_be_reached_at_first_gives_its_seed_later(
    path: Path, source: Path, unreachable: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = seeds(source.with_name("undisturbed"), seed=7)
    seeds(source, stop_after=2, seed=7)
    unreachable()
    with pytest.raises(SourceUnreachable):
        seeds(path, resume_from=source)
    monkeypatch.undo()
    assert seeds(path, stop_after=1, resume_from=source) == expected[:3]
    assert seeds(path) == expected


@pytest.mark.parametrize("step", ["_verify_files", "_preserve", "_tell"])
def test_who_dies_after_the_results_came_over_goes_on_with_their_seed(
    path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    expected = seeds(source.with_name("undisturbed"), seed=7)
    seeds(source, stop_after=2, seed=7)

    def die(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(f"resumable_sweep._opening.Opening.{step}", die)
    with pytest.raises(MemoryError):
        seeds(path, resume_from=source)
    monkeypatch.undo()
    assert seeds(path, resume_from=source) == expected


def test_a_progress_file_is_read_although_entering_failed_before(
    path: Path, source: Path, unreachable: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = path.with_name("mime.progress.json")
    expected = seeds(source, progress_json=progress)
    unreachable()
    with pytest.raises(SourceUnreachable):
        seeds(path, progress_json=progress)
    monkeypatch.undo()
    with ResumableSweep(range(4), checkpoint_path=path, progress_json=progress) as sweep:
        assert sweep.completed == expected


def test_results_of_another_seed_are_not_mixed_in_unasked(path: Path, source: Path) -> None:
    seeds(source, stop_after=2, seed=7)
    seeds(path, stop_after=1)
    with pytest.raises(Drifted, match="seed: 7 -> 0"):
        seeds(path, resume_from=source)
    with pytest.warns(DriftWarning, match="seed: 7 -> 0"):
        found = seeds(path, resume_from=source, allow_drift="seed")
    assert found[0] == seeds(path.with_name("of_0"))[0]
    assert found[1] == seeds(path.with_name("of_7"), seed=7)[1]


def test_a_log_without_results_holds_nobody_to_anything(path: Path) -> None:
    for config in ({"lr": 1}, {"lr": 2}):
        with ResumableSweep(range(2), checkpoint_path=path, config=config, seed=config["lr"]) as sweep:
            next(sweep.pending)
    with ResumableSweep(range(2), checkpoint_path=path) as sweep:
        assert (sweep.config, sweep.seed_of(0).integer()) == ({"lr": 2}, _seed_of_first(path, seed=2))
        sweep.record(0, 1)
    with pytest.raises(Drifted, match="another configuration and seed"):
        ResumableSweep(range(2), checkpoint_path=path, config={"lr": 1}, seed=1).__enter__()


def _seed_of_first(path: Path, *, seed: int) -> int:
    with ResumableSweep(range(2), checkpoint_path=path.with_name("fresh"), seed=seed) as sweep:
        return sweep.seed_of(0).integer()


@pytest.mark.parametrize("lazily", [False, True])
@pytest.mark.parametrize("how", ["missing", "changed"])
def test_a_damaged_side_file_has_its_item_run_again_and_no_other(path: Path, lazily: bool, how: str) -> None:
    def run(expected: list[int]) -> list[Any]:
        items: Any = iter(range(3)) if lazily else range(3)
        with ResumableSweep(items, checkpoint_path=path) as sweep:
            ran = []
            for item in sweep.pending:
                ran.append(item)
                sweep.record(item, numpy.arange(20_000) + item)
            assert ran == expected
            return [result for _, result in sweep.results()]

    run([0, 1, 2])
    victim = next(file for file in path.with_name("results.jsonl.files").iterdir() if numpy.load(file)[0] == 1)
    content = victim.read_bytes()
    if how == "missing":
        victim.unlink()
    else:
        victim.write_bytes(content[:-1] + b"!")
    with pytest.warns(CheckpointFellBack, match="runs again"):
        found = run([1])
    numpy.testing.assert_equal(found, [numpy.arange(20_000) + item for item in range(3)])
    assert victim.read_bytes() == content
    (entry,) = entries(path, "fallback")
    assert entry["used"] == 'nothing: item "1" runs again'
    assert entries(path, "complete")[-1]["total"] == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run([])


def test_a_result_that_was_displaced_needs_no_side_file(path: Path) -> None:
    with ResumableSweep(range(1), checkpoint_path=path) as sweep:
        sweep.record(0, numpy.arange(20_000))
        (file,) = path.with_name("results.jsonl.files").iterdir()
        sweep.record(0, "small")
    file.unlink()
    with ResumableSweep(range(1), checkpoint_path=path) as sweep:
        assert sweep.completed == ["small"]


def test_a_complete_log_is_reopened_only_where_there_is_work(path: Path) -> None:
    seeds(path)
    before = path.read_bytes()
    seeds(path)
    assert path.read_bytes() == before
    with ResumableSweep(range(5), checkpoint_path=path) as sweep:
        assert completion_of(list(entries_of(path.read_bytes()))) is None
        sweep.record(4, 4)
    completion = completion_of(list(entries_of(path.read_bytes())))
    assert completion is not None
    assert completion["total"] == 5


def test_a_log_beside_a_path_that_is_no_unicode_can_be_mended(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")) / "results.jsonl"
    seeds(path)
    path.write_bytes(path.read_bytes().replace(b'"done"', b'"dune"', 1))
    with pytest.warns(CheckpointFellBack):
        seeds(path)
    (entry,) = entries(path, "fallback")
    assert entry["kept_as"] == f"{path}.corrupt-1"


def open_files() -> list[str]:
    found = []
    for number in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(number.readlink()))
        except FileNotFoundError:  # that of the listing itself
            continue
    return sorted(found)


@pytest.fixture
def leaves_nothing_open() -> Iterator[None]:
    before, threads = open_files(), threading.active_count()
    yield
    assert open_files() == before
    assert threading.active_count() == threads


@pytest.mark.usefixtures("leaves_nothing_open")
def test_to_enter_and_leave_keeps_nothing_open(path: Path) -> None:
    for number in range(40):
        with ResumableSweep(
            range(2), checkpoint_path=path, checkpoint_every=2, checkpoint_seconds=60, grace=60, random_state=True,
            show_progress=True, notice_file=path.with_name("notice"), config={"x": 1},
        ) as sweep:  # fmt: skip
            sweep.record(number % 2, number)


STEPS = [
    "resumable_sweep._opening.read_preserved",
    "resumable_sweep._opening.compare",
    "resumable_sweep._opening.brought",
    "resumable_sweep._opening.write_preserved",
    "resumable_sweep._log.replace_whole",
    "resumable_sweep._log.sync_folder",
    "resumable_sweep._log.scan",
    "resumable_sweep._resuming.scan",
    "resumable_sweep._session.Acknowledgements",
    "resumable_sweep._session.RandomKeeping",
    "resumable_sweep._session.Display.start",
]


@pytest.mark.usefixtures("leaves_nothing_open")
@pytest.mark.parametrize("step", STEPS)
def test_wherever_entering_fails_the_log_is_let_go(
    path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    seeds(source, stop_after=2)
    seeds(path, stop_after=1)
    if step.endswith(("write_preserved", "sync_folder")):
        path.unlink()
        manifest_path(path).unlink()

    def fail(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(step, fail)
    sweep = ResumableSweep(
        range(4), checkpoint_path=path, resume_from=source, random_state=True, show_progress=True, config={"x": 1},
        checkpoint_seconds=60, notice_file=path.with_name("notice"), allow_drift=True,
    )  # fmt: skip
    with pytest.raises(MemoryError):
        sweep.__enter__()
    monkeypatch.undo()
    with pytest.raises(RuntimeError, match="not open"):
        sweep.record(0, 0)
    assert len(seeds(path, resume_from=source)) == 4
