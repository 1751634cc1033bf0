"""The programs of docs/tasks/write-an-experiment.md, run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from resumable_sweep.contract.items import items_of_matrix, lines_of
from resumable_sweep.contract.log_format import entries_of, results_of

PAGE = (Path(__file__).parents[3] / "docs" / "tasks" / "write-an-experiment.md").read_text()
PLAIN, RESUMABLE, IN_A_CLUSTER = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def output_of(program: str, folder: Path, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env={**os.environ, **environ}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("lines", [None, 1, 4, 7, 8])
def test_the_resumable_program_prints_what_the_plain_one_does(tmp_path: Path, lines: int | None) -> None:
    expected = output_of(PLAIN, tmp_path)
    assert expected
    assert output_of(RESUMABLE, tmp_path) == expected
    if lines is not None:
        log = tmp_path / "results.jsonl"
        log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:lines]))
        assert output_of(RESUMABLE, tmp_path) == expected


def test_the_program_for_a_cluster_needs_nothing_but_the_environment(tmp_path: Path) -> None:
    items = items_of_matrix({"lr": [0.1, 0.01], "depth": [2, 4, 8]})
    (tmp_path / "items.jsonl").write_text("".join(lines_of(items)))
    output_of(IN_A_CLUSTER, tmp_path, SWEEP_ITEMS="items.jsonl", SWEEP_SNAPSHOT_DIR="saved")
    results = results_of(entries_of((tmp_path / "saved" / "results.jsonl").read_bytes()))
    assert len(results) == len(items)
