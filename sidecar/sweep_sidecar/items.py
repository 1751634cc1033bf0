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
    return parsed_items(stored_lines(store, sha256=sha256).decode())


def stored_lines(store: Store, *, sha256: str) -> bytes:
    """Return the object that holds the run's items; what is wrong with it at one read must be so at the next one too.

    Raises
    ------
    ItemsChanged
        Where it is missing, or its digest is not `sha256`.
    Unreachable
    """
    try:
        return _read(store, sha256)
    except ItemsChanged:
        return _read(store, sha256)


def _read(store: Store, sha256: str) -> bytes:
    where = url_of(store, layout.ITEMS)
    try:
        data = store.get(layout.ITEMS)
    except NotFound as error:
        raise ItemsChanged(f"{where} is missing: the sweep was started with items of sha256 {sha256}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ItemsChanged(f"{where} has sha256 {found}, the sweep was started with {sha256}: restore that file")
    return data


def identities(items: list[Item]) -> frozenset[str]:
    """Return the items' keys as they are compared."""
    return frozenset(identity(item.key) for item in items)
