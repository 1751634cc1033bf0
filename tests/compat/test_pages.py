"""The pages about other people's programs: what they show runs, writes what their sweeps name, and goes on from it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from gmat_sweep.manifest import Manifest

TASKS = Path(__file__).parents[2] / "docs" / "tasks"
_BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```", re.DOTALL | re.MULTILINE)


class Page:
    """A page's program in `folder`, and the checkpoint that its sweep names."""

    def __init__(self, name: str, folder: Path) -> None:
        self.snapshots = folder / "snapshots"
        self.snapshots.mkdir()
        self._folder = folder
        for language, file, text in _BLOCK.findall((TASKS / name).read_text()):
            # What a pod has to itself: two tests at a time would share it here.
            text = text.replace("/tmp/", f"{folder}/")
            if file:
                (folder / file).write_text(text)
            elif language == "yaml":
                spec = yaml.safe_load(text)["spec"]
        self.checkpoint = self.snapshots / spec["checkpoint"]["file"]
        container = spec["template"]["spec"]["containers"][0]
        self._command = {"python": sys.executable, "sh": "/bin/sh"}[container["command"][0]], container["command"][1]

    def run(self, *, resumes: bool) -> None:
        """Run the command as an attempt's pod would."""
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "SWEEP_SNAPSHOT_DIR": str(self.snapshots),
            "MADDENING_SNAPSHOT_DIR": str(self.snapshots),
        }
        if resumes:
            environment |= dict.fromkeys(("SWEEP_RESUME_FROM", "RESUME_FROM_URL"), self.checkpoint.as_uri())
        program, file = self._command
        subprocess.run([program, Path(file).name], cwd=self._folder, env=environment, check=True, timeout=120)

    def files(self) -> dict[str, bytes]:
        """Return what lies in the snapshot directory."""
        return {
            str(path.relative_to(self.snapshots)): path.read_bytes()
            for path in self.snapshots.rglob("*")
            if path.is_file()
        }


@pytest.mark.parametrize("name", ["run-mime-engine.md", "run-maddening.md", "run-a-script.md"])
def test_a_second_attempt_finds_nothing_left_to_do(tmp_path: Path, name: str) -> None:
    page = Page(name, tmp_path)
    page.run(resumes=False)
    assert page.checkpoint.is_file()
    before = page.files()
    page.run(resumes=True)
    assert page.files() == before


@pytest.mark.parametrize("name", ["run-mime-engine.md", "run-maddening.md", "run-a-script.md"])
def test_a_relaunch_before_anything_was_stored_starts_afresh(tmp_path: Path, name: str) -> None:
    page = Page(name, tmp_path)
    page.run(resumes=True)
    assert page.checkpoint.is_file()


def test_gmat_sweep_resumes_by_its_own_command(tmp_path: Path) -> None:
    page = Page("run-gmat-sweep.md", tmp_path)
    (tmp_path / "mission.script").write_text("Create Spacecraft Sat;\n")
    # There is no GMAT here, so that every run fails, is recorded, and is run again.
    page.run(resumes=False)
    assert sorted(Manifest.find_failed(page.checkpoint)) == list(range(15))
    page.run(resumes=True)
    runs = [json.loads(line)["run_id"] for line in page.checkpoint.read_text().splitlines()[1:]]
    assert sorted(runs) == sorted([*range(15), *range(15)])
