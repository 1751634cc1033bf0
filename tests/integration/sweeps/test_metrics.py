"""Every metric of the operator moves when what it tells of happens: a life of a sweep, and its numbers."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from resumable_sweep.contract.report import NoticeKind
from sweep_operator.runtime.metrics import Metrics

pytestmark = pytest.mark.integration

ELSEWHERE = {
    # test_exposition.py in the unit tests: an operator that is well does not show them for long.
    "resumable_sweep_failing_sweeps",
    "resumable_sweep_queue_age_seconds",
    "resumable_sweep_queue_length",
    "resumable_sweep_sweeps_behind_seconds",
    "resumable_sweep_sweeps_left_out",
    # test_silence.py, which takes half a minute.
    "resumable_sweep_false_alarms_total",
    # test_informer.py and test_exposition.py in the unit tests.
    "resumable_sweep_watch_failures_total",
}


class Scraped:
    """The operator's numbers, and which of them were ever other than zero."""

    def __init__(self, scrape: Callable[[], str]) -> None:
        self._scrape = scrape
        self.moved: set[str] = set()

    def __call__(self, name: str, **labels: str) -> float:
        """Return the sum of the series with these labels."""
        total = 0.0
        for family in text_string_to_metric_families(self._scrape()):
            for sample in family.samples:
                if sample.value:
                    self.moved.add(re.sub("_(bucket|count|sum)$", "", sample.name))
                if sample.name == f"resumable_sweep_{name}" and labels.items() <= sample.labels.items():
                    total += sample.value
        return total


@pytest.fixture
def scraped(operator: Any) -> Scraped:
    return Scraped(operator.metrics)


@pytest.fixture
def attempts(stage: Any, node: Any) -> list[dict[str, Any]]:
    """The pods of two shards, which run."""
    name = f"metrics-{stage.namespace}"
    node(name)
    stage.apply(budgets={"userFailures": 2})
    stage.resolve()
    pods = stage.wait_for_attempts(0, 1)
    for pod in pods:
        stage.place(pod, name)
    stage.wait(lambda: stage.status().get("running") == 2, "both to run")
    return sorted(pods, key=lambda pod: str(pod["metadata"]["labels"]["resumable.dev/shard"]))


def test_every_metric_moves(stage: Any, operator: Any, scraped: Scraped, attempts: Any) -> None:
    whose = {"sweep_namespace": stage.namespace, "sweep": "lr"}
    first, second = attempts
    running = f"metrics-{stage.namespace}"

    def tells(pod: dict[str, Any], **says: Any) -> None:
        token = stage.token_of(pod)
        stage.wait(lambda: operator.push(token, stage.report(pod, **says))[0] == 200, "the report to be taken")

    def comes_to(expected: float, name: str, **labels: str) -> None:
        stage.wait(lambda: scraped(name, **labels) == expected, f"{name} {labels} to be {expected}")

    comes_to(2, "attempts", heard="no")
    tells(first, items_done=2, items_recorded=2)
    comes_to(1, "attempts", heard="yes")
    comes_to(2, "items_done", **whose)
    comes_to(12, "items", **whose)
    comes_to(2, "running_attempts", **whose)
    comes_to(2, "shards", state="active")
    assert scraped("sweeps", phase="Running") == 1
    assert scraped("takes_reports") == scraped("ready") == scraped("leader") == 1
    assert scraped("pods_created_total", role="attempt") == 2

    # Taken away, and again at work.
    stage.api.delete(f"{stage.pods_path}/{first['metadata']['name']}", {"gracePeriodSeconds": 0})
    comes_to(1, "reclaims_total", signal="PodVanished")
    again = next(pod for pod in stage.wait_for_attempts(0, 1) if pod["metadata"]["uid"] != second["metadata"]["uid"])
    comes_to(1, "relaunch_seconds_count")
    stage.place(again, running)
    tells(again, items_restored=2, items_done=2)
    assert scraped("first_item_seconds_count") == 0
    tells(again, items_restored=2, items_done=3)
    comes_to(1, "first_item_seconds_count")
    assert scraped("first_item_seconds_sum") >= scraped("relaunch_seconds_sum") > 0

    # A notice, a store that is away, and a program that fails.
    tells(second, notice=NoticeKind.AZURE_MAINTENANCE)
    comes_to(1, "notices_total", kind="AzureScheduledEvent")
    tells(second, problem="StoreUnreachable", message="refused")
    comes_to(1, "unhealthy", **whose, reason="StoreUnreachable")
    stage.finish(second, complete=False, code=1)
    comes_to(1, "failures_total", signal="ContainerFailed")
    comes_to(0.5, "budget_spent_ratio", **whose, budget="userFailures")
    comes_to(0, "unhealthy", **whose, reason="StoreUnreachable")
    assert operator.push("forged", stage.report(again))[0] == 403
    assert scraped("reports_total", code="403") == 1

    # To the end.
    stage.wait(lambda: len(stage.pods()) == 3, "the next one of the shard that failed")
    *_, newest = stage.pods()
    stage.place(newest, running)
    for pod in (again, newest):
        stage.finish(pod)
    stage.merge()
    comes_to(1, "sweeps_ended_total", phase="Complete")
    comes_to(1, "sweeps", phase="Complete")
    stage.wait(lambda: scraped("pods_deleted_total", role="resolve") == 1, "its pods to go")
    assert scraped("items_done", **whose) == scraped("shards") == 0

    # A sweep whose pods may not be made.
    body = stage.api.get(f"{stage.sweeps}/lr")
    template = {"spec": {"hostPID": True, "containers": [{"name": "main", "image": "main:test"}]}}
    metadata = {"name": "reaching", "namespace": stage.namespace}
    stage.api.create(
        stage.sweeps,
        {**{key: body[key] for key in ("apiVersion", "kind")}, "metadata": metadata}
        # Without items to be resolved the first pod is that of an attempt.
        | {"spec": {**body["spec"], "template": template, "items": None}},
    )
    stage.wait(lambda: scraped("refusals_total", reason="TemplateForbidden") > 0, "the refusal")

    for verb, resource, code in (
        ("list", "pods", "200"),
        ("watch", "nodes", "200"),
        ("watch", "resumablesweeps", "200"),
        ("dry-run", "pods", "201"),
        ("create", "pods", "201"),
        ("update", "resumablesweeps/status", "200"),
        ("create", "events", "201"),
        ("create", "tokenreviews", "201"),
    ):
        assert scraped("api_requests_total", verb=verb, resource=resource, code=code) > 0, (verb, resource)
    assert scraped("status_bytes_count") == scraped("api_requests_total", resource="resumablesweeps/status", code="200")
    assert scraped("reconciles_total", result="done") > 0
    assert scraped("watch_age_seconds", resource="pods") < 120

    declared = {family.name for family in Metrics().families}
    assert declared - scraped.moved <= ELSEWHERE
    assert scraped("reconciles_total", result="error") == 0
