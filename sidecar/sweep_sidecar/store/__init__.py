"""The store: a folder of objects, each created once and never changed."""

from __future__ import annotations

from sweep_sidecar.store.address import open_store
from sweep_sidecar.store.probe import prove_create_only
from sweep_sidecar.store.protocol import (
    Creation,
    Listed,
    NotFound,
    Store,
    StoreError,
    StoreNotCreateOnly,
    Unreachable,
    UrlUnsupported,
    url_of,
)

__all__ = [
    "Creation",
    "Listed",
    "NotFound",
    "Store",
    "StoreError",
    "StoreNotCreateOnly",
    "Unreachable",
    "UrlUnsupported",
    "open_store",
    "prove_create_only",
    "url_of",
]
