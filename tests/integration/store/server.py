"""A real server of a store's protocol, as a process on loopback."""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from abc import ABC, abstractmethod
from pathlib import Path

_AT_ONCE = 100


class Server(ABC):
    """Started and stopped by fixtures; its objects lie below `directory`, or in its memory."""

    scheme: str
    """Of the URLs below it."""
    many = 3_100
    """So many objects take several answers to a listing; S3 and GCS give 1,000 in one."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[str] | None = None
        self._filled = ""

    @abstractmethod
    def command(self) -> list[str]:
        """Return what starts it."""

    @abstractmethod
    def make_bucket(self) -> str:
        """Make a bucket and return its name."""

    @abstractmethod
    def fill(self, bucket: str, prefix: str, count: int) -> None:
        """Put so many empty objects into a bucket, `<prefix>00000` and so on, on the shortest way."""

    def filled_bucket(self, prefix: str) -> str:
        """Return a bucket with `many` empty objects below a prefix, made once: only for those who change nothing."""
        if not self._filled:
            bucket = self.make_bucket()
            self.fill(bucket, prefix, self.many)
            self._filled = bucket
        return self._filled

    @abstractmethod
    def environment(self, url: str, *, bucket: str, may_delete: bool = True) -> dict[str, str]:
        """Return the variables by which a store finds the server at `url`: here, or behind a proxy."""

    def variables(self) -> dict[str, str] | None:
        """Return the environment of its process, None for this one's own."""
        return None

    def start(self) -> None:
        self._process = subprocess.Popen(
            self.command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self.variables()
        )
        deadline = time.monotonic() + 60
        while not self._answers():
            assert time.monotonic() < deadline, f"{self.command()[0]} did not start"
            assert self._process.poll() is None, f"{self.command()[0]} ended"
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> bytes:
        request = urllib.request.Request(self.url + path, data=body, headers=headers or {}, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            content: bytes = answer.read()
            return content

    def ask_at_once(self, requests: list[str], *, expect: bytes) -> None:
        """Send many raw requests before their answers are read: one after the other, thousands take minutes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            for at in range(0, len(requests), _AT_ONCE):
                batch = requests[at : at + _AT_ONCE]
                connection.sendall("".join(batch).encode())
                said = b""
                while said.count(expect) < len(batch):
                    piece = connection.recv(1 << 16)
                    assert piece, said
                    said += piece

    def _answers(self) -> bool:
        try:
            self.ask("GET", "/")
        except urllib.error.HTTPError as error:
            error.close()
        except OSError:
            return False
        return True


def new_name() -> str:
    """Return a bucket's name that nobody has."""
    return f"bucket-{uuid.uuid4().hex[:8]}"


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port
