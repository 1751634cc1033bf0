"""A bare asynchronous client of the API server: the limit that the operator is held against, and the bench's hands."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp

AT_ONCE = 50
"""As many requests in flight as the operator allows itself."""

_METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"


class Client:
    """Sends JSON with the administrator's token; nothing of an answer is read beyond what is asked for."""

    def __init__(self, kubeconfig: Path) -> None:
        config = json.loads(kubeconfig.read_text())
        cluster = config["clusters"][0]["cluster"]
        self._server = cluster["server"]
        self._token = config["users"][0]["user"]["token"]
        self._authority = base64.b64decode(cluster["certificate-authority-data"]).decode()

    async def __aenter__(self) -> Client:
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cadata=self._authority), limit=4 * AT_ONCE)
        headers = {"Authorization": f"Bearer {self._token}"}
        self._session = aiohttp.ClientSession(connector=connector, headers=headers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def send(self, method: str, path: str, body: Any = None, *, content_type: str = "application/json") -> Any:
        """Send a request and return the decoded answer; raises ``RuntimeError`` where the server refuses it."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": content_type, "Accept": "application/json"}
        async with self._session.request(method, self._server + path, data=data, headers=headers) as answer:
            text = await answer.read()
            if answer.status >= 300:
                raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]!r}")
        return json.loads(text) if text[:1] in b"{[" else text.decode()

    async def get(self, path: str) -> Any:
        """GET an object or a list."""
        return await self.send("GET", path)

    async def create(self, path: str, body: Any) -> None:
        """POST an object and pass over the answer: whoever only creates need not decode it."""
        data = json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        async with self._session.post(self._server + path, data=data, headers=headers) as answer:
            text = await answer.read()
            if answer.status >= 300:
                raise RuntimeError(f"POST {path}: {answer.status} {text[:300]!r}")

    async def patch_status(self, path: str, status: dict[str, Any]) -> None:
        """Merge into the status of the object at `path`, as its kubelet would."""
        kind = "application/strategic-merge-patch+json"
        await self.send("PATCH", f"{path}/status", {"status": status}, content_type=kind)

    async def watch(self, path: str, *, version: str, selector: str = "") -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Yield type and metadata of what happens in a collection after `version`, until cancelled."""
        query = {"watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true", "timeoutSeconds": "3600"}
        if selector:
            query["labelSelector"] = selector
        timeout = aiohttp.ClientTimeout(total=None)
        url, headers = self._server + path, {"Accept": _METADATA_ONLY}
        async with self._session.get(url, params=query, headers=headers, timeout=timeout) as answer:
            rest = b""
            async for piece in answer.content.iter_any():
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise RuntimeError(f"watch of {path}: {event['object']}")
                    yield event["type"], event["object"]["metadata"]


async def all_of(work: Iterable[Callable[[], Awaitable[Any]]], *, at_once: int = AT_ONCE) -> None:
    """Do all of it, so much at a time."""
    pieces = iter(work)

    async def worker() -> None:
        for piece in pieces:
            await piece()

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(worker())
