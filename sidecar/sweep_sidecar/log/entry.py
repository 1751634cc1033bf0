"""One entry of a shard's log, and its bytes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from resumable_sweep.contract.canonical import canonical_json

SCHEMA_VERSION = 1


class CheckpointCorrupt(Exception):
    """What the store holds is not what was written; the message names the object, `key` is its key (empty: unknown)."""

    def __init__(self, message: str, *, key: str = "") -> None:
        super().__init__(message)
        self.key = key


class EntryMissing(CheckpointCorrupt):
    """The store has no object for an entry that the log must have."""


class NewerSchema(CheckpointCorrupt):
    """A newer version of this program has written it: nothing is wrong with it, and nobody may pass it over."""


class Kind(StrEnum):
    """What an entry says."""

    TAKE = "take"
    """An attempt's first: from here on every older attempt is fenced off."""
    BASE = "base"
    """Which generation the attempt has restored."""
    GEN = "gen"
    """A generation: the files of the snapshot directory, whole."""
    SEAL = "seal"
    """The experiment's containers have ended: the attempt writes no more."""
    COMPLETE = "complete"
    """The shard is done, with the proof. Nothing follows."""


@dataclass(frozen=True)
class Writer:
    """Who writes: the attempt, its pod's UID, and a nonce of the very process."""

    attempt: int
    pod: str
    nonce: str


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry.

    `prev_sha256` is the digest of the bytes of the entry before it; empty for the first, and for a `take` that had to
    pass over a damaged one.
    """

    seq: int
    kind: Kind
    writer: Writer
    prev_sha256: str
    time: float
    """Unix seconds on the writer's clock: for people, no decision rests on it."""
    body: dict[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Return the entry as the store keeps it: one line of canonical JSON, which holds its own digest."""
        fields: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "seq": self.seq,
            "kind": self.kind,
            "attempt": self.writer.attempt,
            "writer": {"pod": self.writer.pod, "nonce": self.writer.nonce},
            "prev_sha256": self.prev_sha256,
            "time": self.time,
            "body": self.body,
        }
        return canonical_json({**fields, "entry_sha256": _own_sha256(fields)}).encode() + b"\n"


@dataclass(frozen=True)
class Stored:
    """An entry that stands in the store, with the digest of its bytes."""

    entry: Entry
    sha256: str


def stored(entry: Entry, data: bytes) -> Stored:
    """Return `entry` with the digest of the bytes under which it stands in the store."""
    return Stored(entry, hashlib.sha256(data).hexdigest())


def parsed_entry(data: bytes, *, seq: int, where: str, key: str = "") -> Stored:
    """Return the entry that `data`, read from slot `seq`, holds.

    Its own digest is what tells a damaged entry from a whole one at the log's end, where no later entry vouches for it.

    Raises
    ------
    NewerSchema
    CheckpointCorrupt
        Where it is no entry, one of another slot, or not what was written; the message starts with `where`.
    """
    try:
        fields = json.loads(data)
        version = fields["schema_version"]
        if version > SCHEMA_VERSION:
            raise NewerSchema(
                f"{where} has schema version {version}, this sidecar knows {SCHEMA_VERSION} at most: use a newer image",
                key=key,
            )
        if fields.pop("entry_sha256") != _own_sha256(fields):
            raise CheckpointCorrupt(f"{where} does not fit the digest that it holds", key=key)
        entry = Entry(
            seq=int(fields["seq"]),
            kind=Kind(fields["kind"]),
            writer=Writer(int(fields["attempt"]), str(fields["writer"]["pod"]), str(fields["writer"]["nonce"])),
            prev_sha256=str(fields["prev_sha256"]),
            time=float(fields["time"]),
            body=dict(fields["body"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointCorrupt(f"{where} is not a log entry: {error!r}", key=key) from error
    if entry.seq != seq:
        raise CheckpointCorrupt(f"{where} says that it is entry {entry.seq}, but it stands in slot {seq}", key=key)
    return stored(entry, data)


def _own_sha256(fields: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(fields).encode()).hexdigest()
