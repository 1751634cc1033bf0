"""What the store holds of a sweep, read entry by entry: independent of what the operator says of it."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from resumable_sweep.contract.canonical import identity
from resumable_sweep.contract.log_format import entries_of, results_of
from sweep_sidecar import layout
from sweep_sidecar.content import ContentReader
from sweep_sidecar.log.entry import Kind
from sweep_sidecar.log.generation import parsed_generation
from sweep_sidecar.log.shard_log import LogReader
from sweep_sidecar.store import open_store


@dataclass(frozen=True)
class Merged:
    """A sweep's merged results: the file's bytes, how often each key is in it, and where each comes from."""

    data: bytes
    keys: Counter[str]
    provenance: tuple[Mapping[str, Any], ...]


class Ledger:
    """One run in the store. `environment` is what this process needs to reach it."""

    def __init__(self, folder: str, *, run_id: str, shards: int, environment: Mapping[str, str]) -> None:
        # Before the store's library is imported: it reads its endpoint then.
        os.environ.update(environment)
        self._store = open_store(folder)
        self._run_id = run_id
        self._shards = shards

    def entries(self, shard: int) -> list[Any]:
        """Return the entries of a shard's log, oldest first."""
        log = LogReader(self._store, layout.shard_folder(self._run_id, shard))
        head = log.head()
        return [] if head is None else [log.read(seq).entry for seq in range(head.entry.seq + 1)]

    def ever_durable(self, file: str) -> set[str]:
        """Return the keys that any generation of any attempt has ever recorded in `file`."""
        keys: set[str] = set()
        for shard in range(self._shards):
            log = LogReader(self._store, layout.shard_folder(self._run_id, shard))
            content = ContentReader(log)
            for entry in self.entries(shard):
                if entry.kind is Kind.GEN:
                    generation = parsed_generation(entry.body, where=f"shard {shard}, entry {entry.seq}")
                    if file in generation.files:
                        keys |= set(results_of(entries_of(content.content(generation.files[file], what=file))))
        return keys

    def merged(self, sha256: str) -> Merged:
        """Return the merged results of that digest."""
        data = self._store.get(layout.merged_key(sha256))
        lines = [json.loads(line) for line in data.splitlines()]
        provenance = self._store.get(layout.provenance_key(sha256)).splitlines()
        return Merged(
            data=data,
            keys=Counter(identity(line["key"]) for line in lines),
            provenance=tuple(json.loads(line) for line in provenance),
        )


def ledger_of(sweep: Any, *, environment: Mapping[str, str]) -> Ledger:
    """Return the ledger of an applied sweep."""
    found = sweep.cluster.get(sweep.path)
    run_id = found["spec"].get("runId") or found["metadata"]["uid"]
    return Ledger(sweep.run_folder(), run_id=run_id, shards=found["spec"]["shards"], environment=environment)
