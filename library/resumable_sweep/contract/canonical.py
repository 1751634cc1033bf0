"""One way to write a JSON value, so that equal values are equal bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from typing import Any

_ENCODE = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def canonical_json(value: Any) -> str:
    """Return `value` as JSON with sorted keys, no white space and no escapes beyond what JSON demands.

    NaN and the infinities are written as `NaN`, `Infinity` and `-Infinity`: losses of diverged runs are results too,
    and every reader of this project takes them back.

    Raises
    ------
    TypeError
        Where `value` holds something that JSON has no form for.
    """
    return _ENCODE(value)


def key_of(item: Any) -> Any:
    """Return the key of `item`: its `key` field where it is a mapping that has one, else its canonical JSON."""
    if isinstance(item, dict) and "key" in item:
        return item["key"]
    return canonical_json(item)


def identity(key: Any) -> str:
    """Return the text under which `key` is compared: typed, so that 1, "1" and true stay apart."""
    return canonical_json(key)


def sha256_of_keys(keys: Iterable[Any]) -> str:
    """Return the digest of a set of keys, the same in whatever order they come."""
    return sha256_of_identities({identity(key) for key in keys})


def sha256_of_identities(identities: Collection[str]) -> str:
    """Return the digest of a set of keys, given by their identities."""
    digest = hashlib.sha256()
    for name in sorted(set(identities)):
        # Half of a surrogate pair, which the escapes of another program's JSON can hold, has no form in UTF-8.
        digest.update(name.encode("utf-8", "backslashreplace"))
        digest.update(b"\n")
    return digest.hexdigest()
