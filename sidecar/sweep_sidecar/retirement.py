"""Which entries of a run's logs retention has given up: recorded before the first of them is deleted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from resumable_sweep.contract.canonical import canonical_json
from sweep_sidecar.log.entry import CheckpointCorrupt, NewerSchema
from sweep_sidecar.store import Creation, NotFound, Store, url_of

SCHEMA_VERSION = 1
PREFIX = "retired/"
"""What the keys of these records start with; the rest is the digest of the record, and `.json`."""


def record_retired(store: Store, seqs: Mapping[int, Collection[int]], *, keep: int, time: float) -> None:
    """Record that the generations among the entries `seqs` (by shard) are not kept any more.

    Raises
    ------
    CheckpointCorrupt
        Where something else stands under the record's name.
    Unreachable
    """
    fields = {
        "schema_version": SCHEMA_VERSION,
        "time": time,
        "keep": keep,
        "shards": {str(shard): _rows(found) for shard, found in seqs.items() if found},
    }
    data = canonical_json(fields).encode() + b"\n"
    key = f"{PREFIX}{hashlib.sha256(data).hexdigest()}.json"
    if store.create(key, data) is Creation.EXISTS:
        raise CheckpointCorrupt(f"{url_of(store, key)} exists and holds something else than its name says", key=key)


def floors_in(store: Store, keys: Iterable[str]) -> dict[int, int]:
    """Return, by shard, the first entry above all that are not kept any more, as the records among `keys` say.

    Raises
    ------
    NewerSchema, CheckpointCorrupt, Unreachable
    """
    floors: dict[int, int] = {}
    for key in keys:
        if key.startswith(PREFIX):
            for shard, rows in _read(store, key).items():
                floors[shard] = max(floors.get(shard, 0), *(last + 1 for _, last in rows))
    return floors


def retired_in(store: Store, keys: Iterable[str]) -> dict[int, set[int]]:
    """Return the entries that are not kept any more, by shard, as the records among `keys` say.

    Raises
    ------
    NewerSchema
    CheckpointCorrupt
        Where a record is not what was written.
    Unreachable
    """
    seqs: dict[int, set[int]] = {}
    for key in keys:
        if key.startswith(PREFIX):
            for shard, rows in _read(store, key).items():
                for first, last in rows:
                    seqs.setdefault(shard, set()).update(range(first, last + 1))
    return seqs


def _read(store: Store, key: str) -> dict[int, list[tuple[int, int]]]:
    where = url_of(store, key)
    try:
        data = store.get(key)
    except NotFound as error:
        raise CheckpointCorrupt(f"{where} is missing", key=key) from error
    if key != f"{PREFIX}{hashlib.sha256(data).hexdigest()}.json":
        raise CheckpointCorrupt(f"{where} holds something else than its name says", key=key)
    fields: dict[str, Any] = json.loads(data)
    if fields["schema_version"] > SCHEMA_VERSION:
        raise NewerSchema(
            f"{where} has schema version {fields['schema_version']}, this release knows {SCHEMA_VERSION} at most: "
            "install a newer resumable-sweep",
            key=key,
        )
    return {
        int(shard): [(int(first), int(last)) for first, last in rows]
        for shard, rows in fields["shards"].items()
        if rows
    }


def _rows(seqs: Collection[int]) -> list[list[int]]:
    """Return numbers as rows of neighbours, first and last of each."""
    if isinstance(seqs, range):
        return [[seqs[0], seqs[-1]]]
    rows: list[list[int]] = []
    for seq in sorted(seqs):
        if rows and rows[-1][1] == seq - 1:
            rows[-1][1] = seq
        else:
            rows.append([seq, seq])
    return rows
