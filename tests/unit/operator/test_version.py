"""The version is written in three places, of which none can read another: image, package and chart."""

from __future__ import annotations

import tomllib
from pathlib import Path

import yaml

from sweep_operator.version import VERSION

ROOT = Path(__file__).parents[3]


def test_the_operator_is_of_the_version_that_package_and_chart_name() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    chart = yaml.safe_load((ROOT / "charts" / "resumable-sweep" / "Chart.yaml").read_text())
    assert project["version"] == chart["appVersion"] == VERSION
