from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig.api import wait_until
from rig.processes import end, first_of, marks, of_cluster


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    with subprocess.Popen(command, env={**os.environ, **marks(tmp_path, "spot-1")}) as process:
        yield process
        process.kill()


def test_process_is_found_by_its_cluster_and_machine(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    wait_until(lambda: of_cluster(tmp_path) == {sleeper.pid: "spot-1"}, what="the process to be found", seconds=10)

    assert of_cluster(tmp_path / "other") == {}


def test_process_outside_a_namespace_is_no_machine(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    wait_until(lambda: bool(of_cluster(tmp_path)), what="the process to be found", seconds=10)

    assert first_of(tmp_path, "spot-1") is None


def test_ended_process_is_found_no_more(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    end([sleeper.pid])
    assert sleeper.wait(10) == -9

    end([sleeper.pid])  # harmless

    assert of_cluster(tmp_path) == {}
