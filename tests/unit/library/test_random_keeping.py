"""Global random states that go with a sweep: interrupted anywhere, it draws what it would have drawn."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

from resumable_sweep import CheckpointFellBack, ResumableSweep
from resumable_sweep.contract.log_format import entries_of

ITEMS = 8


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out" / "results.jsonl"


def experiment(
    path: Path, *, until: int = 1000, between: Callable[[int], None] = lambda drawn: None, **parameters: Any
) -> list[Any]:
    """Run a sweep whose results are drawn from the global generators, for `until` items; return all its results."""
    random.seed(1)
    numpy.random.seed(2)
    with ResumableSweep(range(ITEMS), checkpoint_path=path, random_state=True, **parameters) as sweep:
        for count, item in enumerate(sweep.pending):
            if count == until:
                raise Killed
            drawn = [random.gauss(0, 1), float(numpy.random.normal())]
            between(item)
            if item % 3 == 1:
                sweep.skip(item, "drawn in vain")
            else:
                sweep.record(item, drawn)
        return [result for _, result in sweep.results()]


@pytest.fixture
def undisturbed(tmp_path: Path) -> list[Any]:
    return experiment(tmp_path / "undisturbed" / "results.jsonl")


def states_of(path: Path) -> list[Path]:
    return sorted(path.with_name(f"{path.name}.files").glob("*.json"))


@pytest.mark.parametrize("parameters", [{}, {"checkpoint_every": 3}], ids=["each", "groups"])
@pytest.mark.parametrize("until", range(ITEMS + 1))
def test_ended_after_any_item_it_goes_on_with_the_same_draws(
    path: Path, undisturbed: list[Any], until: int, parameters: dict[str, Any]
) -> None:
    if until < ITEMS:
        with pytest.raises(Killed):
            experiment(path, until=until, **parameters)
    assert experiment(path, **parameters) == undisturbed
    assert sum(entry["kind"] == "done" for entry in entries_of(path.read_bytes())) == len(undisturbed)


@pytest.mark.parametrize("killed_in", [0, 1, 5, 7])
def test_what_was_drawn_for_an_item_that_never_ended_is_drawn_again(
    path: Path, undisturbed: list[Any], killed_in: int
) -> None:
    def kill(item: int) -> None:
        if item == killed_in:
            raise Killed

    with pytest.raises(Killed):
        experiment(path, between=kill)
    assert experiment(path) == undisturbed


@pytest.mark.parametrize("every", [1, 3, 100])
@pytest.mark.parametrize("until", [1, 4, 7])
def test_whatever_a_power_loss_leaves_of_a_group_has_its_states(
    tmp_path: Path, path: Path, undisturbed: list[Any], monkeypatch: pytest.MonkeyPatch, every: int, until: int
) -> None:
    on_disk = [0]
    fsync = os.fsync

    def noted(file: int) -> None:
        fsync(file)
        if path.exists() and os.path.samestat(os.fstat(file), path.stat()):
            on_disk[0] = os.fstat(file).st_size

    monkeypatch.setattr(os, "fsync", noted)

    left = tmp_path / "left"

    def at_the_end(item: int) -> None:
        if item == until:
            # What a machine has after its power was gone: of the log what was synced, of other files the names now.
            shutil.copytree(path.parent, left)
            os.truncate(left / path.name, on_disk[0])
            raise Killed

    with pytest.raises(Killed):
        experiment(path, between=at_the_end, checkpoint_every=every)
    monkeypatch.undo()
    assert experiment(left / path.name) == undisturbed


def test_only_the_newest_states_are_kept(path: Path) -> None:
    counts = []
    experiment(path, between=lambda item: counts.append(len(states_of(path))))
    assert max(counts) == 1
    assert len(states_of(path)) == 1


def test_in_groups_those_that_a_power_loss_may_need_are_kept_and_no_others(path: Path) -> None:
    counts = []
    experiment(path, between=lambda item: counts.append(len(states_of(path))), checkpoint_every=3)
    assert max(counts) == 3
    assert len(states_of(path)) == 1


def test_the_same_states_again_are_not_lost(path: Path) -> None:
    with ResumableSweep(range(6), checkpoint_path=path, random_state=True, checkpoint_every=100) as sweep:
        for item in sweep.pending:
            random.seed(item % 2)
            sweep.record(item, item)
            if item % 2:
                sweep.checkpoint()
    random.seed(1)
    expected = random.random()
    random.seed(99)
    with ResumableSweep(range(6), checkpoint_path=path, random_state=True):
        assert random.random() == expected


def test_a_program_that_draws_nothing_keeps_one_file(path: Path) -> None:
    with ResumableSweep(range(5), checkpoint_path=path, random_state=True) as sweep:
        for item in sweep.pending:
            sweep.record(item, 1)
    assert len(states_of(path)) == 1
    with ResumableSweep(range(5), checkpoint_path=path, random_state=True) as sweep:
        assert sweep.completed == [1] * 5


def test_lost_states_cost_no_result_and_are_told_of(path: Path) -> None:
    with pytest.raises(Killed):
        experiment(path, until=5)
    for state in states_of(path):
        state.unlink()
    with pytest.warns(CheckpointFellBack, match="random states cannot be restored"):
        results = experiment(path)
    assert len(results) == 5
    assert sum(entry["kind"] == "done" for entry in entries_of(path.read_bytes())) == 5


def test_a_state_that_is_not_on_disk_with_its_entry_keeps_the_one_before(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ResumableSweep(range(4), checkpoint_path=path, random_state=True) as sweep:
        sweep.record(0, random.random())
        (first,) = states_of(path)
        pwrite = os.pwrite

        def refuse(file: int, data: Any, offset: int) -> int:
            if os.path.samestat(os.fstat(file), path.stat()):
                raise OSError(28, "No space left on device")
            return pwrite(file, data, offset)

        monkeypatch.setattr(os, "pwrite", refuse)
        with pytest.raises(OSError, match="nothing was added"):
            sweep.record(1, random.random())
        assert first in states_of(path)
        monkeypatch.undo()
        sweep.record(1, random.random())
        assert len(states_of(path)) == 1
