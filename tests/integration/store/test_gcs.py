from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from integration.store.conftest import Emulator
from sweep_sidecar.store import Creation, Store, Unreachable, open_store
from unit.sidecar.store_conformance import StoreConformance

pytestmark = pytest.mark.integration


@pytest.fixture
def store(bucket: str) -> Store:
    return open_store(f"gs://{bucket}/ns/sweep/run", deadline_s=20)


@pytest.fixture
def again(bucket: str) -> Callable[[], Store]:
    return lambda: open_store(f"gs://{bucket}/ns/sweep/run", deadline_s=20)


class TestGcsStore(StoreConformance):
    pass


def test_lists_more_than_one_page(store: Store) -> None:
    for number in range(1005):
        store.create(f"log/{number:05d}", b"")
    assert len(store.list("log/")) == 1005
    assert len(store.list("log/", limit=1002)) == 1002


def test_a_folder_is_not_seen_from_its_neighbour(bucket: str) -> None:
    open_store(f"gs://{bucket}/run-1").create("key", b"x")
    assert open_store(f"gs://{bucket}/run").list("") == []


def test_a_bucket_that_is_not_there_is_not_an_empty_one(bucket: str) -> None:
    store = open_store("gs://no-such-bucket/run", deadline_s=5)
    with pytest.raises(Unreachable, match="'no-such-bucket' does not exist"):
        store.list("log/")
    with pytest.raises(Unreachable, match="'no-such-bucket' does not exist"):
        store.create("log/1", b"x")


def test_no_call_outlives_its_deadline(start_emulator: Callable[[], Emulator], monkeypatch: pytest.MonkeyPatch) -> None:
    emulator = start_emulator()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator.url)
    store = open_store(f"gs://{emulator.make_bucket()}/run", deadline_s=2)
    store.create("key", b"x")
    emulator.stop()
    calls: list[Callable[[], object]] = [
        lambda: store.get("key"),
        lambda: store.list(""),
        lambda: store.create("other", b"x"),
    ]
    for call in calls:
        began = time.monotonic()
        with pytest.raises(Unreachable):
            call()
        assert time.monotonic() - began < 4


def test_a_short_outage_is_waited_out(start_emulator: Callable[[], Emulator], monkeypatch: pytest.MonkeyPatch) -> None:
    emulator = start_emulator()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator.url)
    store = open_store(f"gs://{emulator.make_bucket()}/run", deadline_s=30)
    emulator.stop()
    outcome: list[Creation] = []
    caller = threading.Thread(target=lambda: outcome.append(store.create("key", b"x")))
    caller.start()
    emulator.start()
    caller.join(30)
    assert outcome == [Creation.CREATED]
    assert store.get("key") == b"x"


class Meddler:
    """A proxy before the emulator that carries requests out and then loses, or forges, some of the replies."""

    def __init__(self, emulator: Emulator) -> None:
        self.lose: Callable[[str, str], bool | int] = lambda method, path: False
        self.lost: list[str] = []
        meddler = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _carry(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(length) if length else None
                fate = meddler.lose(self.command, self.path)
                if fate is not False:
                    meddler.lost.append(self.command)
                if fate is not False and fate is not True:
                    self._reply(fate, b"{}")
                    return
                request = urllib.request.Request(emulator.url + self.path, data=body, method=self.command)
                for name in ("Content-Type", "Range"):
                    if name in self.headers:
                        request.add_header(name, self.headers[name])
                opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
                try:
                    with opener.open(request, timeout=10) as answer:
                        status, content = answer.status, answer.read()
                except urllib.error.HTTPError as error:
                    with error:
                        status, content = error.code, error.read()
                if fate:
                    self.close_connection = True
                    return
                self._reply(status, content)

            def _reply(self, status: int, content: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def do_GET(self) -> None:
                self._carry()

            def do_POST(self) -> None:
                self._carry()

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fail_once(self, method: str, fate: bool | int = True) -> None:
        left = [fate]
        self.lose = lambda asked, path: left.pop() if asked == method and left else False


@pytest.fixture
def meddler(emulator: Emulator, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Meddler]:
    meddler = Meddler(emulator)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", meddler.url)
    yield meddler
    meddler.stop()


def test_a_create_whose_reply_was_lost_is_recognised(meddler: Meddler, bucket: str) -> None:
    store = open_store(f"gs://{bucket}/run", deadline_s=20)
    meddler.fail_once("POST")
    assert store.create("log/1", b"mine") is Creation.CREATED
    assert meddler.lost == ["POST"]
    assert store.create("log/1", b"theirs") is Creation.EXISTS


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_store_that_is_overloaded_is_asked_again(meddler: Meddler, bucket: str, status: int) -> None:
    store = open_store(f"gs://{bucket}/run", deadline_s=20)
    for method, call in [("POST", lambda: store.create("key", b"x")), ("GET", lambda: store.get("key"))]:
        meddler.fail_once(method, status)
        call()
    assert meddler.lost == ["POST", "GET"]


@pytest.mark.parametrize("status", [401, 403])
def test_what_may_not_be_read_is_not_taken_for_absent(meddler: Meddler, bucket: str, status: int) -> None:
    store = open_store(f"gs://{bucket}/run", deadline_s=2)
    store.create("key", b"x")
    meddler.lose = lambda method, path: status
    for call in (lambda: store.get("key"), lambda: store.list(""), lambda: store.create("key", b"x")):
        with pytest.raises(Unreachable):
            call()
