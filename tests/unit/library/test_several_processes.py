"""One log and several processes: forked children that record, and sweeps that meet by chance."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resumable_sweep import LogLocked, ResumableSweep
from resumable_sweep.contract.log_format import entries_of
from unit.library.started_run import StartedRun, recorded

ITEMS = 24
CHILDREN = 8


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one process records that is alone."""
    path = tmp_path_factory.mktemp("alone") / "results.jsonl"
    with StartedRun(path, ITEMS) as program:
        assert program.end() == 0
    return recorded(path)


def forked(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return child


def result_of(item: int) -> dict[str, Any]:
    return {"square": item**2, "text": "ä" * (item * 37 % 300)}


@pytest.mark.parametrize("seed", range(3))
def test_of_eight_children_killed_at_random_no_record_is_lost_and_no_line_torn(log: Path, seed: int) -> None:
    rng = random.Random(seed)
    items = range(30 * CHILDREN)
    told_read, told_write = os.pipe()

    with ResumableSweep(items, checkpoint_path=log) as sweep:

        def record_share(number: int) -> None:
            for item in items[number::CHILDREN]:
                sweep.record(item, result_of(item))
                os.write(told_write, b"%d\n" % item)

        children = [forked(lambda number=number: record_share(number)) for number in range(CHILDREN)]  # type: ignore[misc]
        os.close(told_write)
        doomed = rng.sample(children, 5)
        with os.fdopen(told_read) as lines:
            told = set()
            for child in doomed:
                for _ in range(rng.randrange(1, 25)):
                    told.add(int(next(lines)))
                os.kill(child, signal.SIGKILL)
            told |= {int(line) for line in lines}
        ends = {child: os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children}
        assert all(ends[child] == 0 for child in set(children) - set(doomed))
        left = []
        for item in sweep.pending:
            left.append(item)
            sweep.record(item, result_of(item))
        assert told.isdisjoint(left)
        # A child that was killed may have come to record one item more than it came to tell.
        assert len(items) - len(told) - len(doomed) <= len(left) <= len(items) - len(told)
        assert [result for _, result in sweep.results()] == [result_of(item) for item in items]
    assert recorded(log) == {f'"{item}"': result_of(item) for item in items}
    entries = list(entries_of(log.read_bytes()))
    assert len(entries) == len(log.read_bytes().splitlines())
    assert entries[-1]["kind"] == "complete"
    assert not list(log.parent.glob("*.corrupt-*"))


def test_of_eight_at_once_one_wins_and_the_others_are_told(log: Path, tmp_path: Path, alone: dict[str, Any]) -> None:
    go = tmp_path / "go"
    programs = [StartedRun(log, ITEMS, wait_for=go) for _ in range(CHILDREN)]
    try:
        (winner,) = [program for program in programs if program.read()]
        others = [program for program in programs if program is not winner]
        for program in others:
            assert program.end() == 1
            assert f"{LogLocked.__name__}: {log} is being written by another process" in program.errors
        go.touch()
        assert winner.end() == 0, winner.errors
        assert winner.returned() == list(alone.values())
    finally:
        for program in programs:
            program.__exit__()
    assert recorded(log) == alone


def test_of_eight_that_wait_one_does_the_work_and_the_others_find_it_done(log: Path, alone: dict[str, Any]) -> None:
    programs = [StartedRun(log, ITEMS, lock_timeout=60) for _ in range(CHILDREN)]
    try:
        for program in programs:
            assert program.end() == 0, program.errors
            assert program.returned() == list(alone.values())
        assert sorted(len(program.ran()) for program in programs) == [0] * (CHILDREN - 1) + [ITEMS]
    finally:
        for program in programs:
            program.__exit__()
    assert recorded(log) == alone


@pytest.mark.parametrize("mode", [None, "processes"])
def test_one_that_is_killed_gives_the_log_free_at_once(
    log: Path, tmp_path: Path, alone: dict[str, Any], mode: str | None
) -> None:
    with StartedRun(log, ITEMS, mode=mode, wait_for=tmp_path / "never") as holder:
        holder.read_until_ran(1)
        with pytest.raises(LogLocked), ResumableSweep(range(3), checkpoint_path=log):
            pass
        holder.process.kill()
        holder.process.wait()
        # The worker process need not have noticed yet: it has no part in the lock.
        with StartedRun(log, ITEMS) as heir:
            assert heir.end() == 0, heir.errors
    assert recorded(log) == alone


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP])
def test_a_file_system_without_locks_is_refused_in_words(
    log: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def flock(file: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with (
        pytest.raises(OSError, match="this file system has no locks, choose another") as caught,
        ResumableSweep([1], checkpoint_path=log, lock_timeout=60),
    ):
        pass
    assert (caught.value.errno, caught.value.filename) == (number, str(log))
