"""Between the operator and the API server, and between the pods and the operator: all of it passes, or does not.

The operator speaks plain HTTP to this, on loopback; this speaks TLS to the API server, with the operator's own token.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
from aiohttp import web

from fire.calls import Call, call_of
from fire.kube import Json, Kube
from fire.loop_thread import LoopThread
from fire.past import Past
from resumable_sweep.contract.report import REPORT_PATH

_ERRORS = (aiohttp.ClientError, TimeoutError, OSError)
_OF_A_HOP = frozenset({"host", "connection", "content-length", "transfer-encoding", "accept-encoding"})


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is answered in the API server's place; without a status the connection breaks off unanswered."""

    status: int = 0
    retry_after: int = 0


class Meddling:
    """Lets everything pass; what meddles overrides what it meddles with."""

    async def before(self, call: Call) -> Answer | None:
        """Be told of a request that has come; what is returned is answered, and the request goes no further."""
        return None

    async def after(self, call: Call) -> bool:
        """Be told that a request was carried out, and return whether its answer is to arrive."""
        return True

    async def answered(self, call: Call) -> None:
        """Be told that an answer has arrived."""

    def event(self, call: Call, event: Json) -> bool:
        """Be told of an event of a watch, and return whether it is to arrive."""
        return True

    async def expires(self, call: Call) -> None:
        """Return when a watch is to end, with the word that its version is too old."""
        await asyncio.Event().wait()

    def past(self, call: Call) -> Past | None:
        """Return what is shown in the place of a collection."""
        return None

    async def open(self, kube: Kube) -> None:
        """Be told that requests may come from now on."""


class Proxy:
    """One operator's (or several operators') way to the API server; a context manager.

    Parameters
    ----------
    namespace:
        Of the nodes only those are shown whose names begin with it: others belong to other tests.
    ports:
        Where the operators listen to reports; each that answers gets its turn.
    """

    def __init__(self, kubeconfig: Path, *, namespace: str, meddling: Meddling, ports: Sequence[int]) -> None:
        self._kubeconfig = kubeconfig
        config = json.loads(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._tls = ssl.create_default_context(cadata=authority)
        self._server: str = cluster["server"]
        self._token: str = user["token"]
        self._nodes_of = f"{namespace}-"
        self._meddling = meddling
        self._ports = ports
        self._turns = itertools.count()
        self._thread = LoopThread("proxy")
        self.calls: list[Call] = []
        """All requests so far, as they came."""
        self.port = 0

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._thread.do(self._open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.do(self._close())
        self._thread.stop()

    def write_kubeconfig(self, path: Path) -> None:
        """Write a kubeconfig by which the operator comes here."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "fire", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "fire", "user": {"token": self._token}}],
            "contexts": [{"name": "fire", "context": {"cluster": "fire", "user": "fire"}}],
            "current-context": "fire",
        }
        path.write_text(json.dumps(config))

    async def _open(self) -> None:
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=0)
        self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_post(REPORT_PATH, self._report)
        app.router.add_route("*", "/{path:.*}", self._pass_on)
        self._kube = Kube(self._kubeconfig)
        await self._kube.__aenter__()
        await self._meddling.open(self._kube)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _close(self) -> None:
        await self._runner.cleanup()
        await self._session.close()
        await self._kube.__aexit__(None, None, None)

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        call = call_of(request.method, request.path, request.query)
        self.calls.append(call)
        body = await request.read()
        said = await self._meddling.before(call)
        if said is not None:
            return _told(said) if said.status else _broken_off(request)
        past = self._meddling.past(call)
        if past is not None and call.verb == "watch":
            return await self._watch(request, call, past.lines(request.query["resourceVersion"]))
        if past is not None and call.verb == "list":
            return web.Response(body=past.listed(), content_type="application/json")
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _OF_A_HOP}
        url = self._server + request.path_qs
        try:
            async with self._session.request(request.method, url, data=body or None, headers=headers) as answer:
                if call.verb == "watch" and answer.status == 200:
                    return await self._watch(request, call, _lines(answer))
                content = await answer.read()
        except _ERRORS:
            return _broken_off(request)
        if call == Call("list", "nodes") and answer.status == 200:
            content = self._of_ours(content)
        if not await self._meddling.after(call):
            return _broken_off(request)
        response = web.Response(status=answer.status, body=content, content_type="application/json")
        with contextlib.suppress(*_ERRORS):  # whoever has asked may be dead by now
            await response.prepare(request)
            await response.write_eof()
        await self._meddling.answered(call)
        return response

    async def _watch(self, request: web.Request, call: Call, lines: AsyncIterator[bytes]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        passing = asyncio.create_task(self._pass_events(response, call, lines))
        expiring = asyncio.create_task(self._meddling.expires(call))
        try:
            await asyncio.wait((passing, expiring), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (passing, expiring):
                task.cancel()
            await asyncio.gather(passing, expiring, return_exceptions=True)
        # Whichever side has gone, the other one sees its end.
        with contextlib.suppress(*_ERRORS):
            if passing.cancelled():
                await response.write(json.dumps(_EXPIRED).encode() + b"\n")
            await response.write_eof()
        return response

    async def _pass_events(self, response: web.StreamResponse, call: Call, lines: AsyncIterator[bytes]) -> None:
        async for line in lines:
            event = json.loads(line)
            if event["type"] not in ("BOOKMARK", "ERROR"):
                if call.resource == "nodes" and not self._is_ours(event["object"]):
                    continue
                if not self._meddling.event(call, event):
                    continue
            await response.write(line.rstrip(b"\n") + b"\n")

    async def _report(self, request: web.Request) -> web.Response:
        """Be the Service: whichever operator's turn it is answers."""
        body, headers = await request.read(), {"Authorization": request.headers.get("Authorization", "")}
        first = next(self._turns)
        for turn in range(len(self._ports)):
            port = self._ports[(first + turn) % len(self._ports)]
            try:
                async with self._session.post(
                    f"http://127.0.0.1:{port}{REPORT_PATH}",
                    data=body,
                    headers=headers,
                    timeout=aiohttp.ClientTimeout(total=5),
                ) as answer:
                    return web.Response(status=answer.status, body=await answer.read())
            except _ERRORS:
                continue
        return web.Response(status=503)

    def _of_ours(self, content: bytes) -> bytes:
        listed = json.loads(content)
        listed["items"] = [node for node in listed["items"] if self._is_ours(node)]
        return json.dumps(listed).encode()

    def _is_ours(self, node: Json) -> bool:
        return bool(node["metadata"]["name"].startswith(self._nodes_of))


async def _lines(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    rest = b""
    async for piece in answer.content.iter_any():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line


def _status(code: int, message: str, reason: str) -> dict[str, Any]:
    """Return an error as the API server tells it."""
    return {
        "apiVersion": "v1",
        "kind": "Status",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }


_EXPIRED = {"type": "ERROR", "object": _status(410, "too old resource version", "Expired")}
_REASONS = {429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable", 504: "Timeout"}


def _told(said: Answer) -> web.Response:
    headers = {"Retry-After": str(said.retry_after)} if said.retry_after else {}
    body = _status(said.status, "struck", _REASONS[said.status])
    return web.Response(status=said.status, headers=headers, body=json.dumps(body), content_type="application/json")


def _broken_off(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
