"""From the newest generation of each shard to the records of the run, read as a stream."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from resumable_sweep.contract.canonical import identity
from resumable_sweep.contract.log_format import DONE, FAILED, SKIPPED, STARTED, LogInvalid, entry_of
from sweep_sidecar import layout
from sweep_sidecar.content import ContentReader
from sweep_sidecar.items import stored_lines
from sweep_sidecar.log.entry import CheckpointCorrupt, Kind
from sweep_sidecar.log.generation import Generation
from sweep_sidecar.log.shard_log import LogReader
from sweep_sidecar.merging.records import Records, State
from sweep_sidecar.merging.runs_of_gmat import is_gmat_manifest, result_entry
from sweep_sidecar.mirror.proof import BY_EXIT
from sweep_sidecar.progress import gmat_entries_of, mime_records, starts_sweep_log
from sweep_sidecar.restore import generation_in
from sweep_sidecar.store import Store

_LOG = logging.getLogger(__name__)
_NAMED_AT_MOST = 5


class Incomplete(Exception):
    """The run has not come to its end: a shard without `complete`, or an item neither done nor skipped."""


@dataclass(frozen=True, kw_only=True)
class RunShape:
    """What must be known of a run to read its results; `items_sha256` is empty where the program alone knows them."""

    run_id: str
    shards: int
    items_sha256: str


@dataclass(kw_only=True)
class Gathered:
    """What the records were read from: each shard's generation, where it has one, and which shards are not complete.

    The shards of `by_exit` are complete because their program ended well: they may leave items open, `open` in all.
    """

    generations: dict[int, Generation] = field(default_factory=dict)
    unfinished: list[str] = field(default_factory=list)
    by_exit: set[int] = field(default_factory=set)
    open: int = 0


def gather(store: Store, shape: RunShape, records: Records, *, partial: bool) -> Gathered:
    """Read what a run has recorded into `records`; a run that is not complete is refused unless `partial`.

    Raises
    ------
    Incomplete, DuplicateKeys, ItemsChanged, CheckpointCorrupt, Unreachable
    """
    gathered = Gathered()
    for shard in range(shape.shards):
        log = LogReader(store, layout.shard_folder(shape.run_id, shard))
        head = log.head()
        if head is None or head.entry.kind is not Kind.COMPLETE:
            gathered.unfinished.append(f"shard {shard} ends in {head.entry.kind if head else 'nothing'}")
            if not partial:
                continue
        elif head.entry.body.get("proof") == BY_EXIT:
            gathered.by_exit.add(shard)
        found = log.newest_generation(head)
        if found is not None:
            generation = generation_in(log, found)
            _read_shard(log, generation, records, shard=shard)
            gathered.generations[shard] = generation
        _LOG.info("read shard %d of %d", shard + 1, shape.shards)
    if gathered.unfinished and not partial:
        raise Incomplete(f"{some_of(gathered.unfinished)}: only a complete run is merged")
    if shape.items_sha256:
        records.put_items(_item_names(store, sha256=shape.items_sha256))
    records.check_shares()
    missing = []
    for place, name in () if partial else records.missing():
        if place % shape.shards in gathered.by_exit:
            gathered.open += 1
        else:
            missing.append(name)
    if missing:
        raise Incomplete(
            f"neither a result nor a skip of {len(missing)} of {records.count_items()} items ({some_of(missing)})"
        )
    return gathered


def some_of(names: list[str]) -> str:
    """Return the first few of `names`, and how many more there are."""
    more = len(names) - _NAMED_AT_MOST
    return ", ".join(names[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")


def _read_shard(log: LogReader, generation: Generation, records: Records, *, shard: int) -> None:
    reader = ContentReader(log)
    for number, path in enumerate(generation.progress):
        lines = _lines(reader.pieces(generation.files[path], what=path))
        first = next(lines, b"")
        if starts_sweep_log(first):
            _read_log(_chained(first, lines), records, shard=shard, file=number, path=path)
        elif is_gmat_manifest(first):
            _read_gmat(lines, records, shard=shard, file=number, path=path)
        else:
            _read_mime(first + b"".join(lines), records, shard=shard, file=number)
    if len(generation.progress) > 1:
        records.settle(shard)


def _read_log(lines: Iterable[bytes], records: Records, *, shard: int, file: int, path: str) -> None:
    others = False
    try:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                return  # torn, and no entry
            if not line.strip():
                continue
            entry = entry_of(line[:-1], number)
            kind = entry.get("kind")
            if kind == DONE:
                records.put_result(identity(entry["key"]), entry, shard=shard, file=file)
            elif kind in (SKIPPED, FAILED):
                state = State.SKIPPED if kind == SKIPPED else State.FAILED
                records.put_other(identity(entry["key"]), entry, state=state, shard=shard, file=file)
                others = True
            elif others and kind == STARTED:
                records.take_back(identity(entry["key"]), shard=shard, file=file)
    except LogInvalid as error:
        raise CheckpointCorrupt(f"{path} of shard {shard}: {error}") from error


def _read_gmat(lines: Iterable[bytes], records: Records, *, shard: int, file: int, path: str) -> None:
    try:
        whole = takewhile(lambda line: line.endswith(b"\n"), lines)
        for entry in gmat_entries_of(whole):
            name = identity(entry["key"])
            if entry["kind"] == DONE:
                records.put_result(name, result_entry(entry), shard=shard, file=file)
            elif entry["kind"] == SKIPPED:
                records.put_other(name, entry, state=State.SKIPPED, shard=shard, file=file)
            else:
                # As gmat-sweep has it, the last entry of a run counts, also where an earlier one went well.
                records.forget(name, shard=shard, file=file)
                records.put_other(name, entry, state=State.FAILED, shard=shard, file=file)
    except LogInvalid as error:
        raise CheckpointCorrupt(f"{path} of shard {shard}: {error}") from error


def _read_mime(data: bytes, records: Records, *, shard: int, file: int) -> None:
    for name, record in (mime_records(data) or {}).items():
        if "result" not in record:
            raise CheckpointCorrupt(f"the record of item {name} in shard {shard} has no result")
        records.put_result(name, record, shard=shard, file=file)


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield lines with their newlines, and what is left after the last one."""
    held: list[bytes] = []
    for piece in pieces:
        start = 0
        while (end := piece.find(b"\n", start)) >= 0:
            held.append(piece[start : end + 1])
            yield b"".join(held)
            held.clear()
            start = end + 1
        held.append(piece[start:])
    if rest := b"".join(held):
        yield rest


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _item_names(store: Store, *, sha256: str) -> Iterator[str]:
    """Yield the identities of the run's items, in the order of the sweep, without holding their values.

    Raises
    ------
    ItemsChanged, Unreachable
    """
    for line in _lines([stored_lines(store, sha256=sha256)]):
        if line.strip():
            item: dict[str, Any] = json.loads(line)
            yield identity(item["key"])
