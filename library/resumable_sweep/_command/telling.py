"""`failed` and `stats`: what went wrong in a sweep, and what it has come to in numbers."""

from __future__ import annotations

import argparse
from typing import Any

from resumable_sweep._command.ending import CommandError, Ending
from resumable_sweep._command.log_view import LogView, is_log, log_named
from resumable_sweep._command.showing import failed_standings, key_text, seconds_of
from resumable_sweep._command.table import print_fields, print_json, print_table, time_text
from resumable_sweep._statistics import metrics_text, read_statistics


def add_failed(commands: Any) -> None:
    """Add the sub-command `failed`."""
    parser = commands.add_parser(
        "failed",
        help="the items whose last try went wrong",
        description="List the items whose last try went wrong, with their errors.",
    )
    parser.add_argument("log", metavar="LOG", help="a log, or the folder of a run")
    parser.add_argument("--traceback", action="store_true", help="print each one's traceback")
    parser.add_argument("--json", action="store_true", help="print JSON, with tracebacks")
    parser.set_defaults(handler=tell_failed)


def tell_failed(given: argparse.Namespace) -> Ending:
    """Print the failed items of a log."""
    with LogView(log_named(given.log)) as view:
        failed = [
            {
                "key": standing.key,
                "error": entry.get("error"),
                "traceback": entry.get("traceback") or "",
                "failures": standing.failures,
                "seconds": seconds_of(entry),
                "ended": entry.get("ended"),
                "host": entry.get("host"),
                "attempt": entry.get("attempt"),
            }
            for standing, entry in failed_standings(view)
        ]
    if given.json:
        print_json(failed)
    elif not failed:
        print("no item has failed")
    elif given.traceback:
        for one in failed:
            print(f"item {key_text(one['key'])}, failed {one['failures']} times, on {one['host']}")
            print(f"{one['traceback'] or one['error']}".rstrip("\n") + "\n")
    else:
        print_table(
            ("KEY", "FAILURES", "ENDED", "HOST", "ERROR"),
            (
                (
                    key_text(one["key"]),
                    one["failures"],
                    time_text(one["ended"]),
                    one["host"],
                    next(reversed(str(one["error"]).strip().splitlines()), ""),
                )
                for one in failed
            ),
        )
    return Ending.OK


def add_stats(commands: Any) -> None:
    """Add the sub-command `stats`."""
    parser = commands.add_parser(
        "stats",
        help="a sweep in numbers",
        description="Print a sweep in numbers: those it was left with, or where the log has changed since, as a "
        "resume would find it.",
    )
    parser.add_argument("log", metavar="LOG", help="a log, or the folder of a run")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--prometheus", action="store_true", help="print Prometheus' text format")
    parser.add_argument(
        "--label",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a label for each sample of --prometheus; repeatable",
    )
    parser.set_defaults(handler=tell_stats)


def tell_stats(given: argparse.Namespace) -> Ending:
    """Print a log's statistics."""
    path = log_named(given.log)
    labels = dict(_label(text) for text in given.label)
    if labels and not given.prometheus:
        raise CommandError(Ending.USAGE, "--label goes with --prometheus")
    stats = read_statistics(path) if is_log(path) else None
    if stats is None:
        with LogView(path) as view:
            stats = view.stats()
    if given.prometheus:
        print(metrics_text(stats, labels), end="")
    elif given.json:
        print(stats.to_json())
    else:
        print_fields(
            {
                "items": "unknown" if stats.total is None else stats.total,
                "done": stats.completed,
                "failed": stats.failed,
                "skipped": stats.skipped,
                "in progress": stats.in_progress,
                "missing": stats.missing,
                "replayed": stats.replayed,
                "recorded": stats.recorded,
                "no longer items": stats.removed,
                "resumes": stats.resumes,
                "set aside": stats.fall_backs,
                "seconds": stats.seconds,
                "seconds saved": stats.seconds_saved,
                "items a second": stats.rate,
            }
        )
    return Ending.OK


def _label(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise CommandError(Ending.USAGE, f"--label {text!r} must be NAME=VALUE")
    return name, value
