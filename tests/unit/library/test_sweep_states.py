"""Items that end otherwise than well: failed, skipped, cut off, never begun."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resumable_sweep import ItemsFailed, ItemsInvalid, ResumableSweep
from resumable_sweep.contract.log_format import completion_of, entries_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


def entries(path: Path, kind: str) -> list[dict[str, Any]]:
    return [entry for entry in entries_of(path.read_bytes()) if entry["kind"] == kind]


def failing_on(path: Path, bad: set[int], items: Any = range(5), **parameters: Any) -> list[int]:
    """Run a sweep whose items in `bad` fail; return which ran."""
    ran = []
    with ResumableSweep(items, checkpoint_path=path, on_error="ignore", **parameters) as sweep:
        for item in sweep.pending:
            ran.append(item)
            with sweep.trying(item):
                if item in bad:
                    raise ValueError(f"no root for {item}")
                sweep.record(item, item * 10)
    return ran


def test_one_failure_does_not_end_the_run_and_is_told_in_the_end(path: Path) -> None:
    def program() -> None:
        with ResumableSweep(range(4), checkpoint_path=path) as sweep:
            for item in sweep.pending:
                with sweep.trying(item):
                    sweep.record(item, 12 // (item - 1))

    with pytest.raises(
        ItemsFailed, match=r"1 of 4 items have failed, 1 of them run again .*ZeroDivisionError"
    ) as caught:
        program()
    (failed,) = caught.value.items
    assert (failed.item, failed.key, failed.attempts) == (1, "1", 1)
    assert failed.error == "ZeroDivisionError: integer division or modulo by zero"
    assert "12 // (item - 1)" in failed.traceback
    assert len(entries(path, "done")) == 3
    assert completion_of(list(entries_of(path.read_bytes()))) is None
    assert "ZeroDivisionError" in path.with_name("results.jsonl.errors.txt").read_text()


def test_a_failed_item_runs_again_on_each_resume_until_it_has_failed_often_enough(path: Path) -> None:
    assert failing_on(path, {1, 3}) == [0, 1, 2, 3, 4]
    assert failing_on(path, {1}) == [1, 3]
    assert failing_on(path, {1}) == [1]
    assert failing_on(path, {1}) == []
    assert failing_on(path, {1}, max_attempts=5) == [1]
    assert [entry["key"] for entry in entries(path, "failed")] == ["1", "3", "1", "1", "1"]
    assert entries(path, "complete") == []
    assert failing_on(path, set(), max_attempts=9) == [1]
    assert entries(path, "complete")[-1]["total"] == 5


def test_none_left_to_try_is_said(path: Path) -> None:
    for _ in range(2):
        failing_on(path, {1}, max_attempts=2)
    with (
        pytest.raises(ItemsFailed, match="none of them has a try left"),
        ResumableSweep(range(5), checkpoint_path=path, max_attempts=2) as sweep,
    ):
        assert list(sweep.pending) == []


def test_with_raise_the_first_failure_ends_the_run(path: Path) -> None:
    ran = []

    def program() -> None:
        with ResumableSweep(range(5), checkpoint_path=path, on_error="raise") as sweep:
            for item in sweep.pending:
                ran.append(item)
                with sweep.trying(item):
                    raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        program()
    assert ran == [0]
    assert len(entries(path, "failed")) == 1


def test_an_exception_that_leaves_the_block_is_the_failure_of_the_item_at_hand(path: Path) -> None:
    def program() -> None:
        with ResumableSweep(range(5), checkpoint_path=path) as sweep:
            for item in sweep.pending:
                if item == 2:
                    raise RuntimeError("diverged")
                sweep.record(item, 0)

    with pytest.raises(RuntimeError, match="diverged"):
        program()
    (entry,) = entries(path, "failed")
    assert (entry["key"], entry["error"]) == ("2", "RuntimeError: diverged")


def test_a_full_disk_is_no_items_fault(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def program() -> None:
        with ResumableSweep(range(5), checkpoint_path=path) as sweep:
            for item in sweep.pending:
                with monkeypatch.context() as patch:
                    patch.setattr(os, "fsync", full)
                    sweep.record(item, item)

    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        program()
    assert entries(path, "failed") == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), GeneratorExit()], ids=repr)
def test_to_be_ended_is_no_failure(path: Path, error: BaseException) -> None:
    def program() -> None:
        with ResumableSweep(range(5), checkpoint_path=path) as sweep:
            for _ in sweep.pending:
                raise error

    with pytest.raises(type(error)):
        program()
    with ResumableSweep(range(5), checkpoint_path=path) as sweep:
        assert sweep.find_in_progress() == [0]
        assert sweep.find_failed() == []
        assert list(sweep.pending) == [0, 1, 2, 3, 4]


def test_a_skipped_item_is_settled_and_has_no_result(path: Path) -> None:
    with ResumableSweep(range(3), checkpoint_path=path) as sweep:
        for item in sweep.pending:
            if item == 1:
                sweep.skip(item, "needs a licence")
            else:
                sweep.record(item, item)
    (complete,) = entries(path, "complete")
    assert (complete["total"], complete["skipped"]) == (3, 1)
    with ResumableSweep(range(3), checkpoint_path=path) as sweep:
        assert sweep.completed == [0, 2]
        assert list(sweep.pending) == []
        assert [(one.item, one.why) for one in sweep.find_skipped()] == [(1, "needs a licence")]


def test_what_is_done_stays_done(path: Path) -> None:
    with ResumableSweep(range(2), checkpoint_path=path) as sweep:
        sweep.record(0, "good")
        with pytest.raises(ItemsInvalid, match="is done already"):
            sweep.fail(0, ValueError())
        with pytest.raises(ItemsInvalid, match="is done already"):
            sweep.skip(0, "late")
        sweep.record(0, "better")
        sweep.skip(1, "not now")
        sweep.record(1, "after all")
    with ResumableSweep(range(2), checkpoint_path=path) as sweep:
        assert sweep.completed == ["better", "after all"]


def test_every_item_is_in_one_state(path: Path) -> None:
    with ResumableSweep(range(6), checkpoint_path=path, on_error="ignore") as sweep:
        pending = sweep.pending
        sweep.record(next(pending), 1)
        sweep.fail(next(pending), "by hand")
        sweep.skip(next(pending), "why not")
        next(pending)
        stats = sweep.stats()
        assert (stats.completed, stats.failed, stats.skipped, stats.in_progress, stats.missing) == (1, 1, 1, 1, 2)
        assert (stats.total, stats.recorded, stats.replayed) == (6, 1, 0)
        assert [failed.error for failed in sweep.find_failed()] == ["by hand"]
        assert sweep.find_in_progress() == [3]
        assert sweep.find_missing() == [4, 5]
    with ResumableSweep(range(6), checkpoint_path=path, on_error="ignore") as sweep:
        stats = sweep.stats()
        assert (stats.completed, stats.failed, stats.skipped, stats.in_progress, stats.missing) == (1, 1, 1, 1, 2)
        assert (stats.replayed, stats.recorded, stats.resumes) == (1, 0, 1)
        assert list(sweep.pending) == [1, 3, 4, 5]
        assert sweep.find_missing() == []


def test_a_pass_hands_out_again_what_this_thread_gave_up(path: Path) -> None:
    with ResumableSweep(range(3), checkpoint_path=path) as sweep:
        assert next(sweep.pending) == 0
        assert next(sweep.pending) == 0
        first, second = sweep.pending, sweep.pending
        assert next(second) == 0
        assert next(first) == 1


def test_items_may_come_one_by_one_and_without_end(path: Path) -> None:
    pulled = []

    def endless() -> Iterator[int]:
        number = 0
        while True:
            pulled.append(number)
            yield number
            number += 1

    for start in (0, 3):
        with ResumableSweep(endless(), checkpoint_path=path) as sweep:
            assert sweep.completed == [item * 10 for item in range(start)]
            for item, _ in zip(sweep.pending, range(3), strict=False):
                sweep.record(item, item * 10)
            assert sweep.stats().total is None
            assert sweep.stats().completed == start + 3
    assert max(pulled) <= 6
    assert entries(path, "complete") == []


def test_a_generator_that_ends_makes_the_sweep_complete(path: Path) -> None:
    for _ in range(2):
        with ResumableSweep((item for item in "abc"), checkpoint_path=path) as sweep:
            for item in sweep.pending:
                sweep.record(item, item.upper())
    assert [entry["total"] for entry in entries(path, "complete")][-1] == 3
    assert [entry["result"] for entry in entries(path, "done")] == ["A", "B", "C"]


def test_items_may_be_added(path: Path) -> None:
    with ResumableSweep([1], checkpoint_path=path) as sweep:
        for item in sweep.pending:
            sweep.record(item, item)
            if item < 4:
                sweep.extend([item + 1])
    assert entries(path, "complete")[-1]["total"] == 4
    with ResumableSweep([1, 2, 3, 4, 5], checkpoint_path=path) as sweep:
        assert sweep.completed == [1, 2, 3, 4]
        assert list(sweep.pending) == [5]
