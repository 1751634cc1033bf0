from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import certifi
import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration

from sweep_operator.kube.client import ApiError, KubeClient


class Server:
    """Answers everything, and keeps what it was asked with."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []
        self.accepts: list[str] = []
        self.port = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.requests.append((request.method, request.headers.get("Authorization", "")))
        self.accepts.append(request.headers["Accept"])
        return web.json_response({})


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    serving = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", serving.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    serving.port = runner.addresses[0][1]
    yield serving
    await runner.cleanup()


def client_of(server: Server) -> KubeClient:
    return KubeClient(Configuration(host=f"http://127.0.0.1:{server.port}"))


async def test_behind_a_closed_fence_nothing_but_reads_is_sent(server: Server) -> None:
    client = client_of(server)
    leads = True
    fenced = client.fenced(lambda: leads)
    await fenced.create("/pods", {})
    leads = False
    for write in (fenced.create("/pods", {}), fenced.replace("/pods/a", {}), fenced.delete("/pods/a", uid="u")):
        with pytest.raises(ApiError, match="this process does not decide any more") as refused:
            await write
        assert refused.value.status == 0
    await fenced.get("/pods")
    await client.create("/tokenreviews", {})
    assert [method for method, _ in server.requests] == ["POST", "GET", "POST"]
    await client.close()


async def test_a_list_may_be_of_metadata_alone(server: Server) -> None:
    client = client_of(server)
    await client.get("/sweeps", metadata_only=True)
    await client.get("/sweeps")
    assert server.accepts == [
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
        "application/json",
    ]
    await client.close()


async def test_each_request_has_the_token_of_its_time(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.port))
    (tmp_path / "ca.crt").write_text(certifi.contents())
    (tmp_path / "token").write_text("first\n")
    client = await KubeClient.connect(account=tmp_path)
    assert client.server == f"https://127.0.0.1:{server.port}"
    # The server of this test speaks no TLS.
    client._configuration.host = client.server.replace("https", "http")
    async with client.session() as session:
        await client.get("/pods")
        await session.get(f"{client.server}/sweeps", headers={"Accept": "x"})
        (tmp_path / "token").write_text("second\n")
        await client.get("/pods")
        await session.get(f"{client.server}/sweeps", headers={"Accept": "x"})
    assert [token for _, token in server.requests] == ["Bearer first"] * 2 + ["Bearer second"] * 2
    await client.close()


async def test_every_request_is_told_of_with_what_came_of_it() -> None:
    async def answer(request: web.Request) -> web.Response:
        special = {
            "/refused": web.json_response({"message": "no"}, status=403),
            "/broken": web.Response(text="no JSON"),
            "/watched": web.Response(text='{"type": "BOOKMARK"}\n'),
        }
        return special.get(request.path, web.json_response({}))

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    told: list[tuple[str, str, int]] = []
    client = KubeClient(
        Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}"),
        observed=lambda verb, path, status, seconds: told.append((verb, path, status)),
    )
    await client.get("/pods/a")
    await client.create("/pods", {})
    await client.create("/pods", {}, dry_run=True)
    await client.fenced(lambda: True).replace("/pods/a", {})
    await client.delete("/pods/a", uid="u")
    # What was deleted is in the answer, which nobody reads.
    await client.delete("/broken", uid="u")
    async for _ in client.watch("/watched", version="1", query={}):
        pass
    async with client.session() as session:
        await session.get(f"{client.server}/sweeps", params={"watch": "true"})
    for path in ("/refused", "/broken"):
        with pytest.raises(ApiError):
            await client.get(path)
    await runner.cleanup()
    with pytest.raises(ApiError):
        await client.get("/nobody")
    await client.close()
    assert told == [
        ("get", "/pods/a", 200),
        ("create", "/pods", 200),
        ("dry-run", "/pods", 200),
        ("update", "/pods/a", 200),
        ("delete", "/pods/a", 200),
        ("delete", "/broken", 200),
        ("watch", "/watched", 200),
        ("watch", "/sweeps", 200),
        ("get", "/refused", 403),
        ("get", "/broken", 0),
        ("get", "/nobody", 0),
    ]


@pytest.mark.parametrize(
    ("variables", "proxied"),
    [({}, False), ({"HTTP_PROXY": "x"}, True), ({"HTTP_PROXY": "x", "NO_PROXY": "127.0.0.1"}, False)],
)
async def test_a_proxy_of_the_environment_is_asked_instead(
    server: Server, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], proxied: bool
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, f"http://127.0.0.1:{server.port}" if value == "x" else value)
    client = KubeClient(Configuration(host="http://127.0.0.1:9"))
    if proxied:
        assert await client.get("/pods") == {}
    else:
        with pytest.raises(ApiError, match="ClientConnectorError"):
            await client.get("/pods")
    await client.close()


async def test_no_thread_is_asked_for_a_request(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of(server)
    await client.get("/pods")
    asked: list[object] = []
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "run_in_executor", lambda *given: asked.append(given))
    await client.create("/pods", {})
    assert asked == []
    await client.close()
