"""`repair`: what a resume does to a damaged log, without running anything, and the files that nothing needs removed."""

from __future__ import annotations

import argparse
import os
import socket
import time
from pathlib import Path
from typing import Any

from resumable_sweep._command.ending import CommandError, Ending
from resumable_sweep._command.findings import UNSURE, damaged_results, log_findings, orphans_of
from resumable_sweep._command.log_view import LogView, log_named
from resumable_sweep._command.table import print_json, size_text
from resumable_sweep._disk import sync_folder
from resumable_sweep._entries import Entries
from resumable_sweep._log import ResultLog
from resumable_sweep._preserved import known_of, preserved_path, read_preserved, write_preserved
from resumable_sweep._salvage import header_of_manifest
from resumable_sweep.contract.manifest import manifest_path, parsed_manifest


def add_repair(commands: Any) -> None:
    """Add the sub-command `repair`."""
    parser = commands.add_parser(
        "repair",
        help="mend a damaged log as a resume does",
        description="Mend a log as a resume does, without running anything: the damaged file is kept as .corrupt-N, "
        "its good lines stay, what lies beside it is put right, and side files that nothing names are removed. The "
        "log must not be in use.",
    )
    parser.add_argument("log", metavar="LOG", help="a log, or the folder of a run")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and change nothing")
    parser.add_argument("--lock-timeout", type=float, default=0.0, metavar="SECONDS", help="wait so long for the log")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(handler=repair)


def repair(given: argparse.Namespace) -> Ending:
    """Mend a log, and print what was done."""
    path = log_named(given.log)
    _refuse_lost(path)
    steps = planned_steps(path)
    if steps and not given.dry_run:
        mend(path, lock_timeout_s=given.lock_timeout)
    if given.json:
        print_json({"path": str(path), "dry_run": given.dry_run, "steps": steps})
    elif not steps:
        print(f"{path}: there is nothing to repair")
    else:
        print(f"{path}: {'to be done' if given.dry_run else 'done'}")
        for step in steps:
            print(f"  {step}")
    return Ending.OK


def planned_steps(path: Path) -> list[str]:
    """Return what there is to be mended of the log at `path`, and how."""
    steps = []
    findings = [finding for finding in log_findings(path) if finding.is_damage]
    is_unsure = any(finding.fate == UNSURE for finding in findings)
    with LogView(path) as view:
        damaged = view.scan.damaged
        if damaged or is_unsure:
            lines = f"{len(damaged)} damaged line{'s' if len(damaged) > 1 else ''}" if damaged else "all lines"
            steps.append(f"set aside {lines}: the whole file is kept as {path.name}.corrupt-N")
        if view.scan.size > view.scan.end:
            steps.append(f"cut off a torn last line of {view.scan.size - view.scan.end} bytes")
        if any(finding.path == str(preserved_path(path)) for finding in findings):
            steps.append(f"set aside {preserved_path(path).name}, and write what the log says of it anew")
        lost = damaged_results(view)
        steps += [f"count item {name:.200} as not done where the log is resumed: {problem}" for name, problem in lost]
        if view.scan.completion is not None and (lost or view.why_not_complete() is not None):
            steps.append("reopen the log: its complete entry speaks of more than there is")
        if steps or not _manifest_fits(view):
            steps.append("write the manifest anew")
        steps += [
            f"remove {orphan}, {size_text(orphan.lstat().st_size)} that nothing names"
            for orphan in orphans_of(view)
            if not orphan.is_dir()
        ]
    return steps


def mend(path: Path, *, lock_timeout_s: float) -> None:
    """Mend the log at `path` and what lies beside it.

    Raises
    ------
    LogLocked
        Where somebody is writing it, `lock_timeout_s` seconds long.
    OSError
    """
    entries = Entries(attempt=None, host=socket.gethostname())
    header = {"run_id": None, "shard": 0, "shards": 1, "created": time.time(), "seed": None}
    log = ResultLog.opened(path, header, note=lambda *_: None, lock_timeout_s=lock_timeout_s)
    try:
        said: list[tuple[str, str, str | None, str]] = []
        if log.salvaged is not None:
            used = "all other lines of it" if log.salvaged.kept else "nothing of it"
            said.append((str(path), log.salvaged.reason, str(log.salvaged.kept_as), used))
        elif log.missing_bytes:
            said.append(
                (str(path), f"it ends {log.missing_bytes} bytes before its manifest says", None, "what is left")
            )
        reading = read_preserved(path)
        if reading.kept_as is not None:
            write_preserved(path, known_of(log.scan.header, None))
            said.append((str(preserved_path(path)), reading.reason, str(reading.kept_as), "the hashes in the log"))
        # The lock is held: what is seen now stays so.
        with LogView(path) as view:
            completion = view.scan.completion
            holds = not damaged_results(view) and view.why_not_complete() is None
            orphans = [orphan for orphan in orphans_of(view) if not orphan.is_dir()]
        lines = [entries.fallback(source=source, reason=why, kept_as=as_, used=used) for source, why, as_, used in said]
        if completion is not None and not holds:
            lines.append(entries.reopened())
        elif completion is not None and lines:
            # It counts only as the last entry.
            numbers = {name: completion.get(name, 0) for name in ("total", "skipped")}
            lines.append(entries.complete(**numbers, keys_sha256=completion["keys_sha256"]))
        if lines:
            log.append(lines)
        log.write_manifest()
        for orphan in orphans:
            os.unlink(orphan)  # noqa: PTH108 - files are changed through `os` alone
        if orphans:
            sync_folder(orphans[0].parent)
    finally:
        log.close()


def _refuse_lost(path: Path) -> None:
    with LogView(path) as view:
        if not view.scan.lines:
            raise CommandError(
                Ending.INVALID, f"{path} has no whole line: there is nothing to keep, and a resume starts it anew"
            )
        if not view.header and not header_of_manifest(path):
            raise CommandError(
                Ending.CORRUPT,
                f"{path} has lost its header, and no manifest repeats it: nobody can say whose results these are. Bring"
                " back a copy of the file or its manifest; a resume keeps this one as .corrupt-N and starts afresh",
            )


def _manifest_fits(view: LogView) -> bool:
    try:
        manifest = parsed_manifest(manifest_path(view.path).read_bytes())
    except (FileNotFoundError, ValueError):
        return False
    digest = view.scan.digest.hexdigest()
    return (manifest.sha256, manifest.size_bytes) == (digest, view.scan.end)
