from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sweep_operator.model.claims import Reach
from sweep_operator.pods.overreach import Allowance
from sweep_operator.runtime.settings import SettingsInvalid, settings_from

ROOT = Path(__file__).resolve().parents[4]
IMAGE = {"RSWEEP_SIDECAR_IMAGE": "sidecar:1"}


def test_the_image_is_all_that_must_be_said() -> None:
    settings = settings_from(IMAGE)
    assert (settings.port, settings.log_level, settings.namespaces) == (8080, "INFO", ())
    assert (settings.pods.sidecar_image, settings.pods.report_url) == ("sidecar:1", "")
    assert settings.pods.pull_policy == "IfNotPresent"
    values = yaml.safe_load((ROOT / "charts/resumable-sweep/values.yaml").read_text())
    assert settings.pods.resources == values["sidecar"]["resources"], "the chart's defaults are those of the operator"


def test_everything_can_be_said() -> None:
    settings = settings_from(
        {
            **IMAGE,
            "RSWEEP_PORT": "9000",
            "RSWEEP_LOG_LEVEL": "debug",
            "RSWEEP_WATCH_NAMESPACES": "a, b,",
            "RSWEEP_REPORT_URL": "http://operator",
            "RSWEEP_IMAGE_PULL_POLICY": "Always",
            "RSWEEP_SIDECAR_RESOURCES": '{"limits": {"memory": "1Gi"}}',
            "RSWEEP_SERVICE_ACCOUNTS": "*/default, team-*/sweeps",
            "RSWEEP_ALLOWED": "hostPath,nodeName",
            "RSWEEP_PRIORITY_CLASSES": "batch-*",
        }
    )
    assert (settings.port, settings.log_level, settings.namespaces) == (9000, "DEBUG", ("a", "b"))
    assert settings.pods.report_url == "http://operator"
    assert settings.pods.pull_policy == "Always"
    assert settings.pods.resources == {"limits": {"memory": "1Gi"}}
    assert settings.allowance == Allowance(
        service_accounts=("*/default", "team-*/sweeps"),
        reaches=frozenset({Reach.HOST_PATH, Reach.NODE_NAME}),
        priority_classes=("batch-*",),
    )


def test_empty_is_as_good_as_absent() -> None:
    names = ("PORT", "WATCH_NAMESPACES", "SIDECAR_RESOURCES", "IMAGE_PULL_POLICY", "REPORT_URL", "LOG_LEVEL")
    names += ("SERVICE_ACCOUNTS", "ALLOWED", "PRIORITY_CLASSES")
    assert settings_from({**IMAGE, **{f"RSWEEP_{name}": "" for name in names}}) == settings_from(IMAGE)


@pytest.mark.parametrize(
    ("variables", "match"),
    [
        ({"RSWEEP_SIDECAR_IMAGE": ""}, "RSWEEP_SIDECAR_IMAGE is not set"),
        ({"RSWEEP_PORT": "http"}, "RSWEEP_PORT is 'http': give a port"),
        ({"RSWEEP_PORT": "70000"}, "between 1 and 65535"),
        ({"RSWEEP_LOG_LEVEL": "loud"}, "RSWEEP_LOG_LEVEL is 'LOUD': choose one of DEBUG"),
        ({"RSWEEP_SIDECAR_RESOURCES": "{"}, "RSWEEP_SIDECAR_RESOURCES is not JSON"),
        ({"RSWEEP_SIDECAR_RESOURCES": "[]"}, "give an object"),
        ({"RSWEEP_SERVICE_ACCOUNTS": "*/default,sweeps"}, "has 'sweeps': give NAMESPACE/NAME"),
        ({"RSWEEP_SERVICE_ACCOUNTS": "a/[bc]"}, r"has 'a/\[bc\]': give NAMESPACE/NAME"),
        ({"RSWEEP_ALLOWED": "hostPath,hostpid"}, "has 'hostpid': choose among hostPath, hostNetwork"),
        ({"RSWEEP_PRIORITY_CLASSES": "High"}, "has 'High': give names"),
    ],
)
def test_nonsense_is_refused_by_name(variables: dict[str, str], match: str) -> None:
    with pytest.raises(SettingsInvalid, match=match):
        settings_from({**IMAGE, **variables})
