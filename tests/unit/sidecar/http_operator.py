"""The operator's HTTP endpoint, as far as sidecars see it: it keeps what they report, and answers what a test wants."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from resumable_sweep.contract.report import Answer, Report, parsed_report


class HttpOperator:
    """Listens on a port of its own until it is closed."""

    def __init__(self) -> None:
        self.told: list[Report] = []
        self.answer = Answer()
        operator = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                operator.told.append(parsed_report(json.loads(body)))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(operator.answer.to_json().encode())

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
