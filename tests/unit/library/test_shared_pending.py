"""A sweep's items shared out by the program itself: among threads, among tasks."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from resumable_sweep import ResumableSweep
from unit.library.started_run import recorded

ITEMS = list(range(60))
WORKERS = 6


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


@pytest.fixture
def expected(tmp_path: Path) -> dict[str, Any]:
    """What one thread records."""
    log = tmp_path / "expected.jsonl"
    with ResumableSweep(ITEMS, checkpoint_path=log) as sweep:
        for item in sweep.pending:
            sweep.record(item, {"square": item**2})
    return recorded(log)


def in_threads(work: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("shares_iterator", [True, False])
@pytest.mark.parametrize("is_sized", [True, False])
def test_among_threads_each_item_goes_to_one(
    path: Path, expected: dict[str, Any], shares_iterator: bool, is_sized: bool
) -> None:
    ran: Counter[int] = Counter()
    workers: set[int] = set()
    meeting = threading.Barrier(WORKERS)

    with ResumableSweep(ITEMS if is_sized else iter(ITEMS), checkpoint_path=path) as sweep:
        shared = sweep.pending

        def work() -> None:
            meeting.wait()
            for item in shared if shares_iterator else sweep.pending:
                if threading.get_ident() not in workers:
                    workers.add(threading.get_ident())
                    meeting.wait()  # so that all of them have an item at once
                ran[item] += 1
                sweep.record(item, {"square": item**2})

        in_threads(work)
        assert list(sweep.pending) == []
    assert ran == Counter(ITEMS)
    assert len(workers) == WORKERS
    assert recorded(path) == expected
    assert b'"complete"' in path.read_bytes()


def test_an_item_that_a_thread_did_not_end_is_pending_again_when_the_thread_asks_again(path: Path) -> None:
    with ResumableSweep([1, 2], checkpoint_path=path) as sweep:
        given = [next(sweep.pending), next(sweep.pending)]
        assert given == [1, 1]

        def work() -> None:
            given.append(next(sweep.pending))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert given[2] == 2


async def test_among_tasks_each_item_goes_to_one_and_records_go_by_a_thread(
    path: Path, expected: dict[str, Any]
) -> None:
    ran: Counter[int] = Counter()
    busy = most_busy = 0

    with ResumableSweep(ITEMS, checkpoint_path=path) as sweep:

        async def work(pending: Iterator[int]) -> None:
            nonlocal busy, most_busy
            for item in pending:
                busy += 1
                most_busy = max(most_busy, busy)
                ran[item] += 1
                await asyncio.sleep(0)
                await asyncio.to_thread(sweep.record, item, {"square": item**2})
                busy -= 1

        pending = sweep.pending
        await asyncio.gather(*(work(pending) for _ in range(WORKERS)))
    assert ran == Counter(ITEMS)
    assert most_busy == WORKERS
    assert recorded(path) == expected
