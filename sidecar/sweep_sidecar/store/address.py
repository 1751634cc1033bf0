"""From a URL to the store it names."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from sweep_sidecar.store.protocol import Store, UrlUnsupported

DEADLINE_S = 60.0
"""How long one call to a store may take in all, retries included."""
_MENDS = "use gs://BUCKET/FOLDER or file:///FOLDER"


def open_store(url: str, *, deadline_s: float = DEADLINE_S) -> Store:
    """Return the store below `url`; nothing is asked of it yet.

    Raises
    ------
    UrlUnsupported
        Where no backend knows the scheme, or the URL lacks its bucket or path.
    Unreachable
        Where there are no credentials for it.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise UrlUnsupported(f"{url!r} is no URL: {_MENDS}")
    # Not urlsplit for the path: `?` and `#` are plain characters of an object's name.
    if scheme == "file":
        if not rest.startswith("/"):
            raise UrlUnsupported(f"{url!r} names no absolute path: {_MENDS}")
        from sweep_sidecar.store.local import LocalStore

        return LocalStore(Path(rest.rstrip("/") or "/"))
    if scheme in ("gs", "gcs"):
        bucket, _, folder = rest.partition("/")
        if not bucket:
            raise UrlUnsupported(f"{url!r} names no bucket: {_MENDS}")
        # Here, not above: gcsfs costs 70 MiB, which a run on file:// need not pay.
        from sweep_sidecar.store.gcs import GcsStore

        return GcsStore(bucket=bucket, folder=folder, deadline_s=deadline_s)
    raise UrlUnsupported(f"no store for {urlsplit(url).scheme or scheme}:// ({url!r}): {_MENDS}")
