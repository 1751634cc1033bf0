from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.store.server import Server
from unit.sidecar.whole_life import Run, killed_again_and_again, killed_while_it_waits_for_the_store

pytestmark = pytest.mark.integration


@pytest.fixture(params=["emulator", "s3_server", "azure_server"])
def run(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    server: Server = request.getfixturevalue(request.param)
    bucket = server.make_bucket()
    environment = server.environment(server.url, bucket=bucket)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    run = Run(tmp_path, f"{server.scheme}://{bucket}/ns/sweep/run", items=60, shards=1, environment=environment)
    yield run
    run.close()


def test_a_run_whose_nodes_die_ends_like_an_uninterrupted_one(run: Run) -> None:
    killed_again_and_again(run, items=60, deaths=2, chance=random.Random(11))


def test_what_was_acknowledged_outlives_the_node(run: Run) -> None:
    killed_while_it_waits_for_the_store(run, items=60, deaths=2, chance=random.Random(13))
