"""Runs of gmat-sweep as results of items."""

from __future__ import annotations

from typing import Any

from resumable_sweep.contract.environment import SNAPSHOT_PATH
from resumable_sweep.contract.gmat_manifest import is_gmat_header

_PATHS = ("output_paths", "extra_outputs", "solver_paths")
_MEASURED = "duration_s"


def is_gmat_manifest(first_line: bytes) -> bool:
    """Return whether a stored file that starts with `first_line` is a manifest of gmat-sweep."""
    return first_line.endswith(b"\n") and is_gmat_header(first_line)


def result_entry(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the entry of a run that went well, with what is the run's own result.

    Files are named as they are in the store, relative to the snapshot directory, and how long the run took is left
    out: so a run that is made again somewhere else has the same result.
    """
    result = {name: value for name, value in entry["result"].items() if name != _MEASURED}
    for field in _PATHS:
        if isinstance(result.get(field), dict):
            result[field] = {name: _relative(path) for name, path in result[field].items()}
    if "log_path" in result:
        result["log_path"] = _relative(result["log_path"])
    return {**entry, "result": result}


def _relative(path: Any) -> Any:
    return path.removeprefix(f"{SNAPSHOT_PATH}/") if isinstance(path, str) else path
