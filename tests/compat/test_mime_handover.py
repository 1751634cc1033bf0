"""A sweep that changes hands between mime-engine and this library, each of them killed in the middle.

The oracle is an uninterrupted run of mime-engine's.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from compat.work import ITEMS
from resumable_sweep._foreign.mime_progress import progress_path
from resumable_sweep.contract.manifest import manifest_path

HERE = Path(__file__).parent
LABELS = [item["label"] for item in ITEMS]


class Ran:
    """What a program did until its end: results `replayed`, labels `recorded`, exit `status`."""

    def __init__(self, program: str, *arguments: object, kill_after: int | None = None) -> None:
        """Run it; with `kill_after` it is killed while it is at the item after so many."""
        self.replayed: list[Any] = []
        self.recorded: list[str] = []
        command = [sys.executable, str(HERE / program), *map(str, arguments)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(command, **pipes, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            # One line for every item that it may go on with, so that it cannot reach its end before it is killed.
            process.stdin.write("\n" * (len(ITEMS) if kill_after is None else kill_after + 1))
            process.stdin.flush()
            for line in process.stdout:
                word, _, rest = line.rstrip("\n").partition(" ")
                if word == "replayed":
                    self.replayed.append(json.loads(rest))
                else:
                    self.recorded.append(rest)
                    if len(self.recorded) == kill_after:
                        process.kill()
            self.status = process.wait(timeout=120)
            assert process.stderr is not None
            self.errors = process.stderr.read()

    @property
    def done(self) -> list[str]:
        return [result["label"] for result in self.replayed] + self.recorded


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The progress file of a run of mime-engine's that nobody disturbed."""
    out = tmp_path_factory.mktemp("uninterrupted") / "out.h5"
    ran = Ran("mime_program.py", out, "-", "-")
    assert (ran.status, ran.done) == (0, LABELS), ran.errors
    return progress_path(out).read_bytes()


def results_in(progress: bytes) -> dict[str, Any]:
    return {record["key"]: record["result"] for record in json.loads(progress)["completed"]}


@pytest.mark.parametrize("records", [1, 5, len(ITEMS)])
def test_what_mime_engine_began_is_finished_here_and_read_back_there(
    tmp_path: Path, uninterrupted: bytes, records: int
) -> None:
    out, mine = tmp_path / "out.h5", tmp_path / "mine.progress.json"
    # At its worst moment: its own reader refuses what this leaves.
    begun = Ran("mime_program.py", out, "-", records)
    assert begun.status == -signal.SIGKILL, begun.errors
    finished = Ran("our_program.py", tmp_path / "results.jsonl", progress_path(out), mine)
    assert finished.status == 0, finished.errors
    assert [result["label"] for result in finished.replayed] == LABELS[:records]
    assert finished.recorded == LABELS[records:]
    assert mine.read_bytes() == uninterrupted
    back = Ran("mime_program.py", tmp_path / "back.h5", mine.as_uri(), "-")
    assert (back.status, back.recorded) == (0, []), back.errors
    assert back.replayed == list(results_in(uninterrupted).values())
    assert manifest_path(progress_path(tmp_path / "back.h5")).read_bytes() == manifest_path(mine).read_bytes()


@pytest.mark.parametrize("records", [1, 7])
def test_what_was_begun_here_is_finished_by_mime_engine_and_read_back_here(
    tmp_path: Path, uninterrupted: bytes, records: int
) -> None:
    log, mine, out = tmp_path / "results.jsonl", tmp_path / "mine.progress.json", tmp_path / "out.h5"
    begun = Ran("our_program.py", log, "-", mine, kill_after=records)
    assert begun.status == -signal.SIGKILL, begun.errors
    finished = Ran("mime_program.py", out, mine, "-")
    assert finished.status == 0, finished.errors
    assert finished.done == LABELS
    assert len(finished.replayed) >= records
    assert results_in(progress_path(out).read_bytes()) == results_in(uninterrupted)
    # Into the log that was begun, and into a new one.
    for name in ("results.jsonl", "new.jsonl"):
        back = Ran("our_program.py", tmp_path / name, progress_path(out), tmp_path / f"{name}.progress.json")
        assert (back.status, back.recorded) == (0, []), back.errors
        assert back.replayed == list(results_in(uninterrupted).values())
        assert (tmp_path / f"{name}.progress.json").read_bytes() == uninterrupted


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_in_turns_they_end_like_one_that_nobody_disturbed(
    tmp_path: Path, uninterrupted: bytes, seed: int
) -> None:
    chance = random.Random(seed)
    out, log, mine = tmp_path / "out.h5", tmp_path / "results.jsonl", tmp_path / "mine.progress.json"
    source: Path | str = "-"
    for turn in range(3):
        share = chance.randint(1, 2)
        if (turn + seed) % 2:
            # Where its own reader would refuse it, this library is next.
            ran = Ran("mime_program.py", out, source, "-", kill_after=share)
            source = progress_path(out)
        else:
            ran = Ran("our_program.py", log, source, mine, kill_after=share)
            source = mine
        assert ran.status == -signal.SIGKILL, ran.errors
    last = Ran("our_program.py", log, progress_path(out), mine)
    assert last.status == 0, last.errors
    assert sorted(last.done) == sorted(LABELS)
    assert results_in(mine.read_bytes()) == results_in(uninterrupted)
