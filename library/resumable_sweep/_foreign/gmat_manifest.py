"""Manifests of gmat-sweep (`manifest.jsonl`, schema version 1): JSON Lines, a header and one entry for every run.

The format is that of gmat-sweep 0.6.0, docs/manifest-schema.md there: the last entry of a `run_id` wins, and a last
line without a newline is no entry.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from resumable_sweep.contract.log_format import DONE, FAILED, SKIPPED, LogInvalid

SCHEMA_VERSION = 1
_HEADER_FIELDS = frozenset({"script_sha256", "gmat_sweep_version", "run_count"})
_NOT_RESULT = frozenset({"run_id", "status", "stderr", "started_at", "ended_at"})
"""Fields that become the key, the kind, the traceback and the times; all others are the result."""


def is_gmat_header(line: bytes) -> bool:
    """Return whether a file that starts with `line` is such a manifest."""
    try:
        header = json.loads(line)
    except ValueError:
        return False
    return isinstance(header, dict) and header.keys() >= _HEADER_FIELDS


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
        if run["status"] != "skipped" or before is None or before["status"] != "ok":
            latest[run["run_id"]] = run
    return map(_entry_of, latest.values())


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
                _check_version(json.loads(line), path)
            else:
                yield number, _run_of(line)


def _check_version(header: dict[str, Any], path: Path) -> None:
    # The first manifests had no version.
    version = header.get("schema_version", SCHEMA_VERSION)
    if type(version) is not int or version > SCHEMA_VERSION:
        raise LogInvalid(
            f"{path} is a gmat-sweep manifest of schema version {version!r}, this reader knows {SCHEMA_VERSION} at "
            "most: install a newer resumable-sweep"
        )


def _run_of(line: bytes) -> dict[str, Any] | None:
    try:
        run = json.loads(line)
        known = type(run["run_id"]) is int and run["status"] in ("ok", "failed", "skipped")
        _seconds(run.get("started_at")), _seconds(run.get("ended_at"))
    except (ValueError, TypeError, KeyError):
        return None
    return run if known else None


def _entry_of(run: dict[str, Any]) -> dict[str, Any]:
    key, provenance = run["run_id"], {"attempt": None, "host": None}
    started, ended = _seconds(run.get("started_at")), _seconds(run.get("ended_at"))
    if run["status"] == "skipped":
        return {"kind": SKIPPED, "key": key, "why": "gmat-sweep skipped this run", **provenance, "at": ended}
    times = {"started": started, "ended": ended}
    if run["status"] == "ok":
        result = {name: value for name, value in run.items() if name not in _NOT_RESULT}
        return {"kind": DONE, "key": key, "result": result, **provenance, **times}
    trace = str(run.get("stderr") or "")
    said = [line.strip() for line in trace.splitlines() if line.strip()]
    error = said[-1] if said else "gmat-sweep says no more than that the run failed"
    return {"kind": FAILED, "key": key, "error": error, "traceback": trace, **provenance, **times}


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
