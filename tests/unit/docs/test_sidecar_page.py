from __future__ import annotations

import re
from pathlib import Path

from sweep_operator.model.observed import Role
from sweep_operator.pods import names
from sweep_operator.pods.settings import PodSettings
from sweep_operator.pods.sidecar import mirror_container
from sweep_sidecar.mirror import hooks

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "reference" / "sidecar.md").read_text()


def rows(title: str) -> list[list[str]]:
    section = re.split(r"\n##+ ", PAGE.split(f"# {title}\n")[1])[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_path_has_its_row() -> None:
    paths = {row[0].strip("`") for row in rows("Endpoints") if row[0].startswith("`/")}
    assert paths == {hooks.HEALTH_PATH, hooks.FLUSH_PATH, hooks.METRICS_PATH}


def test_the_pod_monitor_finds_the_port_of_an_attempts_mirror() -> None:
    (port,) = mirror_container(PodSettings(sidecar_image="x"), environment=[], identity={})["ports"]
    assert f"{{port: {port['name']}, path: {hooks.METRICS_PATH}}}" in PAGE
    assert f"TCP port {port['containerPort']}" in PAGE
    assert f"{names.ROLE}: {Role.ATTEMPT}" in PAGE


def test_what_the_log_says_is_said_somewhere() -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "sidecar" / "sweep_sidecar").rglob("*.py"))
    formats = re.sub(r"%(\.\d)?[sdf]", "N", sources)
    for row in rows("Logs"):
        message = re.sub(r"\b[A-Z]+\b|\.\.\.", "N", row[0].strip("`")).rstrip(" :N")
        assert message in formats, row[0]
