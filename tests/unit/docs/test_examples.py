"""Every sweep that a page shows is one, and a pod can be made of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweep_operator.api import ResumableSweep
from sweep_operator.api.crd import root_schema
from sweep_operator.model.plan import CreateAttempt
from sweep_operator.pods.attempt_pod import pod_for
from sweep_operator.pods.housekeeping_pod import items_config_map
from sweep_operator.pods.settings import PodSettings
from sweep_operator.runtime.translation import sweep_of

ROOT = Path(__file__).parents[3]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))


def find_sweeps() -> Iterator[Any]:
    for page in PAGES:
        for number, block in enumerate(re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)):
            for document in yaml.safe_load_all(block):
                if document.get("kind") == "ResumableSweep":
                    yield pytest.param(document, id=f"{page.relative_to(ROOT)}-{number}")
    for example in sorted((ROOT / "examples").rglob("sweep.yaml")):
        yield pytest.param(yaml.safe_load(example.read_text()), id=str(example.relative_to(ROOT)))


SHOWN = list(find_sweeps())


def unknown_fields(value: Any, schema: dict[str, Any], path: str = "") -> list[str]:
    """What the API server would prune."""
    if isinstance(value, list):
        return [found for entry in value for found in unknown_fields(entry, schema.get("items", {}), f"{path}[]")]
    if not isinstance(value, dict):
        return []
    fields, rest = schema.get("properties", {}), schema.get("additionalProperties")
    unknown = []
    for name, inner in value.items():
        if name in fields:
            unknown += unknown_fields(inner, fields[name], f"{path}.{name}")
        elif isinstance(rest, dict):
            unknown += unknown_fields(inner, rest, f"{path}.{name}")
        elif not schema.get("x-kubernetes-preserve-unknown-fields") and path != ".metadata":
            unknown.append(f"{path}.{name}")
    return unknown


def test_sweeps_are_found() -> None:
    assert len(SHOWN) >= 4


@pytest.mark.parametrize("manifest", SHOWN)
def test_a_sweep_that_is_shown_is_one(manifest: dict[str, Any]) -> None:
    ResumableSweep.model_validate(manifest)
    assert unknown_fields(manifest, root_schema()) == []


@pytest.mark.parametrize("manifest", SHOWN)
def test_a_pod_can_be_made_of_it(manifest: dict[str, Any]) -> None:
    metadata = {"namespace": "default", "uid": "1", **manifest["metadata"]}
    sweep = sweep_of({**manifest, "metadata": metadata})
    order = CreateAttempt(shard=0, attempt=1, resumes=False)
    pod = pod_for(sweep, order, settings=PodSettings(sidecar_image="sidecar:1"), stop_path="/stop")
    assert pod["metadata"]["name"].startswith(manifest["metadata"]["name"])
    assert (items_config_map(sweep) is not None) == ("items" in manifest["spec"])


def test_a_field_that_there_is_not_is_found() -> None:
    spec = {"shard": 1, "checkpoint": {"uri": ""}, "template": {"spec": {"anything": 1, "containers": [{"x": 1}]}}}
    manifest = {"kind": "ResumableSweep", "metadata": {"name": "a"}, "spec": spec}
    assert unknown_fields(manifest, root_schema()) == [".spec.shard", ".spec.checkpoint.uri"]
