"""Requests to the API server as plain JSON, over the official client's connection and credentials.

The typed models of the official client cost more time and memory than all else the operator does (2,000 pods: 2.2 s
typed, 1.2 s as JSON), and the operator reads a dozen fields of each pod.
"""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config.incluster_config import InClusterConfigLoader

_T = TypeVar("_T")

REQUEST_SECONDS = 30.0
WATCH_SECONDS = 300
_WATCH_SILENCE_SECONDS = 120.0
"""A watch that brings nothing for so long is opened anew: the API server sends a bookmark about every minute."""

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_JSON = "application/json"
_METADATA_ONLY = f"application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,{_JSON}"


Observed = Callable[[str, str, int, float], None]
"""Called with each request's verb, path, HTTP status (0 where there was no answer) and seconds; of a watch, with the
seconds until it begins."""


def _unobserved(verb: str, path: str, status: int, seconds: float) -> None:
    pass


def _verb(method: str, query: Mapping[str, str] | None) -> str:
    """Return the verb by which Kubernetes' rights call a request of this method."""
    if method == "GET":
        return "watch" if "watch" in (query or ()) else "get"
    if "dryRun" in (query or ()):
        return "dry-run"
    return {"POST": "create", "PUT": "update"}.get(method, method.lower())


class ApiError(Exception):
    """The API server refused a request; `status` is the HTTP code, 0 where there was no answer at all."""

    def __init__(
        self, status: int, message: str, *, reason: str = "", causes: tuple[str, ...] = (), retry_after: float = 0.0
    ) -> None:
        super().__init__(f"{status} {reason}: {message}" if status else message)
        self.status = status
        self.reason = reason
        self.message = message
        self.causes = causes
        self.retry_after = retry_after


class KubeClient:
    """One connection pool to one API server.

    Raises
    ------
    ApiError
        From every request that does not succeed, whatever the cause.
    """

    def __init__(self, configuration: Configuration, *, observed: Observed = _unobserved) -> None:
        # Else each request would look twice, in a thread each time, for a proxy and a password in the environment.
        configuration.proxy = configuration.proxy or _proxy_for(str(configuration.host))
        configuration.client_session_kwargs = {"trust_env": False}
        self._api = ApiClient(configuration)
        self._configuration = configuration
        self._observed = observed
        self._may_write: Callable[[], bool] = lambda: True

    @classmethod
    async def connect(cls, *, account: Path = SERVICE_ACCOUNT, observed: Observed = _unobserved) -> KubeClient:
        """Return a client for the cluster that KUBECONFIG names, or else the one whose pod this process runs in.

        `account` is the folder in which a pod finds its token and the API server's authority.
        """
        configuration = Configuration()
        if not os.environ.get("KUBECONFIG") and (account / "token").exists():
            _load_account(configuration, account)
        else:
            await config.load_kube_config(client_configuration=configuration)
        return cls(configuration, observed=observed)

    def fenced(self, may_write: Callable[[], bool]) -> KubeClient:
        """Return a client on the same connections that sends nothing but reads unless `may_write` is true just then."""
        fenced = copy.copy(self)
        fenced._may_write = may_write
        return fenced

    @property
    def server(self) -> str:
        """URL of the API server."""
        return str(self._configuration.host)

    def session(self) -> aiohttp.ClientSession:
        """Return a session for somebody else, who closes it; each of its requests has the credentials of that time."""
        rest = self._api.rest_client

        async def authorize(
            request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
        ) -> aiohttp.ClientResponse:
            began, status = time.monotonic(), 0
            try:
                request.headers.update(await self._credentials(request.method, request.url.path))
                response = await handler(request)
                status = response.status
                return response
            finally:
                verb = _verb(request.method, request.url.query)
                self._observed(verb, request.url.path, status, time.monotonic() - began)

        connector = aiohttp.TCPConnector(limit=0, ssl=rest.ssl_context)
        return aiohttp.ClientSession(connector=connector, proxy=rest.proxy, middlewares=(authorize,))

    async def close(self) -> None:
        """Give the connections back."""
        await self._api.close()

    async def get(
        self, path: str, query: Mapping[str, str] | None = None, *, metadata_only: bool = False
    ) -> dict[str, Any]:
        """Return the object or list at `path`; with `metadata_only` a list of nothing but the objects' metadata."""
        return await self._request(
            "GET", path, query=query, accept=_METADATA_ONLY if metadata_only else _JSON, decoded=_object
        )

    async def create(self, path: str, body: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """Create an object in the collection at `path` and return it as stored, or as it would be by a dry run."""
        return await self._request(
            "POST", path, query={"dryRun": "All"} if dry_run else None, body=body, decoded=_object
        )

    async def replace(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Replace the object at `path`, on condition of the resourceVersion in `body`, and return it."""
        return await self._request("PUT", path, body=body, decoded=_object)

    async def delete(self, path: str, *, uid: str, grace_seconds: int | None = None) -> None:
        """Delete the object at `path` if it is still the one with this UID; all of it is in the answer, unread."""
        options: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Background",
        }
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        await self._request("DELETE", path, body=options, decoded=lambda _: None)

    async def watch(self, path: str, *, version: str, query: Mapping[str, str]) -> AsyncIterator[dict[str, Any]]:
        """Yield the events of a watch until the server ends it."""
        parameters = {
            **query,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=_WATCH_SILENCE_SECONDS)
        began, status = time.monotonic(), 0
        try:
            response = await self._send("GET", path, query=parameters, body=None, timeout=timeout)
            status = response.status
        finally:
            self._observed("watch", path, status, time.monotonic() - began)
        try:
            if response.status != 200:
                raise await _error_of(response)
            async for line in _lines(response):
                yield json.loads(line)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise ApiError(0, f"watch of {path} broke off: {error!r}") from error
        finally:
            response.close()

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        accept: str = _JSON,
        decoded: Callable[[bytes], _T],
    ) -> _T:
        if method != "GET" and not self._may_write():
            raise ApiError(0, f"{method} {path}: not sent, this process does not decide any more")
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS, sock_connect=10)
        began, status = time.monotonic(), 0
        try:
            response = await self._send(method, path, query=query, body=body, timeout=timeout, accept=accept)
            try:
                if response.status >= 300:
                    refusal = await _error_of(response)
                    status = response.status
                    raise refusal
                answer = decoded(await response.read())
                status = response.status
                return answer
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                raise ApiError(0, f"{method} {path}: {error!r}") from error
            finally:
                response.release()
        finally:
            self._observed(_verb(method, query), path, status, time.monotonic() - began)

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None,
        body: Mapping[str, Any] | None,
        timeout: aiohttp.ClientTimeout,
        accept: str = _JSON,
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": accept, "Content-Type": _JSON, "User-Agent": "resumable-sweep"}
        url = self._configuration.host + path + ("?" + urlencode(query) if query else "")
        try:
            headers.update(await self._credentials(method, path))
            answer = await self._api.call_api(method, url, headers, body=body, _request_timeout=timeout)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(0, f"{method} {path}: {error!r}") from error
        response: aiohttp.ClientResponse = answer.response
        return response

    async def _credentials(self, method: str, path: str) -> dict[str, str]:
        """Return the headers by which the API server knows us, as of now."""
        headers: dict[str, str] = {}
        auth = await self._configuration.auth_settings()
        await self._api.update_params_for_auth(headers, [], list(auth), path, method, None)
        return headers


def _object(answer: bytes) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(answer)
    return decoded


def _proxy_for(server: str) -> str | None:
    """Return the proxy that the environment names for requests to a server."""
    where = urlsplit(server)
    return None if proxy_bypass(where.netloc) else getproxies().get(where.scheme)


def _load_account(configuration: Configuration, account: Path) -> None:
    token = account / "token"
    InClusterConfigLoader(token_filename=str(token), cert_filename=str(account / "ca.crt")).load_and_set(configuration)

    def refresh(configuration: Configuration) -> None:
        # The kubelet puts a new token in its place long before the old one ends: read each time, none is ever too old.
        configuration.api_key["BearerToken"] = f"Bearer {token.read_text().strip()}"

    configuration.refresh_api_key_hook = refresh  # type: ignore[assignment]  # declared by its default, None


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Yield the lines of a body, of whatever length: StreamReader.readline refuses objects beyond its buffer."""
    rest = b""
    async for piece in response.content.iter_any():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line:
                yield line


async def _error_of(response: aiohttp.ClientResponse) -> ApiError:
    try:
        text = await response.text()
    except (aiohttp.ClientError, TimeoutError) as error:
        return ApiError(response.status, repr(error))
    retry_after = response.headers.get("Retry-After", "0")
    try:
        status = json.loads(text)
        details = status.get("details") or {}
        causes = tuple(str(cause.get("reason", "")) for cause in details.get("causes") or ())
        return ApiError(
            response.status,
            str(status.get("message", "")),
            reason=str(status.get("reason", "")),
            causes=causes,
            retry_after=float(retry_after) if retry_after.isdigit() else 0.0,
        )
    except (ValueError, AttributeError):
        return ApiError(response.status, text[:500])
