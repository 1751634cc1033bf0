"""The mirror's HTTP side: probes of the kubelet, and the stop hooks of the experiment and of itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HEALTH_PATH = "/healthz"
METRICS_PATH = "/metrics"
FLUSH_PATH = "/flush"
_TEXT = "text/plain; charset=utf-8"
_METRICS = "text/plain; version=0.0.4; charset=utf-8"
"""Content type by which Prometheus knows its text format."""


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """What the paths do. `flush` returns whether all that was there is in the store."""

    is_well: Callable[[], bool]
    metrics: Callable[[], str]
    stop_path: str
    stopping: Callable[[], None]
    flush: Callable[[], bool]


class HookServer:
    """Serves the hooks on every interface: the kubelet asks the pod's address."""

    def __init__(self, hooks: Hooks, *, port: int) -> None:
        # A plain socket server: an asynchronous one would cost memory in every pod for a request now and then.
        self._server = ThreadingHTTPServer(("", port), _handler(hooks))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="hooks", daemon=True)

    @property
    def port(self) -> int:
        """TCP port, chosen by the system where 0 was asked for."""
        return self._server.server_port

    def start(self) -> None:
        """Start to serve."""
        self._thread.start()

    def stop(self) -> None:
        """Stop to serve."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(hooks: Hooks) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == HEALTH_PATH:
                self._answer(200 if hooks.is_well() else 503)
            elif self.path == METRICS_PATH:
                self._send(200, hooks.metrics(), kind=_METRICS)
            elif hooks.stop_path and self.path == hooks.stop_path:
                hooks.stopping()
                self._answer(200)
            elif self.path == FLUSH_PATH:
                self._answer(200 if hooks.flush() else 503)
            else:
                self._answer(404)

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing: a probe every few seconds is no news."""

        def _answer(self, status: int) -> None:
            self._send(status, f"{'ok' if status == 200 else status}\n", kind=_TEXT)

        def _send(self, status: int, text: str, *, kind: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
