"""A service account's key in a variable: its token goes with every request. Real requests, to the emulator."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from integration.store.gcs_server import Emulator
from integration.store.meddler import Meddler
from sweep_sidecar.store import Creation, UrlUnsupported, open_store
from sweep_sidecar.store.gcs import KEY

pytestmark = pytest.mark.integration


@pytest.fixture
def meddler(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Meddler]:
    meddler = Meddler(emulator.port)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", meddler.url)
    yield meddler
    meddler.stop()


@pytest.fixture
def token_uri() -> Iterator[str]:
    """Where a token is handed out for any signed request, as Google does it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps({"access_token": "the-token", "expires_in": 3600, "token_type": "Bearer"}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    tokens = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=tokens.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{tokens.server_port}/token"
    tokens.shutdown()
    thread.join()
    tokens.server_close()


def key_file(token_uri: str) -> str:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return json.dumps(
        {
            "type": "service_account",
            "project_id": "p",
            "private_key_id": "1",
            "private_key": private.decode(),
            "client_email": "sweeps@p.iam.gserviceaccount.com",
            "token_uri": token_uri,
        }
    )


def test_the_token_goes_with_every_request(
    token_uri: str, emulator: Emulator, meddler: Meddler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, key_file(token_uri))
    store = open_store(f"gs://{emulator.make_bucket()}/run", deadline_s=20)
    assert store.create("key", b"x") is Creation.CREATED
    assert store.get("key") == b"x"
    assert [found.key for found in store.list("")] == ["key"]
    assert len(meddler.authorizations) == 3
    assert set(meddler.authorizations) == {"Bearer the-token"}


@pytest.mark.parametrize("key", ["not JSON: secret", '"secret"', "{}", '{"type": "service_account", "x": "secret"}'])
def test_what_is_no_key_is_refused_without_saying_what_it_is(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, key)
    with pytest.raises(UrlUnsupported, match="GOOGLE_APPLICATION_CREDENTIALS_JSON holds no service account") as refused:
        open_store("gs://bucket/run", deadline_s=5)
    assert "secret" not in str(refused.value)
