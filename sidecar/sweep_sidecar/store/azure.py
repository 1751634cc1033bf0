"""The store in Azure Blob Storage: `az://container/path`, `abfs://container@account.dfs.core.windows.net/path`.

adlfs finds the account and its credentials. Its file system methods are left aside for the plain asynchronous client
underneath: they cache listings, ask for a blob before they write it, and know no total deadline. Five requests are all
that is needed; a create is one Put Blob with `If-None-Match: *`
(https://learn.microsoft.com/rest/api/storageservices/put-blob).
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import adlfs
from azure.core import exceptions
from azure.storage.blob import ContentSettings
from azure.storage.blob.aio import BlobClient, ContainerClient

from sweep_sidecar.store.folder import BucketFolder
from sweep_sidecar.store.protocol import Creation, Listed, NotFound, Unreachable, UrlUnsupported
from sweep_sidecar.store.trying import AGAIN, CONNECT_TIMEOUT_S, READ_TIMEOUT_S, Again, at_once, tried

_Answer = TypeVar("_Answer")

_PAGE = 5000
"""Most names that Azure puts on one page of a listing."""
_MOST_AT_ONCE = 5000 << 20
"""Most bytes that one Put Blob takes (https://learn.microsoft.com/rest/api/storageservices/put-blob#remarks)."""
_ONE_TRY: dict[str, Any] = {"retry_total": 0, "connection_timeout": CONNECT_TIMEOUT_S, "read_timeout": READ_TIMEOUT_S}
_STANDS = {"BlobAlreadyExists", "ConditionNotMet", "BlobImmutableDueToPolicy"}
"""Ways to say that a blob of this name is there. To an identity that may create but not overwrite it is a 403."""
_BROKEN = (exceptions.ServiceRequestError, exceptions.ServiceResponseError, exceptions.IncompleteReadError, OSError)


class AzureStore(BucketFolder):
    """Objects below `<scheme>://<container>/<folder>/`, each written once.

    The account stands in the URL, in AZURE_STORAGE_ACCOUNT_NAME or in AZURE_STORAGE_CONNECTION_STRING. Credentials
    are those of the connection string, AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN, or else of the pod's
    workload identity.

    Raises
    ------
    UrlUnsupported
        Where no account is named, or two.
    Unreachable
        Where what is said of the account or its credentials cannot be used.
    """

    def __init__(self, *, scheme: str, container: str, folder: str, deadline_s: float) -> None:
        # The client logs every request with its headers; what matters is raised here, in one sentence.
        logging.getLogger("azure").setLevel(logging.CRITICAL)
        self._place = container
        self._scheme = scheme
        self._container, _, host = container.partition("@")
        super().__init__(folder=folder, deadline_s=deadline_s)
        account = host.partition(".")[0] or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME")
        if not account and not os.environ.get("AZURE_STORAGE_CONNECTION_STRING"):
            raise UrlUnsupported(
                f"{self.url!r} names no storage account: write abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/FOLDER, "
                "or set AZURE_STORAGE_ACCOUNT_NAME or AZURE_STORAGE_CONNECTION_STRING"
            )

        async def connected() -> adlfs.AzureBlobFileSystem:
            return adlfs.AzureBlobFileSystem(
                account_name=account,
                # Blobs are asked for at the blob endpoint, whichever of the account's two the URL names.
                account_host=host.replace(".dfs.", ".blob.", 1) or None,
                anon=False,
                skip_instance_cache=True,
            )

        try:
            self._azure = at_once(connected)
        except Exception as error:
            raise Unreachable(f"cannot use the credentials for {self.url}: {error}") from error
        # Left to itself the client sends what is larger than 64 MiB, such as merged results, as a list of blocks: that
        # takes the right to overwrite, which the pods need not have. adlfs makes the client, and hands no option on.
        self._azure.service_client._config.max_single_put_size = _MOST_AT_ONCE
        connected_to = self._azure.service_client.account_name
        if host and connected_to != account:
            raise UrlUnsupported(
                f"{self.url!r} names account {account!r}, but AZURE_STORAGE_CONNECTION_STRING account "
                f"{connected_to!r}: name one of them only"
            )

    @property
    def url(self) -> str:
        return f"{self._scheme}://{self._place}/{self._folder}".rstrip("/")

    @property
    def endpoint(self) -> str:
        """Address of the account's blobs."""
        return str(self._azure.service_client.url).rstrip("/")

    def create(self, key: str, data: bytes, *, deadline_s: float | None = None) -> Creation:
        ends = self._ends(deadline_s)
        md5 = hashlib.md5(data, usedforsecurity=False).digest()

        async def put() -> None:
            await self._blob(key).upload_blob(
                data,
                length=len(data),
                overwrite=False,
                # The first is checked against what arrives, the second is kept with the blob.
                validate_content=True,
                content_settings=ContentSettings("application/octet-stream", content_md5=bytearray(md5)),
                **_ONE_TRY,
            )

        try:
            self._ask(put, what=f"create {key}", ends=ends)
        except exceptions.HttpResponseError as error:
            if _code(error) not in _STANDS and error.status_code != 403:
                raise self._refused(f"create {key}", error) from error
            try:
                holds = self._holds(key, data, md5=md5, ends=ends)
            except Unreachable as unseen:
                if _code(error) in _STANDS:
                    raise
                # Refused in truth: there is nothing under that name, or nothing may be seen.
                raise self._refused(f"create {key}", error) from unseen
            return Creation.CREATED if holds else Creation.EXISTS
        return Creation.CREATED

    def get(
        self, key: str, *, start: int | None = None, end: int | None = None, deadline_s: float | None = None
    ) -> bytes:
        offset = start or 0
        if end is not None and end <= offset:
            return b""

        async def download() -> bytes:
            length = None if end is None else end - offset
            stream = await self._blob(key).download_blob(offset=offset, length=length, **_ONE_TRY)
            data: bytes = await stream.readall()
            return data

        try:
            return self._ask(download, what=f"read {key}", ends=self._ends(deadline_s))
        except exceptions.HttpResponseError as error:
            # Only this word says that the container is there and the blob is not.
            if _code(error) == "BlobNotFound":
                raise NotFound(f"{self.url}/{key} does not exist") from error
            if error.status_code == 416:
                return b""
            raise self._refused(f"read {key}", error) from error

    def list(self, prefix: str, *, limit: int | None = None, deadline_s: float | None = None) -> list[Listed]:
        ends = self._ends(deadline_s)
        found: list[Listed] = []
        token: str | None = None
        while True:
            wanted = _PAGE if limit is None else min(_PAGE, limit - len(found))

            async def one_page(token: str | None = token, wanted: int = wanted) -> tuple[list[Any], str | None]:
                # Accounts with a hierarchical namespace list folders as well; only metadata tells them apart.
                blobs = self._client().list_blobs(
                    name_starts_with=self._name(prefix), results_per_page=wanted, include=["metadata"], **_ONE_TRY
                )
                pages = blobs.by_page(continuation_token=token)
                page = await anext(pages)
                return [blob async for blob in page], pages.continuation_token  # type: ignore[attr-defined]

            try:
                page, token = self._ask(one_page, what=f"list {prefix}", ends=ends)
            except exceptions.HttpResponseError as error:
                raise self._refused(f"list {prefix}", error) from error
            found += [
                Listed(key=self._key(blob.name), size=int(blob.size), modified=blob.last_modified.timestamp())
                for blob in page
                if (blob.metadata or {}).get("hdi_isfolder") != "true"
            ]
            if not token or (limit is not None and len(found) >= limit):
                return found

    def delete(self, key: str, *, deadline_s: float | None = None) -> None:
        async def delete() -> None:
            await self._blob(key).delete_blob(**_ONE_TRY)

        try:
            self._ask(delete, what=f"delete {key}", ends=self._ends(deadline_s))
        except exceptions.HttpResponseError as error:
            if _code(error) != "BlobNotFound":
                raise self._refused(f"delete {key}", error) from error

    def _holds(self, key: str, data: bytes, *, md5: bytes, ends: float) -> bool:
        """Return whether the blob that stands under `key` is this one, written by a try whose reply was lost."""

        async def properties() -> Any:
            return await self._blob(key).get_blob_properties(**_ONE_TRY)

        try:
            there = self._ask(properties, what=f"look at {key}", ends=ends)
        except exceptions.HttpResponseError as error:
            if error.status_code == 404:
                raise Unreachable(f"{self.url}/{key} vanished while it was being created") from error
            raise self._refused(f"look at {key}", error) from error
        if int(there.size) != len(data):
            return False
        kept = there.content_settings.content_md5
        if kept is not None:
            return bytes(kept) == md5
        return self.get(key, deadline_s=max(0.0, ends - time.monotonic())) == data

    def _ask(self, request: Callable[[], Awaitable[_Answer]], *, what: str, ends: float) -> _Answer:
        async def attempt() -> _Answer:
            try:
                return await request()
            except _BROKEN as error:
                raise Again(f"{type(error).__name__}: {error}") from error
            except exceptions.HttpResponseError as error:
                if error.status_code in AGAIN:
                    raise Again(_said(error)) from error
                if error.response is None and isinstance(error, exceptions.ClientAuthenticationError):
                    raise Unreachable(
                        f"no credentials for {self.url}: {error.message}. Give the pods' service account a workload "
                        "identity, or set AZURE_STORAGE_CONNECTION_STRING"
                    ) from error
                raise
            except exceptions.AzureError as error:
                raise Unreachable(f"cannot {what} in {self.url}: {type(error).__name__}: {error}") from error

        return tried(attempt, what=f"{what} in {self.url}", ends=ends)

    def _refused(self, what: str, error: exceptions.HttpResponseError) -> Unreachable:
        if _code(error) == "ContainerNotFound":
            return Unreachable(f"cannot {what} in {self.url}: container {self._container!r} does not exist")
        return Unreachable(f"cannot {what} in {self.url}: {_said(error)}")

    def _client(self) -> ContainerClient:
        client: ContainerClient = self._azure.service_client.get_container_client(self._container)
        return client

    def _blob(self, key: str) -> BlobClient:
        return self._client().get_blob_client(self._name(key))


def _code(error: exceptions.HttpResponseError) -> str:
    return str(getattr(error, "error_code", None) or "")


def _said(error: exceptions.HttpResponseError) -> str:
    first_line = (error.message or "").partition("\n")[0]
    return f"{error.status_code} {_code(error)}: {first_line}"
