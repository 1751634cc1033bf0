"""Which run a program's results belong to: an id made of what goes into it, and the runs that lie in a folder."""

from __future__ import annotations

import datetime
import difflib
import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resumable_sweep._config import json_value
from resumable_sweep._statistics import Stats, read_statistics
from resumable_sweep.contract.canonical import canonical_json
from resumable_sweep.contract.log_format import COMPLETE, HEADER, LogInvalid, entry_of
from resumable_sweep.contract.manifest import sha256_of_file

LOG_NAME = "results.jsonl"
RUN_ID_CHARACTERS = 16
_EDGE_BYTES = 64 << 10
"""More of a log's beginning and end is not read for the sake of a list; header and `complete` are far shorter."""
_NAMES_SHOWN = 5


class IdentityInvalid(ValueError):
    """No run id can be made of what was given; the message names it and the mend."""


class RunUnknown(LookupError):
    """There is no such run, or more than one; the message names those that could be meant."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run in a folder of runs.

    `created` (Unix seconds) is None where the log's first line cannot be read, `modified` is the log's. `complete`
    tells whether the log ends so, `total` then counts its items. `stats` are the numbers it was last left with, None
    where the log has changed since.
    """

    run_id: str
    log_path: Path
    created: float | None
    modified: float
    size_bytes: int
    complete: bool
    total: int | None
    stats: Stats | None


def run_id_of(
    config: Any = None, *, dataset: Any = None, model: Any = None, date: str | datetime.date | None = None
) -> str:
    """Return an id of 16 hex digits that is the same wherever and whenever the same things are given.

    Of data set and model, a string is a name and counts as it is; a `pathlib.Path` counts by the content of its file,
    or of all files below its folder with their relative paths, wherever it lies. There is no date in it unless one is
    given: a run that goes on after midnight is the same one.

    Raises
    ------
    IdentityInvalid
        Where nothing is given, or a path cannot be read as one of those.
    ConfigInvalid
        Where JSON has no form for what is given.
    """
    parts: dict[str, Any] = {}
    if config is not None:
        parts["config"] = json_value(config, "config")
    for name, value in (("dataset", dataset), ("model", model)):
        if value is not None:
            parts[name] = json_value(_with_contents(value, name), name)
    if date is not None:
        parts["date"] = date if isinstance(date, str) else date.isoformat()
    if not parts:
        raise IdentityInvalid("there is nothing to make a run id of: pass config=, dataset= or model=")
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()[:RUN_ID_CHARACTERS]


def run_log_path(folder: Path, run_id: str) -> Path:
    """Return where the log of a run lies in a folder of runs: `<folder>/<run id>/results.jsonl`.

    Raises
    ------
    IdentityInvalid
        Where the id cannot be a folder's name.
    """
    if run_id in ("", ".", "..") or "/" in run_id or "\0" in run_id:
        raise IdentityInvalid(f"run_id={run_id!r} cannot be the name of a folder: give it letters and digits")
    return folder / run_id / LOG_NAME


def runs_in(folder: Path) -> list[Run]:
    """Return the runs in `folder`, the one last written to first; none where there is no such folder."""
    runs = []
    for log in folder.glob(f"*/{LOG_NAME}"):
        with suppress(FileNotFoundError):  # removed since
            runs.append(_run_at(log))
    return sorted(runs, key=lambda run: (-run.modified, run.run_id))


def latest_run(folder: Path) -> Run | None:
    """Return the run in `folder` that was last written to, None where there is none: that is a fresh start."""
    return next(iter(runs_in(folder)), None)


def run_named(folder: Path, name: str) -> Run:
    """Return the run in `folder` with the id `name`, or the one whose id starts so.

    Raises
    ------
    RunUnknown
        Where there is none, or several start so.
    """
    runs = {run.run_id: run for run in runs_in(folder)}
    if name in runs:
        return runs[name]
    if not runs:
        raise RunUnknown(f"{folder} holds no runs: a run lies there as <run id>/{LOG_NAME}")
    meant = [run_id for run_id in runs if name and run_id.startswith(name)]
    if len(meant) == 1:
        return runs[meant[0]]
    if meant:
        raise RunUnknown(f"{len(meant)} runs in {folder} start with {name!r}: {_some(meant)}; write more of the one")
    near = difflib.get_close_matches(name, list(runs), n=_NAMES_SHOWN)
    hint = f"near it: {_some(near)}" if near else f"there are: {_some(list(runs))}"
    raise RunUnknown(f"{folder} holds no run {name!r}; {hint}")


def _run_at(log: Path) -> Run:
    with log.open("rb") as file:
        found = os.fstat(file.fileno())
        head = file.read(_EDGE_BYTES)
        file.seek(max(0, found.st_size - _EDGE_BYTES))
        tail = file.read()
    first = _entry_of_kind(HEADER, head.partition(b"\n")[0])
    # What follows the last newline is torn: the entry before it is then the last, as for every reader.
    last = _entry_of_kind(COMPLETE, tail.rpartition(b"\n")[0].rpartition(b"\n")[2])
    created, total = first.get("created"), last.get("total")
    return Run(
        run_id=log.parent.name,
        log_path=log,
        created=created if isinstance(created, int | float) else None,
        modified=found.st_mtime,
        size_bytes=found.st_size,
        complete=bool(last),
        total=total if isinstance(total, int) else None,
        stats=read_statistics(log),
    )


def _entry_of_kind(kind: str, line: bytes) -> dict[str, Any]:
    try:
        entry = entry_of(line, 1)
    except LogInvalid:
        return {}
    return entry if entry.get("kind") == kind else {}


def _some(names: list[str]) -> str:
    left = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {left} more" if left > 0 else "")


def _with_contents(value: Any, name: str) -> Any:
    """Return `value` with the digest of what it holds in place of every path."""
    if isinstance(value, Path):
        return {"sha256": _sha256_of(value, name)}
    if isinstance(value, Mapping):
        return {key: _with_contents(entry, name) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_with_contents(entry, name) for entry in value]
    return value


def _sha256_of(path: Path, name: str) -> str:
    try:
        if path.is_file():
            return sha256_of_file(path)[0]
        if path.is_dir():
            digest = hashlib.sha256()
            for relative, file in sorted(_files_below(path, name, above=frozenset())):
                digest.update(relative + b"\0" + sha256_of_file(file)[0].encode() + b"\n")
            return digest.hexdigest()
    except OSError as error:
        raise IdentityInvalid(f"{name}={str(path)!r} cannot be read ({error}): mend that, or {_BY_NAME}") from error
    raise IdentityInvalid(f"{name}={str(path)!r} is neither a file nor a folder: give the path of one, or {_BY_NAME}")


_BY_NAME = "pass a string, which counts by name alone"


def _files_below(folder: Path, name: str, *, above: frozenset[Path], prefix: bytes = b"") -> list[tuple[bytes, Path]]:
    """Return the files below `folder`, also through links, each with its path from the first one's."""
    here = folder.resolve()
    if here in above:
        raise IdentityInvalid(f"{name}: {folder} is a link to a folder that it lies in: remove it, or {_BY_NAME}")
    found = []
    for entry in folder.iterdir():
        relative = prefix + os.fsencode(entry.name)
        if entry.is_dir():
            found += _files_below(entry, name, above=above | {here}, prefix=relative + b"/")
        elif entry.is_file():
            found.append((relative, entry))
        else:
            raise IdentityInvalid(f"{name}: {entry} is neither a file nor a folder: remove it, or {_BY_NAME}")
    return found
