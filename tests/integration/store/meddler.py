"""A proxy before a real server that breaks some of the requests and replies, in any protocol over HTTP/1.1."""

from __future__ import annotations

import http.client
import re
import threading
import time
from collections.abc import Callable
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_PIECE = 1 << 16


class Fate(Enum):
    """What becomes of a request; instead of one, an integer is the status that it is answered with, unheard."""

    LOST = "carried out, but the connection ends before the reply"
    CUT = "carried out, but the connection ends in the middle of the reply"
    SILENT = "never answered"
    SLOW = "answered so slowly that no timeout between two bytes sees it"


class Meddler:
    """`fate` is asked before each request with its method and path; None lets it pass.

    `halt_body_at` stops the next request's body after so many bytes, until `let_go` is called; `halted` says that it
    stands there. With `forget_conditions` the server never hears that a create must be one.
    """

    def __init__(self, port: int) -> None:
        self.fate: Callable[[str, str], Fate | int | None] = lambda method, path: None
        self.struck: list[str] = []
        self.authorizations: list[str | None] = []
        """What each request has said of who makes it."""
        self.forget_conditions = False
        self.halt_body_at: int | None = None
        self.halted = threading.Event()
        self._going_on = threading.Event()
        self._ended = threading.Event()
        self._upstream = port
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._open: set[BaseHTTPRequestHandler] = set()
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen, at the same port as before."""
        self._ended.clear()
        self._server = _Server(("127.0.0.1", self.port), _handler(self))
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        """Stop listening and cut all connections: the server is gone."""
        self._ended.set()
        self._going_on.set()
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None

    def strike_once(self, method: str, fate: Fate | int) -> None:
        """Let the next request of that method meet `fate`."""
        left = [fate]
        self.fate = lambda asked, path: left.pop() if asked == method and left else None

    def let_go(self) -> None:
        self._going_on.set()

    def _read_body(self, handler: BaseHTTPRequestHandler) -> tuple[bytes, bool]:
        """Return the body and whether it is whole; the client may die while it sends it."""
        wanted = int(handler.headers.get("Content-Length") or 0)
        read = bytearray()
        while len(read) < wanted:
            if self.halt_body_at is not None and len(read) >= self.halt_body_at:
                self.halt_body_at = None
                self.halted.set()
                self._going_on.wait(60)
            piece = handler.rfile.read1(min(_PIECE, wanted - len(read)))  # type: ignore[attr-defined]
            if not piece:
                return bytes(read), False
            read += piece
        return bytes(read), True

    def _carry(self, handler: BaseHTTPRequestHandler, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        path = handler.path
        headers = list(handler.headers.items())
        if self.forget_conditions:
            headers = [(name, value) for name, value in headers if name.lower() != "if-none-match"]
            path = re.sub(r"[?&]ifGenerationMatch=0", "", path).replace("/o&", "/o?")
        connection = http.client.HTTPConnection("127.0.0.1", self._upstream, timeout=60)
        try:
            connection.putrequest(handler.command, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers:
                connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            return answer, answer.read()
        finally:
            connection.close()

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        body, whole = self._read_body(handler)
        if self._ended.is_set():
            handler.close_connection = True
            return
        if not whole:
            self._pass_on_what_came(handler, body)
            handler.close_connection = True
            return
        self.authorizations.append(handler.headers.get("Authorization"))
        fate = self.fate(handler.command, handler.path)
        if fate is not None:
            self.struck.append(handler.command)
        if fate is Fate.SILENT:
            self._ended.wait(60)
            handler.close_connection = True
            return
        if isinstance(fate, int):
            handler.send_response(fate)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        answer, content = self._carry(handler, body)
        if fate is Fate.LOST:
            handler.close_connection = True
            return
        handler.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                handler.send_header(name, value)
        length = len(content) if handler.command != "HEAD" else answer.getheader("Content-Length", "0")
        handler.send_header("Content-Length", str(length))
        handler.end_headers()
        if fate is Fate.CUT:
            handler.wfile.write(content[: len(content) // 2])
            handler.close_connection = True
        elif fate is Fate.SLOW:
            self._write_slowly(handler, content)
        else:
            handler.wfile.write(content)

    def _pass_on_what_came(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        """Send the server the part of the body that came, and end the connection as the client has."""
        connection = http.client.HTTPConnection("127.0.0.1", self._upstream, timeout=10)
        connection.putrequest(handler.command, handler.path, skip_host=True, skip_accept_encoding=True)
        for name, value in handler.headers.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        connection.close()

    def _write_slowly(self, handler: BaseHTTPRequestHandler, content: bytes) -> None:
        for at in range(len(content)):
            handler.wfile.write(content[at : at + 1])
            if self._ended.wait(0.2):
                handler.close_connection = True
                return


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that go away in mid-request are what this is for."""


def _handler(meddler: Meddler) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _meddle(self) -> None:
            if meddler._ended.is_set():
                self.close_connection = True
                return
            meddler._handle(self)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _meddle  # noqa: N815

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    return Handler


def wait_for(condition: Callable[[], bool], *, what: str, seconds: float = 30) -> None:
    """Wait until `condition` holds."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, what
        time.sleep(0.01)
