"""Lines of a manifest of gmat-sweep (`manifest.jsonl`, schema version 1): a header, and one entry for every run.

The format is that of gmat-sweep 0.6.0, docs/manifest-schema.md there: the last entry of a `run_id` wins, and a last
line without a newline is no entry.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from resumable_sweep.contract import log_format
from resumable_sweep.contract.log_format import LogInvalid

SCHEMA_VERSION = 1
OK = "ok"
FAILED = "failed"
SKIPPED = "skipped"
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


def check_gmat_version(header: bytes, where: object) -> None:
    """Refuse a manifest of a schema that this reader does not know.

    Raises
    ------
    LogInvalid
    """
    # The first manifests had no version.
    version = json.loads(header).get("schema_version", SCHEMA_VERSION)
    if type(version) is not int or version > SCHEMA_VERSION:
        raise LogInvalid(
            f"{where} is a gmat-sweep manifest of schema version {version!r}, this reader knows {SCHEMA_VERSION} at "
            "most: install a newer resumable-sweep"
        )


def gmat_run(line: bytes) -> dict[str, Any] | None:
    """Return the run that a line holds, None where it is damaged."""
    try:
        run = json.loads(line)
        known = type(run["run_id"]) is int and run["status"] in (OK, FAILED, SKIPPED)
        _seconds(run.get("started_at")), _seconds(run.get("ended_at"))
    except (ValueError, TypeError, KeyError):
        return None
    return run if known else None


def entry_of_run(run: dict[str, Any]) -> dict[str, Any]:
    """Return a run as an entry of the library's log, of kind done, failed or skipped; its key is the `run_id`."""
    key, provenance = run["run_id"], {"attempt": None, "host": None}
    started, ended = _seconds(run.get("started_at")), _seconds(run.get("ended_at"))
    if run["status"] == SKIPPED:
        return {"kind": log_format.SKIPPED, "key": key, "why": "gmat-sweep skipped this run", **provenance, "at": ended}
    times = {"started": started, "ended": ended}
    if run["status"] == OK:
        result = {name: value for name, value in run.items() if name not in _NOT_RESULT}
        return {"kind": log_format.DONE, "key": key, "result": result, **provenance, **times}
    trace = str(run.get("stderr") or "")
    said = [line.strip() for line in trace.splitlines() if line.strip()]
    error = said[-1] if said else "gmat-sweep says no more than that the run failed"
    return {"kind": log_format.FAILED, "key": key, "error": error, "traceback": trace, **provenance, **times}


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
