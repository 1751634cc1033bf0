from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from unit.sidecar.whole_life import Run, killed_again_and_again, killed_while_it_waits_for_the_store

pytestmark = pytest.mark.integration


@pytest.fixture
def run(bucket: str, tmp_path: Path) -> Iterator[Run]:
    environment = {"STORAGE_EMULATOR_HOST": os.environ["STORAGE_EMULATOR_HOST"]}
    run = Run(tmp_path, f"gs://{bucket}/ns/sweep/run", items=60, shards=1, environment=environment)
    yield run
    run.close()


def test_a_run_whose_nodes_die_ends_like_an_uninterrupted_one(run: Run) -> None:
    killed_again_and_again(run, items=60, deaths=2, chance=random.Random(11))


def test_what_was_acknowledged_outlives_the_node(run: Run) -> None:
    killed_while_it_waits_for_the_store(run, items=60, deaths=2, chance=random.Random(13))
