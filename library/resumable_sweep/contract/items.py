"""The items of a sweep as a file: one JSON line `{"key", "item"}` each, in the order of the sweep."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resumable_sweep.contract.canonical import canonical_json, identity, key_of


class ItemsInvalid(ValueError):
    """The items cannot be used as they are; the message names the place and the mend."""


@dataclass(frozen=True)
class Item:
    """One piece of work: `key` names it (any JSON value), `value` is what the program gets."""

    key: Any
    value: Any


def items_of_list(values: Sequence[Any]) -> list[Item]:
    """Return the items of a list.

    Raises
    ------
    ItemsInvalid
        Where two of them have the same key.
    """
    items = [Item(key=key_of(value), value=value) for value in values]
    seen: dict[str, int] = {}
    for place, item in enumerate(items):
        name = identity(item.key)
        if name in seen:
            raise ItemsInvalid(
                f"items {seen[name]} and {place} have the same key {name}: "
                'give each a "key" of its own, or remove one of them'
            )
        seen[name] = place
    return items


def items_of_matrix(matrix: Mapping[str, Sequence[Any]]) -> list[Item]:
    """Return one item per combination of the matrix' values.

    Parameters are taken in alphabetical order, because JSON objects have none of their own; the last varies fastest.
    """
    names = sorted(matrix)
    combinations = itertools.product(*(matrix[name] for name in names))
    return items_of_list([dict(zip(names, values, strict=True)) for values in combinations])


def shard_of(items: Sequence[Item], *, shard: int, shards: int) -> list[Item]:
    """Return the share of one shard: item k belongs to shard k mod `shards`, by its place in the full list."""
    return list(items[shard::shards])


def lines_of(items: Iterable[Item]) -> Iterator[str]:
    """Yield each item as a line of `items.jsonl`, ending in a newline."""
    for item in items:
        yield canonical_json({"key": item.key, "item": item.value}) + "\n"


def parsed_items(text: str) -> list[Item]:
    """Return the items of an `items.jsonl`.

    Raises
    ------
    ItemsInvalid
        Where a line is not of the form `{"key", "item"}`.
    """
    items = []
    # Only "\n" ends a line: str.splitlines would also cut at U+2028, which JSON strings may hold unescaped.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            items.append(Item(key=entry["key"], value=entry["item"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ItemsInvalid(f'line {number} is not {{"key": ..., "item": ...}}: {line[:80]!r} ({error})') from error
    return items
