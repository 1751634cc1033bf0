"""fake-gcs-server: Google Cloud Storage's protocol, with its objects in a directory."""

from __future__ import annotations

import json

from integration.store.server import Server, new_name
from rig.binaries import binary


class Emulator(Server):
    scheme = "gs"

    def command(self) -> list[str]:
        return [
            str(binary("fake-gcs-server")),
            *("-scheme", "http", "-host", "127.0.0.1", "-port", str(self.port)),
            *("-public-host", f"127.0.0.1:{self.port}", "-external-url", self.url),
            *("-backend", "filesystem", "-filesystem-root", str(self.directory), "-log-level", "error"),
        ]

    def make_bucket(self) -> str:
        name = new_name()
        body = json.dumps({"name": name}).encode()
        self.ask("POST", "/storage/v1/b?project=test", body, {"Content-Type": "application/json"})
        return name

    def fill(self, bucket: str, prefix: str, count: int) -> None:
        requests = [
            f"POST /upload/storage/v1/b/{bucket}/o?uploadType=media&name={prefix}{number:05d} HTTP/1.1\r\n"
            f"Host: 127.0.0.1:{self.port}\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n"
            for number in range(count)
        ]
        self.ask_at_once(requests, expect=b"HTTP/1.1 200")

    def environment(self, url: str, *, bucket: str, may_delete: bool = True) -> dict[str, str]:
        assert may_delete, "this server knows no rights"
        return {"STORAGE_EMULATOR_HOST": url}
