"""Where everything lies in a run's folder of the store."""

from __future__ import annotations

import hashlib

ITEMS = "items.jsonl"
_LAST_NAME = 10**12 - 1
"""Entries are named downwards from here, so that the newest comes first in a listing."""


def run_prefix() -> str:
    """Return what the keys of the records of what the run is made of start with."""
    return "run/"


def run_key(number: int) -> str:
    """Return the key of record `number`, counted from 0, of what the run is made of."""
    return f"{run_prefix()}{number:06d}.json"


def run_number(key: str) -> int:
    """Return the number of such a record, -1 where the key is of none."""
    name = key.removeprefix(run_prefix()).removesuffix(".json")
    return int(name) if name.isdecimal() and run_key(int(name)) == key else -1


def shard_folder(run_id: str, shard: int) -> str:
    """Return the folder of a shard's log.

    It starts with a hash, so that the shards of a run are spread over the store's key range instead of following each
    other on one server.
    """
    name = f"shard-{shard:05d}"
    return f"{hashlib.sha256(f'{run_id}/{name}'.encode()).hexdigest()[:4]}-{name}"


def log_prefix(folder: str) -> str:
    """Return what the keys of a log's entries start with."""
    return f"{folder}/log/"


def entry_key(folder: str, seq: int) -> str:
    """Return the key of entry `seq`, counted from 0."""
    return f"{log_prefix(folder)}{_LAST_NAME - seq:012d}.json"


def seq_of(key: str) -> int:
    """Return the sequence number that an entry's key stands for.

    Raises
    ------
    ValueError
        Where it is no entry's key.
    """
    name = key.rpartition("/")[2]
    digits = name.removesuffix(".json")
    if len(digits) != 12 or not digits.isdecimal() or name == digits:
        raise ValueError(f"{key} is not the name of a log entry")
    return _LAST_NAME - int(digits)


def probe_key(folder: str) -> str:
    """Return the key on which a shard's attempts prove that the store is create-only."""
    return f"{folder}/probe"


def is_log_key(key: str) -> bool:
    """Return whether a key is one of an entry of some shard's log."""
    return "/log/" in key


def blobs_prefix() -> str:
    """Return what the keys of blobs start with."""
    return "blobs/"


def blob_key(sha256: str, nonce: str = "") -> str:
    """Return the key of a blob; with a `nonce` where the plain one holds something else."""
    return f"blobs/{sha256}.{nonce}" if nonce else f"blobs/{sha256}"


def merged_key(sha256: str) -> str:
    """Return the key of the merged results whose digest is `sha256`."""
    return f"merged/{sha256}.jsonl"


def skipped_key(sha256: str, word: str = "") -> str:
    """Return the key of the items that the merged results lack because the program has skipped them.

    A `word` tells it apart from what an earlier merge with the very same results has said.
    """
    return f"merged/{sha256}.{word}.skipped.jsonl" if word else f"merged/{sha256}.skipped.jsonl"


def provenance_key(sha256: str, word: str = "") -> str:
    """Return the key of what is known about where each merged result comes from; `word` as above."""
    return f"merged/{sha256}.{word}.provenance.jsonl" if word else f"merged/{sha256}.provenance.jsonl"
