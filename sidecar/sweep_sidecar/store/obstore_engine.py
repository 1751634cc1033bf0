"""S3 and Azure through obstore, the optional engine: SWEEP_STORE_ENGINE=obstore.

It is one native library for both, and takes less memory. Left out are its fsspec wrapper, which takes no conditions,
and its retries, which know no total deadline (https://developmentseed.org/obstore/latest/api/put/). Google Cloud
Storage is not reached by it: it writes there by the XML API, which fake-gcs-server refuses, so nothing is proved.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import obstore
from obstore import exceptions
from obstore.store import AzureStore, S3Store

from sweep_sidecar.store.protocol import Creation, Listed, NotFound, StoreNotCreateOnly, Unreachable, UrlUnsupported
from sweep_sidecar.store.trying import AGAIN, CONNECT_TIMEOUT_S, READ_TIMEOUT_S, Again, tried

_Answer = TypeVar("_Answer")

_PAGE = 1000
_STATUS = re.compile(r"status code: (\d{3})")
"""The only place where the engine says what the server has answered."""
_PAST_THE_END = 416
_STARTS_TOO_LATE = "Wanted range starting at"


class ObstoreStore:
    """Objects below `<scheme>://<bucket>/<folder>/`, each written once; credentials by the same variables as elsewhere.

    Raises
    ------
    UrlUnsupported
        Where Azure's account is not named.
    Unreachable
        Where what is said of the server or the credentials cannot be used.
    """

    def __init__(self, *, scheme: str, bucket: str, folder: str, deadline_s: float) -> None:
        self.url = f"{scheme}://{bucket}/{folder.strip('/')}".rstrip("/")
        self._bucket = bucket.partition("@")[0]
        self._deadline_s = deadline_s
        try:
            self._objects = _opened(scheme, bucket, folder.strip("/") or None, os.environ)
        except (exceptions.BaseError, ValueError) as error:
            if isinstance(error, UrlUnsupported):
                raise
            raise Unreachable(f"cannot use the credentials for {self.url}: {error}") from error

    def create(self, key: str, data: bytes, *, deadline_s: float | None = None) -> Creation:
        ends = self._ends(deadline_s)

        async def put() -> bool:
            try:
                await obstore.put_async(self._objects, key, data, mode="create", use_multipart=False)
            except exceptions.AlreadyExistsError:
                return False
            return True

        try:
            if self._ask(put, what=f"create {key}", ends=ends):
                return Creation.CREATED
        except FileNotFoundError as error:
            raise self._no_bucket(f"create {key}") from error
        except _Refused as error:
            if error.status == 501:
                raise StoreNotCreateOnly(f"{self.url} does not know conditional writes: {error}") from error
            if error.status != 403:
                raise
            # To an identity that may create but not overwrite, Azure says no more of a blob that is there.
            try:
                return self._compared(key, data, ends=ends)
            except (NotFound, Unreachable):
                raise error from None
        try:
            return self._compared(key, data, ends=ends)
        except NotFound as error:
            raise Unreachable(f"{self.url}/{key} vanished while it was being created") from error

    def get(
        self, key: str, *, start: int | None = None, end: int | None = None, deadline_s: float | None = None
    ) -> bytes:
        if end is not None and end <= (start or 0):
            return b""
        options: dict[str, Any] = {}
        if end is not None:
            options["range"] = (start or 0, end)
        elif start is not None:
            options["range"] = {"offset": start}
        ends = self._ends(deadline_s)

        async def get() -> bytes:
            answer = await obstore.get_async(self._objects, key, options=options)  # type: ignore[arg-type]
            return bytes(await answer.bytes_async())

        try:
            return self._ask(get, what=f"read {key}", ends=ends)
        except FileNotFoundError as error:
            # A bucket that is not there is answered in the same way; the listing tells them apart.
            self.list(key, limit=1, deadline_s=max(0.0, ends - time.monotonic()))
            raise NotFound(f"{self.url}/{key} does not exist") from error
        except _Refused as error:
            if error.status == _PAST_THE_END:
                return b""
            raise

    def list(self, prefix: str, *, limit: int | None = None, deadline_s: float | None = None) -> list[Listed]:
        ends = self._ends(deadline_s)
        folder = prefix.rpartition("/")[0]  # the engine knows whole folders only

        async def listed() -> list[Listed]:
            found: list[Listed] = []
            async for page in obstore.list(self._objects, folder or None, chunk_size=_PAGE):
                found += [
                    Listed(key=item["path"], size=item["size"], modified=item["last_modified"].timestamp())
                    for item in page
                    if item["path"].startswith(prefix)
                ]
                if limit is not None and len(found) >= limit:
                    break
            return found[:limit]

        try:
            return self._ask(listed, what=f"list {prefix}", ends=ends)
        except FileNotFoundError as error:
            raise self._no_bucket(f"list {prefix}") from error

    def delete(self, key: str, *, deadline_s: float | None = None) -> None:
        async def delete() -> None:
            await obstore.delete_async(self._objects, key)

        try:
            self._ask(delete, what=f"delete {key}", ends=self._ends(deadline_s))
        except FileNotFoundError:
            return

    def _compared(self, key: str, data: bytes, *, ends: float) -> Creation:
        """Return whose object stands under `key`: perhaps this one, written by a try whose reply was lost."""
        there = self.get(key, deadline_s=max(0.0, ends - time.monotonic()))
        return Creation.CREATED if there == data else Creation.EXISTS

    def _ask(self, request: Callable[[], Awaitable[_Answer]], *, what: str, ends: float) -> _Answer:
        async def attempt() -> _Answer:
            try:
                return await request()
            except FileNotFoundError:
                raise
            except (exceptions.BaseError, OSError) as error:
                said = str(error).partition("\n")[0]
                found = _STATUS.search(str(error))
                status = int(found.group(1)) if found else None
                if _STARTS_TOO_LATE in said:
                    status = _PAST_THE_END  # the engine has seen it in an answer that says where the object ends
                if isinstance(error, (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)):
                    status = status or 403
                if status == 404:
                    raise self._no_bucket(what) from error
                if status is None or status in AGAIN or status == 409:
                    raise Again(said) from error
                raise _Refused(f"cannot {what} in {self.url}: {said}", status) from error

        return tried(attempt, what=f"{what} in {self.url}", ends=ends)

    def _no_bucket(self, what: str) -> Unreachable:
        return Unreachable(f"cannot {what} in {self.url}: bucket {self._bucket!r} does not exist")

    def _ends(self, deadline_s: float | None) -> float:
        return time.monotonic() + (self._deadline_s if deadline_s is None else deadline_s)


class _Refused(Unreachable):
    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def _opened(scheme: str, bucket: str, folder: str | None, environment: Mapping[str, str]) -> Any:
    options: dict[str, Any] = {
        "prefix": folder,
        "retry_config": {"max_retries": 0},
        "client_options": {
            "connect_timeout": f"{CONNECT_TIMEOUT_S}s",
            # Of a whole try: the engine knows no timeout between two bytes.
            "timeout": f"{2 * READ_TIMEOUT_S}s",
            # Plain HTTP is only spoken where an endpoint says so.
            "allow_http": True,
        },
    }
    if scheme == "s3":
        region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
        return S3Store(bucket, config={"region": region} if region else {}, **options)
    return AzureStore(bucket.partition("@")[0], config=_azure(bucket, environment), **options)  # type: ignore[arg-type]


def _azure(container: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the engine's settings: it reads the pod's workload identity itself, but no connection strings."""
    said = environment.get("AZURE_STORAGE_CONNECTION_STRING", "")
    parts = dict(part.split("=", 1) for part in said.split(";") if part)
    endpoint = parts.get("BlobEndpoint", "").rstrip("/")
    account = container.partition("@")[2].partition(".")[0] or parts.get("AccountName") or endpoint.rpartition("/")[2]
    account = account or environment.get("AZURE_STORAGE_ACCOUNT_NAME", "")
    if not account:
        raise UrlUnsupported(
            f"az://{container} names no storage account: write abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/FOLDER, "
            "or set AZURE_STORAGE_ACCOUNT_NAME or AZURE_STORAGE_CONNECTION_STRING"
        )
    settings = {"account_name": account}
    names = {
        "account_key": parts.get("AccountKey") or environment.get("AZURE_STORAGE_ACCOUNT_KEY"),
        "sas_token": parts.get("SharedAccessSignature") or environment.get("AZURE_STORAGE_SAS_TOKEN"),
        "endpoint": endpoint,
    }
    return settings | {name: value for name, value in names.items() if value}
