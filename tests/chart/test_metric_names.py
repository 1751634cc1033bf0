"""What operator and mirror serve, under Prometheus' own tool: names, types, units and help."""

from __future__ import annotations

import subprocess

import pytest
from prometheus_client import generate_latest

from resumable_sweep.contract.report import Report, Stage
from rig.binaries import binary
from rig.progress import keep_quiet
from sweep_operator.runtime.metrics import Metrics
from sweep_sidecar.mirror.metrics import Metrics as MirrorMetrics

# The program is built by the testbed, as those of the other integration tests are.
pytestmark = pytest.mark.integration


def check(text: str) -> subprocess.CompletedProcess[str]:
    program = binary("promtool", report=keep_quiet)
    return subprocess.run([program, "check", "metrics"], input=text, capture_output=True, text=True, check=False)


def test_what_the_operator_serves_is_in_order() -> None:
    metrics = Metrics()
    metrics.observe_request("get", "/api/v1/pods", 200, 0.1)
    metrics.observe_watch_failure("/api/v1/pods", 410)
    text = generate_latest(metrics.registry).decode()
    assert "reclaims_created" not in text, "a second series for each counter"
    done = check(text)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_what_a_mirror_serves_is_in_order() -> None:
    metrics = MirrorMetrics(monotonic=lambda: 1.0)
    for generation in (1, 2):
        metrics.note_report(
            Report(
                run_id="run",
                shard=0,
                attempt=1,
                sequence=generation,
                stage=Stage.MIRRORING,
                items_total=1,
                generation=generation,
                problem="StoreUnreachable",
            )
        )
    metrics.note_call("get", "ok", seconds=1.0)
    metrics.note_look(held=True, seconds=1.0)
    done = check(metrics.text())
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_name_against_the_rules_would_be_found() -> None:
    assert check("# HELP sweeps_total How many.\n# TYPE sweeps_total gauge\nsweeps_total 1\n").returncode != 0
