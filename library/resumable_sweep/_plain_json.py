"""Whether a value is JSON as it stands, judged a container at a time: most results are, and there may be millions."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

RESERVED = "$sweep."
"""What the keys of mappings that stand for other objects start with."""
DEEPEST = 200
"""How deep lists and mappings may be nested: well below where Python's recursion ends, at whatever depth it is read."""
SCALARS = frozenset({str, int, float, bool, type(None)})

_CONTAINERS = frozenset({dict, list})
_STRINGS = frozenset({str})
_JSON_PER_BYTE = 6
"""No scalar's JSON is longer than this many times its size in memory: a control character's is `\\u0000`."""
_ORDINARY_INT_BYTES = 256
"""An int of this size in memory has less than the 640 digits that every limit of Python on their number allows."""


def plain_bound(value: Any, depth: int = 0) -> int | None:
    """Return an upper bound for the bytes of the JSON of `value` at `depth`, None where it may come back changed."""
    kind = type(value)
    if kind is dict:
        if not _STRINGS.issuperset(map(type, value)):
            return None
        names = "\0".join(value)
        if RESERVED in names or not is_unicode(names):
            return None
        bound = _JSON_PER_BYTE * (len(names) + len(value)) + 2
        parts = value.values()
    elif kind is list:
        bound, parts = 2, value
    elif kind in SCALARS:
        bound, parts = 0, (value,)
    else:
        return None
    kinds = set(map(type, parts))
    if not kinds:
        return bound
    inner = kinds - SCALARS
    if depth == DEEPEST or inner - _CONTAINERS:
        return None
    sizes = list(map(sys.getsizeof, parts))
    if int in kinds and max(sizes) > _ORDINARY_INT_BYTES and _has_long_int(parts):
        return None
    if str in kinds and not is_unicode("".join([part for part in parts if type(part) is str])):
        return None
    bound += _JSON_PER_BYTE * sum(sizes)
    for part in parts if inner else ():
        if type(part) in inner:
            more = plain_bound(part, depth + 1)
            if more is None:
                return None
            bound += more
    return bound


def is_unicode(text: str) -> bool:
    """Return whether UTF-8 has a form for `text`: it has none for lone surrogates."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def holds_reserved_keys(value: Any) -> bool:
    """Return whether a mapping in the JSON `value` may have a reserved key; true also where one is part of another."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        kind = type(part)
        if kind is dict:
            if RESERVED in "\0".join(part):
                return True
            parts = part.values()
        elif kind is list:
            parts = part
        else:
            continue
        if not SCALARS.issuperset(map(type, parts)):
            waiting.extend(parts)
    return False


def _has_long_int(parts: Iterable[Any]) -> bool:
    return any(type(part) is int and sys.getsizeof(part) > _ORDINARY_INT_BYTES for part in parts)
