"""A store is trusted only after it was seen to refuse a second create."""

from __future__ import annotations

from sweep_sidecar.store.protocol import Creation, Store, StoreNotCreateOnly


def prove_create_only(store: Store, *, key: str, nonce: str) -> None:
    """Create `key`, then try to create it again with other content.

    The object stays: an identity that may not delete is enough, and the next probe of the same key needs only one of
    the two creates to be refused as well. `nonce` must be new at every call.

    Raises
    ------
    StoreNotCreateOnly
        Where the second create went through.
    Unreachable
    """
    store.create(key, f"first {nonce}\n".encode())
    if store.create(key, f"second {nonce}\n".encode()) is Creation.CREATED:
        raise StoreNotCreateOnly(
            f"{store.url} let {key} be created twice: two attempts of a shard could overwrite each other. "
            "Use a store with conditional writes (Google Cloud Storage, Amazon S3, Azure Blob Storage), or a file "
            "system with hard links"
        )
