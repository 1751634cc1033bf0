"""A cluster as its user sees it: plain JSON through the official client, for any kubeconfig."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3
from kubernetes import client, config

Json = dict[str, Any]


class Refused(Exception):
    """The API server refused a request; `status` is its HTTP status, 0 where it did not answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Cluster:
    """One cluster, by its kubeconfig. Not for use by several threads: each makes its own."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self._configuration = client.Configuration()
        config.load_kube_config(config_file=str(kubeconfig), client_configuration=self._configuration)
        self._configuration.retries = False
        self._client = client.ApiClient(self._configuration)

    def get(self, path: str, **query: str) -> Json:
        """Return the object or list at `path`."""
        return self._json("GET", path, query=query)

    def find(self, path: str, **query: str) -> Json | None:
        """Return the object at `path`, None where there is none."""
        try:
            return self.get(path, **query)
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    def create(self, path: str, body: Json) -> Json:
        """Create an object in a collection."""
        return self._json("POST", path, body=body)

    def patch(self, path: str, body: Json) -> Json:
        """Merge a change into an object."""
        return self._json("PATCH", path, body=body, content_type="application/merge-patch+json")

    def delete(self, path: str, body: Json | None = None) -> None:
        """Delete an object; it may be gone already."""
        try:
            self._json("DELETE", path, body=body)
        except Refused as refused:
            if refused.status != 404:
                raise

    def lines(self, path: str, **query: str) -> Iterator[bytes]:
        """Yield the lines of a streamed answer (a watch, a followed log) until the server ends it.

        Raises
        ------
        Refused
            Also where the stream breaks off.
        """
        response = self._send("GET", path, query=query, seconds=None)
        rest = b""
        try:
            for piece in response.stream(amt=None):
                *lines, rest = (rest + piece).split(b"\n")
                yield from lines
            if rest:
                yield rest
        except urllib3.exceptions.HTTPError as error:
            raise Refused(0, f"{path} broke off: {error!r}") from error
        finally:
            response.close()

    def _json(
        self, method: str, path: str, *, query: Json | None = None, body: Json | None = None, content_type: str = ""
    ) -> Json:
        response = self._send(method, path, query=query, body=body, content_type=content_type, seconds=30)
        try:
            answer: Json = json.loads(response.read())
        except (ValueError, urllib3.exceptions.HTTPError) as error:
            raise Refused(0, f"{method} {path}: {error!r}") from error
        finally:
            response.release_conn()
        return answer

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: Json | None = None,
        body: Json | None = None,
        content_type: str = "",
        seconds: float | None,
    ) -> urllib3.BaseHTTPResponse:
        headers = {"Content-Type": content_type or "application/json"}
        url = self._configuration.host + path + ("?" + urlencode(query) if query else "")
        self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        try:
            response: urllib3.BaseHTTPResponse = self._client.rest_client.pool_manager.request(
                method,
                url,
                body=None if body is None else json.dumps(body),
                headers=headers,
                preload_content=False,
                retries=False,
                timeout=urllib3.Timeout(connect=5, read=seconds),
            )
        except urllib3.exceptions.HTTPError as error:
            raise Refused(0, f"{method} {path}: {error!r}") from error
        if response.status >= 300:
            text = response.read().decode(errors="replace")
            response.release_conn()
            raise Refused(response.status, _message(text))
        return response


def _message(text: str) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text[:500]


def wait_until(
    condition: Callable[[], Any],
    *,
    what: str,
    seconds: float,
    every: float = 0.2,
    clue: Callable[[], str] = lambda: "",
) -> Any:
    """Return what `condition` gives as soon as that is true.

    Raises
    ------
    TimeoutError
        After `seconds`, saying what was waited for, and the clue.
    """
    until = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            raise TimeoutError(f"waited {seconds:.0f} s in vain for {what}. {clue()}")
        time.sleep(every)
