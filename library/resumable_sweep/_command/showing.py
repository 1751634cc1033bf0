"""`show`: what one log says of itself, and of each item."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from resumable_sweep._command.ending import Ending
from resumable_sweep._command.log_view import STATE_NAMES, LogView, Standing, log_named
from resumable_sweep._command.table import print_fields, print_json, print_json_line, print_table, size_text, time_text
from resumable_sweep._ledger import State
from resumable_sweep.contract.canonical import canonical_json
from resumable_sweep.contract.log_format import FALLBACK


def add_show(commands: Any) -> None:
    """Add the sub-command `show`."""
    parser = commands.add_parser(
        "show",
        help="what a log says of itself, and of its items",
        description="Show what a log's results were made from, how its items stand, and what became of it.",
    )
    parser.add_argument("log", metavar="LOG", help="a log, or the folder of a run")
    parser.add_argument("--items", action="store_true", help="a line for each item that the log speaks of")
    parser.add_argument("--json", action="store_true", help="print JSON; with --items, an object a line")
    parser.set_defaults(handler=show)


def show(given: argparse.Namespace) -> Ending:
    """Print what a log says."""
    with LogView(log_named(given.log)) as view:
        if given.items:
            _print_items(view, as_json=given.json)
        elif given.json:
            print_json(_summary(view))
        else:
            _print_summary(_summary(view))
    return Ending.OK


def _summary(view: LogView) -> dict[str, Any]:
    header, preserved = view.header, view.preserved()
    return {
        "path": str(view.path),
        "schema_version": view.scan.version or None,
        "run_id": header.get("run_id"),
        "shard": header.get("shard"),
        "shards": header.get("shards"),
        "created": header.get("created"),
        "modified": view.modified,
        "size_bytes": view.size_bytes,
        "lines": view.scan.lines,
        "damaged_lines": len(view.scan.damaged),
        "torn_bytes": view.scan.size - view.scan.end,
        "seed": preserved.seed,
        "config": preserved.config,
        "config_sha256": preserved.config_sha256,
        "script": preserved.script_path,
        "script_sha256": preserved.script_sha256,
        "items_sha256": preserved.items_sha256,
        "total": view.total(),
        "states": {STATE_NAMES[state]: count for state, count in view.counts().items()},
        "complete": view.why_not_complete() is None,
        "history": view.history(),
    }


def _print_summary(said: dict[str, Any]) -> None:
    states = ", ".join(f"{count} {name}" for name, count in said["states"].items() if count)
    total = "" if said["total"] is None else f" of {said['total']}"
    damaged, torn = said["damaged_lines"], said["torn_bytes"]
    print_fields(
        {
            "log": said["path"],
            "schema version": said["schema_version"],
            "run": said["run_id"],
            "shard": None if said["shards"] in (None, 1) else f"{said['shard']} of {said['shards']}",
            "created": time_text(said["created"]),
            "modified": time_text(said["modified"]),
            "size": f"{size_text(said['size_bytes'])} in {said['lines']} lines",
            "damaged": f"{damaged} lines, see `resumable-sweep verify {said['path']}`" if damaged else None,
            "torn": f"{torn} bytes of a last line" if torn else None,
            "seed": said["seed"],
            "configuration": None if said["config"] is None else canonical_json(said["config"]),
            "script": said["script"],
            "items": f"{states or 'none'}{total}",
            "complete": said["complete"],
        }
    )
    for entry in said["history"]:
        at = time_text(entry.get("at")) or "-"
        if entry["kind"] == FALLBACK:
            kept = "" if entry.get("kept_as") is None else f"; it is kept as {entry['kept_as']}"
            print(
                f"{at}  set aside: {entry.get('source')} ({entry.get('reason')}){kept}; "
                f"used instead: {entry.get('used')}"
            )
        else:
            origin = f"on {entry.get('host')}" + (
                "" if entry.get("attempt") is None else f", attempt {entry['attempt']}"
            )
            replayed = "" if entry.get("replayed") is None else f", {entry['replayed']} results replayed"
            print(f"{at}  {entry['kind']} {origin}{replayed}")


def _print_items(view: LogView, *, as_json: bool) -> None:
    if as_json:
        for fields in _items(view):
            print_json_line(fields)
        return
    print_table(
        ("KEY", "STATE", "FAILURES", "SECONDS", "ENDED", "HOST", "ATTEMPT"),
        (
            (
                key_text(fields["key"]),
                fields["state"],
                fields["failures"],
                None if fields["seconds"] is None else round(fields["seconds"], 3),
                time_text(fields["ended"]),
                fields["host"],
                fields["attempt"],
            )
            for fields in _items(view)
        ),
    )


def _items(view: LogView) -> Iterator[dict[str, Any]]:
    for standing in view.standings():
        entry = {} if standing.state is State.IN_PROGRESS else view.entry(standing)
        yield {
            "key": standing.key,
            "state": STATE_NAMES[standing.state],
            "failures": standing.failures,
            "seconds": seconds_of(entry),
            "ended": entry.get("ended", entry.get("at")),
            "host": entry.get("host"),
            "attempt": entry.get("attempt"),
            "why": entry.get("why"),
            "error": entry.get("error"),
        }


def key_text(key: Any) -> str:
    """Return a key as people know it: text as it is, all else as JSON."""
    return key if isinstance(key, str) else canonical_json(key)


def seconds_of(entry: dict[str, Any]) -> float | None:
    """Return how long the try took that `entry` ended, None where it does not say."""
    started, ended = entry.get("started"), entry.get("ended")
    if isinstance(started, int | float) and isinstance(ended, int | float):
        return float(max(0.0, ended - started))
    return None


def failed_standings(view: LogView) -> Iterator[tuple[Standing, dict[str, Any]]]:
    """Yield the items whose last try went wrong, each with the entry that says so."""
    for standing in view.standings():
        if standing.state is State.FAILED:
            yield standing, view.entry(standing)
