from __future__ import annotations

import hashlib
import http.server
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from gzip import decompress
from pathlib import Path
from typing import ClassVar

import pytest

from rig import pause


class _Registry(http.server.BaseHTTPRequestHandler):
    """Takes uploads as the distribution specification says, and refuses blobs that do not match their digest."""

    blobs: ClassVar[dict[str, bytes]] = {}
    manifests: ClassVar[dict[str, bytes]] = {}

    def do_HEAD(self) -> None:
        self._answer(200 if self.path in self.manifests else 404)

    def do_POST(self) -> None:
        self._body()
        self._answer(202, Location="/v2/pause/blobs/uploads/1?_state=x")

    def do_PUT(self) -> None:
        body = self._body()
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        if "/manifests/" in self.path:
            self.manifests[self.path] = body
        elif self.path.endswith(f"digest={digest}"):
            self.blobs[digest] = body
        else:
            return self._answer(400)
        return self._answer(201)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def _answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()


@pytest.fixture
def registry() -> Iterator[str]:
    _Registry.blobs.clear()
    _Registry.manifests.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Registry) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "pause"
    path.write_bytes(b"\x7fELF, say")
    return path


def test_pushed_image_holds_the_program_and_starts_it(registry: str, program: Path) -> None:
    pause.push(program, registry=registry)

    tag = pause.reference(program).rpartition(":")[2]
    manifest = json.loads(_Registry.manifests[f"/v2/pause/manifests/{tag}"])
    config = json.loads(_Registry.blobs[manifest["config"]["digest"]])
    layer = decompress(_Registry.blobs[manifest["layers"][0]["digest"]])
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
        entry = archive.getmember(config["config"]["Entrypoint"][0].lstrip("/"))
        content = archive.extractfile(entry)
        assert content is not None
        assert content.read() == program.read_bytes()
        assert entry.mode & 0o111


def test_pushed_image_is_not_pushed_again(registry: str, program: Path) -> None:
    pause.push(program, registry=registry)
    _Registry.blobs.clear()

    pause.push(program, registry=registry)

    assert _Registry.blobs == {}
