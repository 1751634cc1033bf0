from __future__ import annotations

import pkgutil
import tomllib
from pathlib import Path

import resumable_sweep


def test_every_private_module_is_kept_from_the_operator_and_the_sidecar() -> None:
    settings = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = (
        one for one in settings["tool"]["importlinter"]["contracts"] if one["name"].endswith("see only the contract")
    )
    modules = {f"resumable_sweep.{module.name}" for module in pkgutil.iter_modules(resumable_sweep.__path__)}
    private = {name for name in modules if name.partition(".")[2].startswith("_")} - {"resumable_sweep.__main__"}
    assert set(contract["forbidden_modules"]) == private
