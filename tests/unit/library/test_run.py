"""`run`, with results compared to those of the plain loop."""

from __future__ import annotations

import asyncio
import gc
import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from resumable_sweep import ItemsFailed, ResumableSweep, SettingsInvalid, SkipItem, run
from unit.library.started_run import recorded

WAYS = ["one by one", "threads", "tasks"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


@pytest.fixture(params=WAYS)
def run_by(request: pytest.FixtureRequest) -> Callable[..., list[Any]]:
    """`run`, in each of the ways that need no process, with several workers where that can be."""

    def run_so(fn: Callable[..., Any], items: Any, **parameters: Any) -> list[Any]:
        async def as_task(item: Any, **keywords: Any) -> Any:
            await asyncio.sleep(0)
            return fn(item, **keywords)

        if request.param == "one by one":
            return run(fn, items, **parameters)
        return run(fn if request.param == "threads" else as_task, items, **{"workers": 3, **parameters})

    return run_so


def loop(fn: Callable[[Any], Any], items: Any, path: Path, **parameters: Any) -> dict[str, Any]:
    with ResumableSweep(items, checkpoint_path=path, **parameters) as sweep:
        for item in sweep.pending:
            sweep.record(item, fn(item))
    return recorded(path)


def test_results_come_in_the_order_of_the_items_and_equal_those_of_a_loop(
    run_by: Callable[..., Any], tmp_path: Path, path: Path
) -> None:
    items = [5, 3, 8, 1, 9, 2]
    assert run_by(math.sqrt, items, checkpoint_path=path) == [math.sqrt(item) for item in items]
    assert recorded(path) == loop(math.sqrt, items, tmp_path / "loop.jsonl")


def test_what_is_done_is_not_done_again_and_stands_among_the_results(run_by: Callable[..., Any], path: Path) -> None:
    assert run_by(math.sqrt, [4, 9], checkpoint_path=path) == [2.0, 3.0]
    ran = []

    def fn(item: int) -> float:
        ran.append(item)
        return -1.0

    assert run_by(fn, [1, 4, 16, 9], checkpoint_path=path) == [-1.0, 2.0, -1.0, 3.0]
    assert sorted(ran) == [1, 16]


def test_a_failure_is_of_its_item_only_and_told_in_the_end(run_by: Callable[..., Any], path: Path) -> None:
    with pytest.raises(ItemsFailed) as caught:
        run_by(lambda item: 1 // item, [2, 0, 1], checkpoint_path=path)
    (failed,) = caught.value.items
    assert failed.item == 0
    assert "ZeroDivisionError" in failed.error
    assert "1 // item" in failed.traceback
    assert set(recorded(path)) == {'"1"', '"2"'}


def test_failures_can_be_ignored(run_by: Callable[..., Any], path: Path) -> None:
    assert run_by(lambda item: 1 // item, [2, 0, 1], checkpoint_path=path, on_error="ignore") == [0, 1]
    assert b'"complete"' not in path.read_bytes()


def test_the_first_failure_can_end_it_once_those_at_hand_are_recorded(run_by: Callable[..., Any], path: Path) -> None:
    begun = []

    def fn(item: int) -> int:
        begun.append(item)
        while item > 3 and b'"failed"' not in path.read_bytes():
            time.sleep(0.002)
        return 1 // item

    items = [3, 0, *range(4, 100)]
    with pytest.raises(ZeroDivisionError):
        run_by(fn, items, checkpoint_path=path, on_error="raise")
    assert set(recorded(path)) == {f'"{item}"' for item in begun if item}
    assert len(begun) < len(items)
    with ResumableSweep(items, checkpoint_path=path, on_error="ignore") as sweep:
        # Nobody but the one that failed is blamed.
        assert [one.item for one in sweep.find_failed()] == [0]
        assert sweep.find_in_progress() == []


def test_a_result_that_cannot_be_kept_is_a_failure_of_its_item(run_by: Callable[..., Any], path: Path) -> None:
    with pytest.raises(ItemsFailed) as caught:
        run_by(lambda item: object() if item == 1 else item, [0, 1, 2], checkpoint_path=path)
    assert [one.item for one in caught.value.items] == [1]
    assert "ResultInvalid" in caught.value.items[0].error
    assert set(recorded(path)) == {'"0"', '"2"'}


def test_an_item_can_be_left_out_for_good(run_by: Callable[..., Any], path: Path) -> None:
    def fn(item: int) -> int:
        if item == 1:
            raise SkipItem("no such dataset")
        return item

    assert run_by(fn, range(3), checkpoint_path=path) == [0, 2]
    assert run_by(fn, range(3), checkpoint_path=path) == [0, 2]
    with ResumableSweep(range(3), checkpoint_path=path) as sweep:
        assert [(one.item, one.why) for one in sweep.find_skipped()] == [(1, "no such dataset")]


def test_in_a_loop_an_item_can_be_left_out_in_the_same_words(path: Path) -> None:
    with ResumableSweep([1], checkpoint_path=path) as sweep:
        for item in sweep.pending:
            with sweep.trying(item):
                raise SkipItem("too large")
        assert [one.why for one in sweep.find_skipped()] == ["too large"]


def test_seeds_are_the_items_own_whatever_the_workers_and_the_shards(run_by: Callable[..., Any], path: Path) -> None:
    with ResumableSweep(range(6), checkpoint_path=path, seed=7) as sweep:
        expected = [sweep.seed_of(item).integer() for item in range(6)]

    def fn(item: int, *, seed: int) -> int:
        return seed

    assert run_by(fn, range(6), checkpoint_path=path.with_name("a"), seed=7, pass_seed=True) == expected
    for shard in range(2):
        log = path.with_name(f"b{shard}")
        share = run_by(fn, range(6), checkpoint_path=log, seed=7, pass_seed=True, shard=(shard, 2))
        assert share == expected[shard::2]


def test_no_more_items_are_taken_than_there_are_workers(run_by: Callable[..., Any], path: Path) -> None:
    ended = 0
    lock = threading.Lock()
    ahead = []

    def items() -> Iterator[int]:
        for item in range(40):
            ahead.append(item + 1 - ended)
            yield item

    def fn(item: int) -> int:
        nonlocal ended
        with lock:
            ended += 1
        return item

    assert run_by(fn, items(), checkpoint_path=path) == list(range(40))
    assert max(ahead) <= 3


@pytest.mark.parametrize("mode", ["threads", None])
def test_workers_work_at_the_same_time(path: Path, mode: Any) -> None:
    meeting = threading.Barrier(4)

    def fn(item: int) -> int:
        meeting.wait(timeout=30)
        return item

    assert run(fn, range(8), workers=4, mode=mode, checkpoint_path=path) == list(range(8))


def test_tasks_work_at_the_same_time(path: Path) -> None:
    async def fn(item: int) -> int:
        waiting.append(item)
        if len(waiting) == 3:
            all_there.set()
        await all_there.wait()
        return item

    waiting: list[int] = []
    all_there = asyncio.Event()
    assert run(fn, range(3), workers=3, checkpoint_path=path) == [0, 1, 2]


def test_one_thread_can_be_asked_for(path: Path) -> None:
    assert run(lambda item: threading.current_thread().name, [1], mode="threads", checkpoint_path=path) == [
        "sweep worker 0"
    ]


def test_an_error_of_the_items_source_ends_it_once_those_at_hand_are_recorded(
    run_by: Callable[..., Any], path: Path
) -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise LookupError("the table is gone")

    with pytest.raises(LookupError, match="the table is gone"):
        run_by(lambda item: item, items(), checkpoint_path=path)
    assert set(recorded(path)) == {f'"{item}"' for item in range(5)}
    with ResumableSweep(range(5), checkpoint_path=path) as sweep:
        assert sweep.find_failed() == []


def test_an_error_of_the_disk_ends_it_and_no_item_is_blamed(
    run_by: Callable[..., Any], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any, **keywords: Any) -> None:
        raise OSError(28, "No space left on device")

    def fn(item: int) -> int:
        if item == 1:
            monkeypatch.setattr(ResumableSweep, "record", full)
        return item

    with pytest.raises(OSError, match="No space left"):
        run_by(fn, range(2), checkpoint_path=path)
    monkeypatch.undo()
    with ResumableSweep(range(2), checkpoint_path=path) as sweep:
        assert sweep.find_failed() == []
        assert 1 in sweep.pending


def test_a_function_that_exits_ends_the_program(
    run_by: Callable[..., Any], path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fn(item: int) -> int:
        if item == 2:
            raise SystemExit(3)
        return item

    with pytest.raises(SystemExit) as caught:
        run_by(fn, range(3), checkpoint_path=path)
    assert caught.value.code == 3
    assert set(recorded(path)) == {'"0"', '"1"'}
    assert b'"complete"' not in path.read_bytes()
    del caught
    gc.collect()
    assert not caplog.records  # asyncio complains of tasks that nobody asks


def test_off_the_main_thread_it_runs_as_well(run_by: Callable[..., Any], path: Path) -> None:
    found = []
    thread = threading.Thread(target=lambda: found.append(run_by(abs, [-1, 2], checkpoint_path=path)))
    thread.start()
    thread.join()
    assert found == [[1, 2]]


async def test_in_a_running_loop_a_coroutine_function_is_refused_with_what_to_do(path: Path) -> None:
    async def fn(item: int) -> int:
        return item

    with pytest.raises(SettingsInvalid, match=r"await asyncio\.to_thread\(run"):
        run(fn, [1], checkpoint_path=path)
    assert await asyncio.to_thread(run, fn, [1], checkpoint_path=path) == [1]


async def a_coroutine(item: int) -> int:
    return item


@pytest.mark.parametrize(
    ("fn", "parameters", "message"),
    [
        (abs, {"workers": 0}, "workers=0 must be a whole number of 1 or more"),
        (abs, {"workers": True}, "workers=True must be"),
        (abs, {"mode": "fibers"}, "mode='fibers' must be one of threads, processes"),
        (7, {}, "fn=7 must be a function"),
        (lambda: 0, {}, "cannot be called as fn"),
        (lambda item: 0, {"pass_seed": True}, "as pass_seed=True has it"),
        (lambda item: 0, {"mode": "processes"}, "cannot be sent to worker processes"),
        (a_coroutine, {"mode": "threads"}, "mode='threads' does not go with a coroutine function"),
        (abs, {"workers": 2, "random_state": True}, "pass_seed=True, or workers=1"),
    ],
)
def test_what_does_not_go_is_refused_before_anything_is_written(
    path: Path, fn: Any, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsInvalid, match=message):
        run(fn, [1], checkpoint_path=path, **parameters)
    assert not path.exists()
