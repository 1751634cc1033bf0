"""The items of a sweep under their keys' identities: all at once where their number is known, else one by one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sized
from itertools import islice
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any

from resumable_sweep._drift import items_sha256
from resumable_sweep._ledger import Ledger
from resumable_sweep.contract import environment as env
from resumable_sweep.contract.canonical import canonical_json, identity, key_of
from resumable_sweep.contract.items import Item, ItemsInvalid, parsed_items

Key = Callable[[Any], Any]


class ItemSource:
    """Gives a ledger this shard's items, in order.

    Parameters
    ----------
    values:
        The items of the whole sweep; item k belongs to shard k mod `shards`. Where they have no length, they are
        taken as they are asked for.
    key:
        Function from an item to its key; None for the default one.
    """

    def __init__(self, values: Iterable[Any], *, key: Key | None, shard: int, shards: int) -> None:
        self.key = key
        self.is_sized = isinstance(values, Sized)
        self.all_names: list[str] | None = None
        self._shard, self._shards = shard, shards
        self._taken = 0
        self._values: Iterator[Any] = iter(values)
        self._own: tuple[list[str], list[Any]] = [], []
        """Names and values of those of a known number that are not in a ledger yet."""
        self._seen: set[str] = set()
        """The names of all that there are, once more are added to a known number."""
        self._broken: BaseException | None = None
        if self.is_sized:
            given = list(values)
            names = self._names(given)
            check_distinct(names, what="key")
            self.all_names = names
            self._own = names[shard::shards], given[shard::shards]

    @property
    def sha256(self) -> str | None:
        """Digest of the whole list, None where it is not known."""
        return None if self.all_names is None else items_sha256(self.all_names)

    def name(self, value: Any, what: str) -> str:
        """Return the identity of an item's key; `what` names the item in an error.

        Raises
        ------
        ItemsInvalid
            Where it has no key.
        """
        if self.key is None and not (isinstance(value, dict) and "key" in value):
            return _name_by_value(value, what)
        return name_of_key(self.key or key_of, value, what)

    def pull(self, ledger: Ledger, count: int | None = None) -> int:
        """Add the next `count` items (None = all) to `ledger`; return how many came. Of a known number all come.

        Raises
        ------
        ItemsInvalid
            Where an item has no key, or one that another has, or the items broke off with an error before.
        """
        if self.is_sized:
            names, values = self._own
            self._own = [], []
            ledger.add_all(names, values)
            return len(names)
        if self._broken is not None:
            # A generator that has raised is at its end, and an item that was refused is taken: who went on from there
            # would take what came before for all the items there are.
            raise ItemsInvalid(
                f"the items broke off with {self._broken!r:.200} after {self._taken} of them, and nobody can tell what "
                "follows: leave the block, and run the program again"
            ) from self._broken
        pulled = 0
        try:
            for name, value in islice(self._named(), count):
                ledger.add(name, value)
                pulled += 1
        except BaseException as error:
            self._broken = error
            raise
        return pulled

    def check_same_as(self, items: list[Item]) -> None:
        """Refuse a list whose share is not `items`.

        Raises
        ------
        ItemsInvalid
        """
        if self.all_names is None:
            raise ItemsInvalid(
                f"items= has no length, so nobody can tell whether these are the items in {env.ITEMS}: pass a list, or "
                "leave the items out of the sweep's specification"
            )
        check_same_keys(self.all_names[self._shard :: self._shards], [identity(item.key) for item in items])

    def extend(self, values: Iterable[Any], ledger: Ledger) -> None:
        """Have `values` follow all the items there are so far.

        Raises
        ------
        ItemsInvalid
            Where an item has no key, or one that another has.
        """
        self.pull(ledger)
        start = self._taken if self.all_names is None else len(self.all_names)
        values = list(values)
        names = [self.name(value, f"item {place}") for place, value in enumerate(values, start=start)]
        # All or none of them are added, and where the others' keys are known, other shards' count as well.
        self._check_new(names, ledger)
        if self.all_names is None:
            self._taken += len(names)
        else:
            self.all_names.extend(names)
        for place, (name, value) in enumerate(zip(names, values, strict=True), start=start):
            if place % self._shards == self._shard:
                ledger.add(name, value)

    def _check_new(self, names: list[str], ledger: Ledger) -> None:
        check_distinct(names, what="key")
        if self.all_names is not None and len(self._seen) < len(self.all_names):
            self._seen = set(self.all_names)
        known = [name for name in names if name in self._seen or ledger.place(name) is not None]
        if known:
            raise ItemsInvalid(
                f"there is an item with the key {known[0]:.200} already: extend by new ones only, or give each a "
                '"key" of its own'
            )
        if self.all_names is not None:
            self._seen.update(names)

    def _names(self, values: list[Any]) -> list[str]:
        if self.key is None and set(map(type, values)) == {int}:
            return [f'"{value}"' for value in values]
        return [self.name(value, f"item {place}") for place, value in enumerate(values)]

    def _named(self) -> Iterator[tuple[str, Any]]:
        for value in self._values:
            place = self._taken
            self._taken += 1
            if place % self._shards == self._shard:
                yield self.name(value, f"item {place}"), value


class FileSource(ItemSource):
    """Gives a ledger the items of the file `SWEEP_ITEMS`, which are this shard's already, under the keys that they have
    there, or under those that `key` gives, which must be the same."""

    def __init__(self, items: list[Item], *, key: Key | None, shards: int) -> None:
        names = [identity(item.key) for item in items]
        values = [item.value for item in items]
        super().__init__(values if key else [], key=key, shard=0, shards=1)
        if key is not None:
            assert self.all_names is not None
            check_same_keys(self.all_names, names)
        self.all_names = names
        self._own = names, values
        self._is_whole = shards == 1
        self._name_by_value = {} if key else {canonical_json(item.value): identity(item.key) for item in items}

    @property
    def sha256(self) -> str | None:
        """Digest of the whole list, None where the file has but a share of it."""
        return super().sha256 if self._is_whole else None

    def name(self, value: Any, what: str) -> str:
        """Return the identity of an item's key, found by its value.

        Raises
        ------
        ItemsInvalid
            Where it is none of the file's.
        """
        if self.key is not None:
            return super().name(value, what)
        try:
            return self._name_by_value[canonical_json(value)]
        except (KeyError, TypeError, ValueError):
            raise ItemsInvalid(f"{what} is none of those in {env.ITEMS}: {value!r:.200}") from None

    def extend(self, values: Iterable[Any], ledger: Ledger) -> None:
        """Refuse: the sweep's items are given from outside.

        Raises
        ------
        ItemsInvalid
        """
        raise ItemsInvalid(
            f"the items come from {env.ITEMS} and cannot be extended: leave the items out of the sweep's specification"
        )


def name_of_key(key: Key, value: Any, what: str) -> str:
    """Return the identity of the key that `key` gives `value`, as it is once read back from JSON.

    Raises
    ------
    ItemsInvalid
        Where it is nothing that JSON can hold; `what` names the item.
    """
    try:
        found = key(value)
        if type(found) is int:
            return str(found)
        name = encode_basestring(found) if type(found) is str else identity(json.loads(json.dumps(found)))
        name.encode()
    except (TypeError, ValueError) as error:
        raise _keyless(value, what, error) from error
    return name


def _name_by_value(value: Any, what: str) -> str:
    try:
        name = encode_basestring(str(value) if type(value) is int else canonical_json(value))
        name.encode()
    except (TypeError, ValueError) as error:
        raise _keyless(value, what, error) from error
    return name


def _keyless(value: Any, what: str, error: Exception) -> ItemsInvalid:
    return ItemsInvalid(
        f"{what} has no key that JSON can hold ({error}): pass key= with a function that returns a string, "
        f"a number or a list of those; the item is {value!r:.200}"
    )


def items_of_file(path: Path) -> list[Item]:
    """Return the items that a sweep's pod finds in the file `SWEEP_ITEMS`.

    Raises
    ------
    ItemsInvalid
        Where they cannot be used.
    OSError
    """
    try:
        items = parsed_items(path.read_text(encoding="utf-8"))
    except ItemsInvalid as error:
        raise ItemsInvalid(f"{path}: {error}") from error
    check_distinct([identity(item.key) for item in items], what="key")
    # `record` gets values, not keys: equal values under two keys could not be told apart.
    check_distinct([canonical_json(item.value) for item in items], what="value")
    return items


def check_distinct(names: list[str], *, what: str) -> None:
    """Refuse a list of items two of which have the same key or value.

    Raises
    ------
    ItemsInvalid
    """
    if len(set(names)) == len(names):
        return
    seen: dict[str, int] = {}
    for place, name in enumerate(names):
        if seen.setdefault(name, place) != place:
            raise ItemsInvalid(
                f"items {seen[name]} and {place} have the same {what} {name:.200}: "
                'give each a "key" of its own (or another key=), or remove one of them'
            )


def check_same_keys(own: list[str], given: list[str]) -> None:
    """Refuse items that are not those of the sweep: their results could never be merged.

    Raises
    ------
    ItemsInvalid
    """
    mine, wanted = set(own), set(given)
    if mine != wanted:
        example = min(mine ^ wanted)
        where = "not in the program's items" if example in wanted else f"not in {env.ITEMS}"
        raise ItemsInvalid(
            f"the program's items are not those of the sweep: {len(mine)} keys here, {len(wanted)} in {env.ITEMS}; "
            f"{example:.200} is {where}. Leave out items= and key= to take the sweep's, or leave the items out of the "
            "sweep's specification"
        )
