"""`resolve` and `merge`: what is done once for a whole run."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from resumable_sweep.contract.canonical import canonical_json, identity
from resumable_sweep.contract.items import Item, ItemsInvalid, items_of_list, items_of_matrix, lines_of
from resumable_sweep.contract.log_format import entries_of
from sweep_sidecar import layout
from sweep_sidecar.content import ContentReader
from sweep_sidecar.items import ItemsChanged, stored_items
from sweep_sidecar.log.entry import CheckpointCorrupt, Kind
from sweep_sidecar.log.shard_log import LogReader
from sweep_sidecar.progress import mime_records, settled_entries, starts_sweep_log
from sweep_sidecar.restore import generation_in
from sweep_sidecar.settings import RunSettings
from sweep_sidecar.store import Creation, Store, url_of

_LOG = logging.getLogger(__name__)
_NAMED_AT_MOST = 5


class Incomplete(Exception):
    """The run has not come to its end: a shard without `complete`, or an item neither done nor skipped."""


class DuplicateKeys(Exception):
    """Two shards have recorded the same item: the program does not keep to its share."""


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A run's items as they stand in the store."""

    items: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Merged:
    """A run's results as they stand in the store.

    `skipped` counts the items that the program has skipped, `skipped_url` names their list (empty where there are
    none); `left_out` counts records of keys that are no items of the run.
    """

    url: str
    provenance_url: str
    sha256: str
    items: int
    skipped: int
    skipped_url: str
    left_out: int


def specified_items(text: str) -> list[Item]:
    """Return the items that a specification names.

    It is `{"list": [...]}` or `{"matrix": {...}}`, or a JSON list of items, or JSON Lines with an item on each line.

    Raises
    ------
    ItemsInvalid
    """
    try:
        found = json.loads(text)
    except ValueError:
        return items_of_list(_lines(text))
    if isinstance(found, list):
        return items_of_list(found)
    if isinstance(found, dict) and len(found) == 1:
        if isinstance(found.get("list"), list):
            return items_of_list(found["list"])
        if isinstance(found.get("matrix"), dict):
            return _matrix(found["matrix"])
    if "\n" not in text.strip():
        return items_of_list([found])  # JSON Lines of one line
    raise ItemsInvalid(
        f'the items are {text[:80]!r}: write {{"list": [...]}}, {{"matrix": {{...}}}}, a JSON list, or one item a line'
    )


def resolve(store: Store, text: str) -> Resolved:
    """Write a run's items, once and for all.

    Raises
    ------
    ItemsInvalid
    ItemsChanged
        Where the run already has other items.
    Unreachable
    """
    items = specified_items(text)
    try:
        data = "".join(lines_of(items)).encode()
    except UnicodeEncodeError as error:
        raise ItemsInvalid(f"an item holds what UTF-8 has no form for: {error}") from error
    if store.create(layout.ITEMS, data) is Creation.EXISTS:
        raise ItemsChanged(
            f"{url_of(store, layout.ITEMS)} holds other items than the sweep now names: items of a run never change; "
            "put the old ones back, or give the sweep a runId of its own"
        )
    return Resolved(items=len(items), sha256=hashlib.sha256(data).hexdigest())


def merge(store: Store, settings: RunSettings) -> Merged:
    """Merge the results of a run whose shards are all complete: one line per item, in the order of the items.

    Items that the program has skipped have no result: they are listed apart, in the same order. Where the items are
    unknown, the order is that of their keys' identities.

    Raises
    ------
    Incomplete, DuplicateKeys, ItemsChanged, CheckpointCorrupt, Unreachable
    """
    records: dict[str, dict[str, Any]] = {}
    unfinished: list[str] = []
    for shard in range(settings.shards):
        log = LogReader(store, layout.shard_folder(settings.run_id, shard))
        head = log.head()
        if head is None or head.entry.kind is not Kind.COMPLETE:
            unfinished.append(f"shard {shard} ends in {head.entry.kind if head else 'nothing'}")
            continue
        for name, record in _shard_records(log, shard=shard):
            if name in records:
                raise DuplicateKeys(
                    f"item {name} was recorded by shard {records[name]['shard']} and by shard {shard}: the program "
                    "must run its share of the items only (SWEEP_ITEMS, or SWEEP_SHARD of SWEEP_SHARDS), "
                    "or the sweep needs shards: 1"
                )
            records[name] = record
        _LOG.info("read shard %d of %d, %d results so far", shard + 1, settings.shards, len(records))
    if unfinished:
        raise Incomplete(f"{_some(unfinished)}: only a complete run is merged")
    order = _order(store, settings, records)
    done = [records[name] for name in order if "result" in records[name]]
    skipped = [records[name] for name in order if "result" not in records[name]]
    results = _lines_of(done, ("key", "result"))
    sha256 = hashlib.sha256(results).hexdigest()
    provenance = _lines_of(done, ("key", "shard", "attempt", "host", "started", "ended"))
    _create_same(store, layout.merged_key(sha256), results)
    _create_same(store, layout.provenance_key(sha256), provenance)
    if skipped:
        listed = _lines_of(skipped, ("key", "why", "shard", "attempt", "host", "at"))
        _create_same(store, layout.skipped_key(sha256), listed)
    return Merged(
        url=url_of(store, layout.merged_key(sha256)),
        provenance_url=url_of(store, layout.provenance_key(sha256)),
        sha256=sha256,
        items=len(done),
        skipped=len(skipped),
        skipped_url=url_of(store, layout.skipped_key(sha256)) if skipped else "",
        left_out=len(records) - len(order),
    )


def _shard_records(log: LogReader, *, shard: int) -> Iterator[tuple[str, dict[str, Any]]]:
    found = log.newest_generation(log.head())
    if found is None:
        return
    generation = generation_in(log, found)
    reader = ContentReader(log)
    results: dict[str, dict[str, Any]] = {}
    skipped: dict[str, dict[str, Any]] = {}
    for path in generation.progress:
        data = reader.content(generation.files[path], what=path)
        if starts_sweep_log(data):
            done, passed_over = settled_entries(entries_of(data))
            results |= done
            skipped |= passed_over
        else:
            results |= mime_records(data) or {}
    for name, record in results.items():
        if "result" not in record:
            raise CheckpointCorrupt(f"the record of item {name} in shard {shard} has no result")
    for name, record in (skipped | results).items():
        yield name, {**record, "shard": shard}


def _order(store: Store, settings: RunSettings, records: dict[str, dict[str, Any]]) -> list[str]:
    if not settings.items_sha256:
        return sorted(records)
    order = [identity(item.key) for item in stored_items(store, sha256=settings.items_sha256)]
    missing = [name for name in order if name not in records]
    if missing:
        raise Incomplete(f"neither a result nor a skip of {len(missing)} of {len(order)} items ({_some(missing)})")
    return order


def _lines_of(records: Iterable[dict[str, Any]], fields: tuple[str, ...]) -> bytes:
    lines = (canonical_json({field: record.get(field) for field in fields}) + "\n" for record in records)
    return "".join(lines).encode()


def _create_same(store: Store, key: str, data: bytes) -> None:
    if store.create(key, data) is Creation.EXISTS:
        raise CheckpointCorrupt(f"{url_of(store, key)} exists and holds something else than this merge")


def _lines(text: str) -> list[Any]:
    values = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            values.append(json.loads(line))
        except ValueError as error:
            raise ItemsInvalid(f"line {number} of the items is not JSON: {line[:80]!r} ({error})") from error
    return values


def _matrix(matrix: dict[str, Any]) -> list[Item]:
    for name, values in matrix.items():
        if not isinstance(values, list):
            raise ItemsInvalid(f"matrix.{name} is {values!r}: write a list of values")
    return items_of_matrix(matrix)


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED_AT_MOST
    return ", ".join(names[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
