"""The references of metrics and alerts are made of the code; what the rules ask for is there to be asked for."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from resumable_sweep.contract.report import Report, Stage
from sweep_operator.runtime.metrics import Metrics
from sweep_operator.runtime.metrics.families import Kind
from sweep_sidecar.mirror import metrics as mirror

ROOT = Path(__file__).parents[3]
RULES = yaml.safe_load((ROOT / "charts/resumable-sweep/files/alerts.yaml").read_text())
ALERTS = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"]}
CONDITIONS = (ROOT / "docs/reference/signals-and-conditions.md").read_text()

Labels = Mapping[str, tuple[str, ...] | str]


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """The script, which belongs to no package."""
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_pages_are_up_to_date(generate: ModuleType) -> None:
    for path, content in generate.generated_files().items():
        assert (ROOT / path).read_text() == content, "run `make generate`"


def declared() -> Iterator[tuple[str, Kind | str, Labels]]:
    for family in Metrics().families:
        yield family.name, family.kind, family.labels
    for each in mirror.FAMILIES:
        yield mirror.PREFIX + each.name, each.kind, each.labels


DECLARED = {name: (kind, labels) for name, kind, labels in declared()}
SERIES: dict[str, Labels] = {}
for _name, (_kind, _labels) in DECLARED.items():
    if _kind == Kind.HISTOGRAM:
        SERIES |= {
            f"{_name}_bucket": {**_labels, "le": "upper bound"},
            f"{_name}_sum": _labels,
            f"{_name}_count": _labels,
        }
    else:
        SERIES[_name] = _labels


def test_the_operator_serves_what_it_declares_and_its_process() -> None:
    served = {family.name: family.type for family in Metrics().registry.collect()}
    ours = {
        name.removesuffix("_total"): kind for name, (kind, _) in DECLARED.items() if not name.startswith(mirror.PREFIX)
    }
    assert ours.items() <= served.items()
    assert all(name.startswith("process_") for name in served.keys() - ours.keys())


def test_the_mirror_serves_what_it_declares_with_those_labels() -> None:
    metrics = mirror.Metrics(monotonic=lambda: 1.0)
    report = Report(run_id="run", shard=0, attempt=1, sequence=0, stage=Stage.MIRRORING, items_total=1, problem="X")
    metrics.note_report(report)
    metrics.note_report(Report(**{**vars(report), "generation": 1}))
    metrics.note_call("get", "ok", seconds=1.0)
    metrics.note_look(held=True, seconds=1.0)
    served = {}
    for family in text_string_to_metric_families(metrics.text()):
        name = family.name + ("_total" if family.type == "counter" else "")
        (sample,) = family.samples
        served[name] = (family.type, set(sample.labels))
    ours = {name: each for name, each in DECLARED.items() if name.startswith(mirror.PREFIX)}
    assert served == {name: (kind, set(labels)) for name, (kind, labels) in ours.items()}


@pytest.mark.parametrize("name", DECLARED)
def test_a_name_says_what_is_counted_in_base_units(name: str) -> None:
    kind, labels = DECLARED[name]
    assert name.endswith("_total") == (kind == Kind.COUNTER)
    assert not re.search("milli|micro|minutes|hours|percent|kilo|mega", name)
    assert all(re.fullmatch("[a-z_]+", label) for label in labels)


def expression(alert: str) -> str:
    return str(ALERTS[alert]["expr"])


def selectors(alert: str) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """Yield each metric that an alert asks for, with label, operator and value of its matchers."""
    for name, matchers in re.findall(r"(resumable_sweep_\w+)(?:\{([^}]*)\})?", expression(alert)):
        yield name, re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', matchers)


@pytest.mark.parametrize("alert", ALERTS)
def test_what_an_alert_asks_for_is_there_with_those_labels_and_values(alert: str) -> None:
    asked = list(selectors(alert))
    assert asked
    for name, matchers in asked:
        assert name in SERIES
        for label, operator, value in matchers:
            assert label in SERIES[name], f"{name} has no label {label}"
            known = SERIES[name][label]
            if isinstance(known, tuple):
                wanted = value.split("|") if "~" in operator else [value]
                assert set(wanted) <= set(known)


@pytest.mark.parametrize("alert", ALERTS)
def test_what_is_told_of_an_alert_is_in_its_labels(alert: str) -> None:
    names = [name for name, _ in selectors(alert)]
    kept = {label for by in re.findall(r"by \(([^)]*)\)", expression(alert)) for label in re.split(r",\s*", by)}
    if not re.search(r"\b(sum|max|absent|histogram_quantile)\b", expression(alert)):
        kept = {label for name in names for label in SERIES[name]}
    told = set(re.findall(r"\$labels\.(\w+)", str(ALERTS[alert]["annotations"])))
    assert told <= kept


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_what_it_means_and_what_to_do(alert: str, generate: ModuleType) -> None:
    rule: dict[str, Any] = ALERTS[alert]
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"].keys() == {"summary", "description"}
    meaning, _, mend = rule["annotations"]["description"].strip().partition(generate.TO_DO)
    assert meaning.endswith(".")
    assert mend.endswith(".")
    # What else it sends its reader to look at has to be there, too.
    for name in re.findall(r"`(resumable_sweep_\w+)`", str(rule["annotations"])):
        assert name in DECLARED


def test_reasons_that_alerts_name_are_those_of_conditions() -> None:
    named = {
        reason
        for alert in ALERTS
        for _, matchers in selectors(alert)
        for label, _, value in matchers
        if label == "reason"
        for reason in value.split("|")
    }
    assert named
    assert [reason for reason in named if f"| `{reason}` |" not in CONDITIONS] == []
