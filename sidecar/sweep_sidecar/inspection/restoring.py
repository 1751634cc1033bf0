"""`restore`: a shard's files out of the store into a directory, without a cluster and without taking the shard."""

from __future__ import annotations

import shutil
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

from sweep_sidecar import layout
from sweep_sidecar.content import ContentReader
from sweep_sidecar.durable import sync_folder
from sweep_sidecar.inspection.runs import Run, RunNotFound
from sweep_sidecar.log.entry import CheckpointCorrupt, Kind, NewerSchema
from sweep_sidecar.log.generation import Generation
from sweep_sidecar.log.history import Damage, damage_of, generations_below
from sweep_sidecar.log.shard_log import LogReader
from sweep_sidecar.restore import generation_in
from sweep_sidecar.store import url_of


class TargetInvalid(ValueError):
    """The directory to restore into cannot be used; the message names it and the mend."""


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What was restored, and what was passed over on the way: newest first."""

    generation: int
    items_done: int
    files: int
    size_bytes: int
    skipped: tuple[Damage, ...] = ()


def restore_to(run: Run, shard: int, target: Path, *, seq: int | None) -> Fetched:
    """Restore generation `seq` of a shard, or the newest that is whole, to `target`: all of it, checked, or nothing.

    Raises
    ------
    TargetInvalid
        Where `target` holds anything, or is no directory.
    RunNotFound
        Where the shard has no generation, or not that one.
    CheckpointCorrupt
        Where generation `seq` is damaged, or all are.
    Unreachable, OSError
    """
    target = target.absolute()
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise TargetInvalid(f"{target} is no directory: name one that is empty, or does not exist yet")
    if target.is_dir() and any(target.iterdir()):
        raise TargetInvalid(f"{target} is not empty, and nothing is overwritten: name another directory")
    target.parent.mkdir(parents=True, exist_ok=True)
    staged = target.with_name(f".{target.name}.restoring-{uuid.uuid4().hex}")
    try:
        log = run.reader(shard)
        fetched = _fetch_newest(log, staged) if seq is None else _fetch_one(log, seq, staged)
        staged.rename(target)  # over an empty directory at most, or it fails
        sync_folder(target.parent)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return fetched


def _fetch_newest(log: LogReader, staged: Path) -> Fetched:
    top = log.top()
    if top.seq is None:
        raise RunNotFound(f"{log.store.url} has no entry of this shard")
    skipped: list[Damage] = []
    for candidate in generations_below(log, top.seq + 1):
        if isinstance(candidate, Damage):
            skipped.append(candidate)
            continue
        seq = candidate.entry.seq
        try:
            return replace(_fetch(log, seq, generation_in(log, candidate), staged), skipped=tuple(skipped))
        except NewerSchema:
            raise
        except CheckpointCorrupt as error:
            skipped.append(damage_of(seq, error))
    if skipped:
        raise CheckpointCorrupt(
            f"none of the generations in {url_of(log.store, log.folder)} is whole, the newest: {skipped[0].reason}"
        )
    raise RunNotFound(f"{url_of(log.store, log.folder)} has no generation yet: nothing was stored")


def _fetch_one(log: LogReader, seq: int, staged: Path) -> Fetched:
    if seq not in log.slots():
        raise RunNotFound(f"{url_of(log.store, log.folder)} has no entry {seq}: `log` shows those that there are")
    found = log.read(seq)
    if found.entry.kind is not Kind.GEN:
        key = layout.entry_key(log.folder, seq)
        raise RunNotFound(f"{url_of(log.store, key)} is a {found.entry.kind}, no generation: `log` shows which are")
    return _fetch(log, seq, generation_in(log, found), staged)


def _fetch(log: LogReader, seq: int, generation: Generation, staged: Path) -> Fetched:
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir()
    reader = ContentReader(log)
    piecewise = staged.with_name(f"{staged.name}.piecewise")
    try:
        for path, version in generation.files.items():
            reader.write_file(version, staged / path, staged=piecewise)
    finally:
        piecewise.unlink(missing_ok=True)
    for folder in (staged, *(path for path in staged.rglob("*") if path.is_dir())):
        sync_folder(folder)
    return Fetched(
        generation=seq,
        items_done=generation.items_done,
        files=len(generation.files),
        size_bytes=sum(version.size for version in generation.files.values()),
    )
