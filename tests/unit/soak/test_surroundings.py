from __future__ import annotations

import http.client
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from resumable_sweep.contract import environment as names
from resumable_sweep.contract.report import REPORT_PATH
from soak.surroundings import Surroundings
from soak.timetable import Trouble

PREEMPTED = "/computeMetadata/v1/instance/preempted"
CALM: frozenset[Trouble] = frozenset()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def upstream() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def surroundings(upstream: int) -> Iterator[Surroundings]:
    around = Surroundings(upstream)
    yield around
    around.close()


def asked(url: str, *, data: bytes | None = None, timeout: float = 5, **headers: str) -> str:
    """The answer's text, or the status of a refusal."""
    request = urllib.request.Request(url, data=data, headers={k.replace("_", "-"): v for k, v in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        error.close()
        return str(error.code)


def stored(surroundings: Surroundings, *, timeout: float = 5) -> str:
    return asked(f"{surroundings.store_url}/upload", data=b"x" * 1000, timeout=timeout)


def reported(surroundings: Surroundings) -> dict[str, object]:
    found: dict[str, object] = json.loads(
        asked(surroundings.variables[names.REPORT_URL] + REPORT_PATH, data=b"{}", timeout=5)
    )
    return found


def test_a_store_fails_in_each_of_its_ways_and_answers_again(surroundings: Surroundings) -> None:
    assert stored(surroundings) == "ok"
    surroundings.be_in(frozenset({Trouble.STORE_REFUSES}))
    assert stored(surroundings) == "503"
    surroundings.be_in(frozenset({Trouble.STORE_RESETS}))
    with pytest.raises((ConnectionError, http.client.HTTPException, urllib.error.URLError)):
        stored(surroundings)
    surroundings.be_in(frozenset({Trouble.STORE_SILENT}))
    with pytest.raises(TimeoutError):
        stored(surroundings, timeout=0.3)
    surroundings.be_in(CALM)
    assert stored(surroundings) == "ok"
    assert surroundings.met["requests to the store"] == 5
    assert surroundings.met["of them struck"] == 3


def test_an_operator_goes_and_comes_back_at_the_same_place(surroundings: Surroundings) -> None:
    assert reported(surroundings)["superseded"] is False
    surroundings.be_in(frozenset({Trouble.OPERATOR_AWAY}))
    with pytest.raises(urllib.error.URLError, match="refused"):
        reported(surroundings)
    surroundings.be_in(frozenset({Trouble.SUPERSEDED_HINT}))
    assert reported(surroundings)["superseded"] is True
    surroundings.be_in(CALM)
    assert reported(surroundings)["superseded"] is False


def test_a_notice_is_given_and_withdrawn(surroundings: Surroundings) -> None:
    url = surroundings.variables[names.METADATA_URL] + PREEMPTED
    said = []
    for troubles in (CALM, frozenset({Trouble.NOTICE}), CALM):
        surroundings.be_in(troubles)
        said.append(asked(url, Metadata_Flavor="Google"))
    assert said == ["FALSE", "TRUE", "FALSE"]


def test_what_was_met_counts_each_time_that_a_trouble_comes_and_not_how_long_it_stays(
    surroundings: Surroundings,
) -> None:
    for troubles in (
        {Trouble.NOTICE},
        {Trouble.NOTICE, Trouble.OPERATOR_AWAY},
        {Trouble.NOTICE},
        set(),
        {Trouble.NOTICE},
    ):
        surroundings.be_in(frozenset(troubles))
    assert surroundings.met[Trouble.NOTICE] == 2
    assert surroundings.met[Trouble.OPERATOR_AWAY] == 1
    assert surroundings.met[Trouble.STORE_SILENT] == 0
