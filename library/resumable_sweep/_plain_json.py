"""Whether a value is JSON as it stands, judged a container at a time: most results are, and there may be millions."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

RESERVED = "$sweep."
"""What the keys of mappings that stand for other objects start with."""
DEEPEST = 200
"""How deep lists and mappings may be nested: well below where Python's recursion ends, at whatever depth it is read."""
SCALARS = frozenset({str, int, float, bool, type(None)})

_NUMBERS = frozenset({float, bool, type(None)})
_STRINGS = frozenset({str})
_INTS = frozenset({int})
_FEW = 8
"""Up to this many parts it is faster to look at each than to ask for the types of all."""
_PART_BYTES = 32
"""More than a number (but an int), the quotation marks of a text, or the brackets of a container take, with a comma."""
_CHARACTER_BYTES = 6
"""What a character takes at most: a control character is `\\u0000`."""
_ORDINARY_BITS = 2048
"""An int of so many bits has less than the 640 digits that every limit of Python on their number allows."""


def plain_bound(value: Any) -> int | None:
    """Return an upper bound for the bytes of the JSON of `value`, None where it may come back changed."""
    texts: list[str] = []
    ints: list[int] = []
    parts = _gathered([value], texts, ints, -1)
    if parts is None:
        return None
    text = "\0".join(texts)
    if RESERVED in text or not is_unicode(text):
        return None
    bits = list(map(int.bit_length, ints))
    if max(bits, default=0) > _ORDINARY_BITS:
        return None
    return _PART_BYTES * (parts + len(texts)) + _CHARACTER_BYTES * len(text) + sum(bits)


def _gathered(value: dict[Any, Any] | list[Any], texts: list[str], ints: list[int], depth: int) -> int | None:
    """Add the texts and ints in `value` to the lists and return the number of its parts, None where it is not plain."""
    parts: Collection[Any] = value
    if type(value) is dict:
        for name in value:
            if type(name) is not str:
                return None
        texts.extend(value)
        parts = value.values()
    number = len(parts)
    if number and depth == DEEPEST:
        return None
    if number > _FEW:
        kinds = set(map(type, parts))
        if kinds <= _NUMBERS:
            return number
        if kinds == _STRINGS:
            texts.extend(parts)
            return number
        if kinds == _INTS:
            ints.extend(parts)
            return number
    for part in parts:
        kind = type(part)
        if kind is str:
            texts.append(part)
        elif kind is int:
            ints.append(part)
        elif kind is dict or kind is list:
            more = _gathered(part, texts, ints, depth + 1)
            if more is None:
                return None
            number += more
        elif kind not in _NUMBERS:
            return None
    return number


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
