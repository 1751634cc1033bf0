"""The keys of a progress file of `mime-engine`, read record by record.

All of it at once, as Python objects, takes ten times the memory of the file, which a sidecar has not.
"""

from __future__ import annotations

import json
import re
from typing import Any

from resumable_sweep.contract.canonical import identity

_BEGINNING = re.compile(r'[ \t\n\r]*\{[ \t\n\r]*"completed"[ \t\n\r]*:[ \t\n\r]*\[[ \t\n\r]*')
_BETWEEN = re.compile(r"[ \t\n\r]*,[ \t\n\r]*")
_END = re.compile(r"[ \t\n\r]*\][ \t\n\r]*\}[ \t\n\r]*\Z")
_DECODE = json.JSONDecoder().raw_decode


def mime_keys(data: bytes) -> frozenset[str]:
    """Return the identities of the keys that `{"completed": [{"key", "result"}, ...]}` records.

    Raises
    ------
    ValueError, KeyError, TypeError
        Where it is no such file.
    """
    found = _read_one_by_one(data)
    if found is None:
        # Something else is in it as well, or in another encoding: what the parser of the standard library says counts.
        return frozenset(_key_of(record) for record in json.loads(data)["completed"])
    return found


def _read_one_by_one(data: bytes) -> frozenset[str] | None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    beginning = _BEGINNING.match(text)
    if beginning is None:
        return None
    place = beginning.end()
    keys: set[str] = set()
    if not _END.match(text, place):
        while True:
            try:
                record, place = _DECODE(text, place)
            except ValueError:
                return None
            keys.add(_key_of(record))
            between = _BETWEEN.match(text, place)
            if between is None:
                break
            place = between.end()
    return frozenset(keys) if _END.match(text, place) else None


def _key_of(record: Any) -> str:
    return identity(record["key"])  # of what is no object this is a TypeError
