"""The alerts under Prometheus' own tool: each fires when it should, alone, and is silent when it should be."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart.alert_cases import CALM, CASES, Case
from chart.helm import CHART, Helm
from rig.binaries import binary
from rig.progress import keep_quiet

# The programs are built by the testbed, as those of the other integration tests are.
pytestmark = pytest.mark.integration

RULES = CHART / "files" / "alerts.yaml"
ALERTS = {rule["alert"]: rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}


def promtool(*words: str | Path) -> subprocess.CompletedProcess[str]:
    program = binary("promtool", report=keep_quiet)
    return subprocess.run([program, *words], capture_output=True, text=True, check=False)


def played(tmp_path: Path, *cases: Case) -> subprocess.CompletedProcess[str]:
    """Play cases to the rules, and hold what fires against what should."""
    tests = [
        {"name": case.what, "interval": "1m", "input_series": _series(case), "promql_expr_test": _expected(case)}
        for case in cases
    ]
    file = tmp_path / "tests.yaml"
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
    return promtool("test", "rules", file)


def _series(case: Case) -> list[dict[str, str]]:
    series = {**CALM, **case.series}
    return [{"series": name, "values": values} for name, values in series.items() if values is not None]


def _expected(case: Case) -> list[dict[str, Any]]:
    firing = 'ALERTS{alertstate="firing"}'
    minutes = [case.onset - 1, case.onset + case.minutes - 1]
    if not case.fires:
        minutes = list(range(case.onset, case.onset + 60, 3))
    nothing = [{"expr": firing, "eval_time": f"{minute}m", "exp_samples": []} for minute in minutes]
    if not case.fires:
        return nothing
    labels = {
        "alertname": case.fires,
        "alertstate": "firing",
        **ALERTS[case.fires]["labels"],
        **case.labels,
    }
    said = ",".join(f'{name}="{value}"' for name, value in labels.items())
    fires = {"expr": firing, "eval_time": f"{case.onset + case.minutes}m"}
    return [*nothing, {**fires, "exp_samples": [{"labels": f"ALERTS{{{said}}}", "value": 1}]}]


def test_the_file_is_in_order() -> None:
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_what_fires_when(case: Case, tmp_path: Path) -> None:
    done = played(tmp_path, case)
    assert done.returncode == 0, done.stdout + done.stderr


def test_all_is_silent_when_all_is_calm(tmp_path: Path) -> None:
    done = played(tmp_path, Case(what="calm", series={}))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_is_played(alert: str) -> None:
    assert [case for case in CASES if case.fires == alert]


def test_an_alert_that_fails_to_fire_would_be_found(tmp_path: Path) -> None:
    done = played(tmp_path, Case(what="calm", series={}, fires="ResumableSweepOperatorNotReady", minutes=5))
    assert done.returncode != 0
    assert "ResumableSweepOperatorNotReady" in done.stdout + done.stderr


def test_the_chart_hands_over_the_very_file(helm: Helm) -> None:
    rule = helm.object({"alerts": {"enabled": True, "labels": {"release": "prometheus"}}}, "PrometheusRule")
    assert rule["spec"] == yaml.safe_load(RULES.read_text())
    assert rule["metadata"]["labels"]["release"] == "prometheus"
