"""`resolve`, `merge` and `retain`: what is done for a whole run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from resumable_sweep.contract.items import Item, ItemsInvalid, items_of_list, items_of_matrix, lines_of
from sweep_sidecar import layout
from sweep_sidecar.inspection.runs import one_run
from sweep_sidecar.items import ItemsChanged
from sweep_sidecar.log.entry import CheckpointCorrupt, Kind
from sweep_sidecar.log.shard_log import LogReader
from sweep_sidecar.merging.gathering import Incomplete, RunShape, gather
from sweep_sidecar.merging.records import DuplicateKeys, Records, State
from sweep_sidecar.retaining import Span, begun_at, doomed, let_go
from sweep_sidecar.retention import Rule, planned_sweep, swept
from sweep_sidecar.settings import RunSettings
from sweep_sidecar.store import Creation, Store, url_of

_WORD_DIGITS = 16

__all__ = [
    "DuplicateKeys",
    "Incomplete",
    "Merged",
    "Resolved",
    "Retained",
    "merge",
    "resolve",
    "retain",
    "specified_items",
]


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A run's items as they stand in the store."""

    items: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Merged:
    """A run's results as they stand in the store.

    `skipped` counts the items that the program has skipped, `skipped_url` names their list (empty where there are
    none); `left_out` counts records of keys that are no items of the run, and `open` the items without either, of
    shards that are complete by exit code.
    """

    url: str
    provenance_url: str
    sha256: str
    items: int
    skipped: int
    skipped_url: str
    left_out: int
    open: int
    missing: int = 0
    """Items of shards that are not complete of which there is neither; 0 where nobody named the items."""


@dataclass(frozen=True, kw_only=True)
class Retained:
    """What retention has deleted; `left_alone` says why nothing."""

    left_alone: str = ""
    blobs: int = 0
    entries: int = 0
    size_bytes: int = 0


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


def merge(store: Store, settings: RunSettings, *, partial: bool = False) -> Merged:
    """Merge the results of a run whose shards are all complete: one line per item, in the order of the items.

    With `partial` shards that are not are taken as far as they came.

    Items that the program has skipped have no result: they are listed apart, in the same order. Where the items are
    unknown, the order is that of their keys' identities.

    Raises
    ------
    Incomplete, DuplicateKeys, ItemsChanged, CheckpointCorrupt, Unreachable
    """
    shape = RunShape(run_id=settings.run_id, shards=settings.shards, items_sha256=settings.items_sha256)
    with Records() as records:
        gathered = gather(store, shape, records, partial=partial)
        results = b"".join(records.lines(State.DONE))
        sha256 = hashlib.sha256(results).hexdigest()
        _create_same(store, layout.merged_key(sha256), results)
        del results
        provenance_key = _create_beside(store, sha256, layout.provenance_key, b"".join(records.origins()))
        skipped = records.count(State.SKIPPED)
        skipped_key = ""
        if skipped:
            skipped_key = _create_beside(store, sha256, layout.skipped_key, b"".join(records.lines(State.SKIPPED)))
        return Merged(
            url=url_of(store, layout.merged_key(sha256)),
            provenance_url=url_of(store, provenance_key),
            sha256=sha256,
            items=records.count(State.DONE),
            skipped=skipped,
            skipped_url=url_of(store, skipped_key) if skipped_key else "",
            left_out=records.count_foreign(),
            open=gathered.open,
            missing=sum(place % shape.shards not in gathered.by_exit for place, _ in records.missing()),
        )


def retain(
    store: Store, settings: RunSettings, span: Span, *, nonce: Callable[[], str], clock: Callable[[], float]
) -> Retained:
    """Delete what nobody goes back to: beside attempts that may write blobs alone, of a complete run entries as well.

    Raises
    ------
    CheckpointCorrupt, LogMoved, Unreachable
    """
    logs = (LogReader(store, layout.shard_folder(settings.run_id, shard)) for shard in range(settings.shards))
    if not all(_is_complete(log) for log in logs):
        began = begun_at(store, nonce=nonce)
        going = doomed(store, run_id=settings.run_id, shards=settings.shards, span=span, began=began)
        let_go(store, going, span=span, time=clock())
        return Retained(left_alone=going.left_alone, blobs=len(going.blobs), size_bytes=going.size_bytes)
    rule = Rule(keep=span.generations, age_s=0)
    run = one_run(store.url, open=lambda url: store)
    sweep = planned_sweep(run, rule, now=clock())
    if not sweep.left_alone:
        swept(run, sweep, rule, now=clock())
    return Retained(
        left_alone=sweep.left_alone,
        blobs=len(sweep.blobs),
        entries=sum(map(len, sweep.entries.values())),
        size_bytes=sweep.size_bytes,
    )


def _is_complete(log: LogReader) -> bool:
    newest = log.top().newest
    return newest is not None and newest.entry.kind is Kind.COMPLETE


def _create_beside(store: Store, sha256: str, key_of: Callable[[str, str], str], data: bytes) -> str:
    """Create what belongs to the results of that digest, and return its key.

    A run that is merged anew, once failed shards have run again, may have the same results and yet more skipped items.
    """
    key = key_of(sha256, "")
    if store.create(key, data) is Creation.EXISTS:
        key = key_of(sha256, hashlib.sha256(data).hexdigest()[:_WORD_DIGITS])
        _create_same(store, key, data)
    return key


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
