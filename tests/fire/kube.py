"""A small asynchronous client of the API server, for what plays around the operator: it speaks past every proxy."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp

Json = dict[str, Any]
_ERRORS = (aiohttp.ClientError, TimeoutError, OSError)
_WATCH_SECONDS = 240


class Refused(Exception):
    """The API server refused a request; `status` is its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Kube:
    """Speaks to the API server of a kubeconfig that the testbed wrote, within one event loop."""

    def __init__(self, kubeconfig: Path) -> None:
        config = json.loads(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self.server: str = cluster["server"]
        self._tls = ssl.create_default_context(cadata=authority)
        self._headers = {"Authorization": f"Bearer {user['token']}", "Accept": "application/json"}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Kube:
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=0)
        timeout = aiohttp.ClientTimeout(total=30)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, headers=self._headers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def request(self, method: str, path: str, body: Json | None = None, *, kind: str = "") -> Any:
        """Send a request and return what it answers; `kind` is the content type of a patch.

        Raises
        ------
        Refused
        """
        assert self._session is not None
        headers = {"Content-Type": kind or "application/json"}
        data = None if body is None else json.dumps(body)
        try:
            async with self._session.request(method, self.server + path, data=data, headers=headers) as answer:
                text = await answer.text()
                if answer.status >= 300:
                    raise Refused(answer.status, f"{method} {path}: {answer.status} {text[:300]}")
        except _ERRORS as error:
            raise Refused(0, f"{method} {path}: {error!r}") from error
        return json.loads(text)

    async def get(self, path: str) -> Any:
        """GET `path`."""
        return await self.request("GET", path)

    async def create(self, path: str, body: Json) -> Any:
        """POST `body` to the collection `path`."""
        return await self.request("POST", path, body)

    async def patch(self, path: str, body: Json) -> Any:
        """Patch an object as kubelets do: lists of conditions are merged by their types."""
        return await self.request("PATCH", path, body, kind="application/strategic-merge-patch+json")

    async def delete(self, path: str, options: Json | None = None) -> bool:
        """DELETE `path`; False where it is gone, or another one has its name."""
        try:
            await self.request("DELETE", path, options)
        except Refused as error:
            if error.status in (404, 409):
                return False
            raise
        return True

    async def follow(self, path: str, *, selector: str = "") -> AsyncIterator[Json]:
        """Yield the objects of a collection and their changes (`type`, `object`), until cancelled.

        After an interruption all is listed anew: what is there comes as ADDED again, and of what went nothing is said.
        """
        while True:
            try:
                listed = await self.get(path + (f"?labelSelector={selector}" if selector else ""))
                for entry in listed["items"]:
                    yield {"type": "ADDED", "object": entry}
                version = listed["metadata"]["resourceVersion"]
                async for event in self._watch(path, selector, version):
                    yield event
            except Refused:
                await asyncio.sleep(0.2)

    async def _watch(self, path: str, selector: str, version: str) -> AsyncIterator[Json]:
        assert self._session is not None
        query = {"watch": "1", "resourceVersion": version, "timeoutSeconds": str(_WATCH_SECONDS)}
        if selector:
            query["labelSelector"] = selector
        timeout = aiohttp.ClientTimeout(total=None)
        try:
            async with self._session.get(self.server + path, params=query, timeout=timeout) as answer:
                if answer.status != 200:
                    raise Refused(answer.status, await answer.text())
                rest = b""
                async for piece in answer.content.iter_any():
                    *lines, rest = (rest + piece).split(b"\n")
                    for line in lines:
                        event = json.loads(line)
                        if event["type"] == "ERROR":
                            raise Refused(410, str(event["object"]))
                        yield event
        except _ERRORS as error:
            raise Refused(0, repr(error)) from error
