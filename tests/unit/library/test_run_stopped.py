"""`run` in real processes that are told to stop, or are killed, while several items are at hand."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from resumable_sweep.contract.log_format import entries_of
from unit.library.started_run import StartedRun, recorded

ITEMS = 24
WAYS = ["threads", "tasks", "processes"]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "out" / "results.jsonl"


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a log holds in the end, made by one process, one item after the other."""
    path = tmp_path_factory.mktemp("uninterrupted") / "results.jsonl"
    with StartedRun(path, ITEMS) as whole:
        assert whole.end() == 0
        assert list(recorded(path).values()) == whole.returned()
    return recorded(path)


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until_gone(pids: set[int]) -> None:
    deadline = time.monotonic() + 30
    while left := {pid for pid in pids if is_alive(pid)}:
        assert time.monotonic() < deadline, f"{left} are still there"
        time.sleep(0.01)


def states(log: Path) -> list[tuple[str, Any]]:
    return [(entry["kind"], entry["key"]) for entry in entries_of(log.read_bytes()) if "key" in entry]


@pytest.mark.parametrize(
    ("mode", "signum", "status"),
    [("threads", signal.SIGTERM, 143), ("tasks", signal.SIGINT, 130), ("processes", signal.SIGINT, 130)],
)
def test_those_at_hand_are_finished_and_none_is_begun(
    log: Path, tmp_path: Path, mode: str, signum: int, status: int
) -> None:
    go = tmp_path / "go"
    with StartedRun(log, 24, workers=3, mode=mode, wait_for=go) as program:
        program.read_until_ran(3)
        os.killpg(program.process.pid, signum)  # as the terminal does, and many a batch system
        program.read_errors_until("finishing the item at hand")
        go.touch()
        assert program.end() == status
        assert sorted(program.ran()) == [0, 1, 2]
        assert set(recorded(log)) == {"0", "1", "2"}
        assert b'"complete"' not in log.read_bytes()
        assert "Traceback" not in program.errors


@pytest.mark.parametrize("mode", WAYS)
def test_when_the_grace_is_over_those_still_at_hand_are_left_to_the_next_run(log: Path, mode: str) -> None:
    with StartedRun(log, 24, workers=2, mode=mode, hang=1, grace=0.2) as program:
        program.read_until_ran(3)
        program.process.terminate()
        assert program.end() == 143
        assert 1 in program.ran()
        assert "no time is left" in program.errors
        assert "Traceback" not in program.errors
        assert ("started", 1) in states(log)
        assert ("failed", 1) not in states(log)
        wait_until_gone(program.pids())


@pytest.mark.parametrize("mode", WAYS)
def test_a_second_interrupt_ends_it_at_once(log: Path, mode: str) -> None:
    with StartedRun(log, 2, workers=2, mode=mode, hang=1) as program:
        program.read_until_ran(2)
        program.process.send_signal(signal.SIGINT)
        program.read_errors_until("interrupt again")
        program.process.send_signal(signal.SIGINT)
        program.end()
        assert "KeyboardInterrupt" in program.errors
        assert ("failed", 1) not in states(log)
        wait_until_gone(program.pids())


def test_worker_processes_end_with_their_parent_however_it_ends(log: Path, tmp_path: Path) -> None:
    with StartedRun(log, 4, workers=3, mode="processes", wait_for=tmp_path / "never") as program:
        program.read_until_ran(3)
        workers = program.pids()
        assert program.process.pid not in workers
        program.process.kill()
        program.process.wait()
        wait_until_gone(workers)


def test_a_worker_process_that_is_killed_costs_its_item_a_try_and_another_takes_its_place(
    log: Path, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    with StartedRun(log, 24, workers=2, mode="processes", wait_for=go) as program:
        program.read_until_ran(2)
        (line,) = [line for line in program.lines if line.startswith("ran 1 ")]
        os.kill(int(line.split()[2]), signal.SIGKILL)
        program.read_until_ran(3)
        go.touch()
        assert program.end() == 1
        assert "WorkerDied: the worker process was killed by SIGKILL" in program.errors
        assert len(program.pids()) == 3
        assert set(recorded(log)) == {str(x) for x in range(24) if x != 1}


@pytest.mark.parametrize("seed", range(2))
def test_whatever_is_killed_and_however_it_is_shared_out_the_results_are_those_of_one_uninterrupted_run(
    tmp_path: Path, uninterrupted: dict[str, Any], seed: int
) -> None:
    """A schedule drawn from `seed`: other workers, another mode and another number of shards in each life."""
    rng = random.Random(seed)
    found: dict[str, Any] = {}
    source: dict[str, str] = {}
    for life in range(3):
        shards = rng.randint(1, 3)
        logs = [tmp_path / f"{life}-{shard}.jsonl" for shard in range(shards)]
        replayed = set(found)
        for shard, log in enumerate(logs):
            way = {"workers": rng.randint(1, 3), "mode": rng.choice([None, *WAYS])}
            with StartedRun(log, ITEMS, shard=(shard, shards), **way, **source) as program:
                if life < 2:
                    strike(program, rng)
                program.end()
                assert replayed.isdisjoint(map(str, program.ran()))
            found |= recorded(log)
        merged = tmp_path / f"{life}.jsonl"
        merged.write_bytes(b"".join(log.read_bytes() for log in [*map(Path, source.values()), *logs] if log.exists()))
        source = {"resume_from": str(merged)}
    assert found == uninterrupted


def strike(program: StartedRun, rng: random.Random) -> None:
    """Kill the program, or one of its worker processes, when some of its items have begun."""
    for _ in range(rng.randrange(1, ITEMS)):
        if not program.read():
            return
    with suppress(ProcessLookupError):
        victim = rng.choice([program.process.pid, *sorted(program.pids())])
        os.kill(victim, rng.choice([signal.SIGKILL, signal.SIGTERM]))
