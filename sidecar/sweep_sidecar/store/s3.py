"""The store in S3 and what speaks its protocol: `s3://bucket/path`.

s3fs brings credentials, endpoints and connections. Its file system methods are left aside for the plain asynchronous
client underneath: they cache listings, retry without a total deadline, and hide which condition has failed. No object
is larger than one request may be, so five requests are all that is needed
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html).
"""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import time
from typing import Any

import aiohttp
import s3fs
from botocore import exceptions
from botocore.parsers import ResponseParserError

from sweep_sidecar.store.folder import BucketFolder
from sweep_sidecar.store.protocol import Creation, Listed, NotFound, StoreNotCreateOnly, Unreachable
from sweep_sidecar.store.trying import AGAIN, CONNECT_TIMEOUT_S, READ_TIMEOUT_S, Again, tried

_PAGE = 1000
"""Most names that S3 puts on one page of a listing."""
_PASSING = AGAIN | {409}
"""409 says that another create of this very key is under way; only 412 says that one has won."""
_BROKEN = (
    exceptions.HTTPClientError,
    exceptions.ConnectionError,
    ResponseParserError,
    exceptions.CredentialRetrievalError,
    exceptions.MetadataRetrievalError,
    aiohttp.ClientError,
    OSError,
)
"""No answer, half of one, or none that is S3's; the same where the role's credentials are fetched."""


class S3Store(BucketFolder):
    """Objects below `s3://<bucket>/<folder>/`, each written once.

    Credentials are found as by every AWS client: a role of the pod's service account (IRSA or EKS Pod Identity),
    AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the metadata server. AWS_ENDPOINT_URL leads to another server of
    the protocol.
    """

    def __init__(self, *, bucket: str, folder: str, deadline_s: float) -> None:
        logging.getLogger("botocore").setLevel(logging.CRITICAL)
        logging.getLogger("aiobotocore").setLevel(logging.CRITICAL)
        self._bucket = bucket
        super().__init__(folder=folder, deadline_s=deadline_s)
        # EKS sets the first, the client reads the second alone.
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        self._s3 = s3fs.S3FileSystem(
            skip_instance_cache=True,
            client_kwargs={"region_name": region} if region else {},
            config_kwargs={
                "connect_timeout": CONNECT_TIMEOUT_S,
                "read_timeout": READ_TIMEOUT_S,
                "retries": {"mode": "standard", "total_max_attempts": 1},
                # Other servers of the protocol do not know the checksums that AWS has added; all know Content-MD5.
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
            },
        )

    @property
    def url(self) -> str:
        return f"s3://{self._bucket}/{self._folder}".rstrip("/")

    def create(self, key: str, data: bytes, *, deadline_s: float | None = None) -> Creation:
        ends = self._ends(deadline_s)
        md5 = hashlib.md5(data, usedforsecurity=False).digest()
        try:
            self._ask(
                "put_object",
                what=f"create {key}",
                ends=ends,
                Key=self._name(key),
                Body=data,
                IfNoneMatch="*",
                ContentMD5=base64.b64encode(md5).decode(),
                ContentType="application/octet-stream",
            )
        except exceptions.ClientError as error:
            if _code(error) in ("PreconditionFailed", "412"):
                holds = self._holds(key, data, md5=md5.hex(), ends=ends)
                return Creation.CREATED if holds else Creation.EXISTS
            if _status(error) == 501:
                raise StoreNotCreateOnly(
                    f"{self.url} does not know conditional writes (If-None-Match): {_said(error)}. "
                    "Use a server of S3 that does"
                ) from error
            raise self._refused(f"create {key}", error) from error
        return Creation.CREATED

    def get(
        self, key: str, *, start: int | None = None, end: int | None = None, deadline_s: float | None = None
    ) -> bytes:
        if end is not None and end <= (start or 0):
            return b""
        ranged = {}
        if start is not None or end is not None:
            ranged["Range"] = f"bytes={start or 0}-{'' if end is None else end - 1}"
        try:
            answer = self._ask(
                "get_object", what=f"read {key}", ends=self._ends(deadline_s), Key=self._name(key), **ranged
            )
        except exceptions.ClientError as error:
            # Only this word says that the bucket is there and the key is not: a wrong endpoint answers 404 as well.
            if _code(error) == "NoSuchKey":
                raise NotFound(f"{self.url}/{key} does not exist") from error
            if _status(error) == 416:
                return b""
            raise self._refused(f"read {key}", error) from error
        return bytes(answer["Body"])

    def list(self, prefix: str, *, limit: int | None = None, deadline_s: float | None = None) -> list[Listed]:
        ends = self._ends(deadline_s)
        found: list[Listed] = []
        token: dict[str, str] = {}
        while True:
            wanted = _PAGE if limit is None else min(_PAGE, limit - len(found))
            try:
                page = self._ask(
                    "list_objects_v2",
                    what=f"list {prefix}",
                    ends=ends,
                    Prefix=self._name(prefix),
                    MaxKeys=wanted,
                    **token,
                )
            except exceptions.ClientError as error:
                raise self._refused(f"list {prefix}", error) from error
            found += [
                Listed(key=self._key(item["Key"]), size=int(item["Size"]), modified=item["LastModified"].timestamp())
                for item in page.get("Contents", [])
            ]
            if not page.get("IsTruncated") or (limit is not None and len(found) >= limit):
                return found
            if not page.get("NextContinuationToken"):
                raise Unreachable(f"cannot list {prefix} in {self.url}: a page says there is more, but not where")
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def delete(self, key: str, *, deadline_s: float | None = None) -> None:
        try:
            self._ask("delete_object", what=f"delete {key}", ends=self._ends(deadline_s), Key=self._name(key))
        except exceptions.ClientError as error:
            if _code(error) != "NoSuchKey":
                raise self._refused(f"delete {key}", error) from error

    def _holds(self, key: str, data: bytes, *, md5: str, ends: float) -> bool:
        """Return whether the object that stands under `key` is this one, written by a try whose reply was lost."""
        try:
            metadata = self._ask("head_object", what=f"look at {key}", ends=ends, Key=self._name(key))
        except exceptions.ClientError as error:
            if _status(error) == 404:
                raise Unreachable(f"{self.url}/{key} vanished while it was being created") from error
            raise self._refused(f"look at {key}", error) from error
        if int(metadata["ContentLength"]) != len(data):
            return False
        if metadata.get("ETag", "").strip('"') == md5:
            return True
        # An ETag is the MD5 only without encryption by the customer's keys.
        return self.get(key, deadline_s=max(0.0, ends - time.monotonic())) == data

    def _ask(self, operation: str, *, what: str, ends: float, **parameters: Any) -> dict[str, Any]:
        async def attempt() -> dict[str, Any]:
            try:
                client = await self._s3.set_session()
                answer: dict[str, Any] = await getattr(client, operation)(Bucket=self._bucket, **parameters)
                if "Body" in answer:
                    async with answer["Body"] as body:
                        answer["Body"] = await body.read()
                return answer
            except exceptions.ClientError as error:
                # S3 says of a body that came too slowly that the request was bad.
                if _status(error) in _PASSING or _code(error) == "RequestTimeout":
                    raise Again(_said(error)) from error
                raise
            except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError) as error:
                raise Unreachable(
                    f"no credentials for {self.url}: {error}. Give the pods' service account a role, or set "
                    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                ) from error
            except _BROKEN as error:
                raise Again(f"{type(error).__name__}: {error}") from error
            except exceptions.BotoCoreError as error:
                raise Unreachable(f"cannot {what} in {self.url}: {type(error).__name__}: {error}") from error

        return tried(attempt, what=f"{what} in {self.url}", ends=ends)

    def _refused(self, what: str, error: exceptions.ClientError) -> Unreachable:
        if _code(error) == "NoSuchBucket":
            return Unreachable(f"cannot {what} in {self.url}: bucket {self._bucket!r} does not exist")
        return Unreachable(f"cannot {what} in {self.url}: {_said(error)}")


def _status(error: exceptions.ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _code(error: exceptions.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _said(error: exceptions.ClientError) -> str:
    return f"{_status(error)} {_code(error)}: {error.response.get('Error', {}).get('Message', '')}".rstrip(": ")
