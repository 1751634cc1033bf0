from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.store.gcs_server import Emulator
from integration.store.meddler import Fate, Meddler
from sweep_sidecar import layout
from sweep_sidecar.log.entry import Kind
from sweep_sidecar.log.shard_log import LogReader
from unit.sidecar.whole_life import Run

pytestmark = pytest.mark.integration

GRACE_S = 15
"""What Google Kubernetes Engine leaves a pod on a spot node."""


@pytest.fixture
def meddler(emulator: Emulator) -> Iterator[Meddler]:
    meddler = Meddler(emulator.port)
    yield meddler
    meddler.stop()


@pytest.fixture
def run(emulator: Emulator, bucket: str, tmp_path: Path) -> Iterator[Run]:
    environment = emulator.environment(emulator.url, bucket=bucket)
    run = Run(tmp_path, f"gs://{bucket}/ns/sweep/run", items=60, shards=1, environment=environment)
    yield run
    run.close()


def test_a_request_that_is_never_answered_does_not_cost_the_last_flush(run: Run, meddler: Meddler) -> None:
    pod = run.pod_environment(0, 0) | {"SWEEP_INTERVAL": "600", "STORAGE_EMULATOR_HOST": meddler.url}
    run.role("restore", expect=0, environment=pod)
    mirror = run.start_mirror(pod)
    assert run.start_writer(pod, pause_s=0.0).wait(60) == 0
    meddler.strike_once("POST", Fate.SILENT)
    mirror.send_signal(signal.SIGTERM)
    # After so long the kubelet kills what is left.
    said, _ = mirror.communicate(timeout=GRACE_S)
    assert meddler.struck == ["POST"]
    assert json.loads(said)["reason"] == "Complete"
    head = LogReader(run.store, layout.shard_folder("run", 0)).head()
    assert head is not None
    assert head.entry.kind is Kind.COMPLETE
