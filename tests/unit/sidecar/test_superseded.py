"""An operator's hint that another attempt has the shard, from its answer to the end of the mirror: in processes."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from resumable_sweep.contract.report import Answer, Stage
from sweep_sidecar import layout
from sweep_sidecar.log.shard_log import LogReader
from unit.sidecar.http_operator import HttpOperator
from unit.sidecar.whole_life import Run


@pytest.fixture
def operator() -> Iterator[HttpOperator]:
    operator = HttpOperator()
    yield operator
    operator.close()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    run = Run(tmp_path, f"file://{tmp_path}/store/ns/sweep/run", items=4, shards=1, environment={})
    yield run
    run.close()


def test_a_hint_is_obeyed_when_the_store_shows_the_higher_attempt_and_not_before(
    run: Run, operator: HttpOperator
) -> None:
    operator.answer = Answer(superseded=True)
    # By itself it would not look before the test is over.
    pod = run.pod_environment(0, 0) | {"SWEEP_INTERVAL": "600", "SWEEP_REPORT_URL": operator.url}
    run.role("restore", expect=0, environment=pod)
    operator.told.clear()
    mirror = run.start_mirror(pod)
    _wait(lambda: bool(operator.told))
    # It has heard the hint, looked into the store, and found itself in its place.
    log = LogReader(run.store, layout.shard_folder("run", 0))
    writer = run.start_writer(pod, pause_s=0.0, durable_every=1)
    _wait(lambda: bool(run.durable()))
    writer.kill()
    writer.wait()
    assert operator.told[-1].stage is Stage.MIRRORING
    run.role("restore", expect=0, environment=run.pod_environment(0, 1))
    head = log.head()
    _wait(lambda: operator.told[-1].stage is Stage.STOPPED)
    assert operator.told[-1].problem == "Superseded"
    assert "attempt 1" in operator.told[-1].message
    mirror.send_signal(signal.SIGTERM)
    said, _ = mirror.communicate(timeout=60)
    assert json.loads(said.splitlines()[-1])["reason"] == "Superseded"
    assert log.head() == head, "it has written nothing more"


def _wait(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)
