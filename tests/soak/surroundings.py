"""What a mirror lives among: a store behind a proxy, an operator and a cloud, each of which can be in trouble."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from bench.announcing_cloud import AnnouncingCloud
from faults.proxy import Fate, Proxy, Strike
from faults.servers import WORDINGS
from resumable_sweep.contract import environment as names
from resumable_sweep.contract.report import Answer
from soak.timetable import Trouble

_EVERY_ONE = sys.maxsize
_OVERLOADED = WORDINGS["gcs"].overloaded[1]
_STRIKES = {
    Trouble.STORE_REFUSES: Strike(
        fate=Fate.REFUSED, at=0, count=_EVERY_ONE, status=_OVERLOADED.status, content=_OVERLOADED.content
    ),
    Trouble.STORE_SILENT: Strike(fate=Fate.SILENT, at=0, count=_EVERY_ONE),
    Trouble.STORE_RESETS: Strike(fate=Fate.RESET, at=0, count=_EVERY_ONE),
}


class Surroundings:
    """All calm until `be_in` says otherwise."""

    def __init__(self, store_port: int) -> None:
        self._proxy = Proxy(store_port)
        self._door = self._proxy.door()
        self._operator = _Operator()
        self._cloud = AnnouncingCloud()
        self._troubles: frozenset[Trouble] = frozenset()
        self._times: Counter[Trouble] = Counter()

    @property
    def store_url(self) -> str:
        return f"http://127.0.0.1:{self._door.port}"

    @property
    def variables(self) -> Mapping[str, str]:
        """What tells a mirror of the operator and the cloud."""
        return {
            names.REPORT_URL: f"http://127.0.0.1:{self._operator.port}",
            names.METADATA_URL: self._cloud.url,
        }

    @property
    def met(self) -> Mapping[str, int]:
        """How often each trouble came, and how many requests went to the store."""
        times = {trouble.value: self._times[trouble] for trouble in Trouble}
        return {**times, "requests to the store": self._door.requests, "of them struck": len(self._door.struck)}

    def be_in(self, troubles: frozenset[Trouble]) -> None:
        """Bring these troubles about, and end all others."""
        for trouble in troubles - self._troubles:
            self._times[trouble] += 1
        self._door.strikes[:] = [strike for trouble, strike in _STRIKES.items() if trouble in troubles]
        self._operator.be_away(Trouble.OPERATOR_AWAY in troubles)
        self._operator.answer = Answer(superseded=Trouble.SUPERSEDED_HINT in troubles)
        if Trouble.NOTICE in troubles:
            self._cloud.announce()
        else:
            self._cloud.withdraw()
        self._troubles = troubles

    def close(self) -> None:
        self._operator.be_away(True)
        self._cloud.close()
        self._proxy.close()


class _Operator:
    """The operator's endpoint, at the same port whenever it is there."""

    def __init__(self) -> None:
        self.answer = Answer()
        self.port = 0
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self.be_away(False)

    def be_away(self, away: bool) -> None:
        if away and self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None
        elif not away and self._server is None:
            self._server = _Server(("127.0.0.1", self.port), _handler(self))
            self.port = self._server.server_port
            self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1})
            self._thread.start()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a mirror that ends need not hear what is answered."""


def _handler(operator: _Operator) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(operator.answer.to_json().encode())

        def log_message(self, *_: Any) -> None:
            """Say nothing: every report is one."""

    return Handler
