"""A real fake-gcs-server, on loopback, for the tests of this folder."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rig.binaries import binary


class Emulator:
    """fake-gcs-server with its objects in a directory, so that it can be stopped and started again."""

    def __init__(self, directory: Path) -> None:
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                str(binary("fake-gcs-server")),
                *("-scheme", "http", "-host", "127.0.0.1", "-port", str(self.port)),
                *("-public-host", f"127.0.0.1:{self.port}", "-external-url", self.url),
                *("-backend", "filesystem", "-filesystem-root", str(self._directory), "-log-level", "error"),
            ]
        )
        deadline = time.monotonic() + 30
        while True:
            try:
                self.ask("GET", "/storage/v1/b?project=test")
                return
            except OSError:
                assert time.monotonic() < deadline, "fake-gcs-server did not start"
                assert self._process.poll() is None, "fake-gcs-server ended"
                time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def make_bucket(self) -> str:
        name = f"bucket-{uuid.uuid4().hex[:8]}"
        self.ask("POST", "/storage/v1/b?project=test", json.dumps({"name": name}).encode())
        return name

    def ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data=body, headers=headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            content: bytes = answer.read()
            return content


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    running = Emulator(tmp_path_factory.mktemp("gcs"))
    running.start()
    yield running
    running.stop()


@pytest.fixture
def bucket(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator.url)
    return emulator.make_bucket()


@pytest.fixture
def start_emulator(tmp_path: Path) -> Iterator[Callable[[], Emulator]]:
    """Start one for this test alone, which may stop it."""
    started: list[Emulator] = []

    def start() -> Emulator:
        started.append(Emulator(tmp_path / "gcs"))
        started[-1].start()
        return started[-1]

    yield start
    for one in started:
        one.stop()


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port
