"""A shard's log, read from its first entry to its last, held against what was said of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sweep_sidecar.log.entry import Kind, Stored
from sweep_sidecar.log.fencing import is_legal
from sweep_sidecar.log.shard_log import LogReader
from sweep_sidecar.store import Store


def wrong_in_the_log(store: Store, folder: str, said: Sequence[dict[str, Any]], *, may_fall_back: bool) -> list[str]:
    """Return what is wrong: `said` are acknowledgements, each of which must be a generation of that very attempt."""
    log = LogReader(store, folder)
    top = log.head()
    if top is None:
        return [f"the log is empty, and these were said: {said}"] if said else []
    entries: list[Stored] = [log.read(seq) for seq in range(top.entry.seq + 1)]
    wrong = []
    for below, found in zip([None, *entries], entries, strict=False):
        entry = found.entry
        if not is_legal(below.entry if below else None, entry):
            wrong.append(f"entry {entry.seq}, {entry.kind}, may not follow what is below it")
        # A take may have been made above an entry that was damaged to whoever took the shard.
        past_damage = may_fall_back and entry.kind is Kind.TAKE and not entry.prev_sha256
        if below is not None and entry.prev_sha256 != below.sha256 and not past_damage:
            wrong.append(f"entry {entry.seq} was not made upon the one below it")
        if entry.kind is Kind.BASE:
            wrong += _wrong_in_base(entries, found, may_fall_back=may_fall_back)
    for each in said:
        wrong += _wrong_in_acknowledgement(entries, each)
    return wrong


def _wrong_in_base(entries: Sequence[Stored], base: Stored, *, may_fall_back: bool) -> list[str]:
    """Check that an attempt goes on from the newest generation below its take, or says why not."""
    entry = base.entry
    below = [found.entry.seq for found in entries[: entry.seq] if found.entry.kind is Kind.GEN]
    newest = max(below, default=None)
    if entry.body["generation"] == newest:
        return []
    if entry.body["skipped"] and may_fall_back:
        return []
    restored = f"attempt {entry.writer.attempt} went on from {entry.body['generation']}, the newest is {newest}"
    return [f"{restored}; it says {entry.body['skipped'] or 'nothing about it'}"]


def _wrong_in_acknowledgement(entries: Sequence[Stored], said: dict[str, Any]) -> list[str]:
    seq = said["generation"]
    if seq is None:
        return ["files without a generation were acknowledged"] if said["files"] else []
    if seq >= len(entries) or entries[seq].entry.kind is not Kind.GEN:
        return [f"generation {seq} was acknowledged, and is none"]
    stored = {path: [file["size"], file["sha256"]] for path, file in entries[seq].entry.body["files"].items()}
    if stored != said["files"]:
        return [f"of generation {seq}, {said['files']} was acknowledged and {stored} is in the store"]
    if entries[seq].entry.writer.attempt > said["attempt"]:
        return [f"generation {seq} was acknowledged by attempt {said['attempt']}, and is a later one's"]
    return []
