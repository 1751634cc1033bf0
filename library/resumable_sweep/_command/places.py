"""Where a run's log lies: a path that is given, or a place in a folder of runs."""

from __future__ import annotations

import argparse
import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resumable_sweep._command.ending import CommandError, Ending
from resumable_sweep._command.table import tell
from resumable_sweep._disk import sync_folder
from resumable_sweep._error_log import error_log_path
from resumable_sweep._file_lock import locked
from resumable_sweep._identity import latest_run, run_id_of, run_log_path, run_named
from resumable_sweep._preserved import preserved_path
from resumable_sweep._settings import DEFAULT_LOG
from resumable_sweep._side_files import SideFiles
from resumable_sweep._statistics import statistics_path
from resumable_sweep.contract import environment as env
from resumable_sweep.contract.manifest import manifest_path

LATEST = "latest"


@dataclass(frozen=True)
class Place:
    """Where a run's log lies, and the run that it must be of; None: whatever is there."""

    log_path: Path
    run_id: str | None


def place_of_run(given: argparse.Namespace, *, words: Sequence[str], config: Any, environ: Mapping[str, str]) -> Place:
    """Return where the log of the run lies that the options ask for.

    Raises
    ------
    CommandError
        Where they do not say, or contradict each other.
    IdentityInvalid, RunUnknown
        Where no run id can be made, or there is no such run.
    """
    snapshot_dir = environ.get(env.SNAPSHOT_DIR)
    base = Path(snapshot_dir or ".").absolute()
    run_id = given.run_id or environ.get(env.RUN_ID) or None
    if given.folder is None:
        if given.resume is not None:
            raise CommandError(Ending.USAGE, f"--resume {given.resume} goes with --folder: it names a run there")
        if given.checkpoint is None and not snapshot_dir:
            raise CommandError(Ending.USAGE, "there is nowhere to write results: pass --checkpoint or --folder")
        return Place(base / (given.checkpoint or DEFAULT_LOG), run_id)
    folder = base / given.folder
    if given.resume is not None:
        run = latest_run(folder) if given.resume == LATEST else run_named(folder, given.resume)
        if run is not None:
            return Place(run.log_path, run.run_id)
    # A list that grows is the same run going on: so the items are no part of what names it.
    run_id = run_id or (run_id_of(config) if config is not None else run_id_of({"command": list(words)}))
    return Place(run_log_path(folder, run_id), run_id)


def config_in(path: Path) -> Any:
    """Return the configuration in a file of JSON or TOML.

    Raises
    ------
    CommandError
        Where it cannot be read.
    """
    try:
        data = path.read_bytes()
        if path.suffix == ".toml":
            return tomllib.loads(data.decode())
        found = json.loads(data)
    except FileNotFoundError:
        raise CommandError(Ending.NO_INPUT, f"--config {path}: there is no such file") from None
    except ValueError as error:
        kind = "TOML" if path.suffix == ".toml" else "JSON"
        raise CommandError(Ending.USAGE, f"--config {path} is not {kind}: {error}") from None
    if not isinstance(found, dict):
        raise CommandError(Ending.USAGE, f"--config {path} must hold a mapping, not {json.dumps(found)[:40]}")
    return found


def make_room(log_path: Path, *, overwrite: bool, lock_timeout_s: float) -> None:
    """See that there is no log at `log_path`; with `overwrite` keep one that is there as `.backup-N`.

    Raises
    ------
    CommandError
        Where there is one, and it is not to be overwritten.
    LogLocked
        Where somebody is writing it.
    OSError
    """
    if not os.path.lexists(log_path):
        return
    if not overwrite:
        raise CommandError(
            Ending.USAGE,
            f"{log_path} is there already: leave out --no-resume to go on with it, add --overwrite to keep it as "
            ".backup-N and start anew, or choose another place",
        )
    file = locked(log_path, timeout_s=lock_timeout_s)
    try:
        backup = _backup_path(log_path)
        # The log first: whatever of the rest stays behind after a crash, its results are safe and nobody's else.
        os.rename(log_path, backup)  # noqa: PTH104 - files are changed through `os` alone
        for path, target in zip(_beside(log_path), _beside(backup), strict=True):
            if os.path.lexists(path):
                os.rename(path, target)  # noqa: PTH104
        sync_folder(log_path.parent)
    finally:
        os.close(file)
    tell(f"the log that was there is kept as {backup}")


def _beside(log_path: Path) -> tuple[Path, ...]:
    return (
        manifest_path(log_path),
        SideFiles(log_path).folder,
        preserved_path(log_path),
        statistics_path(log_path),
        error_log_path(log_path),
    )


def _backup_path(log_path: Path) -> Path:
    number = 1
    while True:
        found = log_path.with_name(f"{log_path.name}.backup-{number}")
        if not any(os.path.lexists(path) for path in (found, *_beside(found))):
            return found
        number += 1
