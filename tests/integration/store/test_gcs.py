from __future__ import annotations

import pytest

from integration.store.gcs_server import Emulator
from integration.store.meddler import Meddler
from integration.store.server import Server
from integration.store.server_conformance import ServerConformance
from sweep_sidecar.store import Creation, StoreNotCreateOnly, Unreachable, open_store, prove_create_only

pytestmark = pytest.mark.integration


@pytest.fixture
def server(emulator: Emulator) -> Server:
    return emulator


class TestGcsStore(ServerConformance):
    create_method = "POST"

    @pytest.fixture
    def limited(self, server: Server, bucket: str, meddler: Meddler) -> dict[str, str]:
        """The emulator knows no rights: the proxy before it answers as Google does."""
        meddler.fate = lambda method, path: 403 if method == "DELETE" else None
        return server.environment(meddler.url, bucket=bucket)

    def test_a_refusal_to_replace_says_as_much_as_a_failed_condition(
        self, server: Server, bucket: str, meddler: Meddler, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        open_store(url, deadline_s=5).create("log/1", b"mine")
        for name, value in server.environment(meddler.url, bucket=bucket).items():
            monkeypatch.setenv(name, value)
        meddler.fate = lambda method, path: 403 if method == "POST" else None
        store = open_store(url, deadline_s=5)
        assert store.create("log/1", b"mine") is Creation.CREATED
        assert store.create("log/1", b"theirs") is Creation.EXISTS
        with pytest.raises(Unreachable, match=r"cannot create log/2 .*Forbidden"):
            store.create("log/2", b"mine")

    def test_a_store_that_forgets_the_condition_is_refused(self, meddler: Meddler, url: str) -> None:
        meddler.forget_conditions = True
        with pytest.raises(StoreNotCreateOnly, match="let probe be created twice"):
            prove_create_only(open_store(url, deadline_s=20), key="probe", nonce="1")
