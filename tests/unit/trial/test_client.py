from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rig.images import IMAGES
from sweep_operator.api import ResumableSweep
from trial.client import CLIENTS
from trial.ground import Ground


@pytest.fixture
def ground() -> Ground:
    return Ground(
        kubeconfig=Path("kubeconfig"),
        images={image.name: f"registry/{image.name}:1" for image in IMAGES},
        store="gs://bucket/folder",
        store_env=[],
        faults=SimpleNamespace(),  # type: ignore[arg-type]  # nothing is struck here
    )


@pytest.mark.parametrize("name", CLIENTS)
def test_a_clients_sweep_is_one(ground: Ground, name: str) -> None:
    manifest = CLIENTS[name].manifest(ground, name=name, namespace="clients")
    ResumableSweep.model_validate(manifest)
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"registry/{CLIENTS[name].image}:1"


def gmat_manifest(*lines: dict[str, Any]) -> dict[str, bytes]:
    header = {"schema_version": 1, "run_count": 2}
    return {
        "manifest.jsonl": "".join(f"{json.dumps(line)}\n" for line in (header, *lines)).encode(),
        "run-0/report.parquet": b"rows",
    }


def test_when_a_run_of_gmat_sweep_ran_is_not_of_its_essence() -> None:
    essence = CLIENTS["gmat"].essence
    first = {"run_id": 0, "status": "ok", "started_at": "1", "ended_at": "2"}
    again = {"run_id": 0, "status": "ok", "started_at": "5", "ended_at": "6"}
    failed = {"run_id": 0, "status": "failed", "started_at": "3", "ended_at": "4"}
    assert essence(gmat_manifest(first)) == essence(gmat_manifest(failed, again))
    assert essence(gmat_manifest(first)) != essence(gmat_manifest(first, failed))
    assert essence(gmat_manifest(first)) != essence({**gmat_manifest(first), "run-0/report.parquet": b"others"})
