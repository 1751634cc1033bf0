"""A cloud's metadata server on loopback, which announces that it takes its machine whenever it is told to."""

from __future__ import annotations

import threading
import time
from typing import Self

from rig.metadata import NOTICE_SECONDS, Cloud, MetadataServer


class AnnouncingCloud:
    """Compute Engine, for all that a mirror can tell; nothing is announced at first."""

    _KIND: Cloud = "gce"

    def __init__(self) -> None:
        self._goes_at: float | None = None
        self._server = _Server(("127.0.0.1", 0), cloud=self._KIND, node="node", goes_at=lambda: self._goes_at)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def announce(self) -> None:
        """Announce that the machine goes, as long ahead as this cloud does; again does not put it off."""
        if self._goes_at is None:
            self._goes_at = time.time() + NOTICE_SECONDS[self._KIND]

    def withdraw(self) -> None:
        """Let it stay."""
        self._goes_at = None

    def close(self) -> None:
        """Be gone."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(MetadataServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a mirror that ends leaves the question that it always has open."""
