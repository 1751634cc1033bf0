"""A small synchronous client of the Kubernetes API: what the testbed itself asks and changes."""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rig.errors import RigError

Json = dict[str, Any]

_MERGE_PATCH = "application/merge-patch+json"


class ApiError(RigError):
    """The API server refused a request; ``status`` is its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """Speaks to one API server with a bearer token; the server is verified against ``authority`` (PEM text)."""

    def __init__(self, *, server: str, token: str, authority: str) -> None:
        self.server = server
        self._token = token
        # No proxies: the cluster is on this machine, and a proxy from the environment cannot reach it.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=ssl.create_default_context(cadata=authority)),
        )

    @classmethod
    def of(cls, kubeconfig: Path) -> Api:
        """Client for a kubeconfig file that the testbed wrote."""
        config = json.loads(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        return cls(server=cluster["server"], token=user["token"], authority=authority)

    def request(
        self, method: str, path: str, *, body: Json | None = None, content_type: str = "application/json"
    ) -> Any:
        """Send one request and return the decoded answer (text where it is not JSON); raises ``ApiError``."""
        request = urllib.request.Request(
            self.server + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self._token}",
                "Content-Type": content_type,
                "Accept": "application/json",
            },
        )
        try:
            with self._opener.open(request, timeout=30) as answer:
                text = answer.read().decode()
        except urllib.error.HTTPError as error:
            raise ApiError(error.code, _refusal(method, path, error)) from error
        except (urllib.error.URLError, OSError) as error:
            raise ApiError(0, f"{method} {self.server}{path}: {error}") from error
        return json.loads(text) if text.startswith(("{", "[")) else text

    def get(self, path: str) -> Any:
        """GET ``path``."""
        return self.request("GET", path)

    def create(self, path: str, body: Json) -> Any:
        """POST ``body`` to the collection ``path``."""
        return self.request("POST", path, body=body)

    def patch(self, path: str, body: Json) -> Any:
        """Merge-patch the object at ``path``."""
        return self.request("PATCH", path, body=body, content_type=_MERGE_PATCH)

    def delete(self, path: str, body: Json | None = None) -> bool:
        """DELETE ``path``; False if there was no such object."""
        try:
            self.request("DELETE", path, body=body)
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return True

    def watch(self, path: str, *, seconds: int) -> Iterator[Json]:
        """Yield what there is at the collection ``path``, then its changes, for so long: `type` and `object` each.

        Raises ``ApiError`` where the server says that the watch has failed.
        """
        sign = "&" if "?" in path else "?"
        request = urllib.request.Request(
            f"{self.server}{path}{sign}watch=1&timeoutSeconds={seconds}",
            headers={"Authorization": f"Bearer {self._token}", "Accept": "application/json"},
        )
        with self._opener.open(request, timeout=seconds + 30) as answer:
            for line in answer:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise ApiError(event["object"].get("code", 0), f"GET {path}: {event['object'].get('message')}")
                yield event

    def is_ready(self) -> bool:
        """Whether the server says that it is ready to serve."""
        try:
            return bool(self.get("/readyz") == "ok")
        except ApiError:
            return False


def wait_until(
    condition: Callable[[], bool],
    *,
    what: str,
    seconds: float,
    every: float = 0.1,
    clue: Callable[[], str] | None = None,
) -> None:
    """Ask ``condition`` until it holds; raises ``RigError`` naming ``what`` and the ``clue`` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RigError(f"waited {seconds:.0f} s for {what} in vain" + (f"\n{clue()}" if clue else ""))
        time.sleep(every)


def _refusal(method: str, path: str, error: urllib.error.HTTPError) -> str:
    text = error.read().decode(errors="replace")
    with contextlib.suppress(ValueError):
        text = json.loads(text).get("message", text)
    return f"{method} {path}: {error.code} {text.strip()}"
