"""The proxy strikes what it is told to strike, and nothing else."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from faults.proxy import Fate, Proxy, Request, Strike

CONTENT = bytes(range(200))


class Upstream(ThreadingHTTPServer):
    """Answers with the same content, and keeps what it was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    def _answer(self) -> None:
        assert isinstance(self.server, Upstream)
        if self.command == "POST":
            self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT)

    do_GET = do_POST = _answer  # noqa: N815

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def proxy(upstream: Upstream) -> Iterator[Proxy]:
    proxy = Proxy(upstream.server_port)
    yield proxy
    proxy.close()


def asked(port: int, method: str = "GET", path: str = "/bucket/object", body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def strike(fate: Fate, **fields: object) -> Strike:
    return Strike(fate=fate, at=1, seed=11, **fields)  # type: ignore[arg-type]


def test_only_the_request_of_that_number_is_struck(proxy: Proxy) -> None:
    door = proxy.door(strike(Fate.REFUSED, status=503, content=b"struck"))
    assert [asked(door.port) for _ in range(3)] == [(200, CONTENT), (503, b"struck"), (200, CONTENT)]
    assert door.struck == ["REFUSED GET /bucket/object"]


def test_only_what_a_strike_is_for_is_counted(proxy: Proxy) -> None:
    door = proxy.door(strike(Fate.REFUSED, status=503, meets=lambda request: request.writes))
    asked(door.port)
    said = [asked(door.port, "POST", body=b"x")[0] for _ in range(3)]
    assert said == [200, 503, 200]


@pytest.mark.parametrize("fate", [Fate.TRUNCATED, Fate.FLIPPED])
def test_content_that_is_wrong_looks_whole(proxy: Proxy, fate: Fate) -> None:
    door = proxy.door(strike(fate))
    asked(door.port)
    status, content = asked(door.port)
    assert status == 200
    changed = sum((one ^ other).bit_count() for one, other in zip(content, CONTENT, strict=False))
    assert (len(content), changed) == ((100, 0) if fate is Fate.TRUNCATED else (200, 1))


@pytest.mark.parametrize(
    ("fate", "arrived"), [(Fate.RESET, 1), (Fate.CUT, 2), (Fate.LOST, 2), (Fate.LATE, 1), (Fate.KILLED_AFTER, 2)]
)
def test_a_connection_that_ends_leaves_what_it_should(
    proxy: Proxy, upstream: Upstream, fate: Fate, arrived: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[int] = []
    monkeypatch.setattr("faults.proxy.os.kill", lambda pid, number: killed.append(pid))
    door = proxy.door(strike(fate))
    door.pid = 7
    asked(door.port, "POST", body=b"first")
    with pytest.raises((OSError, http.client.HTTPException)):
        asked(door.port, "POST", body=b"second")
    assert upstream.bodies == [b"first", b"second"][:arrived]
    assert killed == ([7] if fate is Fate.KILLED_AFTER else [])
    proxy.deliver(door)
    assert len(upstream.bodies) == (2 if fate is Fate.LATE else arrived)


@pytest.mark.parametrize(
    ("method", "target", "downloads"),
    [
        ("GET", "/download/storage/v1/b/bucket/o/key?alt=media", True),
        ("GET", "/storage/v1/b/bucket/o/key", False),
        ("GET", "/storage/v1/b/bucket/o?prefix=log", False),
        ("GET", "/bucket/key", True),
        ("GET", "/bucket?list-type=2&prefix=log", False),
        ("HEAD", "/bucket/key", False),
        ("PUT", "/bucket/key", False),
    ],
)
def test_a_download_is_told_from_all_else(method: str, target: str, downloads: bool) -> None:
    assert Request(method=method, target=target, headers=(), body=b"").downloads is downloads
