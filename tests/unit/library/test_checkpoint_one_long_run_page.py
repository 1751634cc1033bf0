"""The programs of docs/tasks/checkpoint-one-long-run.md, run as they stand, and struck between any two steps."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[3] / "docs" / "tasks" / "checkpoint-one-long-run.md").read_text()
PLAIN, RESUMABLE = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
STRUCK = """
import os, resumable_sweep
left = {steps}
step = resumable_sweep.Checkpointer.step
def struck(self, *given):
    global left
    step(self, *given)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), {signum})
resumable_sweep.Checkpointer.step = struck
"""


def run(program: str, folder: Path) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=folder, capture_output=True, text=True)
    assert done.returncode in (0, 143, -9), done.stderr
    return done.returncode, done.stdout


def test_the_resumable_program_prints_what_the_plain_one_does(tmp_path: Path) -> None:
    plain = run(PLAIN, tmp_path)
    assert plain[0] == 0
    assert run(RESUMABLE, tmp_path) == plain
    assert run(RESUMABLE, tmp_path) == plain


@pytest.mark.parametrize(("signum", "status"), [(15, 143), (9, -9)])
def test_it_does_so_as_well_when_it_is_struck_again_and_again(tmp_path: Path, signum: int, status: int) -> None:
    expected = run(PLAIN, tmp_path)
    lives = 0
    while (life := run(STRUCK.format(steps=13, signum=signum) + RESUMABLE, tmp_path)) != expected:
        assert life == (status, "")
        lives += 1
        assert lives < 4
    # SIGTERM loses no step (13, 26, 30); SIGKILL those since the last save (10, 20, 30).
    assert lives == 2


@pytest.mark.parametrize("framework", ["torch", "orbax", "h5py"])
def test_what_is_shown_of_a_framework_can_be_parsed(framework: str) -> None:
    (shown,) = re.findall(rf"```python {framework}\n(.*?)```", PAGE, flags=re.DOTALL)
    names = {node.id for node in ast.walk(ast.parse(shown)) if isinstance(node, ast.Name)}
    assert {framework, "save_state"} <= names
