"""From a URL to the store it names."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from sweep_sidecar.store.protocol import Store, UrlUnsupported

DEADLINE_S = 60.0
"""How long one call to a store may take in all, retries included."""
_MENDS = (
    "use gs://BUCKET/FOLDER, s3://BUCKET/FOLDER, az://CONTAINER/FOLDER, "
    "abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/FOLDER or file:///FOLDER"
)
_IN_A_POD = "KUBERNETES_SERVICE_HOST"
"""Set by Kubernetes in every container."""
ENGINE = "SWEEP_STORE_ENGINE"
"""Variable that chooses the engine by which S3 and Azure are reached."""
_OBSTORE = "obstore"
_DIRECTORY_BUCKET = "--x-s3"
"""How the names of S3's directory buckets end."""


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
    if scheme == "memory":
        if os.environ.get(_IN_A_POD):
            raise UrlUnsupported(f"{url!r} is lost with the process, so no pod may store there: {_MENDS}")
        from sweep_sidecar.store.memory import MemoryStore

        return MemoryStore(rest.rstrip("/"))
    # The imports are here, not above: a backend's client costs 50 to 70 MiB, which only those need pay who use it.
    if scheme in ("gs", "gcs", "s3", "az", "abfs"):
        bucket, _, folder = rest.partition("/")
        if not bucket.partition("@")[0]:
            raise UrlUnsupported(f"{url!r} names no {'container' if scheme in ('az', 'abfs') else 'bucket'}: {_MENDS}")
        if scheme == "s3" and bucket.endswith(_DIRECTORY_BUCKET):
            raise UrlUnsupported(f"{url!r} is a directory bucket, which lists in no order: use a general one")
        engine = os.environ.get(ENGINE, "")
        if engine not in ("", _OBSTORE):
            raise UrlUnsupported(f"{ENGINE} is {engine!r}: set it to {_OBSTORE}, or not at all")
        if engine == _OBSTORE and scheme not in ("gs", "gcs"):
            try:
                from sweep_sidecar.store.obstore_engine import ObstoreStore
            except ImportError as error:
                raise UrlUnsupported(
                    f"{ENGINE} is {_OBSTORE}, but there is no such package ({error}): install it, or unset {ENGINE}"
                ) from error
            return ObstoreStore(scheme=scheme, bucket=bucket, folder=folder, deadline_s=deadline_s)
        if scheme == "s3":
            from sweep_sidecar.store.s3 import S3Store

            return S3Store(bucket=bucket, folder=folder, deadline_s=deadline_s)
        if scheme in ("az", "abfs"):
            from sweep_sidecar.store.azure import AzureStore

            return AzureStore(scheme=scheme, container=bucket, folder=folder, deadline_s=deadline_s)
        from sweep_sidecar.store.gcs import GcsStore

        return GcsStore(bucket=bucket, folder=folder, deadline_s=deadline_s)
    raise UrlUnsupported(f"no store for {urlsplit(url).scheme or scheme}:// ({url!r}): {_MENDS}")
