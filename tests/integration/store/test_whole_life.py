from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from unit.sidecar.whole_life import Run, killed_again_and_again

pytestmark = pytest.mark.integration


def test_a_run_whose_nodes_die_ends_like_an_uninterrupted_one(bucket: str, tmp_path: Path) -> None:
    environment = {"STORAGE_EMULATOR_HOST": os.environ["STORAGE_EMULATOR_HOST"]}
    run = Run(tmp_path, f"gs://{bucket}/ns/sweep/run", items=60, shards=1, environment=environment)
    try:
        killed_again_and_again(run, items=60, deaths=2, chance=random.Random(11))
    finally:
        run.close()
