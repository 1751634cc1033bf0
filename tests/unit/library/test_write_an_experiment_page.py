"""The programs of docs/tasks/write-an-experiment.md, run as they stand, and cut off."""

from __future__ import annotations

import os
import subprocess
import sys
from difflib import unified_diff
from pathlib import Path

import pytest

from resumable_sweep.contract.items import items_of_matrix, lines_of
from resumable_sweep.contract.log_format import entries_of, results_of
from unit.library.page import TASKS, blocks_of, play

PAGE = (TASKS / "write-an-experiment.md").read_text()
PROGRAMS = {block.name: block.text for block in blocks_of(PAGE) if block.language == "python"}
PLAIN, RESUMABLE = PROGRAMS["plain.py"], PROGRAMS["experiment.py"]
LINES = 14
"""Of the log of a whole run: a header, `started` and `done` of six items, `complete`."""


def output_of(program: str, folder: Path, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env={**os.environ, **environ}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_sessions_of_the_page_are_what_happens_and_leave_the_files_of_its_table(tmp_path: Path) -> None:
    for command, output in play(PAGE, tmp_path, instead={}):
        assert command.fits(output), f"$ {command.line}\n{output}\nbut the page shows\n{command.shown}"
    table = PAGE.split("## Where things lie")[1].split("\n## ")[0]
    listed = [line.split("`")[1].removeprefix("results.") for line in table.splitlines() if line.startswith("| `")]
    there = {path.name.partition(".")[2] for path in tmp_path.iterdir() if path.suffix != ".py"}
    assert {name for name in listed if not name.endswith("/")} == there


def test_four_lines_and_the_import_make_the_plain_program_a_resumable_one() -> None:
    before, after = ([line.strip() for line in text.splitlines() if line] for text in (PLAIN, RESUMABLE))
    new = [line[1:] for line in unified_diff(before, after, n=0, lineterm="") if line.startswith("+")][1:]
    assert new[0].startswith("from resumable_sweep import")
    assert len(new[1:]) == 4
    assert "change four lines" in PAGE


@pytest.mark.parametrize("lines", [1, 2, 5, 8, LINES - 1, LINES])
def test_cut_off_it_prints_what_the_plain_one_does(tmp_path: Path, lines: int) -> None:
    expected = output_of(PLAIN, tmp_path)
    assert expected
    assert output_of(RESUMABLE, tmp_path) == expected
    log = tmp_path / "results.jsonl"
    written = log.read_bytes().splitlines(keepends=True)
    assert len(written) == LINES
    log.write_bytes(b"".join(written[:lines]) + b'{"kind":"do')
    assert output_of(RESUMABLE, tmp_path) == expected


def test_the_program_for_a_cluster_needs_nothing_but_the_environment(tmp_path: Path) -> None:
    items = items_of_matrix({"lr": [0.1, 0.01], "depth": [2, 4, 8]})
    (tmp_path / "items.jsonl").write_text("".join(lines_of(items)))
    output_of(PROGRAMS["in_a_cluster.py"], tmp_path, SWEEP_ITEMS="items.jsonl", SWEEP_SNAPSHOT_DIR="saved")
    results = results_of(entries_of((tmp_path / "saved" / "results.jsonl").read_bytes()))
    assert len(results) == len(items)
