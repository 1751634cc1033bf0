"""The store in Google Cloud Storage: `gs://bucket/path`.

gcsfs brings credentials, connections and retries. Its file system methods are left aside for its plain `call`: they
cache listings for ever, put content between multipart boundaries that the content itself may hold, and know no total
deadline. Requests of the JSON API are all that is needed: a media upload with `ifGenerationMatch=0` (create only), a
media download, a listing by prefix, an object's metadata, a deletion
(https://cloud.google.com/storage/docs/json_api/v1/objects, https://cloud.google.com/storage/docs/request-preconditions).
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import logging
import os
import time
from datetime import datetime
from typing import Any

# Read by gcsfs when it is imported. With its support for zonal buckets on, the first call to a bucket asks Google's
# control plane over gRPC what kind of bucket it is. An emulator has none, so every call would hang for a minute. On
# real GCS it is one more endpoint to reach, and it needs `storage.objects.list` on the whole bucket, which an identity
# confined to a folder lacks (https://cloud.google.com/storage/docs/json_api/v1/buckets/getStorageLayout). The requests
# made here do not depend on the answer. Zonal buckets, which the JSON API cannot write, are not supported.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"

import aiohttp
import gcsfs
from fsspec.exceptions import FSTimeoutError
from google.oauth2 import service_account

from sweep_sidecar.store.folder import BucketFolder
from sweep_sidecar.store.protocol import Creation, Listed, NotFound, Unreachable, UrlUnsupported

EMULATOR = "STORAGE_EMULATOR_HOST"
KEY = "GOOGLE_APPLICATION_CREDENTIALS_JSON"
"""Holds what is in the file that GOOGLE_APPLICATION_CREDENTIALS names, else: a pod gets a Secret as a variable."""
_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
_PAGE = 1000
"""Most names that GCS puts on one page of a listing."""


class _Forbidden(Unreachable):
    """The identity may not do that."""


class GcsStore(BucketFolder):
    """Objects below `gs://<bucket>/<folder>/`, each written once.

    Credentials are those in GOOGLE_APPLICATION_CREDENTIALS_JSON, else Google's application default ones: workload
    identity, a service account's key in the file that GOOGLE_APPLICATION_CREDENTIALS names, or the metadata server.
    Without the first, there are none with an emulator (STORAGE_EMULATOR_HOST), and only with an emulator: gcsfs left to
    itself would fall back to anonymous access, which ends in a puzzling 401.
    """

    def __init__(self, *, bucket: str, folder: str, deadline_s: float) -> None:
        # gcsfs logs every failed try with its traceback; what matters is raised here, in one sentence.
        logging.getLogger("gcsfs").setLevel(logging.CRITICAL)
        self._bucket = bucket
        super().__init__(folder=folder, deadline_s=deadline_s)
        # Timeouts of one try, so that a connection gone silent is retried inside the deadline.
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=20)
        emulated = bool(os.environ.get(EMULATOR))
        key = os.environ.get(KEY)
        try:
            self._gcs = gcsfs.GCSFileSystem(
                token=_credentials(key) if key else "anon" if emulated else "google_default",
                access="read_write",
                # An egress proxy of the cluster's (HTTPS_PROXY) leads to Google; an emulator is near.
                session_kwargs={"timeout": timeout, "trust_env": not emulated},
                skip_instance_cache=True,
            )
        except UrlUnsupported:
            raise
        except Exception as error:
            raise Unreachable(
                f"no credentials for {self.url}: {error}. Give the pods' service account a workload identity"
            ) from error

    @property
    def url(self) -> str:
        return f"gs://{self._bucket}/{self._folder}".rstrip("/")

    def create(self, key: str, data: bytes, *, deadline_s: float | None = None) -> Creation:
        ends = self._ends(deadline_s)
        try:
            answer = self._call(
                "POST",
                f"{self._gcs._location}/upload/storage/v1/b/{{}}/o",
                self._bucket,
                what=f"create {key}",
                ends=ends,
                uploadType="media",
                name=self._name(key),
                ifGenerationMatch="0",
                headers={"Content-Type": "application/octet-stream"},
                data=_Body(data),
                json_out=True,
            )
        except FileExistsError:
            return self._compared(key, data, ends=ends)
        except _Forbidden as refused:
            # To replace an object takes the right to delete. An identity without it may be told so before anybody looks
            # at the condition; of a name that is free it is a refusal in truth.
            try:
                return self._compared(key, data, ends=ends)
            except Unreachable:
                raise refused from None
        except FileNotFoundError as error:
            raise self._no_bucket("create " + key) from error
        if _holds(answer, data) is False:
            raise Unreachable(f"{self.url}/{key} was stored with a wrong checksum: {answer.get('md5Hash')}")
        return Creation.CREATED

    def get(
        self, key: str, *, start: int | None = None, end: int | None = None, deadline_s: float | None = None
    ) -> bytes:
        if end is not None and end <= (start or 0):
            return b""
        ends = self._ends(deadline_s)
        headers = {}
        if start is not None or end is not None:
            headers["Range"] = f"bytes={start or 0}-{'' if end is None else end - 1}"
        try:
            _, data = self._call(
                "GET",
                f"{self._gcs._location}/download/storage/v1/b/{{}}/o/{{}}",
                self._bucket,
                self._name(key),
                what=f"read {key}",
                ends=ends,
                alt="media",
                headers=headers,
            )
        except FileNotFoundError as error:
            # A bucket that is not there is answered in the same way; the listing tells them apart.
            self.list(key, limit=1, deadline_s=max(0.0, ends - time.monotonic()))
            raise NotFound(f"{self.url}/{key} does not exist") from error
        except Unreachable as error:
            if getattr(error.__cause__, "code", None) == 416:  # the object ends before the range begins
                return b""
            raise
        return bytes(data)

    def list(self, prefix: str, *, limit: int | None = None, deadline_s: float | None = None) -> list[Listed]:
        ends = self._ends(deadline_s)
        found: list[Listed] = []
        token = None
        while True:
            wanted = _PAGE if limit is None else min(_PAGE, limit - len(found))
            try:
                page = self._call(
                    "GET",
                    "b/{}/o",
                    self._bucket,
                    what=f"list {prefix}",
                    ends=ends,
                    prefix=self._name(prefix),
                    maxResults=wanted,
                    fields="items(name,size,timeCreated),nextPageToken",
                    pageToken=token,
                    json_out=True,
                )
            except FileNotFoundError as error:
                raise self._no_bucket("list " + prefix) from error
            found += [self._listed(item) for item in page.get("items", [])]
            token = page.get("nextPageToken")
            if not token or (limit is not None and len(found) >= limit):
                return found

    def _listed(self, item: dict[str, Any]) -> Listed:
        # Not `updated`: a change of the storage class makes no old object a young one.
        created = datetime.fromisoformat(item["timeCreated"])
        return Listed(key=self._key(item["name"]), size=int(item["size"]), modified=created.timestamp())

    def delete(self, key: str, *, deadline_s: float | None = None) -> None:
        ends = self._ends(deadline_s)
        try:
            self._call("DELETE", "b/{}/o/{}", self._bucket, self._name(key), what=f"delete {key}", ends=ends)
        except FileNotFoundError:
            return

    def _compared(self, key: str, data: bytes, *, ends: float) -> Creation:
        """Tell somebody's object from this call's own: a try whose reply was lost makes the next one fail as well."""
        holds = _holds(self._metadata(key, ends=ends), data)
        if holds is None:
            holds = self.get(key, deadline_s=max(0.0, ends - time.monotonic())) == data
        return Creation.CREATED if holds else Creation.EXISTS

    def _metadata(self, key: str, *, ends: float) -> dict[str, Any]:
        try:
            found: dict[str, Any] = self._call(
                "GET",
                "b/{}/o/{}",
                self._bucket,
                self._name(key),
                what=f"look at {key}",
                ends=ends,
                json_out=True,
            )
        except FileNotFoundError as error:
            # It was there a moment ago: somebody deletes objects of this run.
            raise Unreachable(f"{self.url}/{key} vanished while it was being created") from error
        return found

    def _call(self, method: str, path: str, *arguments: str, what: str, ends: float, **options: Any) -> Any:
        """Ask GCS; retries are gcsfs' own, cut off at `ends` (monotonic seconds)."""
        left_s = ends - time.monotonic()
        if left_s <= 0:
            raise Unreachable(f"cannot {what} in {self.url}: the deadline has passed")
        try:
            return self._gcs.call(method, path, *arguments, timeout=left_s, **options)
        except (FileExistsError, FileNotFoundError):
            raise
        except FSTimeoutError as error:
            raise Unreachable(f"cannot {what} in {self.url}: no answer within {left_s:.0f} s") from error
        except Exception as error:
            # gcsfs lets through errors of aiohttp, requests, google-auth and its own: all mean "could not".
            is_forbidden = isinstance(error, OSError) and str(error).startswith("Forbidden: ")  # gcsfs' word for 403
            kind = _Forbidden if is_forbidden else Unreachable
            raise kind(f"cannot {what} in {self.url}: {type(error).__name__}: {error}") from error

    def _no_bucket(self, what: str) -> Unreachable:
        return Unreachable(f"cannot {what} in {self.url}: bucket {self._bucket!r} does not exist")


def _credentials(key: str) -> Any:
    """Return the credentials that a service account's key holds; nothing of it may get into a message."""
    try:
        known = json.loads(key)
        return service_account.Credentials.from_service_account_info(known, scopes=[_SCOPE])  # type: ignore[no-untyped-call]
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise UrlUnsupported(
            f"{KEY} holds no service account's key ({type(error).__name__}): it must be the text of the JSON file that "
            "`gcloud iam service-accounts keys create` writes"
        ) from None


class _Body(io.BytesIO):
    """A request's body that can be sent again: aiohttp closes what it has sent, gcsfs rewinds it for its next try."""

    def close(self) -> None:
        """Stay open."""


def _holds(metadata: dict[str, Any], data: bytes) -> bool | None:
    """Return whether an object's metadata is that of `data`, None where it does not say.

    Objects composed of others, and some that are encrypted with a customer's keys, have no MD5.
    """
    if int(metadata["size"]) != len(data):
        return False
    if "md5Hash" not in metadata:
        return None
    md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
    return bool(metadata["md5Hash"] == md5)
