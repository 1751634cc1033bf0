"""`list`: the runs in a folder, and the logs and checkpoints that lie in it."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from resumable_sweep._command.ending import CommandError, Ending
from resumable_sweep._command.log_view import LogView, is_log
from resumable_sweep._command.table import print_json, print_table, size_text, time_text
from resumable_sweep._foreign import foreign_entries
from resumable_sweep._identity import runs_in
from resumable_sweep._ledger import State
from resumable_sweep._state_search import newest_in
from resumable_sweep._statistics import Stats, read_statistics
from resumable_sweep.contract.log_format import LogInvalid, entry_of
from resumable_sweep.contract.manifest import manifest_path

_EDGE_BYTES = 64 << 10
"""A header and a `complete` are far shorter."""
_COMPLETE_START = b'{"kind":"complete"'


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A line of the list: `kind` is `run`, `log`, `progress` (of mime-engine or gmat-sweep) or `state`.

    What nobody knows is None; `problem` says why a log cannot be read, `modified` is in Unix seconds.
    """

    name: str
    kind: str
    path: str
    run_id: str | None
    done: int | None
    total: int | None
    failed: int | None
    skipped: int | None
    complete: bool | None
    modified: float
    size_bytes: int
    problem: str | None


def add_list(commands: Any) -> None:
    """Add the sub-command `list`."""
    parser = commands.add_parser(
        "list", help="the runs and logs in a folder", description="List the runs and logs in a folder, newest first."
    )
    parser.add_argument("folder", nargs="?", default=".", metavar="FOLDER", help="default: the working directory")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(handler=list_runs)


def list_runs(given: argparse.Namespace) -> Ending:
    """Print the runs and logs in a folder."""
    folder = Path(given.folder)
    print_listed(listed_in(folder), as_json=given.json, folder=folder)
    return Ending.OK


def list_checkpoints(folder: Path, *, as_json: bool) -> Ending:
    """Print all that a program could go on from: runs and logs, progress files, and states of long runs."""
    found = [*listed_in(folder), *_other_checkpoints(folder)]
    found.sort(key=lambda one: (-one.modified, one.name))
    print_listed(found, as_json=as_json, folder=folder)
    return Ending.OK


def listed_in(folder: Path) -> list[Listed]:
    """Return the runs in `folder` and the logs that lie directly in it, the one last written to first.

    Raises
    ------
    CommandError
        Where there is no such folder.
    """
    if not folder.is_dir():
        raise CommandError(Ending.NO_INPUT, f"{folder} is no folder: name the one that runs or logs lie in")
    found = [_listed(run.log_path, name=run.run_id, kind="run") for run in runs_in(folder)]
    found += [_listed(path, name=path.name, kind="log") for path in logs_in(folder)]
    return sorted(found, key=lambda one: (-one.modified, one.name))


def logs_in(folder: Path) -> list[Path]:
    """Return the logs that lie directly in `folder`, also those kept as `.corrupt-N` or `.backup-N`, by name."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and is_log(path))


def print_listed(found: list[Listed], *, as_json: bool, folder: Path) -> None:
    """Print a list."""
    if as_json:
        print_json([asdict(one) for one in found])
        return
    if not found:
        print(f"{folder} holds no runs and no logs")
        return
    print_table(
        ("NAME", "KIND", "DONE", "TOTAL", "FAILED", "SKIPPED", "COMPLETE", "MODIFIED", "SIZE"),
        (
            (
                one.name,
                one.kind,
                one.done,
                one.total,
                one.failed,
                one.skipped,
                one.problem or one.complete,
                time_text(one.modified),
                size_text(one.size_bytes),
            )
            for one in found
        ),
    )


def _listed(path: Path, *, name: str, kind: str) -> Listed:
    try:
        stats = read_statistics(path)
        if stats is not None:
            return _of_stats(path, stats, name=name, kind=kind)
        with LogView(path) as view:
            counts = view.counts()
            return Listed(
                name=name,
                kind=kind,
                path=str(path),
                run_id=view.header.get("run_id") or (name if kind == "run" else None),
                done=counts[State.DONE],
                total=view.total(),
                failed=counts[State.FAILED],
                skipped=counts[State.SKIPPED],
                complete=view.why_not_complete() is None,
                modified=view.modified,
                size_bytes=view.size_bytes,
                problem=f"{len(view.scan.damaged)} damaged lines" if view.scan.damaged else None,
            )
    except (LogInvalid, CommandError) as error:
        return _bare(path, name=name, kind=kind, problem=str(error))


def _of_stats(path: Path, stats: Stats, *, name: str, kind: str) -> Listed:
    """Return what the numbers say that a sweep left beside its log: of a large one only first and last line are read.

    Raises
    ------
    LogInvalid
        Where one of these is damaged.
    """
    with path.open("rb") as file:
        header = entry_of(file.readline(_EDGE_BYTES), 1)
        file.seek(max(0, path.stat().st_size - _EDGE_BYTES))
        last = file.read().rstrip(b"\n").rpartition(b"\n")[2]
    status = path.stat()
    return Listed(
        name=name,
        kind=kind,
        path=str(path),
        run_id=header.get("run_id") or (name if kind == "run" else None),
        done=stats.completed,
        total=stats.total,
        failed=stats.failed,
        skipped=stats.skipped,
        # Any other line may be longer than what was read of it.
        complete=last.startswith(_COMPLETE_START) and bool(entry_of(last, 1)),
        modified=status.st_mtime,
        size_bytes=status.st_size,
        problem=None,
    )


def _bare(path: Path, *, name: str, kind: str, problem: str | None = None) -> Listed:
    status = path.stat()
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if path.is_dir() else status.st_size
    return Listed(
        name=name,
        kind=kind,
        path=str(path),
        run_id=None,
        done=None,
        total=None,
        failed=None,
        skipped=None,
        complete=None,
        modified=status.st_mtime,
        size_bytes=size,
        problem=problem,
    )


def _other_checkpoints(folder: Path) -> list[Listed]:
    found = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.is_file() or is_log(path):
            continue
        if is_foreign(path):
            found.append(_bare(path, name=path.name, kind="progress"))
    found += [_bare(path, name=path.name, kind="state") for path in states_in(folder)]
    return found


def states_in(folder: Path) -> list[Path]:
    """Return the checkpoints of states in `folder`: what has a manifest and is neither a log nor a progress file."""
    return [
        path
        for path in newest_in(folder.absolute())
        if path.exists() and manifest_path(path).exists() and not is_log(path) and not is_foreign(path)
    ]


def is_foreign(path: Path) -> bool:
    """Return whether the file at `path` is a checkpoint of another package; also one of a newer schema."""
    if not path.is_file():
        return False
    try:
        return foreign_entries(path) is not None
    except LogInvalid:
        return True
