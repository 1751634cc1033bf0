"""`verify`: whether logs and checkpoints are what their writers left, and what a resume would do where they are not."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from resumable_sweep._command.ending import CommandError, Ending
from resumable_sweep._command.findings import Finding, log_findings
from resumable_sweep._command.listing import is_foreign, logs_in, states_in
from resumable_sweep._command.log_view import is_log
from resumable_sweep._command.table import print_json
from resumable_sweep._foreign.mime_progress import previous_path
from resumable_sweep._identity import LOG_NAME
from resumable_sweep._salvage import header_of_manifest
from resumable_sweep._sources import damage_of
from resumable_sweep._state_search import CheckpointDamaged, find, look
from resumable_sweep.contract.manifest import manifest_path

_LOG_SUFFIX = ".jsonl"


def add_verify(commands: Any) -> None:
    """Add the sub-command `verify`."""
    parser = commands.add_parser(
        "verify",
        help="check logs, checkpoints and the files beside them",
        description="Check every line, manifest and side file of logs, and checkpoints of states and of other "
        "packages. Nothing is changed. Exits with 1 where there is damage.",
    )
    parser.add_argument(
        "targets", nargs="+", metavar="TARGET", help="a log, a checkpoint, or a folder of runs, logs and checkpoints"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(handler=verify)


def verify(given: argparse.Namespace) -> Ending:
    """Check what was named, and print what is wrong."""
    reports = [(path, findings_at(path)) for target in given.targets for path in _checkpoints_at(Path(target))]
    is_damaged = any(finding.is_damage for _, findings in reports for finding in findings)
    if given.json:
        print_json(
            [
                {
                    "path": str(path),
                    "whole": not any(finding.is_damage for finding in findings),
                    "findings": [asdict(finding) for finding in findings],
                }
                for path, findings in reports
            ]
        )
    else:
        for path, findings in reports:
            _print_report(path, findings)
    return Ending.FOUND if is_damaged else Ending.OK


def findings_at(path: Path) -> list[Finding]:
    """Return what is wrong with the log or checkpoint at `path`.

    Raises
    ------
    CommandError
        Where there is nothing.
    LogInvalid, PreservedInvalid, CheckpointTooNew
        Where it is of a newer schema.
    """
    if is_foreign(path):
        return _foreign_findings(path)
    if is_log(path) or (path.is_file() and (header_of_manifest(path) or path.name.endswith(_LOG_SUFFIX))):
        return log_findings(path)
    return _state_findings(path)


def _checkpoints_at(path: Path) -> list[Path]:
    """Return what `path` stands for: itself, or where it is a folder of checkpoints, those."""
    if not path.is_dir() or manifest_path(path).exists():
        return [path]
    if (path / LOG_NAME).is_file():
        return [path / LOG_NAME]
    found = sorted(path.glob(f"*/{LOG_NAME}")) + [log for log in logs_in(path) if ".corrupt-" not in log.name]
    found += [file for file in sorted(path.iterdir()) if not is_log(file) and is_foreign(file)]
    found += [log for log in sorted(path.glob(f"*{_LOG_SUFFIX}")) if log not in found and header_of_manifest(log)]
    found += [state for state in states_in(path) if state not in found]
    if not found:
        raise CommandError(Ending.NO_INPUT, f"{path} holds neither logs nor checkpoints with a manifest")
    return found


def _print_report(path: Path, findings: list[Finding]) -> None:
    damage = sum(1 for finding in findings if finding.is_damage)
    print(f"{path}: " + (f"damaged, {damage} problem{'s' if damage > 1 else ''}" if damage else "whole"))
    for finding in findings:
        where = "" if finding.path == str(path) else f"{finding.path}: "
        note = "" if finding.is_damage else "note: "
        print(f"  {note}{where}{finding.problem}")
        print(f"    on resume: {finding.fate}")


def _foreign_findings(path: Path) -> list[Finding]:
    damage = damage_of(path)
    if damage is None:
        return []
    older = previous_path(path)
    is_older_whole = older.exists() and manifest_path(older).exists() and damage_of(older) is None
    fate = f"it is kept as .corrupt-N, and {older} is used" if is_older_whole else "what can be read of it is used"
    return [Finding(path=str(path), problem=damage, fate=fate)]


def _state_findings(path: Path) -> list[Finding]:
    looked = look(path)
    try:
        found = find(path)
    except CheckpointDamaged as error:
        problem = str(looked.fault) if looked is not None and looked.fault else "it is not there, its backups are"
        return [Finding(path=str(path), problem=problem, fate=f"it is refused: {error}")]
    if found is None:
        raise CommandError(Ending.NO_INPUT, f"there is no log and no checkpoint {path}")
    if found.asked is not None:
        return [
            Finding(
                path=str(path),
                problem=str(found.asked.fault),
                fate=f"the older one is loaded: {found.whole.path}",
            )
        ]
    if found.whole.manifest is None:
        problem = "there is no manifest beside it, so nobody can tell whether it is whole"
        return [Finding(path=str(path), problem=problem, fate="it is loaded as it is", is_damage=False)]
    return []
