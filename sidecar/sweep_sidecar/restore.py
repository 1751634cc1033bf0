"""`restore`: take the shard, bring back its newest generation, and say where the attempt starts from."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resumable_sweep.contract.items import lines_of, shard_of
from sweep_sidecar import layout
from sweep_sidecar.content import ContentReader
from sweep_sidecar.durable import sync_folder
from sweep_sidecar.items import identities, stored_items
from sweep_sidecar.log.entry import Kind, Stored, Writer
from sweep_sidecar.log.generation import Generation, parsed_generation
from sweep_sidecar.log.shard_log import LogReader, ShardLog
from sweep_sidecar.settings import AttemptSettings
from sweep_sidecar.store import Store, prove_create_only, url_of

_LOG = logging.getLogger(__name__)


class ResumeFileMissing(Exception):
    """The shard has a generation, but not the file that the relaunch is to go on from."""


@dataclass(frozen=True, kw_only=True)
class Restored:
    """Where an attempt starts from: `generation` is the entry it has restored, None for a fresh start."""

    generation: int | None
    items: int
    """How many items the restored checkpoint records."""
    items_total: int | None
    """How many the shard has in all, None where nobody knows."""

    def to_json(self) -> str:
        """Return the text of the marker file."""
        return json.dumps({"generation": self.generation, "items": self.items, "items_total": self.items_total}) + "\n"


def parsed_restored(text: str) -> Restored:
    """Return what a marker file says."""
    fields: Mapping[str, Any] = json.loads(text)
    return Restored(generation=fields["generation"], items=fields["items"], items_total=fields["items_total"])


def restored_attempt(
    store: Store, settings: AttemptSettings, *, nonce: Callable[[], str], clock: Callable[[], float]
) -> Restored:
    """Take the shard and restore its newest generation into the snapshot directory.

    Started again in the same pod it does nothing, once it has come to its end: the experiment may have gone on.

    Raises
    ------
    Superseded, ShardComplete, CheckpointCorrupt, ResumeFileMissing, ItemsChanged, StoreNotCreateOnly, Unreachable
    """
    if settings.restored_marker.exists():
        return parsed_restored(settings.restored_marker.read_text())
    prove_create_only(store, key=layout.probe_key(settings.folder), nonce=nonce())
    settings.private.mkdir(parents=True, exist_ok=True)
    items_total = _write_items(store, settings) if settings.run.items_sha256 else None
    writer = Writer(attempt=settings.attempt, pod=settings.pod_uid, nonce=nonce())
    log = ShardLog(store, settings.folder, writer=writer, clock=clock)
    taken = log.take(_provenance(settings))
    found = log.newest_generation(taken)
    generation = generation_in(log, found) if found else None
    if generation is not None:
        _write_files(log, generation, settings)
    restored = Restored(
        generation=found.entry.seq if found else None,
        items=generation.items_done if generation else 0,
        items_total=items_total,
    )
    log.append(Kind.BASE, {"generation": restored.generation, "skipped": []})
    # Last, so that its presence proves all the rest.
    _write_durably(settings.restored_marker, restored.to_json())
    return restored


def generation_in(log: LogReader, found: Stored) -> Generation:
    """Return the generation that an entry of kind `gen` holds.

    Raises
    ------
    CheckpointCorrupt
    """
    where = url_of(log.store, layout.entry_key(log.folder, found.entry.seq))
    return parsed_generation(found.entry.body, where=where)


def _write_items(store: Store, settings: AttemptSettings) -> int:
    items = stored_items(store, sha256=settings.run.items_sha256)
    share = shard_of(items, shard=settings.shard, shards=settings.run.shards)
    _write_durably(settings.items_file, "".join(lines_of(share)))
    return len(identities(share))


def _write_files(log: LogReader, generation: Generation, settings: AttemptSettings) -> None:
    named = settings.checkpoint_file
    if named and named not in generation.files:
        raise ResumeFileMissing(
            f"checkpoint.file names {named!r}, but what this shard has stored is "
            f"{', '.join(sorted(generation.files)[:5]) or 'no file at all'}: name one of those"
        )
    reader = ContentReader(log)
    for path, version in generation.files.items():
        _LOG.info("restoring %s, %d bytes in %d pieces", path, version.size, len(version.segments))
        reader.write_file(version, settings.snapshot / path, staged=settings.private / "restoring")
    for folder in {(settings.snapshot / path).parent for path in generation.files}:
        sync_folder(folder)


def _provenance(settings: AttemptSettings) -> dict[str, Any]:
    """Return what a `take` says about the attempt, so that a result can be traced to what made it."""
    return {
        "run_id": settings.run.run_id,
        "shard": settings.shard,
        "shards": settings.run.shards,
        "checkpoint_file": settings.checkpoint_file,
        "items_sha256": settings.run.items_sha256,
        "template_sha256": settings.template_sha256,
        "images": list(settings.images),
    }


def _write_durably(target: Path, text: str) -> None:
    staged = target.with_name(f"{target.name}.tmp")
    with staged.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    staged.replace(target)
    sync_folder(target.parent)
