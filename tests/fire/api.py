"""The API server for a test that asks it often: one connection, kept open."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
from base64 import b64decode
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fire.kube import Json
from rig.api import ApiError

_TIMEOUT_SECONDS = 30


class KeptApi:
    """A client with the rights of a kubeconfig's user; may be used from several threads."""

    def __init__(self, kubeconfig: Path) -> None:
        config = json.loads(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._address = urlsplit(cluster["server"]).netloc
        self._tls = ssl.create_default_context(cadata=b64decode(cluster["certificate-authority-data"]).decode())
        self._token = user["token"]
        self._of_thread = threading.local()
        self._kept: list[http.client.HTTPSConnection] = []

    def close(self) -> None:
        """Close its connections."""
        for connection in self._kept:
            connection.close()

    def get(self, path: str) -> Any:
        """GET `path`."""
        return self._request("GET", path)

    def create(self, path: str, body: Json) -> Any:
        """POST `body` to the collection `path`."""
        return self._request("POST", path, body)

    def patch(self, path: str, body: Json) -> Any:
        """Merge-patch the object at `path`."""
        return self._request("PATCH", path, body, kind="application/merge-patch+json")

    def delete(self, path: str) -> bool:
        """DELETE `path`; False if there was no such object."""
        try:
            self._request("DELETE", path)
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return True

    def _request(self, method: str, path: str, body: Json | None = None, *, kind: str = "application/json") -> Any:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": kind, "Accept": "application/json"}
        connection = self._connection()
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise ApiError(0, f"{method} {path}: {error!r}") from error
        if answer.status >= 300:
            raise ApiError(answer.status, f"{method} {path}: {answer.status} {text[:300]}")
        return json.loads(text)

    def _connection(self) -> http.client.HTTPSConnection:
        kept: http.client.HTTPSConnection | None = getattr(self._of_thread, "connection", None)
        if kept is None:
            kept = http.client.HTTPSConnection(self._address, context=self._tls, timeout=_TIMEOUT_SECONDS)
            self._of_thread.connection = kept
            self._kept.append(kept)
        return kept
