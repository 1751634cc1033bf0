"""Real processes, killed without warning: nothing that `record` has returned for is lost, and nothing is doubled."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resumable_sweep import ResumableSweep
from resumable_sweep.contract.log_format import entries_of
from resumable_sweep.contract.manifest import manifest_path

ITEMS = 400


def expected(count: int) -> list[tuple[int, Any]]:
    return [(x, {"square": x**2, "text": "ä" * (x % 50)}) for x in range(count)]


def done_entries(log: Path) -> list[dict[str, Any]]:
    return [entry for entry in entries_of(log.read_bytes()) if entry["kind"] == "done"]


@pytest.mark.parametrize("seed", range(3))
def test_a_sweep_killed_at_random_moments_ends_with_the_results_of_one_that_was_not(
    start: Callable[..., Any], tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    log = tmp_path / "out" / "results.jsonl"
    ran: Counter[int] = Counter()
    told: set[int] = set()
    kills = 0
    while True:
        program = start(ITEMS)
        # So many lines on, the program is somewhere in its loop, ahead of what was read by what the pipe buffers.
        for _ in range(rng.randrange(1, 250)):
            if not program.read():
                break
        program.process.kill()
        status = program.end()
        ran.update(program.keys("ran"))
        told.update(program.keys("recorded"))
        done = (
            [entry["key"] for entry in entries_of(log.read_bytes()) if entry["kind"] == "done"] if log.exists() else []
        )
        assert told <= set(done)
        assert len(done) == len(set(done))
        if status == 0:
            break
        kills += 1
    assert kills >= 2
    assert [(entry["key"], entry["result"]) for entry in done_entries(log)] == expected(ITEMS)
    # Each kill costs the item at hand, and no other.
    assert sum(ran.values()) <= ITEMS + kills
    assert max(ran.values()) <= 1 + kills


def test_whatever_part_of_the_log_a_crash_left_the_rest_is_run_again(tmp_path: Path) -> None:
    def run(path: Path) -> list[Any]:
        with ResumableSweep(range(4), checkpoint_path=path) as sweep:
            for item in sweep.pending:
                sweep.record(item, [item, "ü"])
        return [(entry["key"], entry["result"]) for entry in done_entries(path)]

    whole = tmp_path / "whole.jsonl"
    results = run(whole)
    data = whole.read_bytes()
    cut = tmp_path / "cut.jsonl"
    for length in range(0, len(data), 7):
        cut.write_bytes(data[:length])
        manifest_path(cut).unlink(missing_ok=True)
        assert run(cut) == results, f"cut after {length} bytes"
