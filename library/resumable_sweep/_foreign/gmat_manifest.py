"""Manifests of gmat-sweep, read whole: JSON Lines, a header and one entry for every run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from resumable_sweep.contract.gmat_manifest import OK, SKIPPED, check_gmat_version, entry_of_run, gmat_run


def gmat_entries(path: Path) -> Iterator[dict[str, Any]]:
    """Return the winning entry of every run, in the order in which the runs came first.

    The key is the `run_id`, a whole number. The result of a run that went well is its entry without what other fields
    of the log say: overrides, context, paths of outputs, and so on, paths as they stand there. A run that is skipped
    since it had gone well before stays done, with the result it had.

    Raises
    ------
    LogInvalid
        Where the manifest is of a newer schema.
    """
    latest: dict[int, dict[str, Any]] = {}
    for _, run in _runs(path):
        if run is None:
            continue
        before = latest.get(run["run_id"])
        if run["status"] != SKIPPED or before is None or before["status"] != OK:
            latest[run["run_id"]] = run
    return map(entry_of_run, latest.values())


def gmat_damage(path: Path) -> str | None:
    """Return which lines say nothing that can be used, None where all of them can."""
    lost = [number for number, run in _runs(path) if run is None]
    if not lost:
        return None
    more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
    return f"line {lost[0]}{more} of {path.name} cannot be read"


def _runs(path: Path) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Yield each line's number and run, None where the line is damaged."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return  # torn: the process ended while it wrote it
            if number == 1:
                check_gmat_version(line, path)
            else:
                yield number, gmat_run(line)
