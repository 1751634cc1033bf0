"""`log`: a shard's log as a table that a person can follow."""

from __future__ import annotations

from typing import Any

from sweep_sidecar.inspection.entries import WholeLog, read_log
from sweep_sidecar.inspection.runs import Run
from sweep_sidecar.inspection.table import print_json, print_table, size_text, time_text
from sweep_sidecar.log.entry import Entry, Kind
from sweep_sidecar.log.generation import Generation
from sweep_sidecar.retirement import PREFIX, retired_in


def print_log(run: Run, shard: int, *, last: int | None, as_json: bool) -> None:
    """Print a shard's log, oldest entry first.

    Raises
    ------
    RunNotFound, CheckpointCorrupt, Unreachable
    """
    whole = read_log(run, shard, last=last)
    retired = retired_in(run.store, [found.key for found in run.store.list(PREFIX)]).get(shard, set())
    rows = [_row(whole, seq, retired) for seq in sorted({*whole.entries, *whole.damaged, *_gone(whole, retired)})]
    if as_json:
        print_json(rows)
        return
    print_table(
        ("SEQ", "WHEN", "ATTEMPT", "POD", "KIND", "ITEMS", "NEW", "NOTE"),
        (
            (
                row["seq"],
                None if row["time"] is None else time_text(row["time"]),
                row["attempt"],
                row["pod"],
                row["kind"],
                row["items_done"],
                None if row["new_bytes"] is None else size_text(row["new_bytes"]),
                row["note"],
            )
            for row in rows
        ),
    )


def _gone(whole: WholeLog, retired: set[int]) -> set[int]:
    oldest = min((*whole.entries, *whole.damaged), default=0)
    return {seq for seq in retired if seq >= oldest and seq not in whole.entries and seq not in whole.damaged}


def _row(whole: WholeLog, seq: int, retired: set[int]) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(("time", "attempt", "pod", "kind", "items_done", "new_bytes", "files"))
    row = {"seq": seq, **row, "note": ""}
    if seq not in whole.entries:
        damage = whole.damaged.get(seq)
        return {**row, "kind": "retired" if damage is None else "damaged", "note": str(damage or "by gc")}
    entry = whole.entries[seq].entry
    row |= {"time": entry.time, "attempt": entry.writer.attempt, "pod": entry.writer.pod, "kind": str(entry.kind)}
    generation = whole.generations.get(seq)
    if generation is None:
        return {**row, "note": _note(entry)}
    count = len(generation.files)
    note = f"{count} {'file' if count == 1 else 'files'}" + (", retired by gc" if seq in retired else "")
    return {
        **row,
        "items_done": generation.items_done,
        "new_bytes": _new_bytes(whole, seq, generation),
        "files": {path: version.size for path, version in generation.files.items()},
        "note": note,
    }


def _new_bytes(whole: WholeLog, seq: int, generation: Generation) -> int:
    """Return how many bytes a generation has that the one before it did not have; blobs count once."""
    before = max((older for older in whole.generations if older < seq), default=None)
    known = set() if before is None else _blobs(whole.generations[before])
    pieces = [piece for version in generation.files.values() for piece in version.segments]
    new_blobs = {piece.blob: piece.size for piece in pieces if piece.blob is not None and piece.blob not in known}
    return sum(new_blobs.values()) + sum(piece.size for piece in pieces if piece.inline is not None)


def _blobs(generation: Generation) -> set[str | None]:
    return {piece.blob for version in generation.files.values() for piece in version.segments}


def _note(entry: Entry) -> str:
    body = entry.body
    if entry.kind is Kind.TAKE:
        return ", ".join(map(str, body.get("images") or ()))
    named = body.get("generation")
    if entry.kind is Kind.BASE:
        source = body.get("source")
        if named is not None:
            notes = [f"goes on from generation {named}"]
        elif source:
            notes = [f"starts from generation {source.get('generation')} of {source.get('url')}"]
        else:
            notes = ["starts afresh"]
        for damage in body.get("skipped") or ():
            rows = str(damage.get("generation"))
            if "oldest" in damage:
                rows = f"{damage['oldest']} to {rows}"
            notes.append(f"passed over {rows}: {damage.get('reason')}")
        return "; ".join(notes)
    if entry.kind is Kind.COMPLETE:
        return f"generation {named}, {body.get('items')} items, proved by {body.get('proof')}"
    return f"generation {named}"
