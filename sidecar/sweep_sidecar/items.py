"""The run's items as the store keeps them."""

from __future__ import annotations

import hashlib

from resumable_sweep.contract.canonical import identity
from resumable_sweep.contract.items import Item, parsed_items
from sweep_sidecar import layout
from sweep_sidecar.store import NotFound, Store, url_of


class ItemsChanged(Exception):
    """The items in the store are not the ones that the sweep was started with."""


def stored_items(store: Store, *, sha256: str) -> list[Item]:
    """Return the run's items, in the order of the sweep.

    Raises
    ------
    ItemsChanged
        Where they are missing, or not those whose digest is `sha256`.
    Unreachable
    """
    where = url_of(store, layout.ITEMS)
    try:
        data = store.get(layout.ITEMS)
    except NotFound as error:
        raise ItemsChanged(f"{where} is missing: the sweep was started with items of sha256 {sha256}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ItemsChanged(f"{where} has sha256 {found}, the sweep was started with {sha256}: restore that file")
    return parsed_items(data.decode())


def identities(items: list[Item]) -> frozenset[str]:
    """Return the items' keys as they are compared."""
    return frozenset(identity(item.key) for item in items)
